//! How many requests an endpoint works on at once, where nobody declares it.
//!
//! The quickest answers were hardly ever kept waiting, and requests of one service spread alike: so
//! the quick ones of an endpoint, times what the mean is longer than the quick ones at peers, are
//! how long its work takes. From that follow
//!
//! - what it surely has: as many workers as were ever busy (throughput x work), and as many as it
//!   takes for what was inside not to wait visibly;
//! - what it surely has not more than: the workers behind a queue that lasts (Sakasegawa's formula
//!   solved for them), or the throughput at which everybody waits.
//!
//! In between counts what the upper quarter of its peers has shown: they share a service's build
//! and limits. To err low is the rule: to take eight workers for sixty-four cost 40 % errors in a
//! flash crowd, while half or double is mild.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::middle;
use crate::queue::Queue;

mod shown;
use shown::shown;

/// The part of the requests whose latency tells how long work takes without waiting: the quick
/// ones were hardly ever kept waiting, as long as anything was idle at times.
pub(crate) const QUICK: f64 = 0.2;

/// Time constant of the smoothed latency and throughput.
const FOLLOWS_IN: f64 = 8.0;

/// Time constant with which high marks fade: endpoints change in place.
const FADES_IN: f64 = 600.0;

/// How long the lowest latency takes to rise by a factor of e while all is slower: longer than an
/// overload lasts, whose waiting must not pass for work.
const RISES_IN: f64 = 3_600.0;

/// An endpoint is credited with at most so many times the workers of its peers.
const MORE_THAN_PEERS: f64 = 1.3;

/// Requests that take longer than ever by this factor (as a logarithm) are waiting ...
const WAITS: f64 = 0.4;

/// ... and by so much more over the root of the number of requests, lest noise pass for it ...
const SURELY: f64 = 2.6;

/// ... if no fewer than this part of the workers are busy that were before; else it is the work
/// that takes longer.
const AS_MANY: f64 = 0.9;

/// So many looks in a row must show waiting to set a limit: workers are lasting, and slow spells
/// are not.
const IN_A_ROW: u8 = 5;

/// How long a limit takes to be believed less by a factor of e.
const RELAXES_IN: f64 = 300.0;

/// What is borne without waiting proves at most so many times as much.
const BEARS_MOST: f64 = 1.6;

/// Endpoints whose work takes up to so many times (as a logarithm) that of the middle one.
const ALIKE: f64 = 0.916_290_731_874_155;

/// How far marks go in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    follows: f64,
    rises: f64,
    keeps: f64,
    relaxes: f64,
}

impl Pace {
    /// Of a step so long.
    pub(crate) fn of(elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        Self {
            follows: 1.0 - libm::exp(-seconds / FOLLOWS_IN),
            rises: seconds / RISES_IN,
            keeps: libm::exp(-seconds / FADES_IN),
            relaxes: libm::exp(seconds / RELAXES_IN),
        }
    }
}

/// What is remembered of an endpoint's throughput and knee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Knee {
    /// Smoothed requests per second.
    rate: Option<f64>,
    /// The most requests per second that it sustained.
    pub(crate) sustained: f64,
    /// Smoothed logarithm of its quick requests' milliseconds, and the lowest it was.
    quick: Option<(f64, f64)>,
    /// The requests per second at which waiting shows it to end; zero while none was seen.
    limit: f64,
    /// Looks in a row with waiting.
    row: u8,
    /// The most requests per second that it surely bears, since it bore fewer without waiting.
    free: f64,
}

/// The latencies of one look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Timing {
    /// Mean milliseconds.
    pub(crate) mean: f64,
    /// What the quickest part took at most, in milliseconds.
    pub(crate) quick: f64,
}

impl Timing {
    /// How much longer the mean is than the quick, as a logarithm.
    pub(crate) fn shape(self) -> f64 {
        libm::log(self.mean / self.quick)
    }
}

impl Knee {
    /// Takes in requests per second.
    pub(crate) fn see_rate(&mut self, rate: f64, pace: Pace) {
        if !rate.is_finite() || rate < 0.0 {
            return;
        }
        let smooth = self.rate.map_or(rate, |old| old + pace.follows * (rate - old));
        self.rate = Some(smooth);
        self.sustained = (self.sustained * pace.keeps).max(smooth);
        if self.limit > 0.0 {
            self.limit = (self.limit * pace.relaxes).max(smooth);
        }
    }

    /// Takes in latencies, and the throughput and number of requests that they were seen at.
    /// `shape` is how much longer than the quick ones requests of the service take in the mean, as
    /// a logarithm.
    pub(crate) fn see_latency(
        &mut self,
        timing: Timing,
        (rate, count): (f64, f64),
        shape: f64,
        pace: Pace,
    ) {
        let ln = libm::log(timing.quick);
        if !ln.is_finite() || !rate.is_finite() {
            return;
        }
        let (smooth, lowest) = self.quick.map_or((ln, ln), |(old, lowest)| {
            let smooth = old + pace.follows * (ln - old);
            (smooth, (lowest + pace.rises).min(smooth))
        });
        self.quick = Some((smooth, lowest));
        let longer = libm::log(timing.mean) - lowest - shape;
        let noise = SURELY / count.sqrt();
        let inside = rate * timing.mean / 1_000.0;
        self.free *= pace.keeps;
        let waits = longer >= WAITS + noise;
        let all_wait = timing.shape() <= shape - WAITS;
        self.row = if waits || all_wait { self.row.saturating_add(1) } else { 0 };
        if all_wait {
            // Whatever its work takes: this is all that it can do.
            self.limit_at(rate, rate, pace);
        } else if waits {
            self.see_waiting(longer, inside, shape, pace);
        } else if longer <= noise {
            let worked_on = inside * libm::exp(-noise.min(WAITS));
            let bears = (shown(inside, worked_on) / worked_on).min(BEARS_MOST);
            let rate = rate.min(self.rate.unwrap_or(rate)).max(0.0);
            if bears.is_finite() {
                self.free = self.free.max(self.free + pace.follows * (bears * rate - self.free));
            }
        }
    }

    /// Takes in how much longer than their work takes requests are inside, and how many are.
    fn see_waiting(&mut self, longer: f64, inside: f64, shape: f64, pace: Pace) {
        let worked_on = inside * libm::exp(-longer);
        let shown = shown(inside, worked_on);
        if worked_on > 0.0 {
            self.limit_at(shown / self.work(shape), worked_on / self.work(shape), pace);
        }
    }

    /// Takes in a limit that waiting shows at a rate. Once that lasts, and if it is not lower than
    /// what was borne before: else it is the work that takes longer.
    fn limit_at(&mut self, limit: f64, rate: f64, pace: Pace) {
        if self.row >= IN_A_ROW && limit.max(rate) >= AS_MANY * self.sustained {
            let from = if self.limit > 0.0 { self.limit } else { limit };
            self.limit = from + pace.follows * (limit - from);
        }
    }

    /// Seconds of work for a request, without waiting.
    fn work(&self, shape: f64) -> f64 {
        self.quick.map_or(0.0, |(_, lowest)| libm::exp(lowest + shape) / 1_000.0)
    }

    /// The most workers that were surely busy.
    pub(crate) fn busy(&self, shape: f64) -> f64 {
        self.sustained * self.work(shape)
    }

    /// How many workers it surely has: as many as were busy, and those without which there would
    /// have been waiting.
    fn proven(&self, shape: f64) -> f64 {
        let least = self.sustained.max(self.free);
        (if self.limit > 0.0 { least.min(self.limit) } else { least }) * self.work(shape)
    }

    /// How many workers to reckon with where peers had so many busy: as many, or somewhat more
    /// where more were busy here, and no more than waiting shows.
    pub(crate) fn workers(&self, shape: f64, peers: f64) -> f64 {
        let (busy, proven) = (self.busy(shape), self.proven(shape));
        let most = if peers > 0.0 { MORE_THAN_PEERS * peers } else { proven };
        let learned = proven.min(most).max(peers);
        let limit = self.limit * self.work(shape);
        let learned = if limit > 0.0 { learned.min(limit.max(busy)) } else { learned };
        Queue::of(learned).workers()
    }

    /// The requests per second at which waiting shows it to end, if any was seen.
    pub(crate) fn limit(&self) -> Option<f64> {
        (self.limit > 0.0).then_some(self.limit)
    }
}

/// What peers show together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Peers {
    /// How many workers they had busy: what the upper quarter of them had, since those with little
    /// to do show little.
    pub(crate) busy: f64,
    /// What the middle one had.
    pub(crate) middle: f64,
}

impl Peers {
    /// Of these endpoints. One that is far slower than most was never seen without a queue, or
    /// ails: its waiting would pass for work.
    pub(crate) fn of<'a>(knees: impl Iterator<Item = &'a Knee> + Clone, shape: f64) -> Self {
        let mut lowest: Vec<f64> =
            knees.clone().filter_map(|knee| knee.quick).map(|(_, lowest)| lowest).collect();
        let middle = middle::lower(&mut lowest).unwrap_or(0.0);
        let alike = knees.filter(|knee| knee.quick.is_some_and(|(_, l)| l <= middle + ALIKE));
        let mut busy: Vec<f64> = alike.map(|knee| knee.proven(shape)).collect();
        busy.sort_unstable_by(f64::total_cmp);
        let last = busy.len().saturating_sub(1);
        let at = |index: usize| busy.get(index).copied().unwrap_or(0.0);
        Self { busy: at((3 * last).div_ceil(4)), middle: at(last / 2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Mean over the quickest fifth of a lognormal of sigma 0.8: ln(1.377 / 0.510).
    const SHAPE: f64 = 0.993;

    const WORK_MS: f64 = 40.0;

    fn step() -> Pace {
        Pace::of(Duration::from_secs(1))
    }

    /// What an endpoint of `workers` and 40 ms shows at a utilization. A queue makes the quick ones
    /// wait as well, as far as it is always there.
    fn watch(knee: &mut Knee, workers: f64, utilization: f64, seconds: u32) {
        let rate = utilization * workers / WORK_MS * 1_000.0;
        let mean = 1_000.0 * Queue::of(workers).inside(utilization) / rate;
        let all_wait = (mean - 3.0 * WORK_MS).max(0.0);
        let quick = WORK_MS * libm::exp(-SHAPE) + all_wait;
        for _ in 0..seconds {
            knee.see_rate(rate, step());
            knee.see_latency(Timing { mean, quick }, (rate, rate), SHAPE, step());
        }
    }

    proptest! {
        #[test]
        fn never_finds_many_more_workers_than_there_are(
            workers in 2.0..64.0_f64, loads in prop::collection::vec(0.05..0.98_f64, 1..6),
        ) {
            let mut knee = Knee::default();
            watch(&mut knee, workers, 0.1, 30);
            for load in loads {
                watch(&mut knee, workers, load, 20);
            }
            let found = knee.workers(SHAPE, 0.0);
            prop_assert!(found <= workers * 1.25 + 1.0, "{found} of {workers}");
        }

        #[test]
        fn any_number_leaves_finite_marks(
            mean in any::<f64>(), quick in any::<f64>(), rate in any::<f64>(), count in any::<f64>(),
        ) {
            let mut knee = Knee::default();
            for _ in 0..9 {
                knee.see_rate(rate, step());
                knee.see_latency(Timing { mean, quick }, (rate, count), SHAPE, step());
            }
            let workers = knee.workers(SHAPE, 0.0);
            prop_assert!(knee.sustained.is_finite() && workers >= 1.0, "{knee:?}");
            prop_assert!(knee.limit().is_none_or(|limit| limit > 0.0), "{knee:?}");
        }
    }

    #[test]
    fn finds_most_of_them_under_load_and_some_without() {
        let mut knee = Knee::default();
        watch(&mut knee, 8.0, 0.5, 60);
        let idle = knee.workers(SHAPE, 0.0);
        watch(&mut knee, 8.0, 0.95, 60);
        let busy = knee.workers(SHAPE, 0.0);
        assert!(idle > 4.0 && idle < 8.0 && busy > 7.0 && busy < 9.0, "{idle} {busy}");
    }

    #[test]
    fn a_queue_that_lasts_shows_the_limit() {
        let mut knee = Knee::default();
        watch(&mut knee, 4.0, 0.3, 30);
        watch(&mut knee, 4.0, 0.97, 60);
        watch(&mut knee, 4.0, 0.6, 30);
        // Four workers of 40 ms end at 100 a second, whatever peers have.
        let limit = knee.limit().unwrap_or(0.0);
        assert!((90.0..125.0).contains(&limit) && knee.workers(SHAPE, 16.0) < 5.5, "{knee:?}");
    }

    #[test]
    fn peers_bound_what_is_believed() {
        let mut knee = Knee::default();
        watch(&mut knee, 8.0, 0.9, 60);
        let own = knee.proven(SHAPE);
        let is = |workers: f64, wanted: f64| assert!((workers - wanted).abs() < 1e-9);
        is(knee.workers(SHAPE, own / 2.0), MORE_THAN_PEERS * own / 2.0);
        is(Knee::default().workers(SHAPE, 5.0), 5.0);
        is(Knee::default().workers(SHAPE, 0.0), 1.0);
    }

    #[test]
    fn who_was_never_seen_idle_does_not_speak_for_peers() {
        let mut knees = vec![Knee::default(); 5];
        for knee in &mut knees[..3] {
            watch(knee, 8.0, 0.5, 60);
        }
        let two = Peers::of(knees[..3].iter(), SHAPE);
        for knee in &mut knees[3..] {
            watch(knee, 8.0, 0.99, 60);
        }
        let all = Peers::of(knees.iter(), SHAPE);
        assert!((all.busy - two.busy).abs() < 1e-9, "{all:?} {two:?}");
    }

    #[test]
    fn absurd_telemetry_gives_absurdly_many_but_finite_workers() {
        let mut knee = Knee::default();
        for _ in 0..30 {
            knee.see_rate(2.7e17, step());
            knee.see_latency(Timing { mean: 1e200, quick: 200.0 }, (2.7e17, 1e100), 525.0, step());
        }
        for (shape, peers) in [(525.0, 5e237), (f64::MAX, f64::INFINITY), (f64::NAN, 1.0)] {
            assert!((1.0..1e7).contains(&knee.workers(shape, peers)), "{knee:?}");
        }
    }

    #[test]
    fn slower_work_is_no_limit() {
        let mut knee = Knee::default();
        watch(&mut knee, 8.0, 0.6, 60);
        for _ in 0..30 {
            knee.see_rate(60.0, step());
            let slow = Timing { mean: 400.0, quick: 300.0 };
            knee.see_latency(slow, (60.0, 60.0), SHAPE, step());
        }
        assert_eq!(knee.limit(), None);
    }
}
