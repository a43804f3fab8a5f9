//! What one policy may not say, field against field. Each field by itself is checked by its type.

use std::collections::HashSet;

use weir_engine::goal::{Balancing, EjectionLimits};

use super::{compile, query};
use crate::document::{
    AdaptiveTrafficPolicy, BalancingType, Indicator, IndicatorType, LoadBalancing, Objective, Spec,
    TargetRef, values::spoken,
};
use crate::problem::Code;
use crate::source::{Finding, Span};

mod rollout;

/// Where findings go.
pub(super) type Tell<'a> = dyn FnMut(Finding) + 'a;

/// Everything that is wrong within one policy, or worth knowing.
pub(super) fn check(policy: &AdaptiveTrafficPolicy, tell: &mut Tell<'_>) {
    let spec = &policy.spec;
    targets(&spec.target_refs, tell);
    objectives(spec.objectives.as_deref().unwrap_or_default(), tell);
    balancing(&spec.load_balancing, tell);
    ejection_times(spec, tell);
    for limit in limits(spec) {
        limit.check(tell);
    }
    later(spec, tell);
    if let Some(rollout) = &spec.rollout {
        rollout::check(spec, rollout, tell);
    }
}

fn finding(span: Span, field: &str, code: Code, what: String, mend: &str) -> Finding {
    Finding { span, field: field.to_owned(), code, what, mend: mend.to_owned() }
}

fn targets(targets: &[TargetRef], tell: &mut Tell<'_>) {
    let mut names = HashSet::new();
    for (index, target) in targets.iter().enumerate() {
        let field = |name: &str| format!("spec.targetRefs[{index}].{name}");
        let group = target.group.as_ref().filter(|group| !group.value.is_empty());
        if let Some(group) = group {
            let what = format!("targets of group `{}` are not governed", quoted(&group.value));
            let mend = "write \"\", the group of Service";
            tell(finding(group.span, &field("group"), Code::UnknownTarget, what, mend));
        }
        if target.kind.value != "Service" {
            let what = format!("targets of kind `{}` are not governed", quoted(&target.kind.value));
            let mend = "name the Service behind it";
            tell(finding(target.kind.span, &field("kind"), Code::UnknownTarget, what, mend));
        }
        let name = target.name.as_str();
        if !names.insert(name) {
            let what = format!("`{name}` is targeted twice");
            let mend = "keep one: a policy governs all ports of its target";
            tell(finding(target.name.span, &field("name"), Code::DuplicateName, what, mend));
        }
    }
}

fn quoted(text: &str) -> String {
    crate::source::quoted(text)
}

fn objectives(objectives: &[Objective], tell: &mut Tell<'_>) {
    let mut names = HashSet::new();
    for (index, objective) in objectives.iter().enumerate() {
        let field = |name: &str| format!("spec.objectives[{index}].{name}");
        let name = objective.name.as_str();
        if !names.insert(name) {
            let what = format!("two objectives are named `{name}`");
            let mend = "give each its own name";
            tell(finding(objective.name.span, &field("name"), Code::DuplicateName, what, mend));
        }
        let calendar = objective.time_window.as_ref().and_then(|window| window.is_rolling.as_ref());
        if let Some(rolling) = calendar.filter(|rolling| !rolling.value) {
            let what = "calendar windows are not read".to_owned();
            let mend = "write true, or remove the line";
            let field = field("timeWindow.isRolling");
            tell(finding(rolling.span, &field, Code::WrongValue, what, mend));
        }
        indicator(&objective.indicator, &field("indicator"), tell);
    }
}

/// An indicator needs the field of its type and no other's.
fn indicator(indicator: &Indicator, field: &str, tell: &mut Tell<'_>) {
    let kind = &indicator.kind;
    let fields = [
        ("latency", IndicatorType::Latency, indicator.latency.as_ref().map(|it| it.span)),
        ("prometheus", IndicatorType::Prometheus, indicator.prometheus.as_ref().map(|it| it.span)),
    ];
    for (name, owner, span) in fields {
        match span {
            Some(span) if owner != kind.value => {
                let what = format!("`{name}` does not belong to type {:?}", kind.value);
                let mend = format!("remove it, or write type: {owner:?}");
                tell(finding(span, &format!("{field}.{name}"), Code::Contradiction, what, &mend));
            }
            None if owner == kind.value => {
                let what = format!("missing field `{name}` in `{field}`");
                let mend = format!("type {owner:?} needs it");
                tell(finding(kind.span, field, Code::MissingField, what, &mend));
            }
            Some(_) | None => {}
        }
    }
    let Some(queries) = &indicator.prometheus else { return };
    for (name, text) in [("good", &queries.good), ("total", &queries.total)] {
        if let Err((what, mend)) = query::check(text.as_str()) {
            let field = format!("{field}.prometheus.{name}");
            tell(finding(text.span, &field, Code::Query, what, &mend));
        }
    }
}

fn balancing(written: &LoadBalancing, tell: &mut Tell<'_>) {
    if written.kind.as_ref().is_some_and(|kind| kind.value == BalancingType::Equal) {
        let fields = [
            ("weightRange", written.weight_range.as_ref().map(|it| it.span)),
            ("maxStepPercent", written.max_step_percent.as_ref().map(|it| it.span)),
            ("zoneAware", written.zone_aware.as_ref().map(|it| it.span)),
        ];
        for (name, span) in fields {
            let Some(span) = span else { continue };
            let what = format!("`{name}` changes nothing where type is Equal");
            let field = format!("spec.loadBalancing.{name}");
            tell(finding(span, &field, Code::NoEffect, what, "remove it, or write type: Adaptive"));
        }
    }
    let Some(zones) = &written.zone_aware else { return };
    let (all, in_zone) = compile::thresholds(&zones.prefer_local);
    let span = zones.prefer_local.min_endpoints_in_zone_threshold.as_ref().map(|it| it.span);
    if let Some(span) = span.filter(|_| in_zone > all) {
        let what = format!("at least {in_zone} endpoints in the zone, but {all} in all");
        let mend = "raise minEndpointsThreshold, or lower minEndpointsInZoneThreshold";
        let field = "spec.loadBalancing.zoneAware.preferLocal.minEndpointsInZoneThreshold";
        tell(finding(span, field, Code::Contradiction, what, mend));
    }
}

fn ejection_times(spec: &Spec, tell: &mut Tell<'_>) {
    let default = EjectionLimits::default();
    let base = spec.ejection.base_ejection_time.as_ref();
    let max = spec.ejection.max_ejection_time.as_ref();
    let base_time = base.map_or(default.base_time, |it| it.duration());
    let max_time = max.map_or(default.max_time, |it| it.duration());
    let Some(span) = base.map(|it| it.span).or(max.map(|it| it.span)) else { return };
    if base_time > max_time {
        let said = |time: std::time::Duration, is_default: bool| {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            format!("{}{}", spoken(millis), if is_default { ", the default" } else { "" })
        };
        let what = format!(
            "the first ejection ({}) is longer than the longest ({})",
            said(base_time, base.is_none()),
            said(max_time, max.is_none())
        );
        let mend = "raise maxEjectionTime, or lower baseEjectionTime";
        tell(finding(span, "spec.ejection.baseEjectionTime", Code::Contradiction, what, mend));
    }
}

/// A limit that may be tightened freely and loosened only under `unsafe`.
struct Limit {
    section: &'static str,
    name: &'static str,
    default: f64,
    /// Whether a larger number is the looser one.
    is_most: bool,
    tight: Option<(f64, Span)>,
    loose: Option<(f64, Span)>,
}

fn limits(spec: &Spec) -> [Limit; 3] {
    let ejection = EjectionLimits::default();
    let (tight, loose) = (&spec.ejection, &spec.loose);
    [
        Limit {
            section: "ejection",
            name: "maxEjectionPercent",
            default: ejection.max_ejected.value() * 100.0,
            is_most: true,
            tight: tight.max_ejection_percent.as_ref().map(|it| (it.value.value(), it.span)),
            loose: loose.max_ejection_percent.as_ref().map(|it| (it.value.value(), it.span)),
        },
        Limit {
            section: "ejection",
            name: "minHealthPercent",
            default: ejection.min_health.value() * 100.0,
            is_most: false,
            tight: tight.min_health_percent.as_ref().map(|it| (it.value.value(), it.span)),
            loose: loose.min_health_percent.as_ref().map(|it| (it.value.value(), it.span)),
        },
        Limit {
            section: "loadBalancing",
            name: "maxStepPercent",
            default: Balancing::default().max_step.value() * 100.0,
            is_most: true,
            tight: spec
                .load_balancing
                .max_step_percent
                .as_ref()
                .map(|it| (it.value.value(), it.span)),
            loose: loose.max_step_percent.as_ref().map(|it| (it.value.value(), it.span)),
        },
    ]
}

impl Limit {
    fn is_looser(&self, value: f64) -> bool {
        if self.is_most { value > self.default } else { value < self.default }
    }

    fn check(&self, tell: &mut Tell<'_>) {
        let Self { section, name, default, .. } = self;
        let tight = format!("spec.{section}.{name}");
        let loose = format!("spec.unsafe.{name}");
        if let Some((value, span)) = self.tight.filter(|(value, _)| self.is_looser(*value)) {
            let what = format!("`{name}` of {value} is looser than the default of {default}");
            let mend = format!("move it to `{loose}` if you mean it");
            tell(finding(span, &tight, Code::LooserThanDefault, what, &mend));
        }
        let Some((value, span)) = self.loose else { return };
        if self.tight.is_some() {
            let what = format!("`{name}` stands under both `{section}` and `unsafe`");
            tell(finding(span, &loose, Code::Contradiction, what, "keep one of the two"));
        }
        if self.is_looser(value) {
            let what = format!("`{name}` of {value} is looser than the default of {default}");
            let mend = "nothing to mend if you mean it: this is recorded with every decision";
            tell(finding(span, &loose, Code::Unsafe, what, mend));
        } else {
            let what = format!("`{name}` of {value} needs no `unsafe`: the default is {default}");
            let mend = format!("move it to `{tight}`");
            tell(finding(span, &loose, Code::NoEffect, what, &mend));
        }
    }
}

/// What is read and checked, and acted on by a later version only.
fn later(spec: &Spec, tell: &mut Tell<'_>) {
    let Some(span) = spec.cost.as_ref().map(|it| it.span) else { return };
    let what = "`cost` is accepted, not yet acted on".to_owned();
    let mend = "it may stay: a later version of Weir acts on it";
    tell(finding(span, "spec.cost", Code::NotYetActive, what, mend));
}
