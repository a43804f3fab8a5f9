//! The control plane: programs of Kubernetes' own, each awaited by a condition.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::{Client, Config};
use serde_json::{Value, json};
use weir_testbed::child::{Child, Program};
use weir_testbed::envoy::Admin;
use weir_testbed::ports;

use super::identity::{self, Identity};
use super::namespace::{NODE, PODS, SERVICES};

/// The ports of one API server, its etcd, and etcd's peers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    api: u16,
    etcd: [u16; 2],
}

/// Those of the cluster that all tests share. The namespace is ours alone, so they are fixed.
pub(super) const SHARED: Ports = Ports { api: 6443, etcd: [2379, 2380] };

impl Ports {
    /// Those of an API server that stands alone. One that was killed may hold its own for a while.
    pub(super) fn unused() -> Self {
        let [api, own, peers] = std::array::from_fn(|_| ports::unused().unwrap());
        Self { api, etcd: [own, peers] }
    }
}

/// How long a part may take to be ready: the API server needs three seconds alone, and much more
/// beside a compiler.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// An API server and its store; killed when dropped, since nothing of theirs is kept.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    kube: PathBuf,
    ports: Ports,
    api: Option<Child>,
    _etcd: Child,
}

impl Store {
    /// Starts both in a folder.
    pub(super) async fn start(folder: &Path, etcd: &Path, kube: &Path, ports: Ports) -> Self {
        std::fs::write(folder.join("tokens.csv"), identity::tokens()).unwrap();
        identity::write_kubeconfigs(folder, &format!("{NODE}:{}", ports.api));
        let kube = kube.join("kube");
        let etcd = start_etcd(folder, &etcd.join("etcd"), ports).await;
        let key = folder.join("accounts.key");
        let made = std::process::Command::new(&kube).arg("key").arg(&key).status();
        assert!(made.unwrap().success(), "no key for service accounts");
        let mut store = Self { folder: folder.to_owned(), kube, ports, api: None, _etcd: etcd };
        store.start_api().await;
        store
    }

    /// Kills the API server; what it stored stays.
    ///
    /// # Panics
    ///
    /// When it cannot be killed.
    pub async fn kill_api(&mut self) {
        if let Some(mut api) = self.api.take() {
            api.kill().await.unwrap();
        }
    }

    /// Starts the API server, where it was if it has been before.
    ///
    /// # Panics
    ///
    /// When it does not get ready in time; the message ends with its log.
    pub async fn start_api(&mut self) {
        self.api = Some(start_api_server(&self.folder, &self.kube, self.ports).await);
    }

    /// Has etcd forget all that was before now, as it is made to every five minutes.
    ///
    /// # Panics
    ///
    /// When it refuses.
    pub async fn compact(&self) {
        let at = format!("http://127.0.0.1:{}", self.ports.etcd[0]);
        let client = Client::try_from(Config::new(at.parse().unwrap())).unwrap();
        let ask = async |path: &str, body: Value| -> Value {
            let request = http::Request::post(path).body(body.to_string().into_bytes()).unwrap();
            serde_json::from_str(&client.request_text(request).await.unwrap()).unwrap()
        };
        // A key of one zero byte: nothing is looked for but the revision.
        let now = ask("/v3/kv/range", json!({"key": "AA=="})).await;
        let revision = &now["header"]["revision"];
        ask("/v3/kv/compaction", json!({"revision": revision, "physical": true})).await;
    }
}

/// The processes of a whole control plane.
#[derive(Debug)]
pub struct Plane {
    _store: Store,
    _parts: [Child; 2],
}

impl Plane {
    /// Starts all of it in a folder.
    pub(super) async fn start(folder: &Path, etcd: &Path, kube: &Path) -> Self {
        let store = Store::start(folder, etcd, kube, SHARED).await;
        let controllers = start_part(
            folder,
            &store.kube,
            "kube-controller-manager",
            &[
                format!(
                    "--service-account-private-key-file={}",
                    folder.join("accounts.key").display()
                ),
                format!("--root-ca-file={}", identity::authority(folder).display()),
                format!("--cluster-cidr={PODS}"),
                // A node that has gone silent is noticed in seconds, not in a minute.
                "--node-monitor-period=1s".to_owned(),
                format!("--node-monitor-grace-period={}s", super::kubelet::GRACE.as_secs()),
            ],
        );
        let scheduler = start_part(folder, &store.kube, "kube-scheduler", &[]);
        Self { _store: store, _parts: [controllers, scheduler] }
    }
}

fn program(folder: &Path, name: &str, path: &Path, arguments: Vec<OsString>) -> Program {
    let log = folder.join(format!("{name}.log"));
    Program { name: name.to_owned(), path: path.to_owned(), arguments, environment: vec![], log }
}

fn flags(given: impl IntoIterator<Item = String>) -> Vec<OsString> {
    given.into_iter().map(Into::into).collect()
}

async fn start_etcd(folder: &Path, path: &Path, Ports { etcd: [own, peers], .. }: Ports) -> Child {
    let at = format!("127.0.0.1:{own}");
    let arguments = flags([
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls=http://{at}"),
        format!("--advertise-client-urls=http://{at}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peers}"),
        // The data dies with the process anyway.
        "--unsafe-no-fsync".to_owned(),
    ]);
    let mut child = Child::start(program(folder, "etcd", path, arguments)).unwrap();
    let client = Admin::new(at.parse().unwrap());
    let healthy = async || client.get("/health").await.is_ok_and(|(status, _)| status.is_success());
    child.ready(READY_WITHIN, healthy).await.unwrap_or_else(|error| panic!("{error}"));
    child
}

async fn start_api_server(folder: &Path, kube: &Path, ports: Ports) -> Child {
    let file = |name: &str| folder.join(name).display().to_string();
    let Ports { api: port, etcd: [etcd, _] } = ports;
    let mut arguments = flags(["kube-apiserver".to_owned()]);
    arguments.extend(flags([
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        format!("--bind-address={NODE}"),
        format!("--advertise-address={NODE}"),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", file("certificates")),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("accounts.key")),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=Node,RBAC".to_owned(),
    ]));
    let mut child = Child::start(program(folder, "kube-apiserver", kube, arguments)).unwrap();
    let authority = identity::authority(folder);
    let ready = async || authority.exists() && answers(folder).await;
    child.ready(READY_WITHIN, ready).await.unwrap_or_else(|error| panic!("{error}"));
    child
}

async fn answers(folder: &Path) -> bool {
    let client = identity::client(folder, Identity::Admin).await;
    let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
    client.request_text(request).await.is_ok_and(|text| text == "ok")
}

/// A part that asks the API server and is asked nothing.
fn start_part(folder: &Path, kube: &Path, name: &str, more: &[String]) -> Child {
    let config: PathBuf = identity::kubeconfig(folder, Identity::Admin);
    let mut arguments = flags([
        name.to_owned(),
        format!("--kubeconfig={}", config.display()),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ]);
    arguments.extend(flags(more.iter().cloned()));
    Child::start(program(folder, name, kube, arguments)).unwrap()
}
