//! One series against its own past: far off at once, or shifted for good.
//!
//! How far a shift must go is calibrated by how often it is claimed: each claim raises the
//! threshold, which comes down again slowly. So a series that is not as regular as it should be
//! claims less and less instead of all the time.

use serde::{Deserialize, Serialize};
use weir_engine::warning::{Finding, Signal};

use super::rounded;
use crate::series::baseline::{Baseline, Deviation, FROZEN_MOST};
use crate::series::change::{Change, Shift};

/// A sample above its usual by so many deviations is far off.
const FAR: f64 = 6.0;
/// In so many of the last five samples it must be.
const FAR_LEAST: u32 = 3;
const LAST: u32 = 5;
/// The cumulative sum that proves a shift at first ...
const THRESHOLD: f64 = 12.0;
/// ... which each claim raises by ln(1.5), up to ln(5) ...
const RAISED_BY: f32 = 0.405_465_1;
const RAISED_MOST: f32 = 1.609_438;
/// ... and which comes down again in about so many samples: half an hour of seconds.
const CALM: f32 = 1_800.0;

/// What is remembered of one series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    baseline: Option<Baseline>,
    change: Change,
    /// The logarithm of the threshold over the first one.
    raised: f32,
    claiming: bool,
    /// In which of the last samples it was far off, one bit each.
    far: u8,
}

/// What a sample shows, in the series' own scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seen {
    Far(Deviation),
    Shifted(f64, Shift),
}

impl Seen {
    /// As a finding: values in the signal's unit by `unit`.
    pub(super) fn finding(self, signal: Signal, unit: impl Fn(f64) -> f64) -> Finding {
        match self {
            Self::Far(far) => Finding::Unusual {
                signal,
                value: rounded(unit(far.value)),
                usual: rounded(unit(far.usual)),
                deviations: rounded(far.score()),
            },
            Self::Shifted(value, shift) => Finding::Shifted {
                signal,
                value: rounded(unit(value)),
                deviations: rounded(shift.level),
                samples: shift.samples,
            },
        }
    }
}

impl Line {
    /// Takes in a sample of a series whose deviations below `floor` mean nothing; tells what is
    /// found, at most one thing. Only above the usual is bad.
    pub(super) fn see(&mut self, value: f64, floor: f32, tell: impl FnOnce(Seen)) {
        let baseline = self.baseline.get_or_insert_with(|| Baseline::new(floor, FROZEN_MOST));
        let Some(deviation) = baseline.see(value) else { return };
        let score = deviation.score();
        self.far = ((self.far << 1) | u8::from(score > FAR)) & ((1 << LAST) - 1);
        let threshold = if self.raised > 0.0 {
            THRESHOLD * f64::from(libm::expf(self.raised))
        } else {
            THRESHOLD
        };
        let shift = self.change.see(score, threshold).filter(|shift| shift.level > 0.0);
        self.calibrate(shift.is_some());
        if score > FAR && self.far.count_ones() >= FAR_LEAST {
            tell(Seen::Far(deviation));
        } else if let Some(shift) = shift {
            tell(Seen::Shifted(value, shift));
        }
    }

    fn calibrate(&mut self, claims: bool) {
        self.raised = (self.raised - RAISED_BY / CALM).max(0.0);
        if claims && !self.claiming {
            self.raised = (self.raised + RAISED_BY).min(RAISED_MOST);
        }
        self.claiming = claims;
    }
}
