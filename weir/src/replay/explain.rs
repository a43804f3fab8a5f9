//! Why a decision was taken: what was seen and expected, what was wished, what bound it, what else
//! could have been done, and what came of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use weir_engine::assessment::Assessment;
use weir_engine::decision::ServiceDecision;
use weir_engine::model::{Model, View};
use weir_engine::names::ServiceId;
use weir_engine::observation::{Fitted, Row, ServiceTraffic};
use weir_engine::plan::Plan;
use weir_engine::state::State;
use weir_engine::units::Moment;
use weir_journal::{Record, Step};
use weir_models::reference::{Memory, Reference};

use super::{Opening, ReplayError};
use crate::recording::{Pages, ReadError, Recording, Records};

/// What endpoints did is summed over so long before a decision.
const BEFORE: Duration = Duration::from_secs(10);

/// A decision has taken effect after so long: a push, and a window of telemetry.
const TAKES_EFFECT: Duration = Duration::from_secs(3);

/// What came of it is summed over so long.
const AFTER: Duration = Duration::from_secs(10);

/// Which decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// By its number.
    Number(u64),
    /// The last one at or before a moment.
    At(Moment),
    /// The journal's last one.
    Last,
}

/// One service's part of a decision, with all that led to it.
#[derive(Clone, Debug)]
pub struct Explained {
    /// When.
    pub at: Moment,
    /// Its number.
    pub sequence: u64,
    /// What was decided.
    pub decision: Arc<ServiceDecision>,
    /// What stood before.
    pub before: Option<Arc<ServiceDecision>>,
    /// What was judged.
    pub assessment: Assessment,
    /// What was wished.
    pub plan: Plan,
    /// What each endpoint did in the seconds before.
    pub seen: Vec<Sums>,
    /// What each did once the decision had taken effect; none where the journal ends before.
    pub came: Option<Vec<Sums>>,
}

/// Counts of one endpoint over some seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Requests.
    pub requests: f64,
    /// Of these, failed.
    pub errors: f64,
    /// Timed requests.
    pub timed: f64,
    /// Their milliseconds.
    pub millis: f64,
}

impl Sums {
    fn add(&mut self, row: &Row) {
        self.requests += row.requests as f64;
        self.errors += row.errors as f64;
        self.timed += row.latency.count;
        self.millis += row.latency.sum_ms;
    }

    /// The part that failed, if there was any.
    pub fn error_ratio(self) -> Option<f64> {
        (self.requests > 0.0).then(|| self.errors / self.requests)
    }

    /// The mean latency in milliseconds, if any was timed.
    pub fn mean_ms(self) -> Option<f64> {
        (self.timed > 0.0).then(|| self.millis / self.timed)
    }

    /// Of all endpoints together.
    pub fn of_all(all: &[Self]) -> Self {
        all.iter().fold(Self::default(), |sum, one| Self {
            requests: sum.requests + one.requests,
            errors: sum.errors + one.errors,
            timed: sum.timed + one.timed,
            millis: sum.millis + one.millis,
        })
    }
}

impl Explained {
    /// What shares were expected to come to, as (errors, mean milliseconds), if each endpoint went
    /// on as it did. Endpoints of which nothing was seen are left out.
    pub fn prospect(&self, shares: &[f64]) -> Option<(f64, f64)> {
        let (mut known, mut errors, mut millis) = (0.0, 0.0, 0.0);
        for (share, sums) in shares.iter().zip(&self.seen) {
            if let Some(ratio) = sums.error_ratio() {
                known += share;
                errors += share * ratio;
                millis += share * sums.mean_ms().unwrap_or(0.0);
            }
        }
        (known > 0.0).then(|| (errors / known, millis / known))
    }

    /// The shares that were decided.
    pub fn decided(&self) -> Vec<f64> {
        self.decision.endpoints.iter().map(|endpoint| endpoint.share.value()).collect()
    }

    /// The shares that stood before, if the endpoints are the same.
    pub fn stood(&self) -> Option<Vec<f64>> {
        let before = self.before.as_ref()?;
        let same = before.endpoints.len() == self.decision.endpoints.len();
        same.then(|| before.endpoints.iter().map(|endpoint| endpoint.share.value()).collect())
    }

    /// The shares that the model wished, before any limit.
    pub fn wished(&self) -> Vec<f64> {
        let weight = |wish: &weir_engine::plan::Wish| if wish.eject { 0.0 } else { wish.weight };
        let weights: Vec<f64> = self.plan.endpoints.iter().map(weight).collect();
        let all: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / all).collect()
    }

    /// Equal shares.
    pub fn equal(&self) -> Vec<f64> {
        let count = self.decision.endpoints.len();
        vec![1.0 / count as f64; count]
    }
}

/// Explains a decision: every service that is `wanted`. Nothing where the journal has no such
/// decision.
pub fn explain(
    recording: &Recording,
    which: Which,
    wanted: impl Fn(&ServiceId) -> bool,
) -> Result<Vec<Explained>, ReplayError> {
    let mut found: Vec<Explained> = Vec::new();
    let Some((segment, sequence)) = place(recording, which)? else { return Ok(found) };
    for path in &recording.segments()[segment..] {
        let pages = Pages::read(path).map_err(ReadError::from)?;
        let mut records = pages.records()?;
        let opening = Opening::read(path, &mut records)?;
        let mut steps = steps(records);
        if found.is_empty() {
            found = taken(opening.state, sequence, &mut steps, &wanted)?;
        }
        for step in steps {
            let observation = step?.observation;
            if !follow(&mut found, &observation.traffic, observation.at) {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// A segment's steps up to where it is damaged: what follows cannot be explained.
fn steps(records: Records<'_>) -> impl Iterator<Item = Result<Box<Step>, ReplayError>> {
    let whole = records.take_while(|record| !matches!(record, Err(ReadError::Damaged { .. })));
    whole.filter_map(|record| match record {
        Ok(Record::Step(step)) => Some(Ok(step)),
        Ok(Record::Opened { .. } | Record::Closed { .. }) => None,
        Err(error) => Some(Err(error.into())),
    })
}

/// The segment and the number of a decision, if there is one.
fn place(recording: &Recording, which: Which) -> Result<Option<(usize, u64)>, ReplayError> {
    let mut found = None;
    for (index, path) in recording.segments().iter().enumerate() {
        let pages = Pages::read(path).map_err(ReadError::from)?;
        let mut records = pages.records()?;
        let opening = Opening::read(path, &mut records)?;
        let began = opening.state.sequence;
        if matches!(which, Which::At(at) if opening.at > at) {
            break;
        }
        for (number, step) in (began + 1..).zip(steps(records)) {
            let at = step?.observation.at;
            let hit = match which {
                Which::Number(sequence) => number == sequence,
                Which::At(until) => at <= until,
                Which::Last => true,
            };
            found = if hit { Some((index, number)) } else { found };
        }
    }
    Ok(found)
}

/// Decides until the decision that is sought, and tells all that led to it.
fn taken(
    mut state: State<Memory>,
    sequence: u64,
    steps: &mut impl Iterator<Item = Result<Box<Step>, ReplayError>>,
    wanted: &impl Fn(&ServiceId) -> bool,
) -> Result<Vec<Explained>, ReplayError> {
    let witness = Witness::default();
    let mut window: VecDeque<(Moment, Vec<ServiceTraffic>)> = VecDeque::new();
    for step in steps {
        let observation = step?.observation;
        window.push_back((observation.at, observation.traffic.clone()));
        while window.front().is_some_and(|(at, _)| observation.at.since(*at) >= BEFORE) {
            window.pop_front();
        }
        let before: Vec<_> = state.services.iter().map(|service| service.last.clone()).collect();
        let decision = weir_engine::decide(&mut state, &observation, &witness);
        if decision.sequence < sequence {
            continue;
        }
        let decided = decision.services.iter().filter(|one| wanted(&one.service));
        let explained = decided.map(|service| {
            let mut seen = vec![Sums::default(); service.endpoints.len()];
            for (_, traffic) in &window {
                sum(traffic, &service.service, &mut seen);
            }
            let before = before.iter().flatten().find(|one| one.service == service.service);
            let (assessment, plan) = witness.of(&service.service).unwrap_or_default();
            let decision = Arc::clone(service);
            let (before, came) = (before.cloned(), None);
            Explained {
                at: observation.at,
                sequence,
                decision,
                before,
                assessment,
                plan,
                seen,
                came,
            }
        });
        return Ok(explained.collect());
    }
    Ok(Vec::new())
}

/// Takes in what came of it; whether more may follow.
fn follow(found: &mut [Explained], traffic: &[ServiceTraffic], at: Moment) -> bool {
    for found in found.iter_mut().filter(|found| at > found.at.plus(TAKES_EFFECT)) {
        if at > found.at.plus(TAKES_EFFECT + AFTER) {
            return false;
        }
        let count = found.decision.endpoints.len();
        let came = found.came.get_or_insert_with(|| vec![Sums::default(); count]);
        sum(traffic, &found.decision.service, came);
    }
    !found.is_empty()
}

fn sum(traffic: &[ServiceTraffic], service: &ServiceId, sums: &mut [Sums]) {
    for row in traffic.iter().filter(|one| one.service == *service).flat_map(|one| one.rows.iter())
    {
        if let Some(sum) = sums.get_mut(row.endpoint as usize) {
            sum.add(row);
        }
    }
}

/// The reference model, and what it last said of each service.
#[derive(Debug, Default)]
struct Witness {
    said: RefCell<Vec<(ServiceId, Assessment, Plan)>>,
}

impl Witness {
    fn of(&self, service: &ServiceId) -> Option<(Assessment, Plan)> {
        let said = self.said.borrow();
        let (_, assessment, plan) = said.iter().find(|(id, ..)| id == service)?;
        Some((assessment.clone(), plan.clone()))
    }
}

impl Model for Witness {
    type Memory = Memory;

    fn version(&self) -> &'static str {
        Reference.version()
    }

    fn remap(&self, memory: &mut Memory, from: &[Option<usize>]) {
        Reference.remap(memory, from);
    }

    fn adopt(&self, fitted: &Fitted, memory: &mut Memory) {
        Reference.adopt(fitted, memory);
    }

    fn assess(&self, view: &View<'_>, memory: &mut Memory) -> Assessment {
        Reference.assess(view, memory)
    }

    fn share(&self, view: &View<'_>, assessment: &Assessment, memory: &mut Memory) -> Plan {
        let plan = Reference.share(view, assessment, memory);
        let service = &view.topology.service;
        let mut said = self.said.borrow_mut();
        said.retain(|(id, ..)| id != service);
        said.push((service.clone(), assessment.clone(), plan.clone()));
        plan
    }

    fn compare(
        &self,
        look: &weir_engine::comparison::Look,
        bar: &weir_engine::comparison::Bar,
        memory: &mut Memory,
    ) -> weir_engine::comparison::Verdict {
        Reference.compare(look, bar, memory)
    }
}
