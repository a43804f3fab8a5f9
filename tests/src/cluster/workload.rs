//! Deployments and Services as people write them, and what Kubernetes makes of them.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;

use super::kubelet::{PORT, TAINT};
use super::{Cluster, soon};

/// A Deployment: `shop-v1`, with the labels `app: shop` and `version: v1`, spread over the zones.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    /// The Kubernetes namespace.
    pub namespace: &'a str,
    /// What it is part of.
    pub app: &'a str,
    /// Which version.
    pub version: &'a str,
    /// How many pods.
    pub replicas: usize,
    /// Whether pods may lie in the spare zone too.
    pub spare: bool,
}

impl Workload<'_> {
    /// The document.
    pub fn document(&self) -> String {
        let Workload { namespace, app, version, replicas, spare } = self;
        let tolerated =
            if *spare { format!("{{key: {TAINT}, operator: Exists}}") } else { String::new() };
        format!(
            "
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {app}-{version}, namespace: {namespace}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {app}, version: {version}}}}}
  template:
    metadata: {{labels: {{app: {app}, version: {version}}}}}
    spec:
      tolerations: [{tolerated}]
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: topology.kubernetes.io/zone
          whenUnsatisfiable: DoNotSchedule
          nodeTaintsPolicy: Honor
          labelSelector: {{matchLabels: {{app: {app}, version: {version}}}}}
          matchLabelKeys: [pod-template-hash]
      containers:
        - {{name: {app}, image: \"{app}:{version}\", ports: [{{name: http, containerPort: {PORT}}}]}}
"
        )
    }
}

/// A Service of all versions of an app: port 80, named `http`.
pub fn service(namespace: &str, app: &str) -> String {
    format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{name: {app}, namespace: {namespace}}}
spec:
  selector: {{app: {app}}}
  ports: [{{name: http, port: 80, targetPort: {PORT}, appProtocol: http}}]
"
    )
}

/// An endpoint of a Service, as its slices tell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// A pod's address.
    pub address: IpAddr,
    /// Its zone.
    pub zone: String,
    /// Whether it takes new requests.
    pub ready: bool,
}

impl Cluster {
    /// The endpoints of a Service, by address.
    pub async fn endpoints(&self, namespace: &str, service: &str) -> Vec<Endpoint> {
        let slices: Api<EndpointSlice> = Api::namespaced(self.admin.clone(), namespace);
        let of = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
        let listed = slices.list(&of).await.unwrap();
        let all = listed.items.into_iter().flat_map(|slice| slice.endpoints.unwrap_or_default());
        let mut endpoints: Vec<_> = all
            .map(|endpoint| Endpoint {
                address: endpoint.addresses[0].parse().unwrap(),
                zone: endpoint.zone.unwrap_or_default(),
                ready: endpoint.conditions.and_then(|told| told.ready).unwrap_or_default(),
            })
            .collect();
        endpoints.sort();
        endpoints
    }

    /// Waits until a Service has so many endpoints, all ready.
    pub async fn ready(&self, namespace: &str, service: &str, count: usize) {
        soon(&format!("{service} has {count} endpoints, all ready"), async || {
            let endpoints = self.endpoints(namespace, service).await;
            endpoints.len() == count && endpoints.iter().all(|endpoint| endpoint.ready)
        })
        .await;
    }
}
