//! Settling a twin: it plays the very decisions of the recording, and where an endpoint then
//! answers slower or quicker than it did, its work was wrong.
//!
//! Formulas of queues know nothing of a balancer that avoids the busy and of clients that hang up; the
//! world does. Both the recording and the played one are explained by the same formula, so that its
//! error cancels.

use std::sync::Arc;

use weir_engine::decision::{Group, Member, ServiceDecision};
use weir_engine::latency::{BUCKETS, upper_ms};
use weir_engine::topology::ServiceTopology;

use super::fit::{Fit, Misfit, noise};
use super::grid::{Grid, slot_of};
use super::levels::{Level, level_of};
use super::seen::{Govern, Seen, record};
use crate::world::{Assignment, Tick, address_of, equal, index_of};

/// How far each round corrects.
const GAINS: [f64; 3] = [1.0, 0.7, 0.5];

/// One round corrects by no more than this, as a logarithm.
const STEP_MAX: f64 = 0.5;

/// Levels of fewer requests are not corrected: chance would be.
const FINISHED_MIN: f64 = 50.0;

impl Fit {
    /// Plays the recorded decisions and corrects the work of endpoints, a few times over.
    #[must_use]
    pub fn settled(mut self, steps: &[Seen]) -> Self {
        for (round, gain) in GAINS.into_iter().enumerate() {
            let scenario = self.scenario(SEED + round as u64);
            let mut playback = Playback::of(steps, &self.grid);
            let played = record(&scenario, self.rival(), &mut playback);
            if let Some(played) = Grid::of(&played) {
                self.correct(&played, gain);
            }
        }
        self
    }

    fn correct(&mut self, played: &Grid, gain: f64) {
        let mut misfit = vec![Misfit::default(); self.levels.len()];
        // Variances of the logarithm of latency: recorded, played, and of how many requests.
        let mut spread = (0.0, 0.0, 0.0);
        for (index, level) in self.levels.iter().enumerate() {
            let own = |spot: &super::grid::Spot| index_of(&spot.address) == Some(level.place);
            let Some(place) = played.places.iter().position(own) else { continue };
            let slots = level.slots.clone();
            let Some(told) = level_of(played, place, slots, self.further_ms) else { continue };
            if told.finished.min(level.finished) < FINISHED_MIN {
                continue;
            }
            let queue = self.queue(level.place);
            let explain = |level: &Level| {
                let explained = queue.explain(level.per_second, level.mean_ms - self.way_ms);
                explained.work_ms.max(1e-3)
            };
            let off = libm::log(explain(level) / explain(&told));
            let less = told.finished / (told.finished + FINISHED_MIN);
            self.works[index] *= libm::exp((gain * less * off).clamp(-STEP_MAX, STEP_MAX));
            if level.timeouts.max(told.timeouts) < TIMEOUTS_MAX {
                let weight = told.finished.min(level.finished);
                let (recorded, played) = (variance(&level.buckets), variance(&told.buckets));
                spread.0 += weight * recorded;
                spread.1 += weight * played;
                spread.2 += weight;
            }
            let (squares, parts) = apart(&level.buckets, &told.buckets);
            misfit[index] = Misfit { squares, parts, change: 0.0 };
        }
        if spread.2 > 0.0 {
            let sigma = self.shape.sigma;
            let wider = gain * (spread.0 - spread.1) / spread.2;
            self.shape.sigma = (sigma * sigma + wider).max(SIGMA_MIN * SIGMA_MIN).sqrt();
        }
        self.even_out();
        for (index, misfit) in misfit.iter_mut().enumerate().skip(1) {
            misfit.change = self.change(index);
        }
        self.misfit = misfit;
    }

    /// What it costs that work differs from the level before: the world whose endpoints seem to
    /// change least is the likeliest, since with wrong workers work seems to change whenever load
    /// does.
    fn change(&self, index: usize) -> f64 {
        let (before, level) = (&self.levels[index - 1], &self.levels[index]);
        if before.place != level.place {
            return 0.0;
        }
        let chance = noise(before, level) + CHANGE_SEEN * CHANGE_SEEN;
        let change = libm::log(self.works[index] / self.works[index - 1]);
        (change * change / chance).min(CHANGE_COST)
    }
}

/// Changes of work below this part are no changes.
const CHANGE_SEEN: f64 = 0.02;

/// What a change costs at most, however large: real ones are in all worlds.
const CHANGE_COST: f64 = 25.0;

/// The variance of the logarithm of latency.
fn variance(buckets: &[(u8, f64)]) -> f64 {
    let sums = buckets.iter().fold((0.0, 0.0, 0.0), |sums, &(bucket, count)| {
        let ln = libm::log(upper_ms(bucket));
        (sums.0 + count, sums.1 + count * ln, sums.2 + count * ln * ln)
    });
    let (count, mean) = (sums.0.max(1e-9), sums.1 / sums.0.max(1e-9));
    (sums.2 / count - mean * mean).max(0.0)
}

/// Where more time out, latencies are cut off and tell nothing of how work is spread.
const TIMEOUTS_MAX: f64 = 0.005;

/// Work is spread at least a little.
const SIGMA_MIN: f64 = 0.05;

/// Two histograms: the sum of squares of how far their parts are apart over what chance allows,
/// and how many parts were compared.
fn apart(one: &[(u8, f64)], other: &[(u8, f64)]) -> (f64, f64) {
    let all = |buckets: &[(u8, f64)]| buckets.iter().map(|(_, count)| count).sum::<f64>();
    let (first, second) = (all(one), all(other));
    let of = |buckets: &[(u8, f64)], bucket: u8| {
        let found = buckets.iter().find(|(own, _)| *own == bucket);
        found.map_or(0.0, |(_, count)| *count)
    };
    let mut sum = (0.0, 0.0);
    for bucket in 0..BUCKETS {
        let (a, b) = (of(one, bucket), of(other, bucket));
        if a + b >= COUNT_MIN {
            let off = a / first - b / second;
            let chance = (a + b) / (first + second) * (1.0 / first + 1.0 / second);
            sum = (sum.0 + off * off / chance, sum.1 + 1.0);
        }
    }
    sum
}

/// Parts of histograms with fewer requests are not compared.
const COUNT_MIN: f64 = 10.0;

/// The seeds of settling: none that a run has.
const SEED: u64 = 0x7477_696e;

/// Gives proxies what the recording says they were given.
#[derive(Clone, Debug)]
pub(super) struct Playback {
    by_slot: Vec<Option<Assignment>>,
    at: usize,
}

impl Playback {
    pub(super) fn of(steps: &[Seen], grid: &Grid) -> Self {
        let mut by_slot = vec![None; grid.slots.len()];
        let mut topology: Option<&ServiceTopology> = None;
        for step in steps {
            topology = step.topology.as_ref().or(topology);
            let slot = slot_of(step.at, grid.start, grid.tick);
            let assignment = match (&step.decided, topology) {
                (Some(decided), _) => followed(decided, grid),
                // Nothing else was decided for other endpoints: they are equal.
                (None, Some(topology)) if step.topology.is_some() => Some(Assignment {
                    groups: named(equal(topology), grid),
                    ..Assignment::default()
                }),
                (None, _) => None,
            };
            if let (Some(place), Some(_)) = (by_slot.get_mut(slot), &assignment) {
                *place = assignment;
            }
        }
        Self { by_slot, at: 0 }
    }
}

impl Govern for Playback {
    fn step(&mut self, _: Tick) -> Option<Assignment> {
        let assignment = self.by_slot.get_mut(self.at).and_then(Option::take);
        self.at += 1;
        assignment
    }

    fn last(&self) -> Option<Arc<ServiceDecision>> {
        None
    }
}

fn followed(decided: &ServiceDecision, grid: &Grid) -> Option<Assignment> {
    let made = decided.realisations.first()?;
    let groups = named(made.groups.clone(), grid);
    Some(Assignment { groups, zones: made.zones.clone(), shed: made.shed })
}

/// The groups with the addresses that endpoints have in the world.
fn named(groups: Vec<Group>, grid: &Grid) -> Vec<Group> {
    let member = |member: Member| {
        let index = grid.index_of(&member.address)?;
        Some(Member { address: address_of(index), ..member })
    };
    let group = |group: Group| {
        let members = group.members.into_iter().filter_map(member).collect();
        Group { members, ..group }
    };
    groups.into_iter().map(group).collect()
}
