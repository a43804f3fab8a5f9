//! From ranks to alarms: at a promised rate, and once per episode.
//!
//! Ranks keep their promise only while samples are exchangeable. Where a series drifts, low ranks
//! come too often; so the level at which an alarm is raised is corrected by how often it was
//! passed (Gibbs and Candès, 2021, "Adaptive Conformal Inference Under Distribution Shift"; here
//! in logarithms, which keeps the level positive). After an alarm the same episode raises no
//! other for a while.

use serde::{Deserialize, Serialize};

/// How much of a too large rate is corrected at a sample that passes the level.
const GAIN: f64 = 0.03;
/// The level stays within this factor below the rate that is asked for ...
const LOWER_MOST: f64 = 4.0;
/// ... and above.
const HIGHER_MOST: f64 = 1.5;

/// How often alarms may be raised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// The part of samples that may pass the level.
    pub rate: f64,
    /// Samples without another alarm after one.
    pub quiet: u32,
}

/// What is remembered between samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    budget: Budget,
    /// Logarithm of the level over the rate.
    correction: f64,
    /// Samples that are yet to be quiet.
    left: u32,
}

impl Alarm {
    /// Within a budget.
    pub fn new(budget: Budget) -> Self {
        Self { budget, correction: 0.0, left: 0 }
    }

    /// The rank at or below which an alarm is raised.
    pub fn level(&self) -> f64 {
        self.budget.rate * libm::exp(self.correction)
    }

    /// Takes in a sample's rank; whether an alarm is raised.
    pub fn see(&mut self, rank: f64) -> bool {
        let passed = rank <= self.level();
        let too_many = f64::from(u8::from(passed)) - self.budget.rate;
        let (least, most) = (-libm::log(LOWER_MOST), libm::log(HIGHER_MOST));
        self.correction = (self.correction - GAIN * too_many).clamp(least, most);
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        if passed {
            self.left = self.budget.quiet;
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_simulator::random::Random;

    #[test]
    fn raises_one_alarm_per_episode() {
        let mut alarm = Alarm::new(Budget { rate: 0.01, quiet: 10 });
        let raised = (0..23).filter(|_| alarm.see(1e-6)).count();
        assert_eq!(raised, 3, "at 0, 11 and 22");
    }

    #[test]
    fn keeps_the_rate_though_ranks_do_not() {
        // Ranks that are a third as large as they should be: a drifting series.
        let (mut alarm, mut random) =
            (Alarm::new(Budget { rate: 0.01, quiet: 0 }), Random::of(1, 1, 1));
        let raised = (0..100_000).filter(|_| alarm.see(random.unit() / 3.0)).count();
        assert!((900..1_250).contains(&raised), "{raised} of 100,000 at 1 %");
    }
}
