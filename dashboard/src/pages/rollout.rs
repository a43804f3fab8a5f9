//! A new version that takes over, on the pages of the services that have a part in it.

use super::text::{UNKNOWN, mode_class, mode_label, percent, service_path};
use crate::chart::small;
use crate::view::offer::OfferView;
use crate::view::rollout::{ComparisonView, Finding, RolloutPhase, RolloutView};
use crate::view::service::Mode;

/// What is shown of one rollout.
pub(crate) struct RolloutCard {
    pub(crate) service: Link,
    pub(crate) stable: Link,
    pub(crate) canary: Link,
    pub(crate) phase: &'static str,
    pub(crate) phase_class: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) mode_class: &'static str,
    pub(crate) acts: bool,
    pub(crate) why: String,
    pub(crate) weight: String,
    pub(crate) bar: String,
    pub(crate) rest: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) failures: u32,
    pub(crate) comparisons: Vec<Row>,
    pub(crate) evidence: String,
    pub(crate) offer: Option<OfferView>,
}

pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) path: String,
}

pub(crate) struct Step {
    pub(crate) part: String,
    pub(crate) current: bool,
}

pub(crate) struct Row {
    pub(crate) signal: String,
    pub(crate) canary: String,
    pub(crate) stable: String,
    pub(crate) ratio: String,
    pub(crate) finding: &'static str,
    pub(crate) class: &'static str,
}

impl RolloutCard {
    pub(crate) fn of(rollout: &RolloutView) -> Self {
        let current = rollout.step.and_then(|step| usize::try_from(step).ok());
        let steps = rollout.steps.iter().enumerate();
        Self {
            service: Link::to(&rollout.service),
            stable: Link::to(&rollout.stable),
            canary: Link::to(&rollout.canary),
            phase: phase_label(rollout.phase),
            phase_class: phase_class(rollout.phase),
            mode: mode_label(rollout.mode),
            mode_class: mode_class(rollout.mode),
            acts: rollout.mode == Mode::Enforce || rollout.weight > 0.0,
            offer: rollout.offer.clone(),
            why: rollout.why.clone(),
            weight: percent(rollout.weight),
            bar: small::bar(rollout.weight, "calm"),
            rest: percent(1.0 - rollout.weight),
            steps: steps
                .map(|(index, part)| Step {
                    part: percent(*part),
                    current: current == Some(index + 1),
                })
                .collect(),
            failures: rollout.failures,
            comparisons: rollout.comparisons.iter().map(Row::of).collect(),
            evidence: rollout.evidence.clone(),
        }
    }
}

impl Link {
    /// To a service's page, by its `namespace/name`.
    fn to(service: &str) -> Self {
        let (namespace, name) = service.split_once('/').unwrap_or(("", service));
        Self { name: service.to_owned(), path: service_path(namespace, name) }
    }
}

impl Row {
    fn of(one: &ComparisonView) -> Self {
        let ratio = match (one.ratio, one.at_most) {
            (ratio, Some(at_most)) => {
                let sure = format!("{:.2} to {at_most:.2}", one.at_least);
                ratio.map_or_else(|| sure.clone(), |ratio| format!("{ratio:.2} ({sure})"))
            }
            // Anything is possible: nothing to tell.
            (_, None) if one.at_least < 0.005 => UNKNOWN.to_owned(),
            (Some(ratio), None) => format!("{ratio:.2} (at least {:.2})", one.at_least),
            (None, None) => format!("at least {:.2}", one.at_least),
        };
        let (finding, class) = match one.finding {
            Finding::Pass => ("passes", "serving"),
            Finding::Fail => ("worse", "ejected"),
            Finding::Inconclusive => ("not proven yet", "joining"),
        };
        Self {
            signal: one.signal.clone(),
            canary: one.canary.clone(),
            stable: one.stable.clone(),
            ratio,
            finding,
            class,
        }
    }
}

const fn phase_label(phase: RolloutPhase) -> &'static str {
    match phase {
        RolloutPhase::Stepping => "Rolling out",
        RolloutPhase::Watching => "Watched",
        RolloutPhase::Done => "Taken over",
        RolloutPhase::GivenUp => "Given up",
        RolloutPhase::Paused => "Paused",
    }
}

/// The class of a badge, among those of stances.
const fn phase_class(phase: RolloutPhase) -> &'static str {
    match phase {
        RolloutPhase::Stepping | RolloutPhase::Watching => "steering",
        RolloutPhase::Done => "resting",
        RolloutPhase::GivenUp | RolloutPhase::Paused => "holding",
    }
}
