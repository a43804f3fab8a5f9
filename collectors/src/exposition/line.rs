//! One line of exposition text.
//!
//! Accepts what Prometheus accepts, and what newer targets send besides: exemplars in plain text,
//! quoted UTF-8 names within the braces. Label values keep commas, braces, `=` and every escape.

use std::borrow::Cow;

use super::value;

/// Most labels of one series, exemplars' apart.
pub const LABELS_MAX: usize = 64;
/// Longest label name or value in bytes.
pub const LABEL_MAX: usize = 1024;

/// Which dialect a text is in; they differ in the unit of timestamps and in `# EOF`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`: timestamps in whole milliseconds.
    #[default]
    Text,
    /// `application/openmetrics-text`: timestamps in seconds, nothing after `# EOF`.
    OpenMetrics,
}

/// What a line is.
#[derive(Clone, Debug, PartialEq)]
pub enum Line<'a> {
    /// Nothing but space.
    Blank,
    /// `# HELP`, `# TYPE`, `# UNIT` or any other comment.
    Comment,
    /// OpenMetrics' `# EOF`.
    End,
    /// A sample.
    Sample(Sample<'a>),
}

/// One sample as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Everything before the value, as it stands.
    pub prefix: &'a [u8],
    /// The metric's name.
    pub name: Cow<'a, str>,
    /// Labels in the order of the text, without the empty ones: those are the same as none.
    pub labels: Vec<Label<'a>>,
    /// The value.
    pub value: f64,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// An example that belongs to the value.
    pub exemplar: Option<Exemplar<'a>>,
}

/// A label with its escapes undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label<'a> {
    /// Name.
    pub name: Cow<'a, str>,
    /// Value.
    pub value: Cow<'a, str>,
}

/// One example of what was counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// Its labels, a trace id mostly.
    pub labels: Vec<Label<'a>>,
    /// Its value.
    pub value: f64,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
}

impl Sample<'_> {
    /// A label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|label| label.name == name).map(|label| &*label.value)
    }
}

/// Why a line is no sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Longer than the bound.
    #[error("line longer than 64 KiB")]
    TooLong,
    /// Not text.
    #[error("not UTF-8")]
    NotUtf8,
    /// No name where one belongs.
    #[error("metric name expected")]
    Name,
    /// Something is wrong within the braces.
    #[error("malformed labels")]
    Labels,
    /// More labels than the bound.
    #[error("more than 64 labels")]
    TooManyLabels,
    /// A label longer than the bound.
    #[error("label longer than 1 KiB")]
    LabelTooLong,
    /// A label twice.
    #[error("the same label twice")]
    DuplicateLabel,
    /// No number where the value belongs.
    #[error("value is not a number")]
    Value,
    /// No number where the timestamp belongs.
    #[error("malformed timestamp")]
    Timestamp,
    /// No example after `#`.
    #[error("malformed exemplar")]
    Exemplar,
    /// A line after `# EOF`.
    #[error("text after # EOF")]
    AfterEnd,
}

/// Takes one line apart, without its line feed.
pub fn parse(line: &[u8], format: Format) -> Result<Line<'_>, LineError> {
    let start = line.iter().position(|byte| !is_space(*byte));
    let Some(start) = start else { return Ok(Line::Blank) };
    if line[start] == b'#' {
        let end = format == Format::OpenMetrics && line == b"# EOF";
        return Ok(if end { Line::End } else { Line::Comment });
    }
    let text = std::str::from_utf8(line).map_err(|_| LineError::NotUtf8)?;
    let mut cursor = Cursor { text, at: start };
    cursor.sample(format).map(Line::Sample)
}

const fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn sample(&mut self, format: Format) -> Result<Sample<'a>, LineError> {
        let bare = self.name(|byte| byte == b':');
        self.space();
        let mut quoted = None;
        let labels = if self.peek() == Some(b'{') { self.labels(&mut quoted)? } else { Vec::new() };
        let name = match (bare, quoted) {
            (Some(bare), None) => Cow::Borrowed(bare),
            (None, Some(quoted)) if !quoted.is_empty() => quoted,
            _ => return Err(LineError::Name),
        };
        self.space();
        let prefix = &self.text.as_bytes()[..self.at];
        let value = value::parse(self.word().as_bytes()).ok_or(LineError::Value)?;
        let timestamp = self.timestamp(format)?;
        let exemplar = if self.peek() == Some(b'#') { Some(self.exemplar()?) } else { None };
        self.end().ok_or(LineError::Timestamp)?;
        Ok(Sample { prefix, name, labels, value, timestamp, exemplar })
    }

    fn exemplar(&mut self) -> Result<Exemplar<'a>, LineError> {
        self.at += 1;
        self.space();
        let mut name = None;
        let labels = self.labels(&mut name).map_err(|_| LineError::Exemplar)?;
        self.space();
        let value = value::parse(self.word().as_bytes()).ok_or(LineError::Exemplar)?;
        let timestamp = self.timestamp(Format::OpenMetrics).map_err(|_| LineError::Exemplar)?;
        match (name, self.end()) {
            (None, Some(())) => Ok(Exemplar { labels, value, timestamp }),
            _ => Err(LineError::Exemplar),
        }
    }

    /// Labels in braces. A quoted name that stands alone is the metric's.
    fn labels(&mut self, metric: &mut Option<Cow<'a, str>>) -> Result<Vec<Label<'a>>, LineError> {
        self.take(b'{').ok_or(LineError::Labels)?;
        let mut labels = Vec::new();
        let mut count = 0;
        loop {
            self.space();
            if self.take(b'}').is_some() {
                return Ok(labels);
            }
            let (name, was_quoted) = self.label_name()?;
            self.space();
            if self.take(b'=').is_some() {
                count += 1;
                let label = Label { name, value: self.label_value()? };
                keep(&mut labels, label, count)?;
            } else if was_quoted && metric.is_none() {
                *metric = Some(name);
            } else {
                return Err(LineError::Labels);
            }
            self.space();
            // Prometheus does without the comma, too.
            let _comma = self.take(b',');
        }
    }

    fn label_name(&mut self) -> Result<(Cow<'a, str>, bool), LineError> {
        if self.peek() == Some(b'"') {
            return Ok((self.quoted()?, true));
        }
        let name = self.name(|_| false).ok_or(LineError::Labels)?;
        Ok((Cow::Borrowed(name), false))
    }

    fn label_value(&mut self) -> Result<Cow<'a, str>, LineError> {
        self.space();
        self.quoted()
    }

    /// Text in double quotes, escapes undone.
    fn quoted(&mut self) -> Result<Cow<'a, str>, LineError> {
        self.take(b'"').ok_or(LineError::Labels)?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        loop {
            let rest = &bytes[self.at..];
            let offset = memchr::memchr2(b'"', b'\\', rest).ok_or(LineError::Labels)?;
            self.at += offset;
            if bytes[self.at] == b'"' {
                break;
            }
            escaped = true;
            self.at += 2;
            if self.at > bytes.len() {
                return Err(LineError::Labels);
            }
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        if raw.len() > 2 * LABEL_MAX {
            return Err(LineError::LabelTooLong);
        }
        Ok(if escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    fn timestamp(&mut self, format: Format) -> Result<Option<i64>, LineError> {
        self.space();
        if matches!(self.peek(), None | Some(b'#')) {
            return Ok(None);
        }
        let word = self.word();
        let millis = match format {
            // No sign: Prometheus has none here either.
            Format::Text if word.starts_with(['-', '+']) => None,
            Format::Text => word.parse::<i64>().ok(),
            Format::OpenMetrics => value::parse(word.as_bytes()).and_then(seconds_to_millis),
        };
        self.space();
        millis.map(Some).ok_or(LineError::Timestamp)
    }

    /// A bare name: letters, digits, `_`, and what `also` allows; no digit first.
    fn name(&mut self, also: impl Fn(u8) -> bool) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || also(byte);
        let length = rest.bytes().position(|byte| !allowed(byte)).unwrap_or(rest.len());
        if length == 0 || rest.as_bytes()[0].is_ascii_digit() {
            return None;
        }
        self.at += length;
        Some(&rest[..length])
    }

    fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.bytes().position(is_space).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn end(&mut self) -> Option<()> {
        self.space();
        self.peek().is_none().then_some(())
    }
}

fn keep<'a>(labels: &mut Vec<Label<'a>>, label: Label<'a>, count: usize) -> Result<(), LineError> {
    if count > LABELS_MAX {
        return Err(LineError::TooManyLabels);
    }
    if label.name.len() > LABEL_MAX || label.value.len() > LABEL_MAX {
        return Err(LineError::LabelTooLong);
    }
    if labels.iter().any(|other| other.name == label.name) {
        return Err(LineError::DuplicateLabel);
    }
    if !label.value.is_empty() {
        labels.push(label);
    }
    Ok(())
}

/// Undoes `\\`, `\"` and `\n`; any other backslash stands for itself, as in Prometheus.
fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(char) = chars.next() {
        let undone = match (char, chars.peek()) {
            ('\\', Some('\\')) => '\\',
            ('\\', Some('"')) => '"',
            ('\\', Some('n')) => '\n',
            _ => {
                text.push(char);
                continue;
            }
        };
        chars.next();
        text.push(undone);
    }
    text
}

fn seconds_to_millis(seconds: f64) -> Option<i64> {
    let millis = (seconds * 1000.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "checked to lie within 2^53")]
    let whole = millis as i64;
    (millis.abs() < 9e15).then_some(whole)
}
