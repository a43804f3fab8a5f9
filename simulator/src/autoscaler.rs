//! An autoscaler at work: which of its backends are declared.

use std::collections::VecDeque;

use crate::scenario::Autoscaler;
use crate::world::of;

/// Utilisation this near to the target, relatively, changes nothing.
const TOLERANCE: f64 = 0.1;

/// What it remembers.
#[derive(Clone, Debug)]
pub(crate) struct Scaling {
    /// When each member is declared from, in microseconds; nothing of what is not wanted.
    slots: Vec<Option<u64>>,
    /// Worker seconds of each at the last look.
    worked: Vec<f64>,
    looked: u64,
    /// What was measured at the last looks, oldest first: utilisations summed over members.
    measured: VecDeque<f64>,
    /// What was wanted and when, over the time that going down waits for.
    wanted: VecDeque<(u64, usize)>,
}

impl Scaling {
    pub(crate) fn new(of: &Autoscaler) -> Self {
        let slots = of.members.clone().map(|member| {
            let running = member < of.members.start + of.initial;
            running.then_some(0)
        });
        Self {
            slots: slots.collect(),
            worked: vec![0.0; of.members.len()],
            looked: 0,
            measured: VecDeque::new(),
            wanted: VecDeque::new(),
        }
    }

    /// Whether a backend is declared, if this is what scales it.
    pub(crate) fn runs(&self, settings: &Autoscaler, backend: usize, now: u64) -> Option<bool> {
        let slot = backend.checked_sub(settings.members.start)?;
        Some(self.slots.get(slot)?.is_some_and(|from| from <= now))
    }

    /// Looks at how much each member has worked (in worker seconds since the start) and has how
    /// many workers, and starts or stops.
    pub(crate) fn look(
        &mut self,
        settings: &Autoscaler,
        members: impl Iterator<Item = (f64, u32)>,
        now: u64,
    ) {
        let span = (now - self.looked) as f64 / 1e6;
        let mut sum = 0.0;
        for ((worked, workers), (last, slot)) in
            members.zip(self.worked.iter_mut().zip(&self.slots))
        {
            if slot.is_some_and(|from| from <= now) {
                sum += (worked - *last) / (span * f64::from(workers));
            }
            *last = worked;
        }
        self.looked = now;
        self.measured.push_back(sum);
        let late = usize::try_from(of(settings.lag).div_ceil(of(settings.every).max(1)));
        if self.measured.len() > late.unwrap_or(usize::MAX)
            && let Some(sum) = self.measured.pop_front()
        {
            self.act(settings, sum, now);
        }
    }

    fn act(&mut self, settings: &Autoscaler, sum: f64, now: u64) {
        let running = self.slots.iter().flatten().count();
        let wanted = wanted(settings, sum, running);
        self.wanted.push_back((now, wanted));
        let patience = of(settings.patience);
        while self.wanted.front().is_some_and(|(at, _)| at + patience < now) {
            self.wanted.pop_front();
        }
        // Since the start there must have been as long a time, too.
        let most = self.wanted.iter().map(|(_, wanted)| *wanted).max().unwrap_or(running);
        let least = if now < patience { running } else { most.min(running) };
        let target = if wanted > running { wanted } else { least };
        self.resize(target, now + of(settings.startup));
    }

    /// Runs so many: new ones are declared from a moment on, the last ones go at once.
    fn resize(&mut self, count: usize, from: u64) {
        let mut running = self.slots.iter().flatten().count();
        for slot in self.slots.iter_mut().filter(|slot| slot.is_none()) {
            if running >= count {
                break;
            }
            *slot = Some(from);
            running += 1;
        }
        for slot in self.slots.iter_mut().rev().filter(|slot| slot.is_some()) {
            if running <= count {
                break;
            }
            *slot = None;
            running -= 1;
        }
    }
}

/// How many there should be while so many, among them starting ones, use what they use.
fn wanted(settings: &Autoscaler, sum: f64, running: usize) -> usize {
    let ratio = sum / (settings.target * running.max(1) as f64);
    if (ratio - 1.0).abs() <= TOLERANCE {
        return running;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a sum of parts of a few thousand backends"
    )]
    let wanted = libm::ceil(sum / settings.target) as usize;
    wanted.clamp(settings.least, settings.members.len())
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn settings(lag: u64, patience: u64) -> Autoscaler {
        Autoscaler {
            members: 2..12,
            initial: 4,
            least: 2,
            target: 0.5,
            every: Duration::from_secs(10),
            lag: Duration::from_secs(lag),
            startup: Duration::from_secs(5),
            patience: Duration::from_secs(patience),
        }
    }

    /// How many are declared after each look, all of those running being so busy.
    fn counts(settings: &Autoscaler, busy: &[f64]) -> Vec<usize> {
        let mut scaling = Scaling::new(settings);
        let mut worked = [0.0; 10];
        let count = |scaling: &Scaling, now| {
            let runs = |backend| scaling.runs(settings, backend, now) == Some(true);
            (0..14).filter(|&backend| runs(backend)).count()
        };
        let mut counts = Vec::new();
        for (busy, look) in busy.iter().zip(1..) {
            let now = look * 10 * SECOND;
            for (slot, worked) in worked.iter_mut().enumerate() {
                if scaling.runs(settings, slot + 2, now) == Some(true) {
                    *worked += busy * 8.0 * 10.0;
                }
            }
            scaling.look(settings, worked.iter().map(|&worked| (worked, 8)), now);
            // Just before the next look, when what it started has come up.
            counts.push(count(&scaling, now + 9 * SECOND));
        }
        counts
    }

    #[test]
    fn it_wants_utilisation_over_target_rounded_up() {
        // Four at 0.8 are 3.2 busy backends: seven at half. Then 7 x 0.5 is just right.
        assert_eq!(counts(&settings(0, 0), &[0.8, 0.5, 0.54, 0.3, 0.02]), [7, 7, 7, 5, 2]);
        assert_eq!(counts(&settings(0, 0), &[1.0, 1.0, 1.0]), [8, 10, 10]);
    }

    #[test]
    fn it_acts_late_by_its_lag() {
        assert_eq!(counts(&settings(20, 0), &[0.8, 0.5, 0.5, 0.5]), [4, 4, 7, 4]);
    }

    #[test]
    fn going_down_waits_for_the_highest_wish() {
        assert_eq!(counts(&settings(0, 25), &[0.8, 0.2, 0.2, 0.2, 0.2]), [7, 7, 7, 3, 3]);
    }

    #[test]
    fn new_ones_come_after_their_startup() {
        let settings = settings(0, 0);
        let mut scaling = Scaling::new(&settings);
        let worked = (0..10).map(|slot| (if slot < 4 { 80.0 } else { 0.0 }, 8));
        scaling.look(&settings, worked, 10 * SECOND);
        let runs = |at| scaling.runs(&settings, 7, at);
        assert_eq!([runs(14 * SECOND), runs(15 * SECOND)], [Some(false), Some(true)]);
        assert_eq!(scaling.runs(&settings, 1, 0), None);
        assert_eq!(scaling.runs(&settings, 12, 0), None);
    }
}
