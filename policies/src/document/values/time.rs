//! Lengths of time: two notations that are never mixed.
//!
//! Timers are written as in the Gateway API (`1h30m`), windows of promises as in OpenSLO (`28d`).
//! A minute and a month would both be `m`, so neither notation reads the other's words.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::source::quoted;

/// A duration of `MIN` to `MAX` milliseconds, written with h, m, s and ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer<const MIN: u64, const MAX: u64>(Duration);

impl<const MIN: u64, const MAX: u64> Timer<MIN, MAX> {
    /// How long.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Timer<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Written)?;
        let Some(millis) = timer_millis(&text) else {
            let mend = "write whole numbers with h, m, s or ms, as 300ms or 1h30m";
            return Err(D::Error::custom(format!("`{}` is no duration\n{mend}", quoted(&text))));
        };
        if (MIN..=MAX).contains(&millis) {
            return Ok(Self(Duration::from_millis(millis)));
        }
        let mend = format!("write a duration from {} to {}", spoken(MIN), spoken(MAX));
        Err(D::Error::custom(format!("{text} is out of range\n{mend}")))
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Timer<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Timer{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"})
    }
}

/// Takes numbers too, so that one without a unit is refused for the missing unit.
struct Written;

impl Visitor<'_> for Written {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Err(E::custom("has no value\ngive it a value, or remove the line"))
    }
}

/// The milliseconds of up to four numbers with units.
fn timer_millis(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0_u64;
    for _ in 0..4 {
        let (number, after) = number(rest)?;
        let unit = ["ms", "h", "m", "s"].into_iter().find(|unit| after.starts_with(unit))?;
        sum += number * millis_of(unit);
        rest = after.strip_prefix(unit)?;
        if rest.is_empty() {
            return Some(sum);
        }
    }
    None
}

/// One to five digits, and what follows.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.len() > 5 {
        return None;
    }
    Some((digits.parse().ok()?, rest))
}

fn millis_of(unit: &str) -> u64 {
    match unit {
        "w" => 7 * 24 * 3_600_000,
        "d" => 24 * 3_600_000,
        "h" => 3_600_000,
        "m" => 60_000,
        "s" => 1_000,
        _ => 1,
    }
}

/// A duration as it would be written.
pub(crate) fn spoken(millis: u64) -> String {
    let divides = |unit: &&str| millis > 0 && millis.is_multiple_of(millis_of(unit));
    match ["h", "m", "s"].into_iter().find(divides) {
        Some(unit) => format!("{}{unit}", millis / millis_of(unit)),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

/// The window of a promise, from 1h to 90d.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window(Duration);

impl Window {
    /// Budgets are kept in five-minute buckets: below an hour they would say little, and above 90
    /// days their number would pass 26,000.
    const MIN: u64 = 3_600_000;
    const MAX: u64 = 90 * 24 * 3_600_000;

    /// How long.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Written)?;
        let millis = number(&text)
            .filter(|(_, unit)| matches!(*unit, "h" | "d" | "w") && !text.starts_with('0'))
            .map(|(number, unit)| number * millis_of(unit));
        match millis {
            Some(millis) if (Self::MIN..=Self::MAX).contains(&millis) => {
                Ok(Self(Duration::from_millis(millis)))
            }
            Some(_) => Err(D::Error::custom(format!(
                "{text} is out of range\nwrite a window from 1h to 90d"
            ))),
            None => Err(D::Error::custom(format!(
                "`{}` is no window\nwrite one whole number with h, d or w, as 28d",
                quoted(&text)
            ))),
        }
    }
}

impl JsonSchema for Window {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Window".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[1-9][0-9]{0,4}(h|d|w)$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_read_as_the_gateway_api_writes_them() {
        for (text, millis) in [
            ("0s", Some(0)),
            ("1h30m", Some(5_400_000)),
            ("5ms", Some(5)),
            ("1m5ms", Some(60_005)),
            ("1h1m1s1ms", Some(3_661_001)),
            ("10s20s", Some(30_000)),
            ("99999h", Some(359_996_400_000)),
            ("100000s", None),
            ("1s1s1s1s1s", None),
            ("1d", None),
            ("1.5s", None),
            ("-1s", None),
            ("5", None),
            ("s", None),
            ("", None),
            ("1 s", None),
        ] {
            assert_eq!(timer_millis(text), millis, "{text:?}");
        }
    }

    #[test]
    fn durations_are_said_as_they_are_written() {
        for (millis, text) in
            [(0, "0s"), (1, "1ms"), (90_000, "90s"), (600_000, "10m"), (86_400_000, "24h")]
        {
            assert_eq!(spoken(millis), text);
        }
    }
}
