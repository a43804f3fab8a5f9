//! From a checked policy to goals: every default is filled in here, and nowhere else.

use weir_engine::goal::{
    Balancing, BalancingKind, EjectionLimits, Evaluation, Goal, Guardrails, Indicator, Mode,
    Objective, OnFailure, OnStale, Rollout, ZoneAware,
};
use weir_engine::names::{PolicyName, ServiceId};
use weir_engine::units::{Millis, Ratio};

use super::conflict::Ruling;
use super::{Entry, File, Policy, Port, Target};
use crate::document::{self, AdaptiveTrafficPolicy, IndicatorType, Spec};

/// The window of a promise that names none: four weeks, so that every weekday counts alike.
const WINDOW: std::time::Duration = std::time::Duration::from_secs(28 * 24 * 3600);

/// What a rollout that says nothing else allows.
const FAILURES_MAX: u32 = 2;
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// As Envoy's zone-aware routing has it.
const ENDPOINTS_MIN: u32 = 6;
const ENDPOINTS_IN_ZONE_MIN: u32 = 1;

/// What became of a policy.
pub(super) fn policy(entry: &Entry, ruling: &Ruling, file: &File<'_>) -> Policy {
    let AdaptiveTrafficPolicy { metadata, spec, .. } = &entry.policy;
    Policy {
        name: PolicyName::from(metadata.to_string()),
        path: file.source.path.to_owned(),
        line: file.line(metadata.name.span),
        mode: mode(spec),
        suspended: is_suspended(spec),
        governs: ruling.governs.clone(),
        targets: targets(&entry.policy, &ruling.governs),
        conflicts: ruling.conflicts.clone(),
    }
}

/// What has to be there for the policy: what it governs, and the versions of its rollout.
fn targets(policy: &AdaptiveTrafficPolicy, governs: &[ServiceId]) -> Vec<Target> {
    let id = |name: &str| ServiceId::new(policy.metadata.namespace(), name);
    let governed = policy.spec.target_refs.iter().map(|target| Target {
        service: id(target.name.as_str()),
        port: target.section_name.as_ref().map(|name| Port::Name(name.as_str().to_owned())),
    });
    let mut targets: Vec<Target> =
        governed.filter(|target| governs.contains(&target.service)).collect();
    let rollout = policy.spec.rollout.as_ref().filter(|_| !targets.is_empty());
    let versions = rollout.into_iter().flat_map(|it| [&it.value.stable_ref, &it.value.canary_ref]);
    targets.extend(versions.map(|version| Target {
        service: id(version.name.as_str()),
        port: version.port.as_ref().and_then(|it| it.small().try_into().ok()).map(Port::Number),
    }));
    targets
}

/// One goal per service that the policy governs.
pub(super) fn goals(policy: &AdaptiveTrafficPolicy, services: &[ServiceId]) -> Vec<Goal> {
    let spec = &policy.spec;
    let name = PolicyName::from(policy.metadata.to_string());
    let goal = |service: &ServiceId| Goal {
        service: service.clone(),
        policy: name.clone(),
        mode: mode(spec),
        suspended: is_suspended(spec),
        objectives: objectives(spec),
        evaluation: evaluation(&spec.evaluation),
        balancing: balancing(spec),
        ejection: ejection(spec),
        guardrails: guardrails(&spec.guardrails),
    };
    services.iter().map(goal).collect()
}

/// The rollout of the service that the policy governs, if it wants one.
pub(super) fn rollout(policy: &AdaptiveTrafficPolicy, services: &[ServiceId]) -> Option<Rollout> {
    let spec = &policy.spec;
    let written = &spec.rollout.as_ref()?.value;
    let version = |version: &document::VersionRef| {
        ServiceId::new(policy.metadata.namespace(), version.name.as_str())
    };
    let failures = written.failure_limit.as_ref();
    let deadline = written.progress_deadline.as_ref();
    let evaluation = evaluation(&spec.evaluation);
    Some(Rollout {
        service: services.first()?.clone(),
        policy: PolicyName::from(policy.metadata.to_string()),
        mode: mode(spec),
        suspended: is_suspended(spec),
        yields: None,
        stable: version(&written.stable_ref),
        canary: version(&written.canary_ref),
        steps: steps(written),
        failures_max: failures.map_or(FAILURES_MAX, |it| it.small()),
        deadline: deadline.map_or(DEADLINE, |it| it.duration()),
        on_failure: match written.on_failure.as_ref().map(|it| it.value) {
            None | Some(document::OnFailure::Rollback) => OnFailure::Rollback,
            Some(document::OnFailure::Pause) => OnFailure::Pause,
        },
        objectives: objectives(spec),
        interval: evaluation.interval,
        min_samples: evaluation.min_samples,
        stale_after: evaluation.stale_after,
    })
}

/// The steps, and the largest part as the last one where they end below it.
fn steps(written: &document::Rollout) -> Vec<Ratio> {
    let steps = written.step_weights.iter().map(|step| step.value);
    let last = written.step_weights.last().map(|step| step.value);
    let most = written.max_weight.as_ref().map(|max| max.value).filter(|max| Some(*max) > last);
    steps.chain(most).map(|step| Ratio::clamped(f64::from(step.small()) / 100.0)).collect()
}

fn mode(spec: &Spec) -> Mode {
    match spec.mode.as_ref().map(|mode| mode.value) {
        None | Some(document::Mode::Observe) => Mode::Observe,
        Some(document::Mode::Recommend) => Mode::Recommend,
        Some(document::Mode::Enforce) => Mode::Enforce,
    }
}

fn is_suspended(spec: &Spec) -> bool {
    spec.suspend.as_ref().is_some_and(|suspend| suspend.value)
}

fn objectives(spec: &Spec) -> Vec<Objective> {
    let written = spec.objectives.as_deref().unwrap_or_default();
    let objective = |written: &document::Objective| {
        Some(Objective {
            name: written.name.as_str().to_owned(),
            target: written.target_percent.ratio(),
            window: written.time_window.as_ref().map_or(WINDOW, |it| it.duration.duration()),
            indicator: indicator(&written.indicator)?,
        })
    };
    written.iter().filter_map(objective).collect()
}

/// The indicator; none where its type's own field is missing, which the check has refused.
fn indicator(written: &document::Indicator) -> Option<Indicator> {
    Some(match written.kind.value {
        IndicatorType::Availability => Indicator::Availability,
        IndicatorType::Latency => {
            let threshold = written.latency.as_ref()?.threshold.duration();
            Indicator::Latency { threshold: Millis::clamped(threshold.as_secs_f64() * 1000.0) }
        }
        IndicatorType::Prometheus => {
            let queries = written.prometheus.as_ref()?;
            Indicator::Prometheus {
                good: queries.good.as_str().to_owned(),
                total: queries.total.as_str().to_owned(),
            }
        }
    })
}

fn evaluation(written: &document::Evaluation) -> Evaluation {
    let default = Evaluation::default();
    Evaluation {
        interval: written.interval.as_ref().map(|it| it.duration()).or(default.interval),
        min_samples: written
            .min_samples
            .as_ref()
            .map_or(default.min_samples, |it| it.value.value()),
        stale_after: written.stale_after.as_ref().map(|it| it.duration()).or(default.stale_after),
        on_stale: match written.on_stale.as_ref().map(|it| it.value) {
            None => default.on_stale,
            Some(document::OnStale::Fallback) => OnStale::Fallback,
            Some(document::OnStale::Freeze) => OnStale::Freeze,
        },
    }
}

fn balancing(spec: &Spec) -> Balancing {
    let default = Balancing::default();
    let written = &spec.load_balancing;
    let range = written.weight_range.as_ref();
    let min = range.and_then(|range| range.min.as_ref());
    let max = range.and_then(|range| range.max.as_ref());
    let step = spec.loose.max_step_percent.as_ref().or(written.max_step_percent.as_ref());
    Balancing {
        kind: match written.kind.as_ref().map(|it| it.value) {
            None => default.kind,
            Some(document::BalancingType::Adaptive) => BalancingKind::Adaptive,
            Some(document::BalancingType::Equal) => BalancingKind::Equal,
        },
        slow_start: written
            .slow_start
            .as_ref()
            .map_or(default.slow_start, |it| it.window.duration()),
        weight_min: min.map_or(default.weight_min, |it| it.value.value() / 100.0),
        weight_max: max.map_or(default.weight_max, |it| it.value.value() / 100.0),
        max_step: step.map_or(default.max_step, |it| it.ratio()),
        zone_aware: written.zone_aware.as_ref().map(|it| zone_aware(it)),
    }
}

fn zone_aware(written: &document::ZoneAware) -> ZoneAware {
    let (min, min_in_zone) = thresholds(&written.prefer_local);
    let priority = written.failover_priority.as_deref().unwrap_or_default();
    ZoneAware {
        min_endpoints: min,
        min_endpoints_in_zone: min_in_zone,
        failover_priority: priority.iter().map(|key| key.as_str().to_owned()).collect(),
    }
}

/// The fewest endpoints in all and in the zone for which the zone is preferred.
pub(super) fn thresholds(written: &document::PreferLocal) -> (u32, u32) {
    let all = written.min_endpoints_threshold.as_ref();
    let in_zone = written.min_endpoints_in_zone_threshold.as_ref();
    (
        all.map_or(ENDPOINTS_MIN, |it| it.small()),
        in_zone.map_or(ENDPOINTS_IN_ZONE_MIN, |it| it.small()),
    )
}

fn ejection(spec: &Spec) -> EjectionLimits {
    let default = EjectionLimits::default();
    let (written, loose) = (&spec.ejection, &spec.loose);
    let ejected = loose.max_ejection_percent.as_ref().or(written.max_ejection_percent.as_ref());
    let health = loose.min_health_percent.as_ref().or(written.min_health_percent.as_ref());
    EjectionLimits {
        max_ejected: ejected.map_or(default.max_ejected, |it| it.ratio()),
        min_health: health.map_or(default.min_health, |it| it.ratio()),
        base_time: written
            .base_ejection_time
            .as_ref()
            .map_or(default.base_time, |it| it.duration()),
        max_time: written.max_ejection_time.as_ref().map_or(default.max_time, |it| it.duration()),
    }
}

fn guardrails(written: &document::Guardrails) -> Guardrails {
    let default = Guardrails::default();
    let changes = written.max_changes_per_minute.as_ref();
    Guardrails {
        max_utilization: written
            .max_utilization_percent
            .as_ref()
            .map_or(default.max_utilization, |it| it.ratio()),
        max_shed: written.max_shed_percent.as_ref().map_or(default.max_shed, |it| it.ratio()),
        max_changes_per_minute: changes.map(|it| it.small()).or(default.max_changes_per_minute),
    }
}
