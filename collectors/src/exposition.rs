//! Reads Prometheus and OpenMetrics text, in pieces as they arrive, losing nothing: every line is
//! a sample, a comment, blank, or a counted fault with its number.
//!
//! A scrape's text has the same series in the same order as the last one nearly always. [`Reader`]
//! therefore remembers the layout: where a line begins as the line at this place began last time,
//! only its value is parsed and its [`Key`] is known already. Everything else takes the thorough
//! way through [`line::parse`]. Crates that split lines at commas and braces were measured to drop
//! recording rules' names and cut label values, silently; that is why this is our own.

use memchr::memchr;

pub mod line;
mod memo;
mod value;

use line::{Format, Line, LineError, Sample};
use memo::{Found, Memo};

/// Longest line: the longest that real targets send is a few KiB of label values; a line without
/// end must not grow memory.
pub const LINE_MAX: usize = 64 * 1024;
/// Most samples in one text: 10,000 endpoints with 26 series each, and half as much again.
pub const SAMPLES_MAX: u64 = 400_000;
/// How many faults are kept with their text; the rest are counted only.
const FAULTS_KEPT: usize = 8;

/// What the owner of a [`Reader`] knows a series by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u32);

impl Key {
    /// For series that nobody wants: their lines are still read and checked.
    pub const IGNORED: Self = Self(u32::MAX);
    /// For comments, which have no value.
    const COMMENT: Self = Self(u32::MAX - 1);

    /// The key with this index; there are fewer indices than [`SAMPLES_MAX`] times a few.
    pub fn of(index: usize) -> Self {
        u32::try_from(index).ok().filter(|&index| index < u32::MAX - 1).map_or(Self::IGNORED, Self)
    }

    /// The index that the key was made of.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Who takes what a [`Reader`] finds.
pub trait Sink {
    /// Which key a series has. Asked once per series and layout, not once per line.
    fn resolve(&mut self, sample: &Sample<'_>) -> Key;
    /// One sample's value and, where the text says it, its time in milliseconds since 1970.
    fn value(&mut self, key: Key, value: f64, timestamp: Option<i64>);
}

/// What a text was made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// All lines.
    pub lines: u64,
    /// Lines with a sample.
    pub samples: u64,
    /// Lines with a comment, `# HELP`, `# TYPE`, `# EOF`.
    pub comments: u64,
    /// Lines of nothing but space.
    pub blanks: u64,
    /// Lines that are none of these.
    pub faults: u64,
    /// The first of the faults.
    pub first_faults: Vec<Fault>,
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct Fault {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong.
    #[source]
    pub error: LineError,
}

/// A text with more samples than anyone should send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {SAMPLES_MAX} samples: narrow what the target exports")]
pub struct TooManySamples;

/// Reads one text after another from the same target.
#[derive(Debug, Default)]
pub struct Reader {
    format: Format,
    memo: Memo,
    carry: Vec<u8>,
    /// The carried line is too long: what follows is skipped up to its end.
    overlong: bool,
    ended: bool,
    summary: Summary,
}

impl Reader {
    /// A reader of this format.
    pub fn new(format: Format) -> Self {
        Self { format, ..Self::default() }
    }

    /// Begins a new text. What was left of an unfinished one is thrown away.
    pub fn begin(&mut self) {
        self.memo.rewind();
        self.carry.clear();
        self.overlong = false;
        self.ended = false;
        self.summary = Summary::default();
    }

    /// Forgets the layout: the next text's series are all resolved anew.
    pub fn forget(&mut self) {
        self.memo = Memo::default();
    }

    /// Reads the next piece of the text, cut anywhere.
    pub fn push(&mut self, chunk: &[u8], sink: &mut impl Sink) -> Result<(), TooManySamples> {
        let mut rest = chunk;
        if !self.carry.is_empty() || self.overlong {
            let Some(end) = memchr(b'\n', rest) else {
                self.keep(rest);
                return Ok(());
            };
            self.keep(&rest[..end]);
            rest = &rest[end + 1..];
            self.carried_line(sink)?;
        }
        loop {
            if !self.ended {
                let followed = self.memo.follow(rest, sink);
                rest = &rest[followed.bytes..];
                self.summary.lines += followed.samples + followed.comments;
                self.summary.samples += followed.samples;
                self.summary.comments += followed.comments;
            }
            let Some(end) = memchr(b'\n', rest) else {
                self.keep(rest);
                return self.within_bounds();
            };
            self.line(&rest[..end], sink);
            self.within_bounds()?;
            rest = &rest[end + 1..];
        }
    }

    /// Ends the text: a last line without a line feed counts too.
    pub fn finish(&mut self, sink: &mut impl Sink) -> Result<Summary, TooManySamples> {
        if !self.carry.is_empty() || self.overlong {
            self.carried_line(sink)?;
        }
        self.memo.settle();
        Ok(std::mem::take(&mut self.summary))
    }

    fn within_bounds(&self) -> Result<(), TooManySamples> {
        if self.summary.samples > SAMPLES_MAX { Err(TooManySamples) } else { Ok(()) }
    }

    fn keep(&mut self, part: &[u8]) {
        if self.overlong || self.carry.len() + part.len() > LINE_MAX {
            self.overlong = true;
            self.carry.clear();
        } else {
            self.carry.extend_from_slice(part);
        }
    }

    fn carried_line(&mut self, sink: &mut impl Sink) -> Result<(), TooManySamples> {
        if std::mem::take(&mut self.overlong) {
            self.summary.lines += 1;
            self.fault(LineError::TooLong);
            return Ok(());
        }
        let mut line = std::mem::take(&mut self.carry);
        self.line(&line, sink);
        line.clear();
        self.carry = line;
        self.within_bounds()
    }

    fn line(&mut self, line: &[u8], sink: &mut impl Sink) {
        self.summary.lines += 1;
        let parsed = match line {
            _ if line.len() > LINE_MAX => Err(LineError::TooLong),
            _ if self.ended && !line.is_empty() => Err(LineError::AfterEnd),
            _ => line::parse(line, self.format),
        };
        match parsed {
            Ok(Line::Blank) => self.summary.blanks += 1,
            Ok(Line::Comment) => self.comment(line),
            Ok(Line::End) => {
                self.ended = true;
                self.comment(line);
            }
            Ok(Line::Sample(sample)) => self.sample(&sample, sink),
            Err(error) => self.fault(error),
        }
    }

    fn comment(&mut self, line: &[u8]) {
        self.summary.comments += 1;
        // The end has an effect beyond its line, so it always takes the thorough way.
        if !self.ended && self.memo.find(line) != Found::Here {
            self.memo.record(line, Key::COMMENT);
        }
    }

    fn sample(&mut self, sample: &Sample<'_>, sink: &mut impl Sink) {
        self.summary.samples += 1;
        let key = match self.memo.find(sample.prefix) {
            Found::Here => self.memo.last_key(),
            Found::Elsewhere(key) => {
                self.memo.record(sample.prefix, key);
                key
            }
            Found::Nowhere => {
                let key = sink.resolve(sample);
                self.memo.record(sample.prefix, key);
                key
            }
        };
        if key != Key::IGNORED {
            sink.value(key, sample.value, sample.timestamp);
        }
    }

    fn fault(&mut self, error: LineError) {
        self.summary.faults += 1;
        if self.summary.first_faults.len() < FAULTS_KEPT {
            self.summary.first_faults.push(Fault { line: self.summary.lines, error });
        }
    }
}

/// A number as Prometheus writes them: `NaN`, `+Inf` and decimals.
pub fn number(text: &str) -> Option<f64> {
    value::parse(text.as_bytes())
}

#[cfg(test)]
mod tests;
