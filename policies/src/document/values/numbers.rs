//! Numbers with bounds.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use weir_engine::units::Ratio;

/// A percentage from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent<const MIN: u32, const MAX: u32>(f64);

impl<const MIN: u32, const MAX: u32> Percent<MIN, MAX> {
    /// The number of per cent.
    pub fn value(self) -> f64 {
        self.0
    }

    /// The part of a whole; at most all of it.
    pub fn ratio(self) -> Ratio {
        Ratio::clamped(self.0 / 100.0)
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Percent<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if (f64::from(MIN)..=f64::from(MAX)).contains(&number) {
            return Ok(Self(number));
        }
        let text = format!("{number} % is out of range\nwrite a number from {MIN} to {MAX}");
        Err(D::Error::custom(text))
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Percent<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Percent{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": MIN, "maximum": MAX})
    }
}

/// A promise in per cent: more than 0, and less than 100, since a promise without any budget for
/// failure is broken by the first one.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct GoalPercent(f64);

impl GoalPercent {
    /// The part of requests that shall be good.
    pub fn ratio(self) -> Ratio {
        Ratio::clamped(self.0 / 100.0)
    }
}

impl<'de> Deserialize<'de> for GoalPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if number > 0.0 && number < 100.0 {
            return Ok(Self(number));
        }
        let text = format!("{number} % is no goal\nwrite a number above 0 and below 100, as 99.9");
        Err(D::Error::custom(text))
    }
}

impl JsonSchema for GoalPercent {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GoalPercent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100})
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Count<MIN, MAX> {
    /// The number.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The number, where its bounds are known to fit.
    pub fn small(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        match u64::try_from(number) {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => {
                let mend = format!("write a whole number from {MIN} to {MAX}");
                Err(D::Error::custom(format!("{number} is out of range\n{mend}")))
            }
        }
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Count<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Count{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }
}

/// A share of traffic in whole per cent.
pub type Share = Count<1, 100>;

/// An amount of money: not negative, at most a thousand million.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Amount(f64);

impl Amount {
    const MAX: u32 = 1_000_000_000;
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if (0.0..=f64::from(Self::MAX)).contains(&number) {
            return Ok(Self(number));
        }
        let text = format!("{number} is no amount\nwrite a number from 0 to {}", Self::MAX);
        Err(D::Error::custom(text))
    }
}

impl JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": 0, "maximum": Self::MAX})
    }
}
