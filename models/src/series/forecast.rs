//! What load or saturation comes next, and when it will pass a line.
//!
//! Season and trend: the same slot of earlier cycles, plus how far the last samples are from it.
//! A part of that distance is noise and fades within ten samples (of four forecasters this was the
//! best on a periodic load); the part that lasts, such as a day that is busier as a whole, is kept.
//! Where no cycle is known yet, a damped trend (Gardner and McKenzie, 1985). Abrupt faults have no
//! precursor and are not forecast.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::season::Season;

/// What of a passing distance is left after one sample.
const PASSING_KEPT: f64 = 0.9;
/// How fast the lasting distance is learned: within about an hour of five-minute samples.
const LASTING_GAIN: f64 = 0.05;
/// How fast level and trend are learned where no cycle is known, and what of a trend is kept.
const LEVEL_GAIN: f64 = 0.3;
const TREND_GAIN: f64 = 0.05;
const TREND_KEPT: f64 = 0.98;

/// An alarm is on until the line has not been expected to be passed for so many samples: a
/// forecast that wavers around it is one warning.
const HOLD: u32 = 10;

/// What is remembered of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    season: Season,
    slot: usize,
    last: Option<f64>,
    /// The distance from the season of late, and what of it lasts.
    away: f64,
    lasting: f64,
    level: f64,
    trend: f64,
}

/// A line that will be passed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breach {
    /// After so many samples.
    pub steps: usize,
    /// What is expected then.
    pub expected: f64,
    /// The line.
    pub line: f64,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, expected, line } = self;
        write!(f, "{expected:.4} is expected in {steps} samples, above {line:.4}")
    }
}

impl Forecast {
    /// Of a series whose cycle has so many slots.
    pub fn new(slots: usize) -> Self {
        let season = Season::new(slots);
        Self { season, slot: 0, last: None, away: 0.0, lasting: 0.0, level: 0.0, trend: 0.0 }
    }

    /// Takes in a sample in its slot of the cycle; one that is no number is left out.
    pub fn see(&mut self, slot: usize, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.slot = slot % self.season.slots();
        if let Some(usual) = self.season.usual(self.slot) {
            self.away = value - usual;
            self.lasting += LASTING_GAIN * (self.away - self.lasting);
        }
        if self.last.is_none() {
            self.level = value;
        }
        let before = self.level;
        self.level += self.trend * TREND_KEPT;
        self.level += LEVEL_GAIN * (value - self.level);
        self.trend =
            TREND_KEPT * self.trend + TREND_GAIN * (self.level - before - TREND_KEPT * self.trend);
        self.last = Some(value);
        self.season.see(slot, value);
    }

    /// What is expected after so many samples.
    pub fn after(&self, steps: usize) -> Option<f64> {
        let kept = |part: f64| libm::pow(part, steps as f64);
        let trend = TREND_KEPT * (1.0 - kept(TREND_KEPT)) / (1.0 - TREND_KEPT);
        self.expected(steps, kept(PASSING_KEPT), trend)
    }

    /// When a line will first be passed, within so many samples.
    pub fn breach(&self, line: f64, within: usize) -> Option<Breach> {
        // Powers step by step: ninety calls of pow would cost twenty times as much.
        let (mut passing, mut kept, mut trend) = (1.0, 1.0, 0.0);
        (1..=within).find_map(|steps| {
            passing *= PASSING_KEPT;
            kept *= TREND_KEPT;
            trend += kept;
            let expected = self.expected(steps, passing, trend)?;
            (expected > line).then_some(Breach { steps, expected, line })
        })
    }

    /// After so many samples, with what is then left of a passing distance and the steps of the
    /// trend until then.
    fn expected(&self, steps: usize, passing: f64, trend: f64) -> Option<f64> {
        self.last?;
        let Some(usual) = self.season.usual(self.slot + steps) else {
            return Some(self.level + trend * self.trend);
        };
        Some(usual + self.lasting + passing * (self.away - self.lasting))
    }
}

/// A warning that lasts as long as a breach is expected or there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    left: u32,
}

impl Warning {
    /// Takes in whether a breach is expected or there; whether the warning is on.
    pub fn see(&mut self, breach: bool) -> bool {
        self.left = if breach { HOLD } else { self.left.saturating_sub(1) };
        self.left > 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;

    fn wave(at: usize) -> f64 {
        100.0 + 50.0 * libm::sin(at as f64 / 288.0 * core::f64::consts::TAU)
    }

    fn after(samples: usize, scale: f64) -> Forecast {
        let mut forecast = Forecast::new(288);
        for at in 0..samples {
            let today = if at >= 4 * 288 { scale } else { 1.0 };
            forecast.see(at % 288, today * wave(at));
        }
        forecast
    }

    #[test]
    fn knows_tomorrow_by_today() {
        let forecast = after(5 * 288, 1.0);
        for steps in [1, 10, 60, 200] {
            let (expected, value) = (forecast.after(steps).unwrap(), wave(5 * 288 - 1 + steps));
            assert!((expected - value).abs() < 0.5, "{expected} for {value} after {steps}");
        }
        let breach = forecast.breach(140.0, 90).unwrap();
        let truth = (0..288).find(|steps| wave(5 * 288 - 1 + steps) > 140.0).unwrap();
        assert!(breach.steps.abs_diff(truth) <= 1, "{breach}");
        assert_eq!(forecast.breach(160.0, 288), None);
    }

    #[test]
    fn a_busier_day_is_busier_later_too() {
        let forecast = after(4 * 288 + 200, 1.2);
        let (expected, usual) = (forecast.after(30).unwrap(), wave(4 * 288 + 229));
        assert!(expected > usual + 5.0, "{expected} over {usual}");
    }

    #[test]
    fn a_ramp_is_followed_where_no_cycle_is_known() {
        let mut forecast = Forecast::new(288);
        assert_eq!(forecast.after(1), None);
        for at in 0..200 {
            forecast.see(at, at as f64);
        }
        let expected = forecast.after(10).unwrap();
        assert!((204.0..211.0).contains(&expected), "{expected}");
        let breach = forecast.breach(220.0, 60).unwrap();
        assert!(breach.to_string().ends_with("above 220.0000"), "{breach}");
    }

    #[test]
    fn a_wavering_forecast_is_one_warning() {
        let mut warning = Warning::default();
        assert!((0..100).all(|at| warning.see(at % 5 == 0)));
        assert_eq!((0..100).filter(|_| warning.see(false)).count(), 5, "four of ten had passed");
    }

    proptest! {
        #[test]
        fn any_series_is_forecast(values in prop::collection::vec(-1e12..1e12_f64, 1..200), slots in 1_usize..40) {
            let mut forecast = Forecast::new(slots);
            for (slot, value) in values.into_iter().enumerate() {
                forecast.see(slot, value);
                prop_assert!(forecast.after(60).unwrap().is_finite());
            }
        }
    }
}
