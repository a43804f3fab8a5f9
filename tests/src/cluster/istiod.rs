//! A real istiod, against the cluster's API server, without injection: in plain text, or with an authority of
//! its own and proxies that show tokens.

use std::net::SocketAddr;

use serde_json::{Value, json};
use weir_testbed::child::{Child, Program};
use weir_testbed::envoy::Admin;

use super::identity::Identity;
use super::kubelet::{REGION, ZONES};
use super::{Cluster, SOON, free};

/// The route configuration that Istio makes for plain HTTP on port 80.
pub const ROUTE: &str = "80";

/// Metadata exchange is a filter of Istio's own build of Envoy: stock Envoy refuses what has it.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("POD_NAMESPACE", "istio-system"),
    ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
    ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
    ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
    ("PILOT_ENABLE_ANALYSIS", "false"),
];

/// Who issues certificates: nobody.
const PLAIN: [(&str, &str); 2] = [("ENABLE_CA_SERVER", "false"), ("PILOT_CERT_PROVIDER", "none")];

/// Who issues certificates: istiod, by an authority that it makes and keeps in a Secret.
const SECURED: [(&str, &str); 2] =
    [("ENABLE_CA_SERVER", "true"), ("PILOT_CERT_PROVIDER", "istiod")];

/// The name in istiod's own certificate.
pub const SERVER_NAME: &str = "istiod.istio-system.svc";

/// Whom tokens for it are issued to.
pub const AUDIENCE: &str = "istio-ca";

/// A running istiod; killed when dropped.
#[derive(Debug)]
pub struct Istiod {
    /// The process.
    pub child: Child,
    /// Where proxies connect in plain text.
    pub ads: SocketAddr,
    /// Where proxies connect by TLS and are known by their tokens.
    pub secured: Option<SocketAddr>,
    /// Its own pages: `/debug/syncz` and others.
    pub debug: Admin,
}

impl Istiod {
    /// Starts one with Istio's definitions and the Gateway API's, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When it does not get ready in time; the message ends with its log.
    pub async fn start(cluster: &Cluster, name: &str) -> Self {
        Self::start_on(cluster, name, free()).await
    }

    /// As [`Istiod::start`], with its TLS port too.
    ///
    /// # Panics
    ///
    /// As [`Istiod::start`].
    pub async fn start_secured(cluster: &Cluster, name: &str) -> Self {
        Self::start_at(cluster, name, (free(), Some(free()))).await
    }

    /// As [`Istiod::start`] where one has been before, so that its proxies find it again.
    ///
    /// # Panics
    ///
    /// As [`Istiod::start`].
    pub async fn start_on(cluster: &Cluster, name: &str, ads: SocketAddr) -> Self {
        Self::start_at(cluster, name, (ads, None)).await
    }

    async fn start_at(
        cluster: &Cluster,
        name: &str,
        (ads, secured): (SocketAddr, Option<SocketAddr>),
    ) -> Self {
        let files = cluster.peers.folder("istiod");
        cluster.define(&files.join("crds")).await;
        cluster.define(&files.join("gateway-crds")).await;
        cluster.namespace("istio-system").await;
        let room = cluster.room(name);
        std::fs::write(room.join("mesh.yaml"), "enableAutoMtls: false\n").unwrap();
        std::fs::write(room.join("networks.yaml"), "networks: {}\n").unwrap();
        let (http, monitoring, inside) = (free(), free(), free());
        let file = |name: &str| room.join(name).display().to_string();
        let arguments = [
            "discovery".to_owned(),
            "--registries=Kubernetes".to_owned(),
            format!("--kubeconfig={}", cluster.kubeconfig(Identity::Admin).display()),
            format!("--meshConfig={}", file("mesh.yaml")),
            format!("--networksConfig={}", file("networks.yaml")),
            format!("--grpcAddr={ads}"),
            format!("--secureGRPCAddr={}", secured.map(|at| at.to_string()).unwrap_or_default()),
            "--httpsAddr=".to_owned(),
            format!("--httpAddr={http}"),
            format!("--monitoringAddr={monitoring}"),
            format!("--ctrlz_port={}", inside.port()),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut environment = ENVIRONMENT.map(owned).to_vec();
        environment.extend(if secured.is_some() { SECURED } else { PLAIN }.map(owned));
        environment.push(owned(("POD_NAME", name)));
        let mut child = Child::start(Program {
            name: "istiod".to_owned(),
            path: cluster.peers.program("istiod"),
            arguments: arguments.map(Into::into).to_vec(),
            environment,
            log: room.join("istiod.log"),
        })
        .unwrap();
        let debug = Admin::new(http);
        let ready = async || debug.get("/ready").await.is_ok_and(|(status, _)| status.is_success());
        child.ready(SOON, ready).await.unwrap_or_else(|error| panic!("{error}"));
        Self { child, ads, secured, debug }
    }
}

/// How a client's proxy in a Kubernetes namespace names itself to istiod.
pub fn node(namespace: &str) -> Value {
    json!({
        "id": format!("sidecar~10.244.9.9~client.{namespace}~{namespace}.svc.cluster.local"),
        "cluster": format!("client.{namespace}"),
        "locality": {"region": REGION, "zone": ZONES[0]},
        "metadata": {
            "NAMESPACE": namespace,
            "CLUSTER_ID": "Kubernetes",
            "ISTIO_VERSION": "1.30.0",
        },
    })
}

/// A Service's name everywhere in the mesh.
pub fn host(namespace: &str, service: &str) -> String {
    format!("{service}.{namespace}.svc.cluster.local")
}
