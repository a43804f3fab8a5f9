//! What people got wrong: where, what, and how to mend it.
//!
//! One type for every document that Weir reads, so that the command line, the API and the pages
//! say the same thing of the same mistake. A problem carries its excerpt and so can be shown long
//! after the file has changed.

use std::fmt;

use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use crate::source::harmless;

/// The longest excerpt in characters: a one-line JSON file of 256 KiB must not fill a screen.
const EXCERPT_MAX: usize = 160;

/// How much of the excerpt may stand before the marked part once the line is cut.
const EXCERPT_LEAD: usize = 60;

/// One mistake, or one thing that the reader of a document should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether it keeps the document from being used.
    pub severity: Severity,
    /// Which kind of mistake, stable across versions.
    pub code: Code,
    /// The file, as the caller named it.
    pub path: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The field's path inside the document, as `spec.objectives[0].name`; empty for the whole.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// How to mend it; empty where nothing general can be said.
    pub mend: String,
    /// The line that it is about.
    pub snippet: Excerpt,
}

/// Whether a problem keeps a document from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is refused.
    Error,
    /// The document is used, but not all of it does what its author may think.
    Warning,
}

/// The kinds of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The file cannot be read, or is not text.
    Unreadable,
    /// A limit on size, depth or number is passed.
    TooMuch,
    /// The text is no YAML or JSON.
    Syntax,
    /// YAML that this reader refuses: aliases, tags, keys that are not text.
    NotSupported,
    /// A key stands twice in one map.
    DuplicateKey,
    /// A field that nothing reads.
    UnknownField,
    /// A field that must be there.
    MissingField,
    /// A list where a number is expected, and the like.
    WrongType,
    /// The right type, but no value that is allowed here.
    WrongValue,
    /// A word that is not one of the choices.
    UnknownValue,
    /// A document of another kind or version.
    UnknownKind,
    /// A target that Weir does not govern.
    UnknownTarget,
    /// Two fields that cannot both hold.
    Contradiction,
    /// Looser than the default outside `unsafe`.
    LooserThanDefault,
    /// Two things of one name.
    DuplicateName,
    /// A query that its server would refuse.
    Query,
    /// Another policy governs the target.
    Conflicted,
    /// Read and checked, but nothing acts on it in this version.
    NotYetActive,
    /// It changes nothing as it stands.
    NoEffect,
    /// Looser than the default, knowingly.
    Unsafe,
    /// There are more problems than are shown.
    NotShown,
}

impl Code {
    /// What this kind of problem means for the document.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Conflicted
            | Self::NotYetActive
            | Self::NoEffect
            | Self::Unsafe
            | Self::NotShown => Severity::Warning,
            Self::Unreadable
            | Self::TooMuch
            | Self::Syntax
            | Self::NotSupported
            | Self::DuplicateKey
            | Self::UnknownField
            | Self::MissingField
            | Self::WrongType
            | Self::WrongValue
            | Self::UnknownValue
            | Self::UnknownKind
            | Self::UnknownTarget
            | Self::Contradiction
            | Self::LooserThanDefault
            | Self::DuplicateName
            | Self::Query => Severity::Error,
        }
    }

    /// The code as it is shown, `unknown-field`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::TooMuch => "too-much",
            Self::Syntax => "syntax",
            Self::NotSupported => "not-supported",
            Self::DuplicateKey => "duplicate-key",
            Self::UnknownField => "unknown-field",
            Self::MissingField => "missing-field",
            Self::WrongType => "wrong-type",
            Self::WrongValue => "wrong-value",
            Self::UnknownValue => "unknown-value",
            Self::UnknownKind => "unknown-kind",
            Self::UnknownTarget => "unknown-target",
            Self::Contradiction => "contradiction",
            Self::LooserThanDefault => "looser-than-default",
            Self::DuplicateName => "duplicate-name",
            Self::Query => "query",
            Self::Conflicted => "conflicted",
            Self::NotYetActive => "not-yet-active",
            Self::NoEffect => "no-effect",
            Self::Unsafe => "unsafe",
            Self::NotShown => "not-shown",
        }
    }
}

/// A line of a document with the part in question marked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// The line, cut where it is very long.
    pub text: String,
    /// Where the marked part starts: characters from the start of `text`.
    pub start: usize,
    /// Where it ends, exclusive.
    pub end: usize,
}

impl Excerpt {
    /// The part `start..end` (characters) of a line, cut to a bounded length around it.
    pub(crate) fn of(line: &str, start: usize, end: usize) -> Self {
        let cut =
            if start > EXCERPT_LEAD && line.len() > EXCERPT_MAX { start - EXCERPT_LEAD } else { 0 };
        let text: String = harmless(line).chars().skip(cut).take(EXCERPT_MAX).collect();
        let length = text.chars().count();
        let start = (start - cut).min(length);
        Self { start, end: (end.max(start) - cut.min(end)).clamp(start, length), text }
    }

    /// The marked part in bytes of `text`.
    fn bytes(&self) -> std::ops::Range<usize> {
        let at = |character: usize| {
            self.text.char_indices().nth(character).map_or(self.text.len(), |(byte, _)| byte)
        };
        at(self.start)..at(self.end)
    }
}

impl Problem {
    /// A problem of a whole file: it cannot be read, it is too large to be read at all.
    pub fn of_file(path: &str, code: Code, what: &str, mend: &str) -> Self {
        Self {
            severity: code.severity(),
            code,
            path: path.to_owned(),
            line: 1,
            column: 1,
            field: String::new(),
            what: harmless(what),
            mend: harmless(mend),
            snippet: Excerpt::default(),
        }
    }

    /// Whether it keeps the document from being used.
    pub const fn is_error(&self) -> bool {
        matches!(self.severity, Severity::Error)
    }

    /// The problem as people read it: several lines, without a line break at the end.
    pub fn render(&self, colour: Colour) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group =
            level.primary_title(self.what.as_str()).id(self.code.as_str()).elements(self.place());
        if !self.mend.is_empty() {
            group = group.element(Level::HELP.message(self.mend.as_str()));
        }
        let renderer = match colour {
            Colour::Never => Renderer::plain(),
            Colour::Always => Renderer::styled(),
        };
        renderer.term_width(EXCERPT_MAX + 40).render(&[group])
    }
}

impl Problem {
    /// The file and line, and the excerpt where there is one.
    fn place(&self) -> Vec<Element<'_>> {
        let path = harmless(&self.path);
        let origin = Origin::path(path.clone()).line(self.line).char_column(self.column);
        if self.snippet.text.is_empty() {
            return vec![origin.into()];
        }
        let snippet = Snippet::source(self.snippet.text.as_str())
            .line_start(self.line)
            .annotation(AnnotationKind::Primary.span(self.snippet.bytes()));
        if self.snippet.start + 1 == self.column {
            // The excerpt is the line's start, so that its own count of columns is right.
            return vec![snippet.path(path).into()];
        }
        vec![origin.into(), snippet.into()]
    }
}

/// Whether rendered problems carry terminal colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// ANSI colours.
    Always,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Colour::Never))
    }
}

/// All problems as people read them, a blank line between two.
pub fn render(problems: &[Problem], colour: Colour) -> String {
    problems.iter().map(|problem| problem.render(colour)).collect::<Vec<_>>().join("\n\n")
}
