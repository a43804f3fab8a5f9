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
    if let Some(target) = spec.target_refs.first()
        && let (None, id) = reach(&target.name)
    {
        let mend = "name it under services in weir.yaml, with endpoints: {versions: true} if it \
            has none but its versions'";
        tell(unknown(&target.name, "spec.targetRefs[0].name", &id, mend));
    }
    for (field, version) in [("stableRef", &rollout.stable_ref), ("canaryRef", &rollout.canary_ref)]
    {
        let field = format!("spec.rollout.{field}.name");
        let (what, mend) = match reach(&version.name) {
            (Some(Reach::Served), _) => continue,
            (None, id) => {
                let mend = "name it under services in weir.yaml, with its endpoints";
                tell(unknown(&version.name, &field, &id, mend));
                continue;
            }
            (Some(Reach::Watched), id) => (
                format!("the endpoints of `{id}` are known from telemetry only"),
                "name them by a file or a DNS name in weir.yaml: no route leads to hearsay",
            ),
            (Some(Reach::Routed), id) => {
                (format!("`{id}` has no endpoints of its own"), "name the service of one version")
            }
        };
        let mend = mend.to_owned();
        tell(Finding { span: version.name.span, field, code: Code::UnknownTarget, what, mend });
    }
}

fn unknown(name: &At<TargetName>, field: &str, id: &ServiceId, mend: &str) -> Finding {
    Finding {
        span: name.span,
        field: field.to_owned(),
        code: Code::UnknownTarget,
        what: format!("`{id}` is not among the services that Weir knows"),
        mend: mend.to_owned(),
    }
}
