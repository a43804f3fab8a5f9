//! Proxyless gRPC clients and servers: Python's, whose xDS client is that of most languages.
//!
//! `demo/shop` is what clients call; its versions `demo/shop-v1` and `demo/shop-v2` have servers
//! each. All that a client knows is Weir's address.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use weir_testbed::child::{Child, Program};
use weir_testbed::envoy::eventually;
use weir_testbed::{ports, required};

use crate::weir::{Weir, run};
use crate::world::write;
use crate::{WITHIN, root, until};

/// Requests a second: twenty-five at each of the four servers of the version in use.
const RATE: &str = "100";

/// Servers of the version in use, and of the new one.
pub const SERVERS: [&[&str]; 2] = [&["a", "b", "c", "d"], &["new-a", "new-b"]];

/// Servers, all in one process; they end when it is dropped.
#[derive(Debug)]
pub struct Servers {
    /// Where each listens, by its name.
    pub addresses: BTreeMap<String, String>,
    _child: Child,
    folder: PathBuf,
}

/// A client, which sends requests until it is dropped.
#[derive(Debug)]
pub struct Client {
    child: Child,
    folder: PathBuf,
}

/// A stage of gRPC. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Stage {
    /// Weir.
    pub weir: Weir,
    /// The servers.
    pub servers: Servers,
    /// The client.
    pub client: Client,
    folder: TempDir,
}

/// What the client has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Answers by server.
    pub answers: BTreeMap<String, u64>,
    /// Failures by their words.
    pub failures: BTreeMap<String, u64>,
}

impl Seen {
    /// Answers of these servers, or of all.
    pub fn of(&self, names: &[&str]) -> u64 {
        let wanted = |name: &str| names.is_empty() || names.contains(&name);
        self.answers.iter().filter(|(name, _)| wanted(name)).map(|(_, count)| count).sum()
    }

    /// What came since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let less = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>| {
            let before = |name: &str| then.get(name).copied().unwrap_or(0);
            let new = now.iter().map(|(name, count)| (name.clone(), count - before(name)));
            new.filter(|(_, count)| *count > 0).collect()
        };
        Self {
            answers: less(&self.answers, &before.answers),
            failures: less(&self.failures, &before.failures),
        }
    }
}

impl Servers {
    /// Starts one for each of these, `NAME` or `NAME=ADDRESS`, and waits until they listen. One with an
    /// address tells at the next port of how many requests it has handled, as gRPC's own metrics do.
    ///
    /// # Panics
    ///
    /// When they do not listen in time.
    pub async fn start(folder: &Path, names: &[String]) -> Self {
        let child = script(folder, "server.py", names, None);
        let mut listed = Value::Null;
        until("the servers listen", async || {
            listed = read(&folder.join("servers.json"));
            listed.is_object()
        })
        .await;
        let addresses = serde_json::from_value(listed).unwrap();
        Self { addresses, _child: child, folder: folder.to_owned() }
    }

    /// Has a server fail every request, or no more.
    ///
    /// # Panics
    ///
    /// When it does so already.
    pub fn fail(&self, name: &str, fails: bool) {
        let file = self.folder.join(format!("fail-{name}"));
        if fails { std::fs::write(file, "").unwrap() } else { std::fs::remove_file(file).unwrap() }
    }
}

impl Client {
    /// Starts one that sends to this target, in a folder of its own. `bootstrap`: the file by which it finds
    /// an xDS server, if it asks one.
    pub fn start(folder: &Path, target: &str, bootstrap: Option<&Path>) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let arguments = [target, RATE].map(str::to_owned);
        let child = script(folder, "client.py", &arguments, bootstrap);
        Self { child, folder: folder.to_owned() }
    }

    /// Waits until somebody answers it.
    ///
    /// # Panics
    ///
    /// When nobody does in time; the message has its log and Weir's.
    pub async fn answered(&self, weir: &Weir) {
        let came = eventually(WITHIN, async || self.seen().of(&[]) > 0).await;
        let (own, weirs) = (self.child.log_tail(), weir.child.log_tail());
        assert!(came, "nobody answers: {:?}\n{own}\n{weirs}", self.seen());
    }

    /// What it has seen by now.
    pub fn seen(&self) -> Seen {
        let told = read(&self.folder.join("answers.json"));
        let map = |name: &str| serde_json::from_value(told[name].clone()).unwrap_or_default();
        Seen { answers: map("answers"), failures: map("failures") }
    }

    /// What the next requests, so many or more, come to.
    pub async fn next(&self, count: u64) -> Seen {
        let before = self.seen();
        let mut came = Seen::default();
        until("more answers", async || {
            came = self.seen().since(&before);
            came.of(&[]) + came.failures.values().sum::<u64>() >= count
        })
        .await;
        came
    }

    /// Waits until what comes next is so.
    ///
    /// # Panics
    ///
    /// When it is not in time; the message has what came last, and Weir's log.
    pub async fn until_next(
        &self,
        weir: &Weir,
        (what, count): (&str, u64),
        wanted: impl Fn(&Seen) -> bool,
    ) -> Seen {
        let mut last = Seen::default();
        // Steps and looks take seconds each.
        for _ in 0..60 {
            last = self.next(count).await;
            if wanted(&last) {
                return last;
            }
        }
        panic!("not in time: {what}\n{last:?}\n{}", weir.child.log_tail());
    }
}

impl Stage {
    /// A stage on which the client is answered; nothing where Python's gRPC is missing (and not
    /// required). `policy`: the policy's `spec` after its target.
    pub async fn start(policy: &str) -> Option<Self> {
        required::or_skip("grpc", python())?;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let names: Vec<_> = SERVERS.concat().into_iter().map(str::to_owned).collect();
        let servers = Servers::start(path, &names).await;
        for (version, names) in SERVERS.iter().enumerate() {
            let endpoints: Vec<_> = names.iter().map(|name| &servers.addresses[*name]).collect();
            let text = json!({ "endpoints": endpoints }).to_string();
            write(path, &format!("shop-v{}.yaml", version + 1), &text);
        }
        write(path, "weir.yaml", CONFIG);
        std::fs::create_dir(path.join("policies")).unwrap();
        write(path, "policies/shop.yaml", policy);
        let xds = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()));
        let weir = Weir::start(path, xds).await;
        let xds = weir.xds.to_string();
        let asked =
            ["grpc", "bootstrap", "--node", "client-1", "--namespace", "demo", "--weir", &xds];
        let printed = run(asked);
        assert_eq!(printed.code, Some(0), "{}", printed.stderr);
        write(path, "bootstrap.json", &printed.stdout);
        let client = Client::start(path, "xds:///shop", Some(&path.join("bootstrap.json")));
        client.answered(&weir).await;
        Some(Self { weir, servers, client, folder })
    }

    /// What the next requests, so many or more, come to.
    pub async fn next(&self, count: u64) -> Seen {
        self.client.next(count).await
    }

    /// Waits until what comes next is so.
    pub async fn until_next(&self, what: &str, count: u64, wanted: impl Fn(&Seen) -> bool) -> Seen {
        self.client.until_next(&self.weir, (what, count), wanted).await
    }

    /// Puts a policy into force.
    pub fn policy(&self, text: &str) {
        write(self.folder.path(), "policies/shop.yaml", text);
    }

    /// Kills Weir with -9.
    pub async fn kill_weir(&mut self) {
        self.weir.child.kill().await.unwrap();
    }

    /// Starts it where it was.
    pub async fn start_weir(&mut self) {
        self.weir = Weir::start(self.folder.path(), self.weir.xds).await;
    }
}

/// A policy of `demo/shop-v1`, or with a rollout of `demo/shop`.
pub fn policy(target: &str, more: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: {{name: shop, namespace: demo}}
spec:
  targetRefs: [{{group: '', kind: Service, name: {target}}}]
  mode: Enforce
  objectives:
    - {{name: availability, targetPercent: 99, indicator: {{type: Availability}}}}
  evaluation: {{minSamples: 50}}
  {more}
"
    )
}

const CONFIG: &str = "data_dir: data
policies: policies
services:
  - {namespace: demo, name: shop, endpoints: {versions: true}}
  - {namespace: demo, name: shop-v1, endpoints: {file: shop-v1.yaml}, write_clusters: true, balancer: {client: grpc}}
  - {namespace: demo, name: shop-v2, endpoints: {file: shop-v2.yaml}, write_clusters: true, balancer: {client: grpc}}
";

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Where Python finds gRPC: `WEIR_GRPC`, or what `make grpc` installed.
///
/// # Errors
///
/// Where it was looked for, and how to get it.
pub fn python() -> Result<String, String> {
    let build = root().join(".build");
    let built = format!("{0}/grpcio:{0}/typing-extensions", build.display());
    let named = std::env::var_os("WEIR_GRPC").map(|path| path.to_string_lossy().into_owned());
    let path = named.unwrap_or(built);
    let there = path.split(':').any(|folder| Path::new(folder).join("grpc").is_dir());
    there.then_some(path.clone()).ok_or_else(|| format!("no gRPC in {path}; make grpc installs it"))
}

/// Starts one of the scripts under `tests/grpc`.
fn script(folder: &Path, name: &str, arguments: &[String], bootstrap: Option<&Path>) -> Child {
    let script = root().join("tests/grpc").join(name).display().to_string();
    let fixed = [script, folder.display().to_string()];
    let mut environment = vec![("PYTHONPATH".to_owned(), python().unwrap())];
    if let Some(file) = bootstrap {
        environment.push(("GRPC_XDS_BOOTSTRAP".to_owned(), file.display().to_string()));
    }
    let child = Child::start(Program {
        name: name.to_owned(),
        path: PathBuf::from("python3"),
        arguments: fixed.iter().chain(arguments).map(Into::into).collect(),
        environment,
        log: folder.join(format!("{name}.log")),
    });
    child.unwrap()
}
