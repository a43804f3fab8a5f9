//! The reference model: how Weir judges endpoints and shares traffic by default.
//!
//! Judging: service time, capacity and errors per endpoint from counts of the last seconds, or
//! unknown. Sharing: equal, unless a difference between endpoints is proven and lasts; then the
//! rates that let requests spend the least time in all. Limits, timers and probations are the
//! guard's: here stands only what would be best.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use weir_engine::assessment::Assessment;
use weir_engine::comparison::{Bar, Look, Verdict};
use weir_engine::history::remapped;
use weir_engine::model::{Model, View};
use weir_engine::observation::Fitted;
use weir_engine::plan::Plan;
use weir_engine::units::Moment;

use crate::canary::Evidence;
use crate::concurrency::{Knee, Peers};
use crate::errors::Counts;
use crate::imbalance::Difference;
use crate::overload::Shedding;
use crate::persistence::Persistence;
use crate::service_time::Filter;
use crate::tail::Timed;
use crate::watch::Watch;

use zones::Zones;

mod judge;
mod share;
mod zones;

/// Loops in an ejection.
const PAST: usize = 5;

/// At least this part of a deviation must outlast an ejection, or what is slow now is well by the
/// time that it is out or starved.
const OUTLASTS_LEAST: f64 = 0.95;

/// Where differences stand, so much is enough: what was believed is not given up for a breath.
const OUTLASTS_STILL: f64 = 0.88;

/// Watched for less than this, a service has shown nothing of how long its deviations last.
const EXPERIENCED: Duration = Duration::from_secs(30);

/// Watched for less than an ejection takes, nobody knows what will be slow when it is over.
const GLIMPSED: Duration = Duration::from_secs(10);

impl Memory {
    /// Whether slow endpoints may be taken out: their slowness lasts, as far as was watched.
    fn ejects_slow(&self) -> bool {
        self.lasts() && self.watched >= GLIMPSED
    }

    /// Whether deviations last long enough to take endpoints out for them.
    fn lasts(&self) -> bool {
        let stands = self.endpoints.iter().any(|endpoint| endpoint.difference.stands());
        self.outlasts.part() >= if stands { OUTLASTS_STILL } else { OUTLASTS_LEAST }
    }

    /// What judges of series remember.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Whether it was watched for long enough to know how long deviations last.
    fn experienced(&self) -> bool {
        self.watched >= EXPERIENCED
    }

    /// Whether experience says that what is seen now will still be there.
    fn trusted(&self) -> bool {
        self.experienced() && self.outlasts.trusts() && self.follows.trusts()
    }

    /// The part of a deviation from the long run that is acted on: what persists over a loop,
    /// unless it is gone before an ejection or a move between classes would be over.
    fn part(&self) -> f64 {
        if self.lasts() { self.follows.part() } else { 0.0 }
    }
}

/// The reference model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reference;

/// What the reference model remembers of one service: a fixed amount per endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// When it last judged.
    at: Option<Moment>,
    /// How long before that it judged the time before.
    elapsed: Duration,
    /// For how long it has judged on fresh evidence.
    watched: Duration,
    /// One per endpoint.
    endpoints: Vec<Endpoint>,
    /// How much of a deviation persists over a loop.
    follows: Persistence,
    /// How much persists over an ejection.
    outlasts: Persistence,
    /// When deviations were last set aside to be compared later.
    set_aside: Option<Moment>,
    /// How much wider than ordinary the service's requests spread; below one counts as one.
    spread: f64,
    /// Where clients are, and how far from one another.
    zones: Zones,
    /// What is turned away.
    shedding: Shedding,
    /// By how much endpoints' levels wander within an ejection's length: an ordinary deviation.
    wander: f64,
    /// The error ratio that is usual here.
    usual_errors: Option<f64>,
    /// How many workers peers had busy.
    busy: Peers,
    /// How much longer than the quick ones requests take in the mean, as a logarithm.
    shape: Option<f64>,
    /// What is known of a new version: in memories of comparisons only.
    compared: Evidence,
    /// What judges of series remember: advice.
    watch: Watch,
}

/// How an endpoint stood at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Past {
    /// How far it was from its long run.
    deviation: f64,
    /// Its long run.
    long: f64,
    /// Logarithm of its capacity.
    level: f64,
}

/// What is remembered of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Endpoint {
    /// Its service time, once known.
    filter: Option<Filter>,
    /// When the filter last saw anything.
    looked: Option<Moment>,
    /// Logarithm of its capacity in requests per millisecond, as of the last look.
    level: f64,
    /// Its throughput and knee.
    knee: Knee,
    /// The workers that are reckoned with where none are declared.
    workers: f64,
    /// By how much its mean latency exceeds the quick ones', as of the last look.
    shape: Option<f64>,
    /// Requests and errors: of lately, or since it came back.
    counts: Counts,
    /// Timed requests likewise.
    timed: Timed,
    /// Windows in a row in which it was too slow.
    slow_windows: u32,
    /// Wished out for slowness, and not yet back in service.
    slow_out: bool,
    /// When the probation began that the counts belong to.
    proving_since: Option<Moment>,
    /// Deviations set aside, one per loop, the newest first: an ejection's length of them.
    past: [Option<Past>; PAST],
    /// Whether it differs from its peers.
    difference: Difference,
}

impl Model for Reference {
    type Memory = Memory;

    fn version(&self) -> &'static str {
        "reference-1"
    }

    fn remap(&self, memory: &mut Memory, from: &[Option<usize>]) {
        memory.endpoints = remapped(&mut memory.endpoints, from);
        memory.watch.remap(from);
    }

    fn adopt(&self, fitted: &Fitted, memory: &mut Memory) {
        memory.watch.adopt(fitted);
    }

    fn assess(&self, view: &View<'_>, memory: &mut Memory) -> Assessment {
        memory.endpoints.resize_with(view.topology.endpoints.len(), Endpoint::default);
        let mut assessment = judge::assess(view, memory);
        assessment.warnings = memory.watch.see(view, &assessment);
        assessment
    }

    fn share(&self, view: &View<'_>, assessment: &Assessment, memory: &mut Memory) -> Plan {
        memory.endpoints.resize_with(view.topology.endpoints.len(), Endpoint::default);
        share::share(view, assessment, memory)
    }

    fn compare(&self, look: &Look, bar: &Bar, memory: &mut Memory) -> Verdict {
        memory.compared.absorb(look, bar);
        memory.compared.judge(bar)
    }
}

#[cfg(test)]
mod tests;
