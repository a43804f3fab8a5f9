//! Rollouts, from the engine's types to the dashboard's; and which of their changes are told.

use std::time::Duration;

use weir_engine::comparison::{self, Comparison, Signal};
use weir_engine::decision::ServiceDecision;
use weir_engine::goal::Mode;
use weir_engine::names::ServiceId;
use weir_engine::rollout::{Phase, Reason, RolloutDecision};
use weir_engine::units::Ratio;

use super::{offer, words};
use crate::view::plain;
use crate::view::rollout::{ComparisonView, Finding, RolloutPhase, RolloutView};

/// How a rollout stood when it was last told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stood {
    stable: ServiceId,
    canary: ServiceId,
    mode: Mode,
    phase: Phase,
    failures: u32,
    weight: f64,
    held: Option<std::mem::Discriminant<Reason>>,
}

/// What of a rollout changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It begins, goes on to another step or ends; or another mode is in force.
    Phase,
    /// An evaluation failed.
    Failure,
    /// Something holds it.
    Held,
    /// Nothing holds it any more.
    Resumed,
}

impl Stood {
    pub(crate) fn of(rollout: &RolloutDecision) -> Self {
        Self {
            stable: rollout.stable.clone(),
            canary: rollout.canary.clone(),
            mode: rollout.mode,
            phase: rollout.phase,
            failures: rollout.failures,
            weight: rollout.weight.value(),
            held: rollout.reason.is_held().then(|| std::mem::discriminant(&rollout.reason)),
        }
    }

    /// Part of the traffic that has moved since.
    pub(crate) fn moved(&self, rollout: &RolloutDecision) -> f64 {
        (rollout.weight.value() - self.weight).abs()
    }
}

/// What changes since a rollout was last told; `quiet`: how long ago anything was, and `pause`: the
/// least between two holds, which may come and go.
pub(crate) fn turn(
    told: Option<&Stood>,
    rollout: &RolloutDecision,
    (quiet, pause): (Duration, Duration),
) -> Option<Turn> {
    let now = Stood::of(rollout);
    let Some(told) = told else { return Some(Turn::Phase) };
    let other = (&told.stable, &told.canary, told.mode) != (&now.stable, &now.canary, now.mode);
    if other || told.phase != now.phase {
        return Some(Turn::Phase);
    }
    if told.failures != now.failures {
        return Some(Turn::Failure);
    }
    if told.held == now.held || quiet < pause {
        return None;
    }
    Some(if now.held.is_some() { Turn::Held } else { Turn::Resumed })
}

/// Whether a service is nothing but a route to its versions: it has neither endpoints nor
/// clusters, so what is said of these says nothing.
pub(crate) fn is_route(service: &ServiceDecision, rollout: Option<&RolloutDecision>) -> bool {
    rollout.is_some() && service.endpoints.is_empty() && service.realisations.is_empty()
}

/// Who gets how much of a service's requests.
pub(crate) fn parts(rollout: &RolloutDecision) -> String {
    let rest = Ratio::clamped(1.0 - rollout.weight.value());
    let (stable, canary) = (rollout.stable.to_string(), rollout.canary.to_string());
    format!("{rest} to {}, {} to {}", plain(&stable), rollout.weight, plain(&canary))
}

/// A turn in a few words.
pub(crate) fn title(rollout: &RolloutDecision, turn: Turn) -> String {
    let canary = plain(&rollout.canary.to_string());
    let acts = rollout.acts();
    match (turn, rollout.phase) {
        (Turn::Failure, _) => format!("{canary} failed an evaluation"),
        (Turn::Held, _) => format!("Rollout of {canary} held"),
        (Turn::Resumed, _) => format!("Rollout of {canary} goes on"),
        (Turn::Phase, Phase::Stepping { .. }) if !acts => {
            format!("Would roll out {canary}")
        }
        (Turn::Phase, Phase::Stepping { step }) => {
            let part = rollout.steps.get(step as usize).copied().unwrap_or_default();
            format!("Step {} of {}: {part} to {canary}", step + 1, rollout.steps.len())
        }
        (Turn::Phase, Phase::Watching) => format!("{canary} takes over"),
        (Turn::Phase, Phase::Done) => format!("{canary} has taken over"),
        (Turn::Phase, Phase::GivenUp) => format!("{canary} given up"),
        (Turn::Phase, Phase::Paused) => format!("{canary} paused at {}", rollout.weight),
    }
}

/// Why it stands as it stands, with the evidence where there is any.
pub(crate) fn why(rollout: &RolloutDecision) -> String {
    if rollout.verdict.comparisons.is_empty() {
        return rollout.reason.to_string();
    }
    format!("{}; {}", rollout.reason, rollout.verdict)
}

/// As people and programs are shown it.
pub(crate) fn view(rollout: &RolloutDecision) -> RolloutView {
    let id = |id: &ServiceId| plain(&id.to_string());
    RolloutView {
        service: id(&rollout.service),
        policy: plain(rollout.policy.as_str()),
        mode: words::mode(rollout.mode),
        stable: id(&rollout.stable),
        canary: id(&rollout.canary),
        weight: rollout.weight.value(),
        phase: phase(rollout.phase),
        step: match rollout.phase {
            Phase::Stepping { step } => Some(step + 1),
            Phase::Watching | Phase::Done | Phase::GivenUp | Phase::Paused => None,
        },
        steps: rollout.steps.iter().map(|step| step.value()).collect(),
        failures: rollout.failures,
        finding: finding(rollout.verdict.finding),
        why: rollout.why(),
        evidence: rollout.verdict.to_string(),
        offer: offer::of_rollout(rollout),
        comparisons: rollout.verdict.comparisons.iter().map(comparison).collect(),
    }
}

pub(crate) fn phase(phase: Phase) -> RolloutPhase {
    match phase {
        Phase::Stepping { .. } => RolloutPhase::Stepping,
        Phase::Watching => RolloutPhase::Watching,
        Phase::Done => RolloutPhase::Done,
        Phase::GivenUp => RolloutPhase::GivenUp,
        Phase::Paused => RolloutPhase::Paused,
    }
}

pub(crate) fn finding(finding: comparison::Finding) -> Finding {
    match finding {
        comparison::Finding::Pass => Finding::Pass,
        comparison::Finding::Fail => Finding::Fail,
        comparison::Finding::Inconclusive => Finding::Inconclusive,
    }
}

pub(crate) fn comparison(one: &Comparison) -> ComparisonView {
    ComparisonView {
        signal: match one.signal {
            Signal::Errors => "errors".to_owned(),
            Signal::Slow { threshold } => format!("requests over {threshold}"),
            Signal::Latency => "typical latency".to_owned(),
        },
        finding: finding(one.finding),
        canary: one.canary.to_string(),
        stable: one.stable.to_string(),
        ratio: one.ratio,
        at_least: one.lower,
        at_most: one.upper,
        chance: one.chance.value(),
    }
}

#[cfg(test)]
mod tests;
