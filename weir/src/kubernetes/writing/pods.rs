//! Istio's label that takes a pod out of all its services at every proxy: the only object of Istio by which a
//! single pod can be ejected. It is no documented interface, so it is written only where that is asked for.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use kube::api::ListParams;
use serde_json::{Value, json};
use weir_engine::decision::Decision;

use super::Result;
use super::objects::{Change, Names, Objects, place};

/// Any value drains; this one says whose it is.
const LABEL: &str = "istio.io/draining";
const OURS: &str = "weir";

const PODS: Names = ("", "v1", "Pod", "pods");

/// Addresses of endpoints that are out, with their namespaces.
pub(super) fn out(decision: &Decision) -> BTreeMap<IpAddr, String> {
    let acting = decision.services.iter().filter(|service| service.acts());
    let ejected = acting.flat_map(|service| {
        let all = service.endpoints.iter().filter(|endpoint| endpoint.is_ejected());
        all.map(|endpoint| (&endpoint.address, service.service.namespace.to_string()))
    });
    ejected
        .filter_map(|(address, namespace)| {
            let parsed: SocketAddr = address.as_str().parse().ok()?;
            Some((parsed.ip(), namespace))
        })
        .collect()
}

/// Labels the pods that are out, and takes the label from those that are in again; how many of these.
pub(super) async fn keep(objects: &Objects, out: &BTreeMap<IpAddr, String>) -> Result<usize> {
    let mut returned = 0;
    for pod in objects.written(PODS, &format!("{LABEL}={OURS}")).await? {
        let address = pod["status"]["podIP"].as_str().and_then(|ip| ip.parse().ok());
        if address.is_none_or(|ip: IpAddr| !out.contains_key(&ip)) {
            label(objects, &pod, &Value::Null).await?;
            returned += 1;
        }
    }
    for (address, namespace) in out {
        let of = ListParams::default().fields(&format!("status.podIP={address}"));
        for pod in objects.list(PODS, Some(namespace), &of).await? {
            // Somebody else's label is somebody else's.
            if pod["metadata"]["labels"].get(LABEL).is_none() {
                label(objects, &pod, &json!(OURS)).await?;
            }
        }
    }
    Ok(returned)
}

async fn label(objects: &Objects, pod: &Value, value: &Value) -> Result<()> {
    let labels = json!({"metadata": {"labels": {LABEL: value}}});
    let (namespace, name) = place(pod);
    tracing::info!(pod = name, namespace, out = value.is_string(), "the label of a pod is written");
    objects.patch(PODS, place(pod), &Change::Merged(&labels)).await.map(drop)
}
