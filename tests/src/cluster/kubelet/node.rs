//! A node's object, its condition and its lease.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{REGION, SPARE, TAINT};
use crate::cluster::namespace::NODE;

/// Who writes all this.
pub(super) const MANAGER: &str = "weir-pretend-kubelet";

/// Makes a zone's node.
pub(super) async fn create(client: &Client, zone: &str) {
    let taint = json!({"key": TAINT, "effect": "NoSchedule"});
    let taints: Vec<Value> = (zone == SPARE).then_some(taint).into_iter().collect();
    let node = json!({
        "spec": {"taints": taints},
        "metadata": {
            "name": zone,
            "labels": {
                "kubernetes.io/hostname": zone,
                "topology.kubernetes.io/region": REGION,
                "topology.kubernetes.io/zone": zone,
            },
        },
    });
    let nodes: Api<Node> = Api::all(client.clone());
    let node = serde_json::from_value(node).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    beat(client, zone).await;
}

/// Says that a node is ready and has room. What fails is said again with the next beat.
pub(super) async fn beat(client: &Client, zone: &str) {
    let nodes: Api<Node> = Api::all(client.clone());
    let parameters = PatchParams::default();
    nodes.patch_status(zone, &parameters, &Patch::Strategic(status())).await.ok();
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let ours = PatchParams::apply(MANAGER).force();
    leases.patch(zone, &ours, &Patch::Apply(lease(zone))).await.ok();
}

/// Whether nothing keeps pods away from a node but what is meant to.
pub(super) async fn open(client: &Client, zone: &str) -> bool {
    let nodes: Api<Node> = Api::all(client.clone());
    let node = nodes.get(zone).await.unwrap();
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    taints.iter().all(|taint| taint.key == TAINT)
}

fn status() -> Value {
    let room = json!({"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"});
    let condition = json!({
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "it pretends",
        "lastHeartbeatTime": now(),
    });
    json!({"status": {
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": NODE}],
        "conditions": [condition],
    }})
}

fn lease(zone: &str) -> Value {
    let renewed = format!("{:.6}", Timestamp::now());
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": zone},
        "spec": {"holderIdentity": zone, "leaseDurationSeconds": 40, "renewTime": renewed},
    })
}

/// The time as Kubernetes writes it, to the second.
pub(super) fn now() -> String {
    format!("{:.0}", Timestamp::now())
}
