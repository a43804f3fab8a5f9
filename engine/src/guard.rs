//! What is safe now: limits that hold whatever a model says.
//!
//! The guard is not the model. It alone ejects and brings back, moves weights step by step, and
//! holds everything when evidence is missing. When in doubt, it keeps what was.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::assessment::Assessment;
use crate::decision::{Bound, EndpointState, Hold, Reason, Stance};
use crate::goal::BalancingKind;
use crate::history::remapped;
use crate::model::{Standing, View};
use crate::names::Node;
use crate::observation::{Outcome, Receipt};
use crate::plan::Plan;
use crate::units::{Moment, Ratio};
use crate::zones::ZoneSplit;

mod ejection;
mod ramp;
mod shed;
mod stance;
mod steps;
pub mod truth;
mod zones;

pub use steps::{Mesh, Moves, measured};

/// What the guard remembers of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// One per endpoint: what is in force.
    pub standings: Vec<Standing>,
    /// Why each endpoint is out, or was last.
    pub causes: Vec<Reason>,
    /// One per endpoint: which way its weight last went.
    trends: Vec<steps::Trend>,
    /// Traffic moved by re-weighting in the last minute.
    moves: Moves,
    /// When re-weighting last changed something, within the last minute.
    changes: VecDeque<Moment>,
    /// Nodes that refused something and have not taken anything newer since.
    refusing: BTreeMap<Node, Refusal>,
    /// Nodes that have answered at all.
    pub answering: BTreeSet<Node>,
    /// Measured shares that do not match what was pushed.
    pub mismatch: Option<Hold>,
    /// The part of the requests that is turned away.
    shed: Ratio,
    /// Where the clients of each zone go.
    zones: Vec<ZoneSplit>,
    /// Traffic moved between zones in the last minute.
    zone_moves: Moves,
    /// Since when evidence is missing.
    stale_since: Option<Moment>,
    /// Whether the service has been seen before: endpoints that come later are new.
    settled: bool,
}

/// What a node refused, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Refusal {
    decision: u64,
    at: Moment,
}

/// At most so many nodes are remembered per service: more proxies than one process serves.
const NODES_MAX: usize = 4_096;

/// What is allowed now.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowed {
    /// What Weir is doing with the service.
    pub stance: Stance,
    /// One per endpoint.
    pub endpoints: Vec<Granted>,
    /// The part of the requests that is turned away.
    pub shed: Ratio,
    /// Where the clients of each zone go.
    pub zones: Vec<ZoneSplit>,
}

/// What one endpoint is granted.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    /// Weight relative to the equal share.
    pub weight: f64,
    /// In, out or in between.
    pub state: EndpointState,
    /// Why.
    pub reason: Reason,
    /// The limit that kept the model from more.
    pub bound: Option<Bound>,
}

impl Granted {
    /// Whether it takes traffic.
    pub fn is_in(&self) -> bool {
        !matches!(self.state, EndpointState::Ejected { .. } | EndpointState::NotReady)
    }
}

impl Memory {
    /// Follows a change of topology: `from[new]` is the old index of each endpoint. Endpoints that
    /// come to a service already known start their ramp.
    pub fn remap(&mut self, from: &[Option<usize>], at: Moment, slow_start: Duration) {
        self.standings = remapped(&mut self.standings, from);
        self.causes = remapped(&mut self.causes, from);
        self.trends = remapped(&mut self.trends, from);
        for (standing, old) in self.standings.iter_mut().zip(from) {
            if old.is_none() {
                standing.since = at;
                if self.settled && !slow_start.is_zero() {
                    standing.state = EndpointState::Joining;
                    standing.weight = ramp::LEAST;
                }
            }
        }
        self.settled |= !from.is_empty();
    }

    /// A policy comes into force: from here on what is granted is what proxies have, and so far
    /// they had equal shares, whatever was thought of.
    pub fn begin(&mut self, at: Moment) {
        for standing in &mut self.standings {
            let state = match standing.state {
                EndpointState::NotReady => EndpointState::NotReady,
                EndpointState::Serving
                | EndpointState::Joining
                | EndpointState::Probation
                | EndpointState::Ejected { .. } => EndpointState::Serving,
            };
            *standing = Standing { state, since: at, ..Standing::default() };
        }
        self.trends.clear();
        self.zones.clear();
        (self.moves, self.zone_moves) = (Moves::default(), Moves::default());
        self.changes.clear();
    }

    /// Nobody looked for a while, so nothing can be said of that time: staleness counts from now.
    pub fn paused(&mut self, at: Moment) {
        self.stale_since = Some(at);
    }

    /// Takes note of a proxy's answer, which came by now. One that takes what it had before it
    /// refused goes on refusing.
    pub fn answered(&mut self, receipt: &Receipt, at: Moment) {
        let node = &receipt.node;
        let refused = match receipt.outcome {
            Outcome::Taken => false,
            Outcome::Refused(_) => true,
            Outcome::Silent => return,
        };
        if self.answering.len() < NODES_MAX {
            self.answering.insert(node.clone());
        }
        if refused {
            if self.refusing.len() < NODES_MAX {
                self.refusing.insert(node.clone(), Refusal { decision: receipt.decision, at });
            }
        } else if self.refusing.get(node).is_some_and(|one| receipt.decision >= one.decision) {
            self.refusing.remove(node);
        }
    }
}

/// Bounds a plan by what is safe, and takes over what it allows.
pub fn allow(
    plan: &Plan,
    assessment: &Assessment,
    view: &View<'_>,
    memory: &mut Memory,
    mesh: &mut Mesh,
) -> Allowed {
    let stance = stance::stance(assessment, view, memory);
    let mut endpoints = standing(plan, view, memory);
    if !matches!(stance, Stance::Holding(Hold::Suspended)) {
        ejection::let_return(&mut endpoints, assessment, view, memory);
    }
    match stance {
        Stance::Resting | Stance::Steering => {
            ejection::eject(&mut endpoints, plan, assessment, view, memory);
            steps::reweight(&mut endpoints, plan, assessment, view, (memory, mesh));
        }
        Stance::Decaying { stale } => {
            steps::decay(&mut endpoints, stale.saturating_sub(stance::HOLD), view.elapsed);
        }
        Stance::Holding(_) => {}
    }
    if !matches!(stance, Stance::Resting | Stance::Steering) {
        ramp::go_on(&mut endpoints);
    }
    ramp::bound(&mut endpoints, assessment, view);
    tell_of_proxies(&mut endpoints, view);
    remember(&endpoints, view, memory);
    let shed = shed::bounded(plan, &stance, view);
    memory.shed = shed;
    zones::follow(&endpoints, (plan, &stance), assessment, view, (memory, mesh));
    let zones = memory.zones.clone();
    Allowed { stance: settled(stance, &endpoints, &zones), endpoints, shed, zones }
}

/// Everything as it stands, with the reasons that the plan or an earlier ejection gives.
fn standing(plan: &Plan, view: &View<'_>, memory: &Memory) -> Vec<Granted> {
    let declared = view.topology.endpoints.iter().zip(&memory.standings);
    declared
        .enumerate()
        .map(|(index, (endpoint, standing))| {
            let state = match (endpoint.ready, standing.state) {
                (false, _) => EndpointState::NotReady,
                (true, EndpointState::NotReady) => EndpointState::Joining,
                (true, state) => state,
            };
            let wished = plan.endpoints.get(index).map_or(Reason::Unknown, |w| w.reason.clone());
            let reason = match state {
                EndpointState::NotReady => Reason::NotReady,
                EndpointState::Ejected { .. } => {
                    memory.causes.get(index).cloned().unwrap_or_default()
                }
                EndpointState::Probation | EndpointState::Joining => {
                    Reason::Proving { age: view.at.since(standing.since) }
                }
                EndpointState::Serving => wished,
            };
            Granted { weight: standing.weight, state, reason, bound: None }
        })
        .collect()
}

/// Where most proxies have an endpoint out themselves, that is what there is to say of it.
fn tell_of_proxies(endpoints: &mut [Granted], view: &View<'_>) {
    for (index, granted) in endpoints.iter_mut().enumerate() {
        let says_little =
            matches!(granted.reason, Reason::Equal | Reason::Unknown | Reason::Remainder);
        let opinion = view.history.opinion(index, view.at).filter(|_| says_little);
        if let Some(opinion) = opinion.filter(|opinion| 2 * opinion.ejected_by > opinion.of) {
            granted.reason =
                Reason::EjectedByProxies { clients: opinion.ejected_by, of: opinion.of };
        }
    }
}

/// What an acting service is doing: at rest while all weights are equal, nobody is out and all
/// clients go alike.
fn settled(stance: Stance, endpoints: &[Granted], zones: &[ZoneSplit]) -> Stance {
    match stance {
        Stance::Resting | Stance::Steering => {
            let equal = endpoints.iter().all(|endpoint| {
                endpoint.state == EndpointState::NotReady
                    || endpoint.state == EndpointState::Serving
                        && (endpoint.weight - 1.0).abs() < 1e-9
            });
            if equal && zones.is_empty() { Stance::Resting } else { Stance::Steering }
        }
        Stance::Holding(_) | Stance::Decaying { .. } => stance,
    }
}

fn remember(endpoints: &[Granted], view: &View<'_>, memory: &mut Memory) {
    memory.causes.resize_with(endpoints.len(), Reason::default);
    for (index, (granted, standing)) in
        endpoints.iter().zip(memory.standings.iter_mut()).enumerate()
    {
        if core::mem::discriminant(&granted.state) != core::mem::discriminant(&standing.state) {
            standing.since = view.at;
        }
        standing.state = granted.state;
        standing.weight = granted.weight;
        match granted.state {
            EndpointState::Ejected { times, .. } => {
                standing.ejections = times;
                memory.causes[index] = granted.reason.clone();
            }
            EndpointState::Serving if view.at.since(standing.since) >= ejection::FORGIVEN_AFTER => {
                standing.ejections = 0;
            }
            EndpointState::Serving
            | EndpointState::Joining
            | EndpointState::Probation
            | EndpointState::NotReady => {}
        }
    }
}

/// The shares that relative weights amount to, over the endpoints that take traffic.
pub fn shares(endpoints: &[Granted]) -> Vec<f64> {
    let sum: f64 = endpoints.iter().filter(|e| e.is_in()).map(|e| e.weight).sum();
    endpoints
        .iter()
        .map(|endpoint| if endpoint.is_in() && sum > 0.0 { endpoint.weight / sum } else { 0.0 })
        .collect()
}

/// The part of the proxies that ejected each endpoint themselves: nothing of those that Weir has
/// out already.
pub fn out_at_proxies(endpoints: &[Granted], view: &View<'_>) -> Vec<f64> {
    let part = |index: usize| {
        if endpoints[index].is_in() { ejection::part_out(endpoints, index, view) } else { 0.0 }
    };
    (0..endpoints.len()).map(part).collect()
}

/// Whether the policy leaves the shares to the model.
fn adaptive(view: &View<'_>) -> bool {
    view.goal.balancing.kind == BalancingKind::Adaptive
}

#[cfg(test)]
mod tests;
