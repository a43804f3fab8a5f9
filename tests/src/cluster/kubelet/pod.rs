//! What runs for a pod, and what is told of it.

use std::net::{Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use weir_testbed::backends::Backend;
use weir_testbed::ports::Reserved;

use super::Name;
use super::node::now;
use crate::cluster::namespace::NODE;
use crate::world::FAST;

/// The port that every pod serves.
pub const PORT: u16 = 8080;

/// A pod that runs.
#[derive(Debug)]
pub(super) struct Running {
    /// Its zone, which is its node too.
    pub(super) zone: String,
    /// What answers for it.
    pub(super) backend: Backend,
    /// Whether it says that it takes requests.
    pub(super) ready: bool,
    since: String,
    containers: Vec<(String, String)>,
}

impl Running {
    /// Starts a pod at an address.
    ///
    /// # Panics
    ///
    /// When nothing can listen there, as outside the namespace.
    pub(super) fn start(pod: &Pod, zone: &str, address: SocketAddr) -> Self {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let backend = Backend::start_on(Reserved::at(address).unwrap(), &name, FAST).unwrap();
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let containers = containers
            .map(|container| (container.name.clone(), container.image.clone().unwrap_or_default()))
            .collect();
        Self { zone: zone.to_owned(), backend, ready: true, since: now(), containers }
    }
}

/// The addresses of pods, from the first on. None is used again within a run, so that nothing
/// which is still sent to a pod that has gone can reach another.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    used: u16,
}

impl Addresses {
    /// The next one.
    ///
    /// # Panics
    ///
    /// After 60,000.
    pub(super) fn next(&mut self) -> SocketAddr {
        self.used += 1;
        assert!(self.used < 60_000, "all addresses are used");
        let [high, low] = self.used.to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(10, 244, high, low), PORT))
    }
}

/// Tells the API server that a pod runs and whether it is ready.
///
/// # Panics
///
/// When the API server refuses that, unless the pod is gone meanwhile.
pub(super) async fn tell(client: &Client, (namespace, name): &Name, pod: &Running) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let status = Patch::Merge(status(pod));
    match pods.patch_status(name, &PatchParams::default(), &status).await {
        Ok(_) => {}
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => {}
        Err(error) => panic!("the status of {namespace}/{name} was not taken: {error}"),
    }
}

fn status(pod: &Running) -> Value {
    let address = pod.backend.address().ip().to_string();
    let ready = if pod.ready { "True" } else { "False" };
    let conditions = [
        ("PodScheduled", "True"),
        ("Initialized", "True"),
        ("ContainersReady", ready),
        ("Ready", ready),
    ];
    let conditions = conditions
        .map(|(kind, status)| json!({"type": kind, "status": status, "lastTransitionTime": now()}));
    let container = |(name, image): &(String, String)| {
        json!({
            "name": name,
            "image": image,
            "imageID": "",
            "ready": pod.ready,
            "started": true,
            "restartCount": 0,
            "state": {"running": {"startedAt": pod.since}},
        })
    };
    let containers: Vec<Value> = pod.containers.iter().map(container).collect();
    json!({"status": {
        "phase": "Running",
        "hostIP": NODE,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": pod.since,
        "conditions": conditions,
        "containerStatuses": containers,
    }})
}
