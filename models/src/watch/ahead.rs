//! Load that will pass what a service's endpoints can carry well, and when.
//!
//! Two forecasts: one by the time of day, as soon as a day is known, an hour ahead in steps of ten
//! minutes; and one by trend, a minute's worth of samples ahead, until then. Utilization is load
//! over capacity, so that a line of load is a forecast of saturation as well.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use weir_engine::units::{Moment, PerSecond};
use weir_engine::warning::Finding;

use super::rounded;
use crate::series::forecast::{Breach, Forecast, Warning};

/// A slot of the day, in milliseconds, and how many there are.
const SLOT_MS: u64 = 600_000;
const SLOTS: u16 = 144;
/// An hour ahead.
const SLOTS_AHEAD: usize = 6;
/// As many samples ahead by trend.
const SAMPLES_AHEAD: usize = 60;
/// From this part of its capacity on a service is not served well: queues grow without end at 1.
const SERVED_WELL: f64 = 0.9;

/// What is remembered of a service's load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ahead {
    trend: Forecast,
    day: Forecast,
    /// The slot under way, counted from the epoch: its number, sum and samples.
    open: Option<(u64, f64, u32)>,
    /// Slots that are known, up to a day.
    known: u16,
    warning: Warning,
    last: Option<Finding>,
}

impl Default for Ahead {
    fn default() -> Self {
        // A cycle of one slot never closes: without a cycle the forecast goes by trend.
        let (trend, day) = (Forecast::new(1), Forecast::new(usize::from(SLOTS)));
        let (open, known, warning, last) = (None, 0, Warning::default(), None);
        Self { trend, day, open, known, warning, last }
    }
}

impl Ahead {
    /// Takes in a sample of load, which covers so long, and what can be carried, if that is
    /// known; a finding while a breach is expected.
    pub(super) fn see(
        &mut self,
        at: Moment,
        (load, covers): (f64, Duration),
        capacity: Option<f64>,
    ) -> Option<Finding> {
        self.trend.see(0, load);
        self.count(at, load);
        let line = SERVED_WELL * capacity?;
        let found = if load > line { None } else { self.expected(at, line, covers) };
        let on = self.warning.see(found.is_some());
        self.last = found.or(self.last.take()).filter(|_| on && load <= line);
        self.last.clone()
    }

    fn expected(&self, at: Moment, line: f64, covers: Duration) -> Option<Finding> {
        let finding = |breach: Breach, after| Finding::Ahead {
            expected: PerSecond::clamped(rounded(breach.expected)),
            line: PerSecond::clamped(rounded(breach.line)),
            after,
        };
        if self.known < SLOTS {
            let breach = self.trend.breach(line, SAMPLES_AHEAD)?;
            let steps = u32::try_from(breach.steps).unwrap_or(u32::MAX);
            return Some(finding(breach, covers.saturating_mul(steps)));
        }
        // Steps are counted from the slot before the one under way.
        let breach = self.day.breach(line, SLOTS_AHEAD)?;
        let begins = (slot(at) + breach.steps as u64 - 1) * SLOT_MS;
        Some(finding(breach, Moment::from_millis(begins).since(at)))
    }

    fn count(&mut self, at: Moment, load: f64) {
        let now = slot(at);
        match &mut self.open {
            Some((open, sum, samples)) if *open == now => {
                *sum += load;
                *samples = samples.saturating_add(1);
            }
            open => {
                if let Some((slot, sum, samples)) = open.replace((now, load, 1)) {
                    let place = usize::try_from(slot % u64::from(SLOTS)).unwrap_or(0);
                    self.day.see(place, sum / f64::from(samples));
                    self.known = (self.known + 1).min(SLOTS);
                }
            }
        }
    }
}

fn slot(at: Moment) -> u64 {
    at.millis() / SLOT_MS
}
