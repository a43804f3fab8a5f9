//! What is usual at this time of day: the same slot of earlier cycles.
//!
//! Slots come from the clock, not from counting samples: a gap in the data shifts nothing. A
//! morning that is ten minutes early is no anomaly, so the nearest of the neighbouring slots counts.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Cycles that are remembered.
pub const CYCLES: usize = 4;

/// More slots than this say nothing more of a day, and memory is bounded by it.
pub const SLOTS_MAX: usize = 1_440;

/// The most slots to either side that can count as the same time of day.
pub const SLACK_MAX: usize = 3;

/// The values of earlier cycles, by slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Season {
    slots: Vec<Slot>,
    /// The slot that is under way: its number, sum and samples.
    open: Option<(usize, f64, f64)>,
    /// Slots of just now, the oldest first; they are no earlier cycle yet.
    closed: VecDeque<(usize, f32)>,
}

/// One slot of the cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Slot {
    /// Its last cycles, the newest first.
    values: [f32; CYCLES],
    /// How many of these are filled.
    cycles: u8,
    /// Their upper median: of two a burst is not forgotten for the lull after it.
    usual: f32,
}

impl Slot {
    fn see(&mut self, mean: f32) {
        self.values.rotate_right(1);
        self.values[0] = mean;
        self.cycles = (self.cycles + 1).min(4);
        let mut known = self.values;
        let known = &mut known[..usize::from(self.cycles)];
        known.sort_unstable_by(f32::total_cmp);
        self.usual = known[known.len() / 2];
    }
}

impl Season {
    /// Of so many slots in a cycle.
    pub fn new(slots: usize) -> Self {
        Self {
            slots: vec![Slot::default(); slots.clamp(1, SLOTS_MAX)],
            open: None,
            closed: VecDeque::new(),
        }
    }

    /// Slots in a cycle.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The median of a slot over earlier cycles.
    pub fn usual(&self, slot: usize) -> Option<f64> {
        let slot = self.slots[slot % self.slots.len()];
        (slot.cycles > 0).then_some(f64::from(slot.usual))
    }

    /// How far a value is from the nearest of what is usual around a slot, up to
    /// [`SLACK_MAX`] to either side.
    pub fn residual(&self, slot: usize, slack: usize, value: f64) -> Option<f64> {
        let (count, slack) = (self.slots.len(), slack.min(SLACK_MAX));
        let around = (0..=2 * slack).map(|step| (slot + count + step - slack.min(count)) % count);
        let usual = around.filter_map(|slot| Some(value - self.usual(slot)?));
        usual.reduce(|a, b| if b.abs() < a.abs() { b } else { a })
    }

    /// Takes a sample of a slot in; it counts as the past once the slot is over.
    pub fn see(&mut self, slot: usize, value: f64) {
        let slot = slot % self.slots.len();
        if !value.is_finite() {
            return;
        }
        match &mut self.open {
            Some((open, sum, samples)) if *open == slot => {
                *sum += value;
                *samples += 1.0;
            }
            open => {
                if let Some((slot, sum, samples)) = open.replace((slot, value, 1.0)) {
                    #[expect(clippy::cast_possible_truncation, reason = "a value, not a count")]
                    let mean = (sum / samples) as f32;
                    self.close(slot, mean);
                }
            }
        }
    }

    fn close(&mut self, slot: usize, mean: f32) {
        self.closed.push_back((slot, mean));
        if self.closed.len() > SLACK_MAX {
            let Some((slot, mean)) = self.closed.pop_front() else { return };
            self.slots[slot].see(mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn knows_a_day_after_a_day() {
        let mut season = Season::new(24);
        for hour in 0..48 {
            season.see(hour, if hour % 24 == 9 { 10.0 } else { 1.0 });
        }
        season.see(0, 1.0);
        assert_eq!(season.usual(9), Some(10.0));
        assert_eq!(season.residual(9, 0, 12.0), Some(2.0));
        assert_eq!(season.residual(8, 0, 10.0), Some(9.0));
        assert_eq!(season.residual(8, 1, 10.0), Some(0.0), "an hour early");
        assert_eq!(Season::new(24).residual(8, 1, 10.0), None);
    }

    #[test]
    fn one_odd_day_does_not_become_the_usual() {
        let mut season = Season::new(2);
        for day in [1.0, 1.0, 50.0, 1.0] {
            season.see(0, day);
            season.see(1, 0.0);
        }
        season.see(0, 1.0);
        assert_eq!(season.usual(0), Some(1.0));
    }

    proptest! {
        #[test]
        fn any_slot_and_slack_is_answered(slots in 0_usize..3_000, slot in 0_usize..10_000, slack in 0_usize..50) {
            let mut season = Season::new(slots);
            for at in 0..3 * season.slots() {
                season.see(at, 1.0);
            }
            prop_assert!(season.slots() == 1 || season.residual(slot, slack, 3.0) == Some(2.0));
        }
    }
}
