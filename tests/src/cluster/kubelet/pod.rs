//! What runs for a pod, and what is told of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use weir_testbed::backends::Backend;
use weir_testbed::ports::Reserved;

use super::node::now;
use super::{NODES, Name};
use crate::cluster::namespace::NODE;
use crate::world::FAST;

/// The port that every pod serves.
pub const PORT: u16 = 8080;

/// A pod that runs.
#[derive(Debug)]
pub struct Running {
    /// Its zone, which is its node too.
    pub zone: String,
    /// What answers for it.
    pub backend: Backend,
    since: String,
    containers: Vec<(String, String)>,
}

impl Running {
    /// Starts a pod at an address of its node's.
    ///
    /// # Panics
    ///
    /// When nothing can listen there: outside the namespace, or after 250 pods on one node.
    pub(super) fn start(pod: &Pod, zone: &str) -> Self {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let port = Reserved::at(address(zone)).unwrap();
        let backend = Backend::start_on(port, &name, FAST).unwrap();
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let containers = containers
            .map(|container| (container.name.clone(), container.image.clone().unwrap_or_default()))
            .collect();
        Self { zone: zone.to_owned(), backend, since: now(), containers }
    }
}

/// The next address of a zone's. None is used again within a run, so that nothing which is still
/// sent to a pod that has gone can reach another.
fn address(zone: &str) -> SocketAddr {
    static NEXT: [AtomicU8; NODES.len()] = [const { AtomicU8::new(1) }; NODES.len()];
    let node = NODES.iter().position(|known| *known == zone).expect("a node of ours");
    let pod = NEXT[node].fetch_add(1, Ordering::Relaxed);
    assert!(pod < 250, "all addresses of {zone} are used");
    let part = u8::try_from(node).expect("few nodes") + 1;
    SocketAddr::from((Ipv4Addr::new(10, 244, part, pod), PORT))
}

/// Tells the API server that a pod runs and is ready. A pod that is gone meanwhile is no failure.
pub(super) async fn tell(client: &Client, (namespace, name): &Name, pod: &Running) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let status = Patch::Merge(status(pod));
    pods.patch_status(name, &PatchParams::default(), &status).await.ok();
}

fn status(pod: &Running) -> Value {
    let address = pod.backend.address().ip().to_string();
    let kinds = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];
    let conditions =
        kinds.map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": pod.since}));
    let container = |(name, image): &(String, String)| {
        json!({
            "name": name,
            "image": image,
            "imageID": "",
            "ready": true,
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
