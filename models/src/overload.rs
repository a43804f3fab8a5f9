//! How many requests to turn away where there are more than can be served.
//!
//! Requests that end cannot tell of an overload: no more end than can be served. Those inside do:
//! their number grows by what comes beyond that. So the load that is let in is what ends plus what
//! the number inside grows by, and the load that comes is that over the part that was let in. Let
//! in is then what the endpoints can serve with a little to spare, less what it takes to work off
//! the queue in four seconds. Since the shares of those let in and turned away rest on what was in
//! force when the counts were made, a loop ago, there is no loop gain to swing with.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use weir_engine::units::Moment;

use crate::persistence::LOOP;

/// From this part of the capacity on there is an overload ...
const OVERLOADED: f64 = 0.98;

/// ... or from so many requests inside for each worker.
const CROWDED: f64 = 3.0;

/// The part of the capacity that is to be used then.
const USED: f64 = 0.97;

/// The time in which the queue is to be gone, in seconds: two loops, since for one it is seen
/// again as it was.
const DRAINS_IN: f64 = 4.0;

/// A capacity that shows no more, since enough is turned away, is taken for larger by this part
/// each second, until it shows again: it may have grown.
const RISES: f64 = 0.02;

/// Less than this is not worth turning anybody away.
const SHED_LEAST: f64 = 0.01;

/// The largest part, whatever is measured: some must be let in to measure anything.
const SHED_MOST: f64 = 0.95;

/// At most so many steps are remembered: a loop of eight a second.
const STEPS_MAX: usize = 17;

/// A service as it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    /// Requests per second that end.
    pub(crate) ending: f64,
    /// Requests inside.
    pub(crate) inside: f64,
    /// Requests per second that all endpoints in use can serve, if that is known of each.
    pub(crate) capacity: Option<f64>,
    /// Their workers.
    pub(crate) workers: f64,
}

/// What is turned away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shedding {
    /// What was turned away lately, oldest first.
    steps: VecDeque<(Moment, f64)>,
    /// Requests inside at the last look.
    inside: Option<(Moment, f64)>,
    /// The capacity when it last showed: below it, it does not.
    capacity: Option<f64>,
}

impl Shedding {
    /// The part of the requests to turn away from now on.
    pub(crate) fn step(&mut self, load: Option<Load>, most: f64, at: Moment) -> f64 {
        let before = self.steps.back().map_or(0.0, |(_, shed)| *shed);
        let whole = |load: &Load| (load.ending + load.inside + load.workers).is_finite();
        let wanted = match load.filter(whole) {
            None => before,
            Some(load) => self.wanted(load, before, at),
        };
        let shed = if wanted >= SHED_LEAST { wanted.min(most).min(SHED_MOST) } else { 0.0 };
        if shed > 0.0 || !self.steps.is_empty() {
            self.remember(shed, at);
        }
        shed
    }

    fn wanted(&mut self, load: Load, before: f64, at: Moment) -> f64 {
        let last = self.inside.replace((at, load.inside));
        let seconds = |then: Moment| at.since(then).as_secs_f64();
        let grows = last.filter(|(then, _)| seconds(*then) > 0.0);
        let grows = grows.map_or(0.0, |(then, inside)| (load.inside - inside) / seconds(then));
        // Less than it was shown to be is not less for showing less.
        let shown = self.capacity.filter(|_| before > 0.0);
        let elapsed = last.map_or(0.0, |(then, _)| seconds(then).min(1.0));
        self.capacity = load.capacity.or(shown.map(|shown| shown * (1.0 + RISES * elapsed)));
        let Some(capacity) = self.capacity else { return 0.0 };
        let let_in = (load.ending + grows).max(0.0);
        let crowded = load.inside > CROWDED * load.workers;
        if before <= 0.0 && let_in <= OVERLOADED * capacity && !crowded {
            return 0.0;
        }
        let queue = (load.inside - load.workers).max(0.0);
        let target = (USED * capacity - queue / DRAINS_IN).max(0.0);
        let coming = let_in / (1.0 - self.in_force(at));
        if coming > 0.0 { 1.0 - target / coming } else { 0.0 }
    }

    /// What was in force while the newest counts were made.
    fn in_force(&self, at: Moment) -> f64 {
        let then = self.steps.iter().rev().find(|(step, _)| at.since(*step) >= LOOP);
        then.map_or(0.0, |(_, shed)| *shed)
    }

    fn remember(&mut self, shed: f64, at: Moment) {
        self.steps.push_back((at, shed));
        let old = |(step, _): &(Moment, f64)| at.since(*step) > 2 * LOOP;
        while self.steps.len() > STEPS_MAX || self.steps.front().is_some_and(old) {
            self.steps.pop_front();
        }
        if self.steps.iter().all(|(_, shed)| *shed <= 0.0) {
            self.steps.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;

    const CAPACITY: f64 = 4_000.0;

    /// A service behind telemetry that is a second old; returns what is turned away each second.
    fn play(coming: impl Fn(u64) -> f64, seconds: u64) -> Vec<f64> {
        let (mut shedding, mut queue) = (Shedding::default(), 0.0);
        let (mut late, mut sheds) = (VecDeque::new(), vec![0.0]);
        for second in 1..=seconds {
            let let_in = coming(second) * (1.0 - sheds.last().unwrap_or(&0.0));
            let ending = (let_in + queue).min(CAPACITY);
            queue += let_in - ending;
            let inside = queue + 80.0 * ending / CAPACITY;
            late.push_back(Load { ending, inside, capacity: Some(CAPACITY), workers: 80.0 });
            let seen = if late.len() > 1 { late.pop_front() } else { None };
            sheds.push(shedding.step(seen, 0.5, Moment::from_millis(1_000 * second)));
        }
        sheds
    }

    #[test]
    fn turns_away_what_is_too_much_and_no_longer() {
        let sheds = play(|second| if (20..50).contains(&second) { 4_800.0 } else { 2_400.0 }, 70);
        assert!(sheds[..20].iter().all(|shed| *shed <= 0.0), "{sheds:?}");
        assert!(sheds[30..48].iter().all(|shed| (0.19..0.23).contains(shed)), "{sheds:?}");
        assert!(sheds[53..].iter().all(|shed| *shed <= 0.0), "{sheds:?}");
    }

    #[test]
    fn goes_on_by_the_capacity_that_showed() {
        let mut shedding = Shedding::default();
        let known = Load { ending: 4_000.0, inside: 900.0, capacity: Some(4_000.0), workers: 80.0 };
        let first = shedding.step(Some(known), 0.5, Moment::from_millis(1_000));
        let unknown = Load { capacity: None, ..known };
        let next = shedding.step(Some(unknown), 0.5, Moment::from_millis(2_000));
        assert!(first > 0.05 && next > 0.05, "{first} {next}");
        let idle = Load { ending: 1_000.0, inside: 20.0, ..unknown };
        assert!(shedding.step(Some(idle), 0.5, Moment::from_millis(3_000)) <= 0.0);
    }

    proptest! {
        #[test]
        fn is_a_part_whatever_is_measured(
            steps in prop::collection::vec((any::<f64>(), any::<f64>(), any::<f64>(), 0_u64..5_000), 1..40),
            most in 0.0..1.0_f64,
        ) {
            let (mut shedding, mut at) = (Shedding::default(), Moment::from_millis(1));
            for (ending, inside, capacity, later) in steps {
                at = at.plus(Duration::from_millis(later));
                let load = Load { ending, inside, capacity: Some(capacity), workers: 80.0 };
                let shed = shedding.step(Some(load), most, at);
                prop_assert!((0.0..=most).contains(&shed), "{shed}");
                prop_assert!(shedding.steps.len() <= STEPS_MAX);
            }
        }
    }
}
