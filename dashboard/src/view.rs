//! What people and programs are shown: the dashboard's own types.
//!
//! They are a promise (`/api/v1` serves them as they stand), so they are apart from the engine's
//! types, which may change with the engine. `weir` fills those of sources, proxies and policies;
//! the [board](crate::board) makes the others from decisions. Text that comes from outside passes
//! [`plain`] on its way in.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weir_engine::units::Moment;

pub mod decision;
pub mod health;
pub mod mesh;
pub mod offer;
pub mod rollout;
pub mod service;
pub mod verdict;

/// A point in time, written as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime, examples("2026-11-24T07:31:05.250Z"))]
pub struct Time(pub Moment);

impl Time {
    fn timestamp(self) -> jiff::Timestamp {
        let millis = i64::try_from(self.0.millis()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
    }

    /// The time of day: `07:31:05`.
    pub fn clock(self) -> String {
        self.timestamp().strftime("%H:%M:%S").to_string()
    }

    /// The time of day without its seconds: `07:31`.
    pub fn minute(self) -> String {
        self.timestamp().strftime("%H:%M").to_string()
    }

    /// Day and time of day: `2026-11-24 07:31:05`.
    pub fn day_and_clock(self) -> String {
        self.timestamp().strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.timestamp())
    }
}

impl From<Moment> for Time {
    fn from(moment: Moment) -> Self {
        Self(moment)
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let timestamp: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        let millis = u64::try_from(timestamp.as_millisecond()).map_err(serde::de::Error::custom)?;
        Ok(Self(Moment::from_millis(millis)))
    }
}

/// The longest text of foreign origin that is kept: a proxy's refusal with the field's path.
const TEXT_MAX: usize = 2_048;

/// Foreign text made fit to be shown: control characters and those that turn the direction of
/// writing become visible, and what is too long is cut.
pub fn plain(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(TEXT_MAX)
        .map(|c| if c != '\n' && hides(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().nth(TEXT_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_and_read_back() {
        let time = Time(Moment::from_millis(1_795_505_465_250));
        let text = serde_json::to_string(&time).unwrap();
        assert_eq!(text, r#""2026-11-24T07:31:05.250Z""#);
        assert_eq!(serde_json::from_str::<Time>(&text).unwrap(), time);
        assert_eq!(time.clock(), "07:31:05");
    }

    #[test]
    fn times_beyond_the_calendar_do_not_panic() {
        assert!(Time(Moment::from_millis(u64::MAX)).to_string().starts_with("9999-"));
    }

    #[test]
    fn foreign_text_shows_what_would_hide() {
        assert_eq!(plain("a\u{1b}[31mb\u{202e}c\nd"), "a\u{fffd}[31mb\u{fffd}c\nd");
        let long = plain(&"x".repeat(5_000));
        assert_eq!(long.chars().count(), TEXT_MAX + 1);
    }
}
