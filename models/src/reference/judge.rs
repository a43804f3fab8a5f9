//! Judging a service: what is known of each endpoint, and which of them fail.

use core::time::Duration;

use weir_engine::assessment::{Assessment, Expectation, Judgement};
use weir_engine::decision::EndpointState;
use weir_engine::history::{History, Window};
use weir_engine::model::View;
use weir_engine::names::Place;
use weir_engine::observation::Row;
use weir_engine::units::{Millis, Moment, PerSecond, Ratio};

use super::zones::Zones;
use super::{Endpoint, Memory, Past};
use crate::concurrency::Timing;
use crate::errors::{self, Counts};
use crate::queue::Queue;
use crate::service_time::{self, Estimate, Filter, Pace, REQUESTS_LEAST, Seen};
use crate::tail::{self, Promise};
use crate::{concurrency, middle, persistence};

/// Time constant of the usual error ratio: slow, so that a failure of all shows as unusual.
const USUAL_IN: f64 = 300.0;

/// An endpoint looks bad from this error ratio on, or this multiple of the usual one.
const BAD_LEAST: f64 = 0.01;
const BAD_TIMES_USUAL: f64 = 3.0;

/// An endpoint looks bad if it is slower than in the long run by ln(1.5) and four deviations.
const BAD_SLOWER: f64 = 0.405_465_108_108_164_4;
const BAD_DEVIATIONS: f64 = 4.0;

/// Time constant of the requests' spread, and the most that it may widen.
const SPREAD_IN: f64 = 30.0;
const SPREAD_MOST: f64 = 5.0;

/// The median of |z| where z is normal.
const MEDIAN_OF_NORMAL: f64 = 0.6745;

/// Learned workers that differ by less than this part are the same as before.
const ABOUT: f64 = 0.05;

/// From this utilization on an endpoint shows its capacity, declared or not.
const SHOWS_CAPACITY: f64 = 0.9;

/// An endpoint seen again after so long was out: it shows whether taking it out was right.
const RETURNED_AFTER: Duration = Duration::from_secs(9);

/// Latencies of a probation are kept so many times as long: they are few.
const PROVING_KEEPS: u32 = 4;

/// The longest step: after a longer silence filters start from what is seen now anyway.
const STEP_MOST: Duration = Duration::from_secs(600);

pub(super) fn assess(view: &View<'_>, memory: &mut Memory) -> Assessment {
    let fresh = Fresh::of(view, memory);
    (memory.at, memory.elapsed) = (Some(view.at), fresh.elapsed);
    memory.zones.see(&fresh.windows, view, fresh.elapsed);
    let looks = look(view, memory, &fresh);
    learn(memory, &looks, view, &fresh);
    let part = memory.part();
    let mut endpoints: Vec<Judgement> = looks
        .iter()
        .zip(&mut memory.endpoints)
        .map(|(look, endpoint)| judgement(look, endpoint, part))
        .collect();
    accuse(&mut endpoints, memory, &fresh);
    Assessment { endpoints, load: load(view.history), persistence: part, warnings: Vec::new() }
}

/// The windows since the last judgement.
struct Fresh<'a> {
    windows: Vec<&'a Window>,
    elapsed: Duration,
    /// What is kept of earlier counts, and of those of a probation.
    kept: (f64, f64),
    /// How far means and marks go.
    pace: (Pace, concurrency::Pace),
    promise: Option<Promise>,
}

impl<'a> Fresh<'a> {
    fn of(view: &View<'a>, memory: &Memory) -> Self {
        let elapsed = memory.at.map_or(view.elapsed, |at| view.at.since(at)).min(STEP_MOST);
        let new = |window: &&Window| memory.at.is_none_or(|at| window.at > at);
        Self {
            windows: view.history.newest_first().take_while(new).collect(),
            elapsed,
            kept: (errors::kept(elapsed), errors::kept(elapsed / PROVING_KEEPS)),
            pace: (Pace::of(elapsed), concurrency::Pace::of(elapsed)),
            promise: Promise::of(view.goal),
        }
    }

    fn rows(&self, endpoint: usize) -> impl Iterator<Item = &'a Row> {
        self.windows.iter().filter_map(move |window| window.row(endpoint))
    }
}

/// What this step shows of one endpoint.
#[derive(Default)]
struct Look {
    /// Enough was seen within the last seconds.
    known: Option<Estimate>,
    /// By how many ordinary deviations it surprised, if anything new was seen.
    surprise: Option<f64>,
    /// Seen again after an ejection's length: its deviation before and now, and how noisy that is.
    returned: Option<(f64, f64, f64)>,
    workers: f64,
    /// Requests per second and millisecond of service time that its workers have shown to bear,
    /// here or at peers: 1,000 for each that was surely busy.
    shown: f64,
    declared: bool,
}

fn look(view: &View<'_>, memory: &mut Memory, fresh: &Fresh<'_>) -> Vec<Look> {
    let (spread, busy, shape) =
        (memory.spread.max(1.0), memory.busy.busy, memory.shape.unwrap_or(0.0));
    let Memory { endpoints, zones, .. } = memory;
    let declared = view.topology.endpoints.iter().zip(endpoints);
    declared
        .enumerate()
        .map(|(index, (declared, endpoint))| {
            let state = view.standings.get(index);
            let proving = state.filter(|standing| standing.state == EndpointState::Probation);
            endpoint.count(proving.map(|standing| standing.since), index, fresh);
            let finished = fresh.rows(index).any(|row| row.requests > row.errors);
            let learns = declared.concurrency.is_none();
            let zone = &declared.locality.zone;
            let seen = pooled(view.history, (index, zone), learns, zones);
            let Some(seen) = seen else { return Look::default() };
            if finished {
                endpoint.knee.see_rate(seen.rate, fresh.pace.1);
            }
            let workers = if let Some(declared) = declared.concurrency {
                f64::from(declared.get())
            } else {
                let pace = fresh.pace.1;
                let learned = endpoint.learn_workers(seen, finished, (shape, busy), pace);
                endpoint.reckon_with(learned, seen)
            };
            let known = service_time::estimate(seen, Queue::of(workers));
            let new = known.filter(|_| finished);
            let after = endpoint.looked.map_or(fresh.elapsed, |looked| view.at.since(looked));
            let returned = new.zip(endpoint.filter).filter(|_| after >= RETURNED_AFTER);
            let returned = returned
                .map(|(look, filter)| (filter.deviation(), look.ln_ms - filter.long, look.noise));
            let pace =
                if after == fresh.elapsed { fresh.pace.0 } else { Pace::of(after.min(STEP_MOST)) };
            let surprise = new.map(|look| endpoint.follow(look, spread, pace));
            endpoint.looked = if new.is_some() { Some(view.at) } else { endpoint.looked };
            let declared = declared.concurrency.is_some();
            let shown = if declared { 0.0 } else { 1_000.0 * workers.min(busy) };
            Look { known, surprise, returned, workers, shown, declared }
        })
        .collect()
}

/// An endpoint's counts from the newest window back, until they are enough or the reach ends. Its
/// quick requests are looked for only where its workers are to be learned. The time that requests of
/// other zones spend on their way is not the endpoint's.
fn pooled(
    history: &History,
    (endpoint, zone): (usize, &Place),
    learns: bool,
    zones: &Zones,
) -> Option<Seen> {
    let (mut requests, mut finished, mut seconds) = (0.0, 0.0, 0.0);
    let (mut timed, mut sum_ms, mut windows, mut quick) = (0.0, 0.0, 0.0, 0.0);
    let windows_of = history.newest_first();
    let rows = windows_of.filter_map(|window| Some((window, window.row(endpoint)?)));
    for (window, row) in rows {
        if row.latency.count.is_finite() && row.latency.sum_ms.is_finite() {
            let seen = zones.seen(window, row, zone, learns);
            quick += seen.count * seen.quick_ms;
            timed += seen.count;
            sum_ms += seen.sum_ms;
        }
        if row.clients > 0 {
            requests += row.requests as f64;
            finished += row.requests.saturating_sub(row.errors) as f64;
            seconds += row.exposure.as_secs_f64() / f64::from(row.clients);
            windows += 1.0;
        }
        if finished >= REQUESTS_LEAST && timed >= REQUESTS_LEAST {
            break;
        }
    }
    if seconds <= 0.0 {
        return None;
    }
    let (mean_ms, quick_ms) =
        if timed > 0.0 { (sum_ms / timed, quick / timed) } else { (0.0, 0.0) };
    // Little's law over all requests, the failed ones' time included: they were inside too.
    let inside = requests / seconds * mean_ms / 1_000.0;
    Some(Seen { finished, timed, inside, quick_ms, rate: finished / seconds, windows })
}

impl Endpoint {
    /// Takes in new counts; those of a probation are its own and are kept: errors all of them,
    /// latencies for longer.
    fn count(&mut self, proving: Option<Moment>, index: usize, fresh: &Fresh<'_>) {
        if proving.is_some() && proving != self.proving_since {
            (self.counts, self.timed, self.slow_windows) = Default::default();
        } else if proving.is_none() {
            self.counts.forget(fresh.kept.0);
            self.timed.forget(fresh.kept.0);
        } else {
            // What was slow at the return may be well by now.
            self.timed.forget(fresh.kept.1);
        }
        self.proving_since = proving;
        for row in fresh.rows(index) {
            if row.clients > 0 {
                self.counts.add(row.judged_requests, row.judged_errors);
            }
            if let Some(promise) = fresh.promise {
                self.timed.add(&row.latency, promise);
            }
        }
    }

    fn learn_workers(
        &mut self,
        seen: Seen,
        new: bool,
        (shape, peers): (f64, f64),
        pace: concurrency::Pace,
    ) -> f64 {
        if new && seen.finished.min(seen.timed) >= REQUESTS_LEAST && seen.rate > 0.0 {
            let mean = 1_000.0 * seen.inside / seen.rate;
            let timing = Timing { mean, quick: seen.quick_ms };
            self.shape = Some(timing.shape()).filter(|shape| shape.is_finite());
            self.knee.see_latency(timing, (seen.rate, seen.timed), shape, pace);
        }
        self.knee.workers(shape, peers)
    }

    /// Reckons with so many workers from now on, if they are not about as many as before. What was
    /// followed so far is measured anew: the yardstick changed, not the endpoint.
    fn reckon_with(&mut self, learned: f64, seen: Seen) -> f64 {
        let before = self.workers;
        if (learned - before).abs() <= ABOUT * before {
            return before;
        }
        self.workers = learned;
        let at = |workers: f64| service_time::estimate(seen, Queue::of(workers));
        if let (true, Some(filter)) = (before > 0.0, &mut self.filter)
            && let Some((old, new)) = at(before).zip(at(learned))
        {
            let by = new.ln_ms - old.ln_ms;
            filter.shift(by);
            for then in self.past.iter_mut().flatten() {
                then.long += by;
            }
        }
        learned
    }

    fn follow(&mut self, look: Estimate, spread: f64, pace: Pace) -> f64 {
        if let Some(filter) = &mut self.filter {
            return filter.follow(look, spread, pace);
        }
        self.filter = Some(Filter::start(look, spread));
        0.0
    }
}

/// Learns what the service's endpoints show together.
fn learn(memory: &mut Memory, looks: &[Look], view: &View<'_>, fresh: &Fresh<'_>) {
    if fresh.windows.is_empty() {
        return;
    }
    memory.watched = memory.watched.saturating_add(fresh.elapsed);
    let seconds = fresh.elapsed.as_secs_f64();
    let mut surprises: Vec<f64> =
        looks.iter().filter_map(|look| look.surprise).map(f64::abs).collect();
    if let Some(median) = middle::lower(&mut surprises) {
        let seen = (median / MEDIAN_OF_NORMAL).min(SPREAD_MOST);
        let gain = 1.0 - libm::exp(-seconds / SPREAD_IN);
        memory.spread = memory.spread.max(1.0);
        memory.spread += gain * (seen - memory.spread);
    }
    if looks.iter().any(|look| !look.declared) {
        let mut shapes: Vec<f64> =
            memory.endpoints.iter_mut().filter_map(|endpoint| endpoint.shape.take()).collect();
        // The upper of two: where half have a queue, waiting hides the shape of the work.
        if let Some(shape) = middle::upper(&mut shapes) {
            let gain = 1.0 - libm::exp(-seconds / SPREAD_IN);
            let before = memory.shape.unwrap_or(shape);
            memory.shape = Some(before + gain * (shape - before));
        }
        let shape = memory.shape.unwrap_or(0.0);
        let knees = memory.endpoints.iter().map(|endpoint| &endpoint.knee);
        memory.busy = concurrency::Peers::of(knees, shape);
    }
    memory.follows.forget(fresh.elapsed);
    memory.outlasts.forget(fresh.elapsed);
    for (before, now, noise) in looks.iter().filter_map(|look| look.returned) {
        memory.outlasts.add(before, now, noise);
    }
    if memory.set_aside.is_none_or(|then| view.at.since(then) >= persistence::LOOP) {
        memory.set_aside = Some(view.at);
        compare(memory, looks);
    }
}

/// Compares deviations of a loop and of an ejection ago with what is seen now, against the long run
/// of then: the long run comes to meet what lasts, which must not count as passing. Sets the
/// present ones aside.
fn compare(memory: &mut Memory, looks: &[Look]) {
    let mut wander = Vec::new();
    for (look, endpoint) in looks.iter().zip(&mut memory.endpoints) {
        let now = look.known.zip(endpoint.filter);
        if let (Some(_), [.., Some(then)]) = (now, endpoint.past) {
            wander.push((endpoint.level - then.level).abs());
        }
        if let Some((look, _)) = now {
            let seen = |then: Past| (then.deviation, look.ln_ms - then.long);
            if let [Some(lately), ..] = endpoint.past {
                let (before, now) = seen(lately);
                memory.follows.add(before, now, look.noise);
            }
            if let [.., Some(then)] = endpoint.past
                && then.deviation > 0.0
            {
                let (before, now) = seen(then);
                memory.outlasts.add(before, now, look.noise);
            }
        }
        endpoint.past.rotate_right(1);
        endpoint.past[0] = now.map(|(_, filter)| Past {
            deviation: filter.deviation(),
            long: filter.long,
            level: endpoint.level,
        });
    }
    if let Some(median) = middle::lower(&mut wander) {
        let gain = 1.0 - libm::exp(-persistence::LOOP.as_secs_f64() / SPREAD_IN);
        memory.wander += gain * (median / MEDIAN_OF_NORMAL - memory.wander);
    }
}

fn judgement(look: &Look, endpoint: &mut Endpoint, part: f64) -> Judgement {
    let known = look.known.zip(endpoint.filter);
    let expectation = known.map(|(estimate, filter)| {
        // Only the part of a deviation that persists is acted on.
        let ln_ms = filter.long + part * filter.deviation();
        let service_ms = libm::exp(ln_ms);
        endpoint.level = libm::log(look.workers) - ln_ms;
        if let Some(limit) = endpoint.knee.limit().filter(|_| !look.declared) {
            endpoint.level = endpoint.level.min(libm::log(limit / 1_000.0));
        }
        let shows = look.declared || estimate.utilization >= SHOWS_CAPACITY;
        let capacity = |ms: f64| if shows { 1_000.0 * look.workers / ms } else { 0.0 };
        Expectation {
            service_time: Millis::clamped(service_ms),
            deviation: filter.variance.sqrt(),
            concurrency: look.workers,
            capacity: PerSecond::clamped(capacity(service_ms)),
            present: PerSecond::clamped(capacity(libm::exp(filter.mean))),
            sustained: PerSecond::clamped(endpoint.knee.sustained.max(look.shown / service_ms)),
            utilization: Ratio::clamped(estimate.utilization),
        }
    });
    let slower = known.is_some_and(|(_, filter)| {
        let deviation = filter.deviation();
        deviation > BAD_SLOWER && deviation > BAD_DEVIATIONS * filter.variance.sqrt()
    });
    Judgement {
        expectation,
        failing: None,
        slow: None,
        bad: slower,
        errors: endpoint.counts.errors,
        requests: endpoint.counts.requests,
    }
}

/// Adds the proofs against endpoints. Comparing with peers is needed only where one is suspect.
fn accuse(judgements: &mut [Judgement], memory: &mut Memory, fresh: &Fresh<'_>) {
    let total = memory.endpoints.iter().fold(Counts::default(), |mut total, endpoint| {
        total.add(endpoint.counts.requests, endpoint.counts.errors);
        total
    });
    let mut usual_now = total.ratio();
    if memory.endpoints.iter().any(|endpoint| endpoint.counts.suspect()) {
        let peers = errors::Peers::of(memory.endpoints.iter().map(|endpoint| endpoint.counts));
        usual_now = peers.median();
        let usual = memory.usual_errors.unwrap_or(usual_now);
        let bad_from = (BAD_TIMES_USUAL * usual).max(BAD_LEAST);
        for (judgement, endpoint) in judgements.iter_mut().zip(&memory.endpoints) {
            let proving = endpoint.proving_since.is_some();
            judgement.failing = peers.failing(endpoint.counts, proving);
            judgement.bad |= judgement.failing.is_some()
                || endpoint.counts.suspect() && endpoint.counts.surely() > bad_from;
        }
    }
    if total.requests > 0.0 && !fresh.windows.is_empty() {
        let gain = 1.0 - libm::exp(-fresh.elapsed.as_secs_f64() / USUAL_IN);
        let usual = memory.usual_errors.get_or_insert(usual_now);
        *usual += gain * (usual_now - *usual);
    }
    if let Some(promise) = fresh.promise {
        accuse_slow(judgements, promise, memory, fresh);
    }
}

fn accuse_slow(
    judgements: &mut [Judgement],
    promise: Promise,
    memory: &mut Memory,
    fresh: &Fresh<'_>,
) {
    let suspect = memory.endpoints.iter().any(|endpoint| endpoint.timed.suspect(promise));
    let timed = memory.endpoints.iter().map(|endpoint| endpoint.timed).filter(|_| suspect);
    let peers = tail::Peers::of(timed);
    for (judgement, endpoint) in judgements.iter_mut().zip(&mut memory.endpoints) {
        judgement.slow = peers.slow(endpoint.timed, promise, endpoint.slow_windows);
        judgement.bad |= judgement.slow.is_some();
        if !fresh.windows.is_empty() {
            endpoint.slow_windows = judgement.slow.map_or(0, |slow| slow.windows);
        }
    }
}

/// Requests per second in the newest window.
fn load(history: &History) -> PerSecond {
    let newest = history.newest_first().next();
    let rates = newest.iter().flat_map(|window| window.rows.iter());
    PerSecond::clamped(rates.filter_map(Row::rate).sum())
}
