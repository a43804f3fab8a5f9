//! A real Envoy Gateway that reads files and needs no cluster: control plane only, since the
//! proxies are ours ([`super::sidecar`]).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::OwnedMutexGuard;
use weir_testbed::child::{Child, Program};

use super::{Cluster, SOON};

/// Where proxies connect, over TLS.
pub const ADS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 18000);

/// A running Envoy Gateway; killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    /// The process.
    pub child: Child,
    room: PathBuf,
    _one: OwnedMutexGuard<()>,
}

impl Gateway {
    /// Starts one on these documents: a GatewayClass, Gateways, routes, Backends. There is one at
    /// a time: another waits until this one is dropped.
    ///
    /// # Panics
    ///
    /// When it does not listen in time; the message ends with its log.
    pub async fn start(cluster: &Cluster, name: &str, documents: &str) -> Self {
        Self::start_with(cluster, name, documents, None).await
    }

    /// As [`Gateway::start`], with this as its configuration's `extensionManager`.
    ///
    /// # Panics
    ///
    /// As [`Gateway::start`].
    pub async fn start_with(
        cluster: &Cluster,
        name: &str,
        documents: &str,
        extension: Option<Value>,
    ) -> Self {
        let one = Arc::clone(&cluster.gateway).lock_owned().await;
        let room = cluster.room(name);
        let program = cluster.peers.program("envoy-gateway");
        std::fs::create_dir_all(room.join("documents")).unwrap();
        write(&room, documents);
        let mut certificates = Command::new(&program);
        certificates.args(["certgen", "--local", "--config-home"]).arg(room.join("home"));
        let made = certificates.env("HOME", &room).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let child = serving(program, &room, extension).await;
        Self { child, room, _one: one }
    }

    /// Starts it again, with another `extensionManager` or none.
    ///
    /// # Panics
    ///
    /// As [`Gateway::start`].
    pub async fn restart_with(&mut self, cluster: &Cluster, extension: Option<Value>) {
        self.child.kill().await.unwrap();
        self.child = serving(cluster.peers.program("envoy-gateway"), &self.room, extension).await;
    }

    /// Puts other documents in the place of all.
    pub fn write(&self, documents: &str) {
        write(&self.room, documents);
    }

    /// One of the files by which a proxy and it know each other.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.room.join("home/certs/envoy").join(name)
    }

    /// The transport socket by which a proxy reaches it.
    pub fn transport(&self) -> Value {
        let file = |name: &str| json!({"filename": self.certificate(name).display().to_string()});
        // Without these two the handshake fails.
        let common = json!({
            "alpn_protocols": ["h2"],
            "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{
                "certificate_chain": file("tls.crt"),
                "private_key": file("tls.key"),
            }],
            "validation_context": {"trusted_ca": file("ca.crt")},
        });
        json!({"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": common,
            "sni": "envoy-gateway",
        }})
    }
}

async fn serving(program: PathBuf, room: &Path, extension: Option<Value>) -> Child {
    let config = room.join("gateway.yaml");
    std::fs::write(&config, configuration(room, extension).to_string()).unwrap();
    let mut child = Child::start(Program {
        name: "Envoy Gateway".to_owned(),
        path: program,
        arguments: vec!["server".into(), "--config-path".into(), config.into()],
        environment: vec![("HOME".to_owned(), room.display().to_string())],
        log: room.join("gateway.log"),
    })
    .unwrap();
    let listens = async || TcpStream::connect(ADS).await.is_ok();
    child.ready(SOON, listens).await.unwrap_or_else(|error| panic!("{error}"));
    child
}

/// How a proxy of a Gateway names itself.
pub fn node(namespace: &str, gateway: &str) -> Value {
    json!({"id": format!("{gateway}-proxy"), "cluster": format!("{namespace}/{gateway}")})
}

fn write(room: &Path, documents: &str) {
    let half = room.join("documents.half");
    std::fs::write(&half, documents).unwrap();
    std::fs::rename(half, room.join("documents/all.yaml")).unwrap();
}

fn configuration(room: &Path, extension: Option<Value>) -> Value {
    let folder = |name: &str| room.join(name).display().to_string();
    let host = json!({
        "configHome": folder("home"),
        "dataHome": folder("data"),
        "stateHome": folder("state"),
        "runtimeDir": folder("run"),
    });
    let mut configuration = json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        "provider": {"type": "Custom", "custom": {
            "resource": {"type": "File", "file": {"paths": [folder("documents")]}},
            "infrastructure": {"type": "Host", "host": host},
        }},
        "logging": {"level": {"default": "info"}},
        "extensionApis": {"enableBackend": true},
    });
    if let Some(extension) = extension {
        configuration["extensionManager"] = extension;
    }
    configuration
}
