//! Decisions as the fields of Kubernetes objects that carry them: what is written there, or would be.
//!
//! Pure: a decision in, the fields that Weir owns out, in the form of a server-side apply, with
//! nothing else in it. What no object can carry is not here: no object of Istio, Linkerd or the
//! Gateway API has a weight for a pod, so shares of single endpoints and ejections go by xDS only.

use serde_json::{Value, json};
use weir_engine::decision::ServiceDecision;
use weir_engine::rollout::RolloutDecision;
use weir_engine::topology::ServiceTopology;
use weir_engine::units::Ratio;

pub mod balancing;
pub mod fields;
pub mod istio;
pub mod linkerd;
mod localities;
mod marks;
pub mod others;
pub mod routes;

/// A route's weights are hundredths of a per cent. The Gateway API takes up to a million, Istio any
/// whole numbers.
const PARTS: f64 = 10_000.0;

/// Who owns the fields, for server-side apply.
pub const FIELD_MANAGER: &str = "weir-controller";

/// The weights of both versions, which are together exactly all.
fn parts(weight: Ratio) -> (u32, u32) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between nothing and all of the parts"
    )]
    let [all, canary] = [PARTS as u32, (PARTS * weight.value()).round() as u32];
    (all - canary, canary)
}

/// A rollout's weights in an `HTTPRoute` of the Gateway API (`gateway.networking.k8s.io/v1`), whose
/// parent is the service that clients call.
pub fn http_route(rollout: &RolloutDecision) -> Value {
    let (stable, canary) = parts(rollout.weight);
    let backend = |service: &weir_engine::names::ServiceId, weight: u32| json!({ "name": service.name, "namespace": service.namespace, "weight": weight });
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "namespace": rollout.service.namespace, "name": rollout.service.name },
        "spec": { "rules": [{
            "backendRefs": [backend(&rollout.stable, stable), backend(&rollout.canary, canary)],
        }] },
    })
}

/// A rollout's weights in Istio's `VirtualService` (`networking.istio.io/v1`).
pub fn virtual_service(rollout: &RolloutDecision) -> Value {
    let (stable, canary) = parts(rollout.weight);
    let route = |service: &weir_engine::names::ServiceId, weight: u32| {
        let host = format!("{}.{}.svc.cluster.local", service.name, service.namespace);
        json!({ "destination": { "host": host }, "weight": weight })
    };
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": { "namespace": rollout.service.namespace, "name": rollout.service.name },
        "spec": { "http": [{
            "route": [route(&rollout.stable, stable), route(&rollout.canary, canary)],
        }] },
    })
}

/// Where the clients of each zone go, in Istio's `DestinationRule` (`networking.istio.io/v1`,
/// `localityLbSetting.distribute`); none where all go alike, or where localities have no region, which
/// Istio's names begin with.
pub fn destination_rule(decision: &ServiceDecision, topology: &ServiceTopology) -> Option<Value> {
    let distribute = localities::distribute(&decision.zones, topology);
    let service = &decision.service;
    let setting = json!({ "localityLbSetting": { "distribute": distribute } });
    (!distribute.is_empty()).then(|| {
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": { "namespace": service.namespace, "name": service.name },
            "spec": { "trafficPolicy": { "loadBalancer": setting } },
        })
    })
}

#[cfg(test)]
mod tests;
