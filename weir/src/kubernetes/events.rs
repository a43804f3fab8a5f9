//! What happened, as Kubernetes Events: one reason for each cause, and never a flood. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_engine::decision::{Decision, EndpointState, Hold, ServiceDecision, Stance};
use weir_engine::names::{Address, PolicyName, ServiceId};
use weir_engine::rollout::{Phase, RolloutDecision};
use weir_engine::units::Moment;
use weir_policies::status::{ConditionStatus, Status};

/// So many events at once, as other clients of the API server have it.
const BURST: u32 = 25;

/// And one more in this time.
const EVERY: Duration = Duration::from_secs(5);

/// Longest text of an event, in bytes, as the API server has it.
const TEXT_MAX: usize = 1_024;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The policy that it is about.
    pub policy: PolicyName,
    /// The service that it happened to.
    pub service: ServiceId,
    /// Why, in one word.
    pub reason: &'static str,
    /// Whether somebody should look.
    pub warns: bool,
    /// What, for people.
    pub text: String,
}

/// What was last told of.
#[derive(Debug, Default)]
pub struct Told {
    services: BTreeMap<ServiceId, Stands>,
    rollouts: BTreeMap<ServiceId, Phase>,
    policies: BTreeMap<(PolicyName, String, String), String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Stands {
    out: BTreeSet<Address>,
    trouble: Option<&'static str>,
}

impl Told {
    /// What a decision has that the one before had not. Of what is seen first only the state is
    /// remembered: it did not happen now.
    pub fn of_decision(
        &mut self,
        decision: &Decision,
        policy: impl Fn(&ServiceId) -> Option<PolicyName>,
    ) -> Vec<Note> {
        let mut notes = Vec::new();
        for service in &decision.services {
            let now = Stands { out: out(service), trouble: trouble(&service.stance) };
            let before = self.services.insert(service.service.clone(), now.clone());
            if let (Some(before), Some(policy)) = (before, policy(&service.service)) {
                notes.extend(changes(service, &policy, (&before, &now)));
            }
        }
        for rollout in &decision.rollouts {
            let before = self.rollouts.insert(rollout.service.clone(), rollout.phase);
            notes.extend(before.and_then(|before| progress(rollout, before)));
        }
        let there = |id: &ServiceId| decision.services.iter().any(|one| one.service == *id);
        self.services.retain(|id, _| there(id));
        self.rollouts.retain(|id, _| decision.rollouts.iter().any(|one| one.service == *id));
        notes
    }

    /// What became of policies since the last time.
    pub fn of_statuses(&mut self, statuses: &BTreeMap<PolicyName, Status>) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut now = BTreeMap::new();
        for (policy, status) in statuses {
            for ancestor in &status.ancestors {
                let target = &ancestor.ancestor_ref;
                let service = ServiceId::new(&target.namespace, &target.name);
                for condition in &ancestor.conditions {
                    let key = (policy.clone(), target.name.clone(), condition.kind.clone());
                    let reason = event_of(&condition.reason);
                    let before = self.policies.get(&key);
                    if let (Some(reason), true) = (reason, before != Some(&condition.reason))
                        && condition.status == ConditionStatus::False
                    {
                        let text = condition.message.clone();
                        let (policy, service) = (policy.clone(), service.clone());
                        notes.push(Note { policy, service, reason, warns: true, text });
                    }
                    now.insert(key, condition.reason.clone());
                }
            }
        }
        self.policies = now;
        notes.dedup_by(|one, other| one.reason == other.reason && one.policy == other.policy);
        notes
    }
}

fn out(service: &ServiceDecision) -> BTreeSet<Address> {
    let out = service.endpoints.iter().filter(|endpoint| endpoint.is_ejected());
    out.map(|endpoint| endpoint.address.clone()).collect()
}

fn trouble(stance: &Stance) -> Option<&'static str> {
    match stance {
        Stance::Holding(Hold::Stale { .. }) | Stance::Decaying { .. } => Some("TelemetryStale"),
        Stance::Holding(Hold::Refused { .. }) => Some("ProxyRejectedConfig"),
        Stance::Holding(Hold::CommonCause { .. }) => Some("CommonCause"),
        Stance::Holding(
            Hold::Suspended | Hold::Unrecorded | Hold::Quorum { .. } | Hold::Mismatch { .. },
        )
        | Stance::Resting
        | Stance::Steering => None,
    }
}

/// The reasons of conditions of which an event tells.
fn event_of(reason: &str) -> Option<&'static str> {
    match reason {
        "Conflicted" => Some("PolicyConflicted"),
        "Invalid" => Some("PolicyInvalid"),
        "TargetNotFound" => Some("TargetNotFound"),
        "ModeRefused" => Some("ModeRefused"),
        _ => None,
    }
}

fn changes(
    service: &ServiceDecision,
    policy: &PolicyName,
    (before, now): (&Stands, &Stands),
) -> Vec<Note> {
    let note = |reason, warns, text| Note {
        policy: policy.clone(),
        service: service.service.clone(),
        reason,
        warns,
        text,
    };
    let acts = if service.acts() { "" } else { " (not done in this mode)" };
    let mut notes = Vec::new();
    for address in now.out.difference(&before.out) {
        let endpoint = service.endpoints.iter().find(|one| one.address == *address);
        let why = endpoint.map(|one| one.reason.to_string()).unwrap_or_default();
        notes.push(note("EndpointEjected", true, format!("{address}: {why}{acts}")));
    }
    for address in before.out.difference(&now.out) {
        let endpoint = service.endpoints.iter().find(|one| one.address == *address);
        let Some(endpoint) = endpoint else { continue };
        let back = match endpoint.state {
            EndpointState::Probation => "is back with little traffic until it is proven",
            EndpointState::Serving | EndpointState::Joining => "takes traffic again",
            EndpointState::NotReady | EndpointState::Ejected { .. } => continue,
        };
        notes.push(note("EndpointReturned", false, format!("{address} {back}{acts}")));
    }
    if let (Some(reason), true) = (now.trouble, now.trouble != before.trouble) {
        notes.push(note(reason, true, service.stance.to_string()));
    }
    notes
}

fn progress(rollout: &RolloutDecision, before: Phase) -> Option<Note> {
    if rollout.phase == before {
        return None;
    }
    let (reason, warns) = match rollout.phase {
        Phase::Stepping { .. } | Phase::Watching => ("RolloutAdvanced", false),
        Phase::Done => ("RolloutFinished", false),
        Phase::GivenUp => ("RolledBack", true),
        Phase::Paused => ("RolloutPaused", true),
    };
    Some(Note {
        policy: rollout.policy.clone(),
        service: rollout.service.clone(),
        reason,
        warns,
        text: rollout.to_string(),
    })
}

/// Lets so many events through, and counts the others.
#[derive(Debug)]
pub struct Pace {
    left: u32,
    since: Option<Moment>,
    /// How many were not let through.
    pub dropped: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { left: BURST, since: None, dropped: 0 }
    }
}

impl Pace {
    /// Whether one more may go now.
    pub fn pass(&mut self, now: Moment) -> bool {
        let since = *self.since.get_or_insert(now);
        let more = now.since(since).as_secs() / EVERY.as_secs();
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(BURST).min(BURST);
            self.left = (self.left + more).min(BURST);
            self.since = Some(now);
        }
        if self.left == 0 {
            self.dropped += 1;
            return false;
        }
        self.left -= 1;
        true
    }
}

/// A text as long as an event's may be.
pub fn bounded(text: &str) -> &str {
    let end = (0..=TEXT_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_storm_of_events_is_bounded_and_counted() {
        let mut pace = Pace::default();
        let passed = (0..1_000).filter(|_| pace.pass(at(10))).count();
        assert_eq!((passed, pace.dropped), (25, 975));
        assert_eq!((0..9).filter(|_| pace.pass(at(25))).count(), 3);
        assert_eq!((0..99).filter(|_| pace.pass(at(100_000))).count(), 25);
    }

    #[test]
    fn texts_end_at_a_character() {
        assert_eq!(bounded("short"), "short");
        let long = "ü".repeat(1_000);
        assert_eq!(bounded(&long).len(), 1_024);
    }
}
