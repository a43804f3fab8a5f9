//! Whether the services that a rollout names are there: a route to nowhere fails requests.
//!
//! A policy for a service that nobody configured waits for it and harms nobody. A rollout does not
//! wait: its route would lead to what no proxy knows.

use std::collections::BTreeMap;

use weir_engine::names::ServiceId;

use super::fields::Tell;
use crate::document::AdaptiveTrafficPolicy;
use crate::document::values::TargetName;
use crate::problem::Code;
use crate::reader::At;
use crate::source::Finding;

/// The services that there are.
pub type Services = BTreeMap<ServiceId, Reach>;

/// What Weir can do for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It gives proxies the endpoints.
    Served,
    /// It only sees the endpoints, by telemetry.
    Watched,
    /// The service has no endpoints but those of its versions.
    Routed,
}

/// Everything that a rollout names and that is not there.
pub(super) fn check(policy: &AdaptiveTrafficPolicy, services: &Services, tell: &mut Tell<'_>) {
    let spec = &policy.spec;
    let Some(rollout) = &spec.rollout else { return };
    let reach = |name: &At<TargetName>| {
        let id = ServiceId::new(policy.metadata.namespace(), name.as_str());
        (services.get(&id).copied(), id)
    };
    if let Some(target) = spec.target_refs.first() {
        let field = "spec.targetRefs[0].name";
        match reach(&target.name) {
            (Some(Reach::Served | Reach::Routed), _) => {}
            (Some(Reach::Watched), id) => tell(only_seen(&target.name, field, &id)),
            (None, id) => {
                let mend = "name it under services in weir.yaml, with endpoints: {versions: true} \
                    if it has none but its versions'";
                tell(unknown(&target.name, field, &id, mend));
            }
        }
    }
    for (field, version) in [("stableRef", &rollout.stable_ref), ("canaryRef", &rollout.canary_ref)]
    {
        let name = &version.name;
        let field = format!("spec.rollout.{field}.name");
        match reach(name) {
            (Some(Reach::Served), _) => {}
            (Some(Reach::Watched), id) => tell(only_seen(name, &field, &id)),
            (Some(Reach::Routed), id) => {
                let what = format!("`{id}` has no endpoints of its own");
                tell(finding(name, &field, what, "name the service of one version"));
            }
            (None, id) => {
                let mend = "name it under services in weir.yaml, with its endpoints";
                tell(unknown(name, &field, &id, mend));
            }
        }
    }
}

fn only_seen(name: &At<TargetName>, field: &str, id: &ServiceId) -> Finding {
    let what = format!("the endpoints of `{id}` are known from telemetry only");
    let mend = "name them by a file or a DNS name in weir.yaml: no route leads to hearsay";
    finding(name, field, what, mend)
}

fn unknown(name: &At<TargetName>, field: &str, id: &ServiceId, mend: &str) -> Finding {
    finding(name, field, format!("`{id}` is not among the services that Weir knows"), mend)
}

fn finding(name: &At<TargetName>, field: &str, what: String, mend: &str) -> Finding {
    Finding {
        span: name.span,
        field: field.to_owned(),
        code: Code::UnknownTarget,
        what,
        mend: mend.to_owned(),
    }
}
