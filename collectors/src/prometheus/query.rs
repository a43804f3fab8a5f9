//! Queries from templates: values are escaped for where they stand, and the finished query is
//! parsed before anyone is asked.
//!
//! The client library's own selectors do not escape: a label value can become a query of its own
//! there. Here a [`Query`] can be had only from a template whose every placeholder stands either
//! within quotes, where its value is escaped (and within a regular expression taken literally), or
//! where a number or a duration belongs, and is one.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use promql_parser::parser::{self, Expr};

/// Longest query: fits a URL everywhere, and bounds what the parser has to do.
const QUERY_MAX: usize = 8 * 1024;

/// Values for placeholders, by name.
pub type Values<'a> = BTreeMap<&'a str, &'a str>;

/// A query that is known to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query(String);

/// Why a template makes no query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// `{{` without `}}`.
    #[error("a placeholder is not closed: write {{{{name}}}}")]
    Open,
    /// A name that has no value.
    #[error("unknown placeholder {{{{{name}}}}}: there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that have values.
        known: String,
    },
    /// Text where only a number or a duration may be filled in.
    #[error(
        "placeholder {{{{{name}}}}} stands outside quotes, where only a number or a duration may be filled in"
    )]
    Unquoted {
        /// The placeholder's name.
        name: String,
    },
    /// Between backquotes nothing can be escaped.
    #[error("placeholder {{{{{name}}}}} stands between backquotes: put it in double quotes")]
    Backquotes {
        /// The placeholder's name.
        name: String,
    },
    /// Too long to send.
    #[error("query longer than 8 KiB")]
    TooLong,
    /// No query at all.
    #[error("not a PromQL query: {reason}")]
    Invalid {
        /// What the parser says.
        reason: String,
    },
}

impl Query {
    /// Fills a template in.
    pub fn render(template: &str, values: &Values<'_>) -> Result<Self, QueryError> {
        let text = fill(template, values)?;
        parse(&text)?;
        Ok(Self(text))
    }

    /// A selector of series becomes one of their raw samples over a while, each with a time of
    /// its own; anything else stays what it is.
    #[must_use]
    pub fn over(self, lookback: Duration) -> Self {
        let ranged = format!("{}[{}s]", self.0.trim(), lookback.as_secs().max(1));
        match (parse(&self.0), parse(&ranged)) {
            (Ok(Expr::VectorSelector(_)), Ok(Expr::MatrixSelector(_))) => Self(ranged),
            _ => self,
        }
    }

    /// The query as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parse(text: &str) -> Result<Expr, QueryError> {
    if text.len() > QUERY_MAX {
        return Err(QueryError::TooLong);
    }
    parser::parse(text).map_err(|reason| QueryError::Invalid { reason })
}

/// Where in a query a placeholder stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Bare,
    Text(char),
    Regex(char),
}

fn fill(template: &str, values: &Values<'_>) -> Result<String, QueryError> {
    let mut text = String::with_capacity(template.len() + 64);
    let mut place = Place::Bare;
    let mut rest = template;
    while let Some(char) = rest.chars().next() {
        if let Some(opened) = rest.strip_prefix("{{") {
            let (name, after) = opened.split_once("}}").ok_or(QueryError::Open)?;
            text.push_str(&value(name.trim(), place, values)?);
            rest = after;
            continue;
        }
        let mut length = char.len_utf8();
        match (place, char) {
            (Place::Bare, '"' | '\'' | '`') => place = opened_after(&text, char),
            // A comment's quotes mean nothing.
            (Place::Bare, '#') => length = rest.find('\n').unwrap_or(rest.len()),
            (Place::Text(quote) | Place::Regex(quote), _) if char == quote => place = Place::Bare,
            (Place::Text('"' | '\'') | Place::Regex('"' | '\''), '\\') => {
                length += rest[length..].chars().next().map_or(0, char::len_utf8);
            }
            _ => {}
        }
        text.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    Ok(text)
}

fn opened_after(text: &str, quote: char) -> Place {
    let before = text.trim_end();
    if before.ends_with("=~") || before.ends_with("!~") {
        Place::Regex(quote)
    } else {
        Place::Text(quote)
    }
}

fn value(name: &str, place: Place, values: &Values<'_>) -> Result<String, QueryError> {
    let Some(value) = values.get(name) else {
        let known: Vec<String> = values.keys().map(|name| format!("{{{{{name}}}}}")).collect();
        return Err(QueryError::Unknown { name: name.to_owned(), known: known.join(", ") });
    };
    let (quote, literal) = match place {
        Place::Bare if is_number_or_duration(value) => return Ok((*value).to_owned()),
        Place::Bare => return Err(QueryError::Unquoted { name: name.to_owned() }),
        Place::Text(quote) => (quote, (*value).to_owned()),
        Place::Regex(quote) => (quote, regex_literal(value)),
    };
    match quote {
        '`' => Err(QueryError::Backquotes { name: name.to_owned() }),
        quote => Ok(escaped(&literal, quote)),
    }
}

/// `5m`, `1h30m`, `250ms`, `0.99`.
fn is_number_or_duration(value: &str) -> bool {
    let mut rest = value;
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let plain = digits(value);
    if plain > 0
        && value[plain..]
            .strip_prefix('.')
            .is_none_or(|part| digits(part) == part.len() && !part.is_empty())
        && (plain == value.len() || value[plain..].starts_with('.'))
    {
        return true;
    }
    while !rest.is_empty() {
        let count = digits(rest);
        let units = ["ms", "s", "m", "h", "d", "w", "y"];
        let unit = units.iter().find(|unit| rest[count..].starts_with(**unit));
        let Some(unit) = unit.filter(|_| count > 0) else { return false };
        rest = &rest[count + unit.len()..];
    }
    !value.is_empty()
}

/// A text that, as a regular expression, matches itself only.
pub(super) fn regex_literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if r"\.+*?()|[]{}^$".contains(char) {
            literal.push('\\');
        }
        literal.push(char);
    }
    literal
}

/// A text as it stands between PromQL's quotes.
pub(super) fn escaped(text: &str, quote: char) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            '\\' => escaped.push_str(r"\\"),
            '\n' => escaped.push_str(r"\n"),
            char if char == quote => {
                escaped.push('\\');
                escaped.push(char);
            }
            char if char.is_control() && char.is_ascii() => {
                escaped.push_str(&format!(r"\x{:02x}", u32::from(char)));
            }
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
