//! Reads YAML and JSON so that every mistake in a file is found at once, each at its line.
//!
//! Text becomes a tree with places ([`tree`]), the tree becomes the caller's type through serde
//! ([`decode`]). Serde stops at the first mistake, so [`repair`] writes it down, takes it out of
//! the tree and tries again, until the rest decodes or nothing is left. The alternative, a reader
//! written by hand per type, would say every field twice and drift from the JSON schema.
//!
//! The refusals are stricter than YAML: no aliases (they multiply), no tags (they change what a
//! value is), no key twice, no number that is not finite, and a field without a value is a
//! mistake, never a silent default.

mod at;
mod decode;
mod refusal;
mod repair;
mod scalar;
mod suggest;
pub(crate) mod tree;

use serde::de::DeserializeOwned;

pub use at::At;
pub(crate) use repair::decode;

use crate::problem::{Code, Problem};
use crate::source::{Finding, Source, Span};
use tree::Tree;

/// The most mistakes shown of one file, and the most warnings: past it, people mend the first ones
/// and look again.
pub const PROBLEMS_MAX: usize = 50;

/// How much of a file is read before the rest is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text.
    pub bytes_max: usize,
    /// Keys, values, lists and maps, all documents of the file together.
    pub nodes_max: usize,
    /// Lists and maps inside one another.
    pub depth_max: usize,
}

impl Limits {
    /// For what people write: 256 KiB are some 200 policies, 20,000 nodes some 400; the deepest
    /// field of a policy stands 8 deep. Reading that much takes a few milliseconds.
    pub const DOCUMENT: Self = Self { bytes_max: 256 * 1024, nodes_max: 20_000, depth_max: 16 };
}

/// Reads the one document of a file.
///
/// A file without any document is read as an empty map, so that a type whose fields all have
/// defaults accepts it. Types are written as for any serde format, with `deny_unknown_fields`;
/// [`At`] keeps a value's place for checks of the caller's own.
pub fn read<T: DeserializeOwned>(
    path: &str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<T, Vec<Problem>> {
    let text = text(path, bytes, limits).map_err(|problem| vec![*problem])?;
    let source = Source { path, text };
    let mut tree = tree::parse(text, limits);
    let mut found = std::mem::take(&mut tree.found);
    if let Some(second) = tree.roots.get(1) {
        found.push(second_document(&tree, *second));
    }
    let root = tree.roots.first().copied().unwrap_or_else(|| tree.push_empty());
    let value = decode(&mut tree, root, &mut found);
    match value {
        Some(value) if found.is_empty() => Ok(value),
        _ => Err(problems(&source, found)),
    }
}

/// The text of a file, if it is small enough and UTF-8.
pub(crate) fn text<'a>(
    path: &str,
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<&'a str, Box<Problem>> {
    if bytes.len() > limits.bytes_max {
        let what = format!("file of {} bytes, at most {} are read", bytes.len(), limits.bytes_max);
        let mend = "split it into several files";
        return Err(Box::new(Problem::of_file(path, Code::TooMuch, &what, mend)));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let good = std::str::from_utf8(good).unwrap_or_default();
        let span = Span { start: good.len(), end: good.len() };
        Box::new(Source { path, text: good }.problem(Finding {
            span,
            field: String::new(),
            code: Code::Unreadable,
            what: "not UTF-8 from here on".to_owned(),
            mend: "save the file as UTF-8".to_owned(),
        }))
    })
}

/// The findings as problems, in the order of the file.
pub(crate) fn problems(source: &Source<'_>, mut found: Vec<Finding>) -> Vec<Problem> {
    found.sort_by_key(|finding| finding.span.start);
    let is_full = found.len() >= PROBLEMS_MAX;
    let mut problems: Vec<Problem> =
        found.into_iter().map(|finding| source.problem(finding)).collect();
    if is_full {
        let what = "more problems than are shown of one file";
        problems.push(Problem::of_file(source.path, Code::NotShown, what, "mend the others first"));
    }
    problems
}

/// Whether a word is so like another that it was probably meant.
pub(crate) fn is_near(word: &str, meant: &str) -> bool {
    suggest::nearest(word, &[meant]).is_some()
}

fn second_document(tree: &Tree, root: tree::NodeId) -> Finding {
    Finding {
        span: tree.mark(root),
        field: String::new(),
        code: Code::TooMuch,
        what: "a second document in this file, where one is read".to_owned(),
        mend: "remove it, or move it to a file of its own".to_owned(),
    }
}
