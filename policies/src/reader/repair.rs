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

/// Nodes decoded in all rounds of one document: the largest file ten times over, which takes some
/// 20 ms, so that a file made to cost much shows fewer of its mistakes instead.
const NODES_MAX: usize = 200_000;

/// A document as a type, with what was wrong with it added to `found`. If anything was, the value
/// is only what remains of the document, fit for nothing but finding more.
pub(crate) fn decode<T: DeserializeOwned>(
    tree: &mut Tree,
    root: NodeId,
    found: &mut Vec<Finding>,
) -> Option<T> {
    let rounds = (NODES_MAX / tree.size(root).max(1)).clamp(2, ROUNDS_MAX);
    for _ in 0..rounds {
        let refusal = match T::deserialize(Cursor::new(tree, root)) {
            Ok(value) => return Some(value),
            Err(refusal) => refusal.or_at(root),
        };
        if found.len() >= PROBLEMS_MAX {
            return None;
        }
        if !repair(tree, refusal, found) {
            refuse_whole(tree, root, found);
            return None;
        }
    }
    let what = "more problems than were looked for".to_owned();
    found.push(finding(tree, root, Code::NotShown, what, "mend the others first".to_owned()));
    None
}

/// Each round says something; if one ever did not, the document is still refused.
fn refuse_whole(tree: &Tree, root: NodeId, found: &mut Vec<Finding>) {
    if found.is_empty() {
        found.push(finding(tree, root, Code::WrongValue, "cannot be read".into(), String::new()));
    }
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
            let node = tree.node(at);
            if !node.is_cut && !node.removed.contains(name) {
                found.push(missing(tree, at, name));
            }
            tree.push_hole(at, name);
            matches!(tree.node(at).content, Content::Map(_))
        }
        // What was taken out before, or never read, may be all that is wrong here now.
        _ if tree.node(at).is_cut || !tree.node(at).removed.is_empty() => take_out(tree, at),
        Why::UnknownValue { name, allowed } => {
            let what = format!("unknown value `{}`", quoted(&name));
            let mend = suggest::mend(&name, allowed);
            found.push(placed(tree, at, Code::UnknownValue, what, mend));
            take_out(tree, at)
        }
        Why::Other { code, what, mend } => {
            found.push(placed(tree, at, code, what, mend));
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
    }
    tree.retain(map, &|tree, key| allowed.contains(&tree.text(key)));
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
    Finding { span: tree.mark(at), field: tree.path(at), code, what, mend }
}

/// A finding whose text starts with the field's path.
fn placed(tree: &Tree, at: NodeId, code: Code, what: String, mend: String) -> Finding {
    let finding = finding(tree, at, code, what, mend);
    if finding.field.is_empty() {
        return finding;
    }
    Finding { what: format!("`{}`: {}", finding.field, finding.what), ..finding }
}
