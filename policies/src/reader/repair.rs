//! Finds all mistakes with a decoder that stops at the first.
//!
//! What was refused is written down and taken out of the tree; what is missing is written down
//! and a hole put in its place, which decodes as anything. Then the document is decoded again.
//! Each round writes something down or makes the tree smaller, and the rounds are bounded.

use serde::de::DeserializeOwned;

use super::decode::Cursor;
use super::refusal::{Refusal, Why};
use super::tree::{Content, NodeId, Tree};
use super::{PROBLEMS_MAX, suggest};
use crate::problem::Code;
use crate::source::{Finding, quoted};

/// Rounds for one document: each problem takes at most two, one to say it and one to take away
/// what cannot do without the part that was refused.
const ROUNDS_MAX: usize = 2 * PROBLEMS_MAX;

/// A document as a type, with what was wrong with it added to `found`. If anything was, the value
/// is only what remains of the document, fit for nothing but finding more.
pub(crate) fn decode<T: DeserializeOwned>(
    tree: &mut Tree,
    root: NodeId,
    found: &mut Vec<Finding>,
) -> Option<T> {
    for _ in 0..ROUNDS_MAX {
        let refusal = match T::deserialize(Cursor::new(tree, root)) {
            Ok(value) => return Some(value),
            Err(refusal) => refusal.or_at(root),
        };
        if !repair(tree, refusal, found) || found.len() >= PROBLEMS_MAX {
            return None;
        }
    }
    None
}

/// Writes down a refusal and takes its cause away; false if nothing would be left.
fn repair(tree: &mut Tree, refusal: Refusal, found: &mut Vec<Finding>) -> bool {
    let Some(at) = refusal.at else { return false };
    if matches!(tree.node(at).content, Content::Hole) {
        // Not the author's mistake: what holds the hole cannot be had.
        return tree.parent(at).is_some_and(|holder| take_out(tree, holder));
    }
    match refusal.why {
        Why::UnknownField { allowed, .. } => {
            let map = tree.parent(at).unwrap_or(at);
            unknown_fields(tree, map, allowed, found)
        }
        Why::Missing { name } => {
            if !tree.node(at).removed.contains(name) {
                found.push(missing(tree, at, name));
            }
            tree.push_hole(at, name);
            matches!(tree.node(at).content, Content::Map(_))
        }
        // What was taken out before may be all that is wrong here now.
        _ if !tree.node(at).removed.is_empty() => take_out(tree, at),
        Why::UnknownValue { name, allowed } => {
            let what = format!("unknown value `{}`", quoted(&name));
            found.push(finding(tree, at, Code::UnknownValue, what, suggest::mend(&name, allowed)));
            take_out(tree, at)
        }
        Why::Other { code, what, mend } => {
            found.push(finding(tree, at, code, what, mend));
            take_out(tree, at)
        }
    }
}

fn take_out(tree: &mut Tree, node: NodeId) -> bool {
    tree.remove(node);
    tree.parent(node).is_some()
}

/// All unknown fields of a map at once, as one refusal names them one by one.
fn unknown_fields(
    tree: &mut Tree,
    map: NodeId,
    allowed: &[&str],
    found: &mut Vec<Finding>,
) -> bool {
    let keys = match &tree.node(map).content {
        Content::Map(entries) => entries.iter().map(|(key, _)| *key).collect(),
        Content::Scalar { .. } | Content::List(_) | Content::Hole => Vec::new(),
    };
    let unknown: Vec<NodeId> =
        keys.into_iter().filter(|key| !allowed.contains(&tree.text(*key))).collect();
    let absent: Vec<&str> =
        allowed.iter().copied().filter(|name| tree.field(map, name).is_none()).collect();
    for key in &unknown {
        if found.len() < PROBLEMS_MAX {
            let what = format!("unknown field `{}`{}", quoted(tree.text(*key)), inside(tree, map));
            let mend =
                suggest::mend(tree.text(*key), if absent.is_empty() { allowed } else { &absent });
            found.push(finding(tree, *key, Code::UnknownField, what, mend));
        }
        tree.remove(*key);
    }
    !unknown.is_empty()
}

fn missing(tree: &Tree, map: NodeId, name: &str) -> Finding {
    let what = format!("missing field `{name}`{}", inside(tree, map));
    finding(tree, map, Code::MissingField, what, format!("add `{name}:` with a value"))
}

fn inside(tree: &Tree, map: NodeId) -> String {
    let path = tree.path(map);
    if path.is_empty() { String::new() } else { format!(" in `{path}`") }
}

fn finding(tree: &Tree, at: NodeId, code: Code, what: String, mend: String) -> Finding {
    let field = tree.path(at);
    let names_its_place = matches!(code, Code::UnknownField | Code::MissingField);
    let what =
        if field.is_empty() || names_its_place { what } else { format!("`{field}`: {what}") };
    Finding { span: tree.mark(at), field, code, what, mend }
}
