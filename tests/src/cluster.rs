//! A whole Kubernetes of real programs on this machine: etcd, API server, controller manager and
//! scheduler, in a network namespace of their own, with a kubelet that only pretends.
//!
//! Every pod is a backend inside this process that listens on the pod's own address, port 8080
//! ([`kubelet`]): no container, no root, three seconds to start. One cluster serves all tests of
//! a run; each test takes a namespace (Kubernetes' word) of its own. What else a mesh is made of
//! starts beside it: [`istiod`], [`flagger`], [`gateway`], [`snapshots`], and proxies ([`sidecar`]).
//!
//! Nothing is simulated but the kubelet and the containers, so what is proven here about roles,
//! schemas, conflicts and the order of events holds in a real cluster.

pub mod before;
pub mod flagger;
pub mod gateway;
pub mod identity;
pub mod istiod;
pub mod kubelet;
pub mod namespace;
pub mod page;
pub mod peers;
pub mod plane;
pub mod sidecar;
pub mod snapshots;
pub mod workload;
pub mod yaml;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use weir_testbed::envoy::eventually;
use weir_testbed::ports;

use identity::Identity;
use kubelet::Kubelet;
use peers::Peers;
use plane::{Plane, Ports, Store};

/// How long what several programs do one after another may take: a Deployment is there after two
/// seconds, a busy machine needs more.
pub const SOON: Duration = Duration::from_secs(60);

/// A running cluster. All of it ends when it is dropped.
pub struct Cluster {
    /// An administrator's client.
    pub admin: Client,
    /// The nodes and what runs on them.
    pub kubelet: Kubelet,
    /// The programs that others have built.
    pub peers: Peers,
    // Before the folder, so that nothing writes into it any more when it goes.
    _plane: Plane,
    folder: TempDir,
    /// Files that were applied for all tests.
    applied: Mutex<BTreeSet<PathBuf>>,
    /// Held by the one Envoy Gateway that may run, since its ports are its own choice.
    gateway: Arc<Mutex<()>>,
    /// Held by the one installation of Weir that may be: its account's token names its namespace.
    home: Arc<RwLock<()>>,
}

impl Cluster {
    /// Starts it. From a thread that stays: its processes end with the thread they came from.
    ///
    /// # Panics
    ///
    /// When a part does not get ready in time; the message ends with its log.
    pub async fn start(peers: Peers) -> Self {
        let folder = tempfile::Builder::new().prefix("weir-mesh-").tempdir().unwrap();
        let plane = Plane::start(folder.path(), peers.folder("etcd"), peers.folder("kube")).await;
        let admin = identity::client(folder.path(), Identity::Admin).await;
        let kubelet = Kubelet::start(admin.clone()).await;
        let applied = Mutex::default();
        let (gateway, home) = (Arc::default(), Arc::default());
        Self { admin, kubelet, peers, _plane: plane, folder, applied, gateway, home }
    }

    /// A client of somebody.
    pub async fn client(&self, identity: Identity) -> Client {
        identity::client(self.folder.path(), identity).await
    }

    /// The kubeconfig of somebody, for programs.
    pub fn kubeconfig(&self, identity: Identity) -> PathBuf {
        identity::kubeconfig(self.folder.path(), identity)
    }

    /// A folder of its own for a process: its configuration and its log. It is named in the
    /// message of a failed run and kept then.
    pub fn room(&self, name: &str) -> PathBuf {
        let room = self.folder.path().join(name);
        std::fs::create_dir_all(&room).unwrap();
        room
    }

    /// Makes a namespace of a test's own. A namespace that is there already is as good.
    pub async fn namespace(&self, name: &str) {
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        let wanted = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        match namespaces.create(&PostParams::default(), &wanted).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            made => drop(made.unwrap()),
        }
    }

    /// The namespace that Weir is installed into, for whoever installs it next.
    pub async fn home(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.home).write_owned().await
    }

    /// While it is held nobody installs a Weir that looks at all namespaces, so at another test's
    /// policies too.
    pub async fn apart(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.home).read_owned().await
    }

    /// Applies documents by server-side apply with strict validation, as `kubectl` does.
    ///
    /// # Panics
    ///
    /// When the API server refuses one; the message has its words.
    pub async fn apply(&self, documents: &str) {
        let applied = self.kubectl(&["apply", "--filename", "-"], documents).await;
        applied.unwrap_or_else(|refusal| panic!("not applied: {refusal}"));
    }

    /// Applies definitions, a file or a folder, which all tests share: once in a run. They are
    /// established when it returns.
    ///
    /// # Panics
    ///
    /// As [`Cluster::apply`].
    pub async fn define(&self, path: &Path) {
        let mut applied = self.applied.lock().await;
        if applied.insert(path.to_owned()) {
            let path = path.to_str().unwrap();
            let done = self.kubectl(&["apply", "--filename", path], "").await;
            done.unwrap_or_else(|refusal| panic!("not applied: {path}: {refusal}"));
            let established =
                ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
            // A definition that was made this instant has no conditions yet, which is an error there.
            soon("definitions are established", async || {
                self.kubectl(&established, "").await.is_ok()
            })
            .await;
        }
    }

    /// An API server of a test's own, that it may kill and start again, with an etcd and nothing
    /// else: nobody makes pods there, nor endpoints of them. Its folder is for
    /// [`identity::client`] and [`identity::kubeconfig`].
    pub async fn api_server(&self, name: &str) -> (Store, PathBuf) {
        let room = self.room(name);
        let (etcd, kube) = (self.peers.folder("etcd"), self.peers.folder("kube"));
        (Store::start(&room, etcd, kube, Ports::unused()).await, room)
    }

    /// Keeps its folder, with all logs, and says where it is.
    pub fn keep(mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder.path().to_owned()
    }
}

/// Waits for what takes a cluster some time.
///
/// # Panics
///
/// When it does not come true in time; `what` says what was waited for.
pub async fn soon(what: &str, condition: impl AsyncFnMut() -> bool) {
    assert!(eventually(SOON, condition).await, "not within {SOON:?}: {what}");
}

/// An address that nobody uses now.
///
/// # Panics
///
/// When all ports are taken.
pub fn free() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()))
}
