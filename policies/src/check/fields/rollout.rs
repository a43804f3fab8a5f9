//! What one policy may not say of a new version.

use super::{Tell, finding};
use crate::document::{IndicatorType, Rollout, Spec, VersionRef};
use crate::problem::Code;

/// Everything that is wrong with a rollout, or worth knowing.
pub(super) fn check(spec: &Spec, rollout: &Rollout, tell: &mut Tell<'_>) {
    target(spec, tell);
    steps(rollout, tell);
    versions(spec, rollout, tell);
    later(spec, tell);
}

/// Its versions are of one service.
fn target(spec: &Spec, tell: &mut Tell<'_>) {
    let targets = &spec.target_refs;
    let Some(second) = targets.get(1) else { return };
    let what = format!("{} services are targeted, and a rollout is of one", targets.len());
    let mend = "write a policy of its own for the service whose new version it is";
    tell(finding(second.name.span, "spec.targetRefs[1].name", Code::Contradiction, what, mend));
}

fn steps(rollout: &Rollout, tell: &mut Tell<'_>) {
    for (index, pair) in rollout.step_weights.windows(2).enumerate() {
        let [one, next] = pair else { continue };
        if next.value <= one.value {
            let what = format!("step {} does not rise above {}", next.value(), one.value());
            let field = format!("spec.rollout.stepWeights[{}]", index + 1);
            tell(finding(next.span, &field, Code::Contradiction, what, "write rising steps"));
        }
    }
    let last = rollout.step_weights.last();
    if let (Some(max), Some(last)) = (&rollout.max_weight, last)
        && max.value < last.value
    {
        let what = format!("maxWeight {} is below the last step, {}", max.value(), last.value());
        let mend = "raise maxWeight, or leave out the steps above it";
        tell(finding(max.span, "spec.rollout.maxWeight", Code::Contradiction, what, mend));
    }
}

fn versions(spec: &Spec, rollout: &Rollout, tell: &mut Tell<'_>) {
    let (stable, canary) = (&rollout.stable_ref, &rollout.canary_ref);
    let called = |version: &VersionRef| {
        spec.target_refs.iter().any(|target| target.name.value == version.name.value)
    };
    let what = if stable.name.value == canary.name.value {
        format!("`{}` is both the stable and the new version", canary.name.as_str())
    } else if called(canary) {
        format!("`{}` is what clients call, not its new version", canary.name.as_str())
    } else {
        return;
    };
    let mend = "name the service of the new version";
    let field = "spec.rollout.canaryRef.name";
    tell(finding(canary.name.span, field, Code::Contradiction, what, mend));
}

/// What is read and checked, and acted on by a later version only.
fn later(spec: &Spec, tell: &mut Tell<'_>) {
    for (index, objective) in spec.objectives.as_deref().unwrap_or_default().iter().enumerate() {
        if objective.indicator.kind.value == IndicatorType::Prometheus {
            let name = objective.name.as_str();
            let what = format!("objective `{name}` does not judge the new version yet");
            let mend = "until then failures and latency judge it; the budget is kept all the same";
            let field = format!("spec.objectives[{index}].indicator.type");
            let span = objective.indicator.kind.span;
            tell(finding(span, &field, Code::NotYetActive, what, mend));
        }
    }
}
