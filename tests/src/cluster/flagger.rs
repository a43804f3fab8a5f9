//! A real Flagger, which moves weights in Istio's objects as canaries prove themselves.

use weir_testbed::child::{Child, Program};
use weir_testbed::ports;

use super::Cluster;
use super::identity::Identity;

/// A running Flagger; killed when dropped.
#[derive(Debug)]
pub struct Flagger {
    /// The process.
    pub child: Child,
}

impl Flagger {
    /// Starts one that looks after the canaries of one namespace and asks this Prometheus.
    pub async fn start(cluster: &Cluster, namespace: &str, prometheus: &str) -> Self {
        cluster.define(&cluster.peers.folder("flagger").join("crds")).await;
        cluster.define(&cluster.peers.folder("istiod").join("crds")).await;
        let room = cluster.room(&format!("flagger-{namespace}"));
        let config = cluster.kubeconfig(Identity::Admin);
        let arguments = [
            format!("-kubeconfig={}", config.display()),
            "-mesh-provider=istio".to_owned(),
            format!("-metrics-server={prometheus}"),
            format!("-namespace={namespace}"),
            format!("-port={}", ports::unused().unwrap()),
            "-control-loop-interval=1s".to_owned(),
        ];
        let child = Child::start(Program {
            name: "Flagger".to_owned(),
            path: cluster.peers.program("flagger"),
            arguments: arguments.map(Into::into).to_vec(),
            environment: Vec::new(),
            log: room.join("flagger.log"),
        });
        Self { child: child.unwrap() }
    }
}
