//! What other goals would have come to on one journal.
//!
//! Both are decided on the same recorded telemetry, which other decisions would have changed: so it
//! says what would have been decided, and expects every endpoint to answer as it was recorded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_engine::decision::{Decision, EndpointDecision, EndpointState, ServiceDecision, Stance};
use weir_engine::goal::Goals;
use weir_engine::names::{Address, ServiceId};
use weir_engine::observation::ServiceTraffic;
use weir_engine::state::State;
use weir_engine::units::Moment;
use weir_models::reference::{Memory, Reference};

use super::{Eye, Opening, Part, ReplayError, Turn};
use crate::recording::Recording;

/// One service under the recorded goals and under others.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// As recorded.
    pub recorded: Course,
    /// By the other goals.
    pub other: Course,
    /// Steps at which endpoints' states or weights, or what is turned away, differ.
    pub different: u64,
    /// The first of these: when, and both decisions.
    pub first: Option<(Moment, Arc<ServiceDecision>, Arc<ServiceDecision>)>,
}

/// What decisions came to over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    /// Steps.
    pub steps: u64,
    /// Parts of the service's traffic that steps moved, summed: 1 is all of it once.
    pub moved: f64,
    /// Times that an endpoint was taken out.
    pub ejections: u64,
    /// For how long endpoints were out, summed over them.
    pub out: Duration,
    /// The most that were out at once.
    pub out_most: usize,
    /// For how long shares were unequal or endpoints out.
    pub steering: Duration,
    /// For how long everything was held as it stood.
    pub holding: Duration,
    /// Requests that shares were expected to send somewhere known.
    pub requests: f64,
    /// Of these, expected to fail.
    pub errors: f64,
    /// Their expected milliseconds.
    pub millis: f64,
}

impl Course {
    /// The expected part of requests that fail, if any were seen.
    pub fn error_ratio(&self) -> Option<f64> {
        (self.requests > 0.0).then(|| self.errors / self.requests)
    }

    /// The expected mean latency in milliseconds.
    pub fn mean_ms(&self) -> Option<f64> {
        (self.requests > 0.0).then(|| self.millis / self.requests)
    }
}

/// Decides a journal again by its own goals and by `goals`, which replace those of the services
/// that they name.
pub fn compare(
    recording: &Recording,
    goals: &Goals,
) -> Result<BTreeMap<ServiceId, Comparison>, ReplayError> {
    let mut ledger = Ledger::default();
    beside(recording, |recorded| merged(recorded, goals), |turn, other| ledger.enter(turn, other))?;
    Ok(ledger.services)
}

/// Decides a journal again by its own goals and by what `change` makes of them; `both` sees each step
/// and what the changed goals come to.
pub fn beside(
    recording: &Recording,
    change: impl Fn(&Goals) -> Goals,
    both: impl FnMut(Turn<'_>, &Decision),
) -> Result<Vec<Part>, ReplayError> {
    let mut beside = Beside { change, state: State::default(), begins: true, ended: None, both };
    super::all(recording, &mut beside)
}

/// The other goals' own course, beside the recorded one.
struct Beside<C, F> {
    change: C,
    state: State<Memory>,
    /// The goals change with the next step.
    begins: bool,
    /// The recorded state at the last segment's end.
    ended: Option<State<Memory>>,
    both: F,
}

impl<C: Fn(&Goals) -> Goals, F> Beside<C, F> {
    fn decide(&mut self, turn: Turn<'_>) -> Decision {
        let mut observation = Cow::Borrowed(&turn.step.observation);
        let recorded = turn.step.observation.goals.as_ref();
        if self.begins || recorded.is_some() {
            let changed = (self.change)(recorded.unwrap_or(&turn.state.goals));
            observation.to_mut().goals = Some(changed);
        }
        self.begins = false;
        let decision = weir_engine::decide(&mut self.state, &observation, &Reference);
        for service in &mut self.state.services {
            // Proxies were told something else: what they did is no mismatch to this.
            service.realised.changed = Moment::from_millis(u64::MAX);
        }
        decision
    }
}

impl<C: Fn(&Goals) -> Goals, F: FnMut(Turn<'_>, &Decision)> Eye for Beside<C, F> {
    fn begin(&mut self, opening: &Opening) {
        // Where the recording goes on, so does the other course; after a restart it begins anew.
        if self.ended.as_ref() != Some(&opening.state) {
            self.state = opening.state.clone();
            self.begins = true;
        }
    }

    fn see(&mut self, turn: Turn<'_>) {
        let other = self.decide(turn);
        (self.both)(turn, &other);
    }

    fn end(&mut self, state: State<Memory>) {
        self.ended = Some(state);
    }
}

/// A step is no longer than this: a longer time is a gap in the recording.
const STEP_MOST: Duration = Duration::from_secs(120);

/// What both courses come to.
#[derive(Default)]
struct Ledger {
    at: Option<Moment>,
    books: BTreeMap<ServiceId, Books>,
    services: BTreeMap<ServiceId, Comparison>,
}

impl Ledger {
    fn enter(&mut self, turn: Turn<'_>, other: &Decision) {
        let at = turn.decision.at;
        let lasted = self.at.map_or(Duration::ZERO, |before| at.since(before));
        let lasted = if lasted > STEP_MOST { Duration::ZERO } else { lasted };
        self.at = Some(at);
        for recorded in &turn.decision.services {
            let other = other.services.iter().find(|one| one.service == recorded.service);
            let Some(other) = other else { continue };
            let books = self.books.entry(recorded.service.clone()).or_default();
            let traffic = turn.step.observation.traffic.iter();
            books.look(recorded, traffic.filter(|one| one.service == recorded.service));
            let comparison = self.services.entry(recorded.service.clone()).or_default();
            books.enter((recorded, 0), lasted, &mut comparison.recorded);
            books.enter((other, 1), lasted, &mut comparison.other);
            if !is_same(recorded, other) {
                comparison.different += 1;
                let both = || (at, Arc::clone(recorded), Arc::clone(other));
                comparison.first.get_or_insert_with(both);
            }
        }
    }
}

/// Whether two decisions come to the same: who is in, with which weight, and what is turned away.
pub fn is_same(a: &ServiceDecision, b: &ServiceDecision) -> bool {
    let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
    let same = |(a, b): (&EndpointDecision, &EndpointDecision)| {
        a.address == b.address && a.state == b.state && close(a.weight, b.weight)
    };
    a.endpoints.len() == b.endpoints.len()
        && a.endpoints.iter().zip(&b.endpoints).all(same)
        && close(a.shed.value(), b.shed.value())
}

/// What is known of a service's endpoints, and who was out on either course.
#[derive(Debug, Default)]
struct Books {
    /// Error ratio and mean milliseconds, as last seen.
    seen: BTreeMap<Address, (f64, f64)>,
    /// Requests of this step.
    requests: f64,
    out: [Vec<Address>; 2],
}

impl Books {
    /// Takes in a step's telemetry.
    fn look<'a>(
        &mut self,
        decision: &ServiceDecision,
        traffic: impl Iterator<Item = &'a ServiceTraffic>,
    ) {
        self.requests = 0.0;
        for row in traffic.flat_map(|traffic| traffic.rows.iter()).filter(|row| row.requests > 0) {
            let Some(endpoint) = decision.endpoints.get(row.endpoint as usize) else { continue };
            self.requests += row.requests as f64;
            let errors = row.errors as f64 / row.requests as f64;
            let known = self.seen.entry(endpoint.address.clone()).or_default();
            let mean = row.latency.mean().map_or(known.1, weir_engine::units::Millis::value);
            *known = (errors, mean);
        }
    }

    /// Enters one course's step.
    fn enter(
        &mut self,
        (decision, which): (&ServiceDecision, usize),
        lasted: Duration,
        course: &mut Course,
    ) {
        let out: Vec<Address> = decision
            .endpoints
            .iter()
            .filter(|endpoint| matches!(endpoint.state, EndpointState::Ejected { .. }))
            .map(|endpoint| endpoint.address.clone())
            .collect();
        course.steps += 1;
        course.moved += decision.moved.value();
        course.ejections += out.iter().filter(|one| !self.out[which].contains(one)).count() as u64;
        course.out += lasted * u32::try_from(out.len()).unwrap_or(u32::MAX);
        course.out_most = course.out_most.max(out.len());
        match decision.stance {
            Stance::Steering => course.steering += lasted,
            Stance::Holding(_) => course.holding += lasted,
            Stance::Resting | Stance::Decaying { .. } => {}
        }
        self.out[which] = out;
        self.expect(decision, course);
    }

    /// What shares are expected to come to, if each endpoint answers as it was last seen to.
    fn expect(&self, decision: &ServiceDecision, course: &mut Course) {
        let known = decision.endpoints.iter().filter_map(|endpoint| {
            Some((endpoint.share.value(), self.seen.get(&endpoint.address)?))
        });
        let known: Vec<(f64, &(f64, f64))> = known.collect();
        let all: f64 = known.iter().map(|(share, _)| share).sum();
        if all > 0.0 {
            let requests = self.requests / all;
            course.requests += self.requests;
            course.errors += requests * known.iter().map(|(share, (e, _))| share * e).sum::<f64>();
            course.millis += requests * known.iter().map(|(share, (_, m))| share * m).sum::<f64>();
        }
    }
}

/// `recorded`, with the goals of `other` for the services that it names.
pub fn merged(recorded: &Goals, other: &Goals) -> Goals {
    let mut merged = recorded.clone();
    for goal in &other.services {
        match merged.services.binary_search_by(|one| one.service.cmp(&goal.service)) {
            Ok(at) => merged.services[at] = goal.clone(),
            Err(at) => merged.services.insert(at, goal.clone()),
        }
    }
    for rollout in &other.rollouts {
        match merged.rollouts.binary_search_by(|one| one.service.cmp(&rollout.service)) {
            Ok(at) => merged.rollouts[at] = rollout.clone(),
            Err(at) => merged.rollouts.insert(at, rollout.clone()),
        }
    }
    merged
}
