//! Why a tree is not the type that somebody wants.

use std::fmt;

use serde::de;

use super::tree::NodeId;
use crate::problem::Code;

/// The first thing that did not fit, and the node where.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(super) at: Option<NodeId>,
    pub(super) why: Why,
}

#[derive(Debug)]
pub(super) enum Why {
    UnknownField { name: String, allowed: &'static [&'static str] },
    UnknownValue { name: String, allowed: &'static [&'static str] },
    Missing { name: &'static str },
    Other { code: Code, what: String, mend: String },
}

impl Refusal {
    pub(super) fn new(code: Code, what: String, mend: &str) -> Self {
        Self { at: None, why: Why::Other { code, what, mend: mend.to_owned() } }
    }

    /// At a node, unless something inside it is known to be the cause.
    pub(super) fn or_at(mut self, node: NodeId) -> Self {
        self.at.get_or_insert(node);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::UnknownField { name, .. } => write!(f, "unknown field `{name}`"),
            Why::UnknownValue { name, .. } => write!(f, "unknown value `{name}`"),
            Why::Missing { name } => write!(f, "missing field `{name}`"),
            Why::Other { what, .. } => f.write_str(what),
        }
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    /// A type's own refusal: its first line says what is wrong, the second how to mend it.
    fn custom<T: fmt::Display>(text: T) -> Self {
        let text = text.to_string();
        let (what, mend) = text.split_once('\n').unwrap_or((&text, ""));
        Self::new(Code::WrongValue, what.to_owned(), mend)
    }

    fn unknown_field(name: &str, allowed: &'static [&'static str]) -> Self {
        Self { at: None, why: Why::UnknownField { name: name.to_owned(), allowed } }
    }

    fn unknown_variant(name: &str, allowed: &'static [&'static str]) -> Self {
        Self { at: None, why: Why::UnknownValue { name: name.to_owned(), allowed } }
    }

    fn missing_field(name: &'static str) -> Self {
        Self { at: None, why: Why::Missing { name } }
    }
}
