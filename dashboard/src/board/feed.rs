//! Which decisions change something, and what they are told as.
//!
//! The engine decides every tick; nearly all of these decisions say "as before". The feed compares
//! each with the last one that it told, so that a slow drift is told once it amounts to something
//! and a steady state is silent.

use std::sync::Arc;
use std::time::Duration;

use weir_engine::decision::{self, EndpointState, ServiceDecision};
use weir_engine::goal::Mode;
use weir_engine::names::{Address, PolicyName};
use weir_engine::rollout::RolloutDecision;
use weir_engine::units::Moment;

use super::rollout::{self, Stood, Turn};
use crate::view::decision::Kind;

/// Less traffic than this moved is not told: a hundredth, about what one endpoint in a hundred takes.
const MOVED_MIN: f64 = 0.01;

/// Shares alone are told this seldom: the window over which the guard bounds their movement, so a
/// transition of half a minute is two or three entries.
const SHARES_PAUSE: Duration = Duration::from_secs(15);

/// Holding and acting again are told this seldom, since thin traffic may flip them every step.
const STANCE_PAUSE: Duration = Duration::from_secs(10);

/// What was last told of a service.
#[derive(Debug)]
pub(crate) struct Told {
    at: Moment,
    layout: Arc<[Address]>,
    stands: Vec<Stand>,
    stance: decision::Stance,
    mode: Mode,
    policy: PolicyName,
    rollout: Option<Stood>,
    approval: Option<(u64, Moment)>,
}

/// A service after a decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now<'a> {
    pub(crate) at: Moment,
    pub(crate) layout: &'a Arc<[Address]>,
    pub(crate) service: &'a ServiceDecision,
    pub(crate) rollout: Option<&'a RolloutDecision>,
}

/// How an endpoint stood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stand {
    pub(crate) weight: f64,
    pub(crate) share: f64,
    pub(crate) state: EndpointState,
}

/// What a decision changes against what was last told.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The most important kind of change.
    pub(crate) kind: Kind,
    /// Endpoints that change, most important first.
    pub(crate) endpoints: Vec<Change>,
    /// Part of the traffic that goes elsewhere.
    pub(crate) moved: f64,
    /// The mode and policy that were in force, if they are others.
    pub(crate) policy: Option<(Mode, PolicyName)>,
    /// Whether Weir acts again after holding.
    pub(crate) resumed: bool,
    /// What of the service's rollout changes.
    pub(crate) rollout: Option<Turn>,
}

/// One endpoint that changes.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) address: Address,
    pub(crate) before: Option<Stand>,
    /// Index in the decision's endpoints; none for one that left.
    pub(crate) after: Option<usize>,
    /// By how much its share changes.
    pub(crate) shift: f64,
}

impl Told {
    /// What is told of a service after a decision.
    pub(crate) fn of(now: Now<'_>) -> Self {
        let service = now.service;
        Self {
            at: now.at,
            layout: Arc::clone(now.layout),
            stands: service.endpoints.iter().map(Stand::of).collect(),
            stance: service.stance.clone(),
            mode: service.mode,
            policy: service.policy.clone(),
            rollout: now.rollout.map(Stood::of),
            approval: approved(service),
        }
    }
}

/// The approval in force, by its number and its end.
fn approved(service: &ServiceDecision) -> Option<(u64, Moment)> {
    service.approval.as_ref().map(|approval| (approval.number, approval.until))
}

impl Stand {
    fn of(endpoint: &decision::EndpointDecision) -> Self {
        Self { weight: endpoint.weight, share: endpoint.share.value(), state: endpoint.state }
    }
}

/// What a decision changes, if it is worth telling.
pub(crate) fn changes(told: Option<&Told>, now: Now<'_>) -> Option<Changes> {
    let Now { at, layout, service, rollout } = now;
    let Some(told) = told else {
        return Some(Changes {
            kind: Kind::First,
            endpoints: Vec::new(),
            moved: 0.0,
            policy: None,
            resumed: false,
            rollout: None,
        });
    };
    let mut endpoints = compare(told, layout, service);
    let moved = endpoints.iter().map(|change| change.shift.abs()).sum::<f64>() / 2.0;
    let policy = (told.mode != service.mode || told.policy != service.policy)
        .then(|| (told.mode, told.policy.clone()));
    let approval = told.approval != approved(service);
    let quiet = at.since(told.at);
    let stance = holds_differ(&told.stance, &service.stance)
        && quiet >= STANCE_PAUSE
        && !rollout::is_route(service, rollout);
    let turn = rollout
        .and_then(|rollout| rollout::turn(told.rollout.as_ref(), rollout, (quiet, STANCE_PAUSE)));
    let kinds = endpoints.iter().map(|change| change.kind).filter(|kind| *kind != Kind::Shares);
    let kind = kinds
        .chain(turn.map(|_| Kind::Rollout))
        .chain(stance.then_some(Kind::Stance))
        .chain((policy.is_some() || approval).then_some(Kind::Policy))
        .chain((moved >= MOVED_MIN && quiet >= SHARES_PAUSE).then_some(Kind::Shares))
        .min()?;
    endpoints.retain(|change| change.kind != Kind::Shares || change.shift.abs() >= 1e-4);
    endpoints.sort_by(|a, b| {
        a.kind
            .cmp(&b.kind)
            .then(b.shift.abs().total_cmp(&a.shift.abs()))
            .then(a.after.cmp(&b.after))
    });
    let resumed = stance && !holds(&service.stance);
    let between = rollout.zip(told.rollout.as_ref()).filter(|_| kind == Kind::Rollout);
    let moved = between.map_or(moved, |(rollout, told)| told.moved(rollout));
    Some(Changes { kind, endpoints, moved, policy, resumed, rollout: turn })
}

/// All endpoints of then and now; those that only keep their state are of kind shares.
fn compare(told: &Told, layout: &[Address], service: &ServiceDecision) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut old = told.layout.iter().zip(&told.stands).peekable();
    for (index, (address, endpoint)) in layout.iter().zip(&service.endpoints).enumerate() {
        while let Some((gone, stand)) = old.next_if(|(known, _)| *known < address) {
            changes.push(left(gone, *stand));
        }
        let before = old.next_if(|(known, _)| *known == address).map(|(_, stand)| *stand);
        let now = Stand::of(endpoint);
        changes.push(Change {
            kind: kind(before, now),
            address: address.clone(),
            before,
            after: Some(index),
            shift: now.share - before.map_or(0.0, |before| before.share),
        });
    }
    changes.extend(old.map(|(gone, stand)| left(gone, *stand)));
    changes
}

fn left(address: &Address, stand: Stand) -> Change {
    Change {
        kind: Kind::Endpoints,
        address: address.clone(),
        before: Some(stand),
        after: None,
        shift: -stand.share,
    }
}

fn kind(before: Option<Stand>, now: Stand) -> Kind {
    let Some(before) = before else { return Kind::Endpoints };
    match (before.state, now.state) {
        (EndpointState::Ejected { times: a, .. }, EndpointState::Ejected { times: b, .. }) => {
            if b > a { Kind::Ejected } else { Kind::Shares }
        }
        (_, EndpointState::Ejected { .. }) => Kind::Ejected,
        (EndpointState::Ejected { .. }, EndpointState::Probation) => Kind::Probation,
        (
            EndpointState::Ejected { .. } | EndpointState::Probation | EndpointState::Joining,
            EndpointState::Serving,
        ) => Kind::Restored,
        (a, b) if a == b => Kind::Shares,
        _ => Kind::Endpoints,
    }
}

fn holds(stance: &decision::Stance) -> bool {
    matches!(stance, decision::Stance::Holding(_) | decision::Stance::Decaying { .. })
}

/// Whether one holds and the other does not, or both for different causes.
fn holds_differ(before: &decision::Stance, now: &decision::Stance) -> bool {
    use core::mem::discriminant;
    match (before, now) {
        (decision::Stance::Holding(a), decision::Stance::Holding(b)) => {
            discriminant(a) != discriminant(b)
        }
        _ => (holds(before) || holds(now)) && discriminant(before) != discriminant(now),
    }
}

#[cfg(test)]
mod tests;
