//! The control plane: four programs of Kubernetes' own, each awaited by a condition.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_testbed::child::{Child, Program};
use weir_testbed::envoy::Admin;

use super::identity::{self, Identity};
use super::namespace::{NODE, PODS, SERVICES};

/// Where the API server listens. The namespace is ours alone, so ports are fixed.
pub(super) const API: &str = "10.0.0.1:6443";

/// Where etcd listens.
const ETCD: &str = "127.0.0.1:2379";

/// How long a part may take to be ready: the API server needs three seconds alone, and much more
/// beside a compiler.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// The processes; killed when dropped, since nothing of theirs is kept.
#[derive(Debug)]
pub struct Plane {
    _children: Vec<Child>,
}

impl Plane {
    /// Starts all of it in a folder.
    pub(super) async fn start(folder: &Path, etcd: &Path, kube: &Path) -> Self {
        std::fs::write(folder.join("tokens.csv"), identity::tokens()).unwrap();
        identity::write_kubeconfigs(folder);
        let kube = kube.join("kube");
        let store = start_etcd(folder, &etcd.join("etcd")).await;
        let key = folder.join("accounts.key");
        let made = std::process::Command::new(&kube).arg("key").arg(&key).status();
        assert!(made.unwrap().success(), "no key for service accounts");
        let api = start_api_server(folder, &kube).await;
        let controllers = start_part(
            folder,
            &kube,
            "kube-controller-manager",
            &[
                format!("--service-account-private-key-file={}", key.display()),
                format!("--root-ca-file={}", identity::authority(folder).display()),
                format!("--cluster-cidr={PODS}"),
                // A node that has gone silent is noticed in seconds, not in a minute.
                "--node-monitor-period=1s".to_owned(),
                format!("--node-monitor-grace-period={}s", super::kubelet::GRACE.as_secs()),
            ],
        );
        let scheduler = start_part(folder, &kube, "kube-scheduler", &[]);
        Self { _children: vec![store, api, controllers, scheduler] }
    }
}

fn program(folder: &Path, name: &str, path: &Path, arguments: Vec<OsString>) -> Program {
    let log = folder.join(format!("{name}.log"));
    Program { name: name.to_owned(), path: path.to_owned(), arguments, environment: vec![], log }
}

fn flags(given: impl IntoIterator<Item = String>) -> Vec<OsString> {
    given.into_iter().map(Into::into).collect()
}

async fn start_etcd(folder: &Path, path: &Path) -> Child {
    let arguments = flags([
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls=http://{ETCD}"),
        format!("--advertise-client-urls=http://{ETCD}"),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        // The data dies with the process anyway.
        "--unsafe-no-fsync".to_owned(),
    ]);
    let mut child = Child::start(program(folder, "etcd", path, arguments)).unwrap();
    let client = Admin::new(ETCD.parse().unwrap());
    let healthy = async || client.get("/health").await.is_ok_and(|(status, _)| status.is_success());
    child.ready(READY_WITHIN, healthy).await.unwrap_or_else(|error| panic!("{error}"));
    child
}

async fn start_api_server(folder: &Path, kube: &Path) -> Child {
    let file = |name: &str| folder.join(name).display().to_string();
    let port = API.rsplit_once(':').unwrap().1;
    let mut arguments = flags(["kube-apiserver".to_owned()]);
    arguments.extend(flags([
        format!("--etcd-servers=http://{ETCD}"),
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
