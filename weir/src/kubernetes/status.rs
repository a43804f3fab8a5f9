//! What became of each policy, in its status. Pure.
//!
//! A level: made anew from what is known, and compared with what stands there, so that a status that
//! is right is not written and one that somebody changed is put right.
//!
//! <https://gateway-api.sigs.k8s.io/geps/gep-713/>

use std::collections::{BTreeMap, BTreeSet};
use std::mem::Discriminant;

use serde_json::Value;
use weir_engine::decision::{Decision, Hold, ServiceDecision, Stance};
use weir_engine::goal::Mode;
use weir_engine::names::{Address, PolicyName, ServiceId};
use weir_engine::units::Moment;
use weir_policies::check::Policy;
use weir_policies::document::{GROUP, KIND};
use weir_policies::in_force::InForce;
use weir_policies::problem::Problem;
use weir_policies::status::{
    Ancestor, AncestorRef, Condition, ConditionStatus, EndpointCounts, LastDecision,
    ObjectiveStatus, Status,
};

use super::telling::Shown;
use crate::goals::objects::{ByName, Object};

/// Targets that a status speaks of, as the Gateway API bounds them.
const ANCESTORS_MAX: usize = 16;

/// A message's length: the definition of conditions allows 32 KiB, people read less.
const MESSAGE_MAX: usize = 1_000;

/// Everything that a status is made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Policies in force, and what is refused.
    pub in_force: &'a InForce,
    /// The objects.
    pub objects: &'a ByName,
    /// What was decided last, if anything.
    pub shown: Option<&'a Shown>,
    /// Per service, the last decision that changed something.
    pub last: &'a Last,
    /// Now, as RFC 3339.
    pub now: &'a str,
}

/// Every policy's status.
pub fn statuses(facts: &Facts<'_>) -> BTreeMap<PolicyName, Status> {
    let one = |(name, object): (&PolicyName, &Object)| (name.clone(), status(name, object, facts));
    let here = facts.objects.iter().filter(|(_, object)| !object.deleting);
    here.map(one).collect()
}

/// What is the case, why, and why in words.
type Said = (ConditionStatus, &'static str, String);

fn status(name: &PolicyName, object: &Object, facts: &Facts<'_>) -> Status {
    let policy = facts.in_force.checked().policies.iter().find(|policy| policy.name == *name);
    let governed = policy.map(|policy| policy.governs.as_slice()).unwrap_or_default();
    let decided: Vec<&ServiceDecision> =
        governed.iter().filter_map(|id| decision(facts.shown, id)).collect();
    Status {
        ancestors: targets(policy, object)
            .into_iter()
            .take(ANCESTORS_MAX)
            .map(|target| ancestor(&target, (name, policy, object), facts))
            .collect(),
        objectives: decided.first().map(|one| objectives(one)).unwrap_or_default(),
        endpoints: counts(&decided),
        last_decision: governed.iter().find_map(|id| facts.last.of(id)).cloned(),
    }
}

fn decision<'a>(shown: Option<&'a Shown>, id: &ServiceId) -> Option<&'a ServiceDecision> {
    shown?.decision.services.iter().find(|service| service.service == *id).map(AsRef::as_ref)
}

fn targets(policy: Option<&Policy>, object: &Object) -> Vec<ServiceId> {
    let Some(policy) = policy else {
        let named = object.targets.iter();
        return named.map(|name| ServiceId::new(&object.namespace, name)).collect();
    };
    let lost = policy.conflicts.iter().map(|conflict| conflict.service.clone());
    policy.governs.iter().cloned().chain(lost).collect()
}

fn ancestor(
    target: &ServiceId,
    (name, policy, object): (&PolicyName, Option<&Policy>, &Object),
    facts: &Facts<'_>,
) -> Ancestor {
    let path = format!("{KIND} {name}");
    let mut refused = facts.in_force.refused().iter().filter(|problem| problem.path == path);
    let accepted = accepted(target, policy, refused.next(), facts.shown);
    let programmed = match policy {
        Some(policy) if policy.governs.contains(target) => programmed(target, policy, facts.shown),
        _ => (ConditionStatus::False, accepted.1, "the policy is not in force".to_owned()),
    };
    let condition = |kind: &str, (status, reason, message): Said| Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.chars().take(MESSAGE_MAX).collect(),
        observed_generation: object.generation,
        last_transition_time: since(object, target, kind, status)
            .unwrap_or_else(|| facts.now.to_owned()),
    };
    Ancestor {
        ancestor_ref: AncestorRef {
            group: String::new(),
            kind: "Service".to_owned(),
            namespace: target.namespace.to_string(),
            name: target.name.to_string(),
        },
        controller_name: format!("{GROUP}/weir"),
        conditions: vec![condition("Accepted", accepted), condition("Programmed", programmed)],
    }
}

/// Whether the policy can be acted on for this target.
fn accepted(
    target: &ServiceId,
    policy: Option<&Policy>,
    refused: Option<&Problem>,
    shown: Option<&Shown>,
) -> Said {
    use ConditionStatus::{False, True, Unknown};
    if let Some(problem) = refused {
        let stays = match policy {
            Some(_) => "; what it said before stays in force",
            None => "",
        };
        let place = if problem.field.is_empty() { "" } else { " in " };
        let (what, field, mend) = (&problem.what, &problem.field, &problem.mend);
        return (False, "Invalid", format!("{what}{place}{field}: {mend}{stays}"));
    }
    let Some(policy) = policy else {
        return (Unknown, "Pending", "it has not been read yet".to_owned());
    };
    if let Some(conflict) = policy.conflicts.iter().find(|one| one.service == *target) {
        let message = format!("the older policy {} governs {target}", conflict.winner);
        return (False, "Conflicted", message);
    }
    let Some(shown) = shown else {
        return (Unknown, "Pending", "nothing has been decided yet".to_owned());
    };
    if shown.governed.services.iter().any(|service| service.id == *target) {
        return (True, "Accepted", format!("it governs {target}"));
    }
    if !shown.governed.settled {
        return (Unknown, "Pending", "the cluster's services are not all known yet".to_owned());
    }
    let message = format!(
        "no Service {target} with the port that is meant (sectionName) is there: create it, or name \
         another"
    );
    (False, "TargetNotFound", message)
}

/// Whether proxies have what was decided.
fn programmed(target: &ServiceId, policy: &Policy, shown: Option<&Shown>) -> Said {
    use ConditionStatus::{False, True, Unknown};
    let Some((shown, decided)) = shown.zip(decision(shown, target)) else {
        return (Unknown, "Reconciling", "nothing has been decided yet".to_owned());
    };
    if policy.suspended {
        return (False, "Suspended", "suspend: true holds everything as it is".to_owned());
    }
    match (policy.mode, decided.mode) {
        (Mode::Enforce, Mode::Observe | Mode::Recommend) => {
            let why = "its endpoints are not served by Weir, so it is advised at most";
            return (False, "ModeRefused", why.to_owned());
        }
        (_, Mode::Observe) => {
            return (False, "NotEnforced", "mode Observe: shown, not done".to_owned());
        }
        (_, Mode::Recommend) if !decided.acts() => {
            return (False, "NotEnforced", "mode Recommend: nothing is approved".to_owned());
        }
        (_, Mode::Recommend | Mode::Enforce) => {}
    }
    if let Stance::Holding(Hold::Refused { nodes }) = decided.stance {
        let message = format!("{nodes} proxies refused what was sent: see their errors in Weir");
        return (False, "ProxyRejectedConfig", message);
    }
    if !shown.serving {
        return (Unknown, "Reconciling", "proxies are not answered yet".to_owned());
    }
    (True, "Programmed", "proxies get what is decided".to_owned())
}

/// Since when this is so, as the object says.
fn since(
    object: &Object,
    target: &ServiceId,
    kind: &str,
    status: ConditionStatus,
) -> Option<String> {
    let ancestors = object.status.get("ancestors")?.as_array()?;
    let ours = ancestors.iter().find(|ancestor| {
        ancestor.pointer("/ancestorRef/name").and_then(Value::as_str) == Some(&*target.name)
    })?;
    let conditions = ours.get("conditions")?.as_array()?;
    let same =
        conditions.iter().find(|one| one.get("type").and_then(Value::as_str) == Some(kind))?;
    let is = serde_json::to_value(status).ok()?;
    (same.get("status") == Some(&is)).then_some(())?;
    same.get("lastTransitionTime")?.as_str().map(str::to_owned)
}

/// Rounded, so that a status does not change with every request.
fn objectives(decided: &ServiceDecision) -> Vec<ObjectiveStatus> {
    let one = |objective: &weir_engine::decision::ObjectiveStatus| ObjectiveStatus {
        name: objective.name.clone(),
        budget_remaining: format!("{:.1}", objective.budget_left * 100.0),
        burn_rate_1h: format!("{:.1}", objective.burn_rate),
    };
    decided.objectives.iter().map(one).collect()
}

fn counts(decided: &[&ServiceDecision]) -> Option<EndpointCounts> {
    let all = || decided.iter().flat_map(|service| &service.endpoints);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    (!decided.is_empty()).then(|| EndpointCounts {
        total: count(all().count()),
        ejected: count(all().filter(|endpoint| endpoint.is_ejected()).count()),
    })
}

/// Per service, the last decision that an operator would notice.
#[derive(Clone, Debug, Default)]
pub struct Last(BTreeMap<ServiceId, (Stands, LastDecision)>);

/// What an operator notices: shares and counts move all the time.
type Stands = (Discriminant<Stance>, BTreeSet<Address>, Option<u64>);

impl Last {
    /// Takes note of a decision.
    pub fn remember(&mut self, decision: &Decision, shown: impl Fn(Moment) -> String) {
        for (place, service) in decision.services.iter().enumerate() {
            let out = service.endpoints.iter().filter(|endpoint| endpoint.is_ejected());
            let out = out.map(|endpoint| endpoint.address.clone()).collect();
            let offer = service.offer.as_ref().map(|offer| offer.number);
            let stands = (std::mem::discriminant(&service.stance), out, offer);
            let known = self.0.get(&service.service).is_some_and(|known| known.0 == stands);
            if !known {
                // As the API names it.
                let id = format!("{}-{place}", decision.sequence);
                let (time, summary) = (shown(decision.at), service.summary());
                let new = LastDecision { id, time, summary };
                self.0.insert(service.service.clone(), (stands, new));
            }
        }
        self.0.retain(|id, _| decision.services.iter().any(|service| service.service == *id));
    }

    fn of(&self, service: &ServiceId) -> Option<&LastDecision> {
        self.0.get(service).map(|known| &known.1)
    }
}

#[cfg(test)]
mod tests;
