//! A document's text, and where in it something stands.

use crate::problem::{Code, Excerpt, Problem};

/// A stretch of a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// Of a value that stands nowhere: put in place of one that was refused, so that the rest of
    /// its document could be checked too.
    pub(crate) const NOWHERE: Self = Self { start: usize::MAX, end: usize::MAX };

    /// Whether the value does stand in the document.
    pub fn is_somewhere(self) -> bool {
        self != Self::NOWHERE
    }
}

/// A file's name and text.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The name, as it shall be shown.
    pub path: &'a str,
    /// The text.
    pub text: &'a str,
}

/// What is wrong, before it is known how to show it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Where.
    pub span: Span,
    /// In which field, as `spec.mode`.
    pub field: String,
    /// Which kind.
    pub code: Code,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

impl Source<'_> {
    /// The problem that a finding is in this file.
    pub fn problem(&self, finding: Finding) -> Problem {
        let start = self.shown(self.boundary(finding.span.start));
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default();
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        let end = self.boundary(finding.span.end.max(start)).min(line_start + line.len());
        let marked = self.text.get(start..end).unwrap_or_default().chars().count();
        Problem {
            severity: finding.code.severity(),
            code: finding.code,
            path: self.path.to_owned(),
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: column + 1,
            field: finding.field,
            what: harmless(&finding.what),
            mend: harmless(&finding.mend),
            snippet: Excerpt::of(line, column, column + marked),
        }
    }

    /// Where to point for a place: after the last line break there is no line to show, so that the
    /// end of the last line stands for the end of the text.
    fn shown(&self, at: usize) -> usize {
        let ends = at == self.text.len();
        if ends { self.text.strip_suffix('\n').map_or(at, str::len) } else { at }
    }

    /// The nearest place at or before a byte where a character starts.
    fn boundary(&self, byte: usize) -> usize {
        let byte = byte.min(self.text.len());
        (0..=byte).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
    }
}

/// A text of the author's without anything that steers a terminal.
pub(crate) fn harmless(text: &str) -> String {
    let tame = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(tame).collect()
}

/// A word of the author's in a message: bounded and harmless.
pub(crate) fn quoted(text: &str) -> String {
    const WORD_MAX: usize = 60;
    let mut word: String = text.chars().take(WORD_MAX).collect();
    if text.chars().nth(WORD_MAX).is_some() {
        word.push('…');
    }
    harmless(&word)
}
