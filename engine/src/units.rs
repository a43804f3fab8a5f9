//! Quantities with their units: what the engine measures in.
//!
//! Each constructor is the only place that says no, so nothing past it needs to ask whether a
//! number is finite or in range.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since 1970-01-01, never going backwards within one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(u64);

impl Moment {
    /// The moment so many milliseconds after 1970-01-01.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This moment and a while later.
    #[must_use]
    pub fn plus(self, while_: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(while_.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A part of a whole, in 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Ratio(f64);

impl Ratio {
    /// Nothing.
    pub const ZERO: Self = Self(0.0);
    /// All of it.
    pub const ONE: Self = Self(1.0);

    /// A finite number in 0..=1, else nothing.
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// A percentage in 0..=100, else nothing.
    pub fn percent(value: f64) -> Option<Self> {
        Self::new(value / 100.0)
    }

    /// The nearest ratio; zero for NaN.
    pub fn clamped(value: f64) -> Self {
        if value.is_nan() { Self::ZERO } else { Self(value.clamp(0.0, 1.0)) }
    }

    /// `part` of `whole`; zero of nothing.
    pub fn of(part: f64, whole: f64) -> Self {
        if whole > 0.0 { Self::clamped(part / whole) } else { Self::ZERO }
    }

    /// The number in 0..=1.
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> Self {
        ratio.0
    }
}

impl TryFrom<f64> for Ratio {
    type Error = OutOfRange;

    fn try_from(value: f64) -> Result<Self, OutOfRange> {
        Self::new(value).ok_or(OutOfRange)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        if percent >= 10.0 { write!(f, "{percent:.0} %") } else { write!(f, "{percent:.1} %") }
    }
}

/// A number that is not finite or outside its unit's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("number outside the range of its unit")
    }
}

impl core::error::Error for OutOfRange {}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl $name {
            /// A finite number of at least zero, else nothing.
            pub fn new(value: f64) -> Option<Self> {
                (value.is_finite() && value >= 0.0).then_some(Self(value))
            }

            /// The nearest valid quantity; zero for NaN.
            pub fn clamped(value: f64) -> Self {
                if value.is_nan() { Self(0.0) } else { Self(value.clamp(0.0, f64::MAX)) }
            }

            /// The plain number.
            pub const fn value(self) -> f64 {
                self.0
            }
        }

        impl From<$name> for f64 {
            fn from(quantity: $name) -> Self {
                quantity.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = OutOfRange;

            fn try_from(value: f64) -> Result<Self, OutOfRange> {
                Self::new(value).ok_or(OutOfRange)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.0 >= 100.0 {
                    write!(f, concat!("{:.0} ", $unit), self.0)
                } else {
                    write!(f, concat!("{:.1} ", $unit), self.0)
                }
            }
        }
    };
}

quantity!(
    /// A latency or a service time in milliseconds.
    Millis,
    "ms"
);
quantity!(
    /// Requests per second.
    PerSecond,
    "rps"
);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn refuses_what_is_out_of_range() {
        for bad in [f64::NAN, f64::INFINITY, -0.1] {
            assert_eq!(Ratio::new(bad), None);
            assert_eq!(Millis::new(bad), None);
        }
        assert_eq!(Ratio::new(1.1), None);
        assert!(serde_json::from_str::<Ratio>("1.5").is_err());
    }

    #[test]
    fn reads_as_people_write_it() {
        assert_eq!(Ratio::clamped(0.0312).to_string(), "3.1 %");
        assert_eq!(Ratio::clamped(0.5).to_string(), "50 %");
        assert_eq!(Millis::clamped(412.3).to_string(), "412 ms");
        assert_eq!(PerSecond::clamped(9.96).to_string(), "10.0 rps");
    }

    #[test]
    fn time_never_runs_backwards() {
        let early = Moment::from_millis(1_000);
        assert_eq!(early.since(early.plus(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(early.plus(Duration::from_secs(2)).since(early), Duration::from_secs(2));
    }
}
