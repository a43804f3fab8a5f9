//! Builds the tree from the parser's events, under the caller's limits.
//!
//! The parser is asked for the next event only while all limits hold, so the largest file costs
//! no more than the limits allow.

use std::collections::HashSet;

use granit_parser::{self as parser, ErrorKind, Event, Options, Parser, ScalarStyle, ScanError};

use super::super::{Limits, PROBLEMS_MAX, scalar};
use super::{Content, NodeId, Tree};
use crate::problem::Code;
use crate::source::{Finding, Span, quoted};

/// The tree of a text that is no longer than the limits allow. It ends at the first error of
/// syntax or limit; what stood before is kept, so that its mistakes are shown too.
pub(crate) fn parse(text: &str, limits: &Limits) -> Tree {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.emit_unresolved_aliases = true;
    let mut building = Building {
        tree: Tree::default(),
        open: Vec::new(),
        limits: *limits,
        last: Span { start: 0, end: 0 },
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                if !building.take(event, &span) {
                    break;
                }
            }
            Err(error) => {
                building.fail(text, &error);
                break;
            }
        }
    }
    for open in building.open {
        building.tree.node_mut(open.node).is_cut = true;
    }
    building.tree
}

/// A list or map whose end has not come yet.
struct Open {
    node: NodeId,
    key: Option<Key>,
    keys: HashSet<String>,
}

/// A key whose value has not come yet.
struct Key {
    node: NodeId,
    /// Whether its map has one of that name already.
    is_second: bool,
}

struct Building {
    tree: Tree,
    open: Vec<Open>,
    limits: Limits,
    last: Span,
}

impl Building {
    /// Takes one event; false once a limit is passed.
    fn take(&mut self, event: Event<'_>, span: &parser::Span) -> bool {
        let span = span
            .byte_range()
            .map_or(self.last, |range| Span { start: range.start, end: range.end });
        self.last = span;
        match event {
            Event::Scalar(text, style, _, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let plain = style == ScalarStyle::Plain;
                self.place(Content::Scalar { text: text.into_owned(), plain }, span)
            }
            Event::SequenceStart(_, _, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.place(Content::List(Vec::new()), span)
            }
            Event::MappingStart(_, _, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.place(Content::Map(Vec::new()), span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
                true
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.find(span, Code::NotSupported, "aliases are not read", "write the value out");
                self.place(Content::Hole, span)
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | _ => true,
        }
    }

    fn place(&mut self, content: Content, span: Span) -> bool {
        if !self.is_within_limits(&content, span) {
            return false;
        }
        let opens = matches!(content, Content::List(_) | Content::Map(_));
        let node = self.tree.push(content, span, self.open.last().map(|open| open.node));
        self.attach(node, span);
        if opens {
            self.open.push(Open { node, key: None, keys: HashSet::new() });
        }
        true
    }

    fn is_within_limits(&mut self, content: &Content, span: Span) -> bool {
        let Limits { nodes_max, depth_max, .. } = self.limits;
        let opens = matches!(content, Content::List(_) | Content::Map(_));
        let (what, mend) = if self.tree.nodes.len() >= nodes_max {
            (format!("more than {nodes_max} keys and values"), "split it into several files")
        } else if opens && self.open.len() >= depth_max {
            (format!("more than {depth_max} lists and maps inside one another"), "flatten it")
        } else {
            return true;
        };
        self.find(span, Code::TooMuch, &what, mend);
        false
    }

    fn attach(&mut self, node: NodeId, span: Span) {
        let Some(open) = self.open.last_mut() else {
            let is_blank = matches!(&self.tree.node(node).content,
                Content::Scalar { text, plain: true } if scalar::resolve(text) == scalar::Scalar::Null);
            if !is_blank {
                self.tree.roots.push(node);
            }
            return;
        };
        let parent = open.node;
        let key = open.key.take();
        match (&mut self.tree.node_mut(parent).content, key) {
            (Content::List(items), _) => {
                let index = items.len();
                items.push(node);
                self.tree.node_mut(node).index = index;
            }
            (Content::Map(entries), Some(key)) if !key.is_second => entries.push((key.node, node)),
            (Content::Map(_), None) => self.take_key(node, span),
            (Content::Map(_) | Content::Scalar { .. } | Content::Hole, _) => {}
        }
    }

    fn take_key(&mut self, key: NodeId, span: Span) {
        let text = self.tree.text(key).to_owned();
        let is_text = matches!(self.tree.node(key).content, Content::Scalar { .. });
        let Some(open) = self.open.last_mut() else { return };
        if open.keys.is_empty() {
            // A map of lines has no brace to mark: its first key stands for it.
            self.tree.node_mut(open.node).span = span;
        }
        let is_new = open.keys.insert(text.clone());
        open.key = Some(Key { node: key, is_second: !is_new });
        if !is_text {
            self.find(span, Code::NotSupported, "a key that is no text", "write the key as text");
        } else if !is_new {
            let what = format!("`{}` stands twice in one map", quoted(&text));
            self.find(span, Code::DuplicateKey, &what, "keep one of the two");
        }
    }

    fn refuse_tag(&mut self, is_tagged: bool, span: Span) {
        if is_tagged {
            let mend = "remove the tag; put text that looks like a number in quotes";
            self.find(span, Code::NotSupported, "tags (`!…`) are not read", mend);
        }
    }

    fn fail(&mut self, text: &str, error: &ScanError) {
        let start = error.marker().byte_offset().unwrap_or(self.last.end).min(text.len());
        let rest = text.get(start..).unwrap_or_default();
        let (code, what, mend) = say(error.kind());
        let start = match rest.find('\t') {
            // The parser points at the start of what the tab ends.
            Some(tab) if mend == NO_TABS => start + tab,
            // At the end of the text there is nothing to show: mark the last line that has some.
            _ if rest.is_empty() => text.trim_end().len(),
            _ => start,
        };
        self.find(Span { start, end: start }, code, &what, mend);
    }

    fn find(&mut self, span: Span, code: Code, what: &str, mend: &str) {
        let in_bounds = self.tree.found.len() < PROBLEMS_MAX;
        // The one that ends the reading is always said.
        if in_bounds || matches!(code, Code::TooMuch | Code::Syntax) {
            let field = self.open.last().map_or_else(String::new, |open| self.tree.path(open.node));
            let (what, mend) = (what.to_owned(), mend.to_owned());
            self.tree.found.push(Finding { span, field, code, what, mend });
        }
    }
}

const NO_TABS: &str = "indent with spaces";

/// The parser's errors in the words of somebody who edits a file.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is said well enough by the parser")]
fn say(kind: &ErrorKind) -> (Code, String, &'static str) {
    let (what, mend) = match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabAtBlockScalarStart => ("a tab where YAML wants spaces".to_owned(), NO_TABS),
        ErrorKind::RecursionLimitExceeded => {
            let what = "too many lists and maps inside one another".to_owned();
            return (Code::TooMuch, what, "flatten it");
        }
        ErrorKind::UnclosedQuotedScalar => {
            ("a quote that is never closed".to_owned(), "close it on the same line")
        }
        ErrorKind::UnclosedFlowCollection { open } => {
            (format!("`{open}` is never closed"), "close it")
        }
        ErrorKind::ExpectedFlowMappingSeparator => {
            ("`,` or `}` is missing before this".to_owned(), "close the `{` that stands open")
        }
        ErrorKind::ExpectedFlowSequenceSeparator => {
            ("`,` or `]` is missing before this".to_owned(), "close the `[` that stands open")
        }
        ErrorKind::MappingValueNotAllowed => (
            "a `:` that cannot stand here".to_owned(),
            "put text that has a colon in quotes, and indent fields of one map alike",
        ),
        other => (other.to_string(), "check the indentation and quotes on this line and before"),
    };
    (Code::Syntax, what, mend)
}
