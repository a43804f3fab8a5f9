//! The real binary: commands that end, and `weir run`.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use weir_testbed::child::{Child, ChildError, Program};
use weir_testbed::envoy::Admin;

use crate::until;

/// How long it may take to start: it needs a tenth of a second, a busy machine more.
const START_WITHIN: Duration = Duration::from_secs(10);

/// The binary, built once per run of the tests: one that was left from an earlier build would
/// prove nothing of this one.
///
/// # Panics
///
/// When it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // .../target/<profile>/deps/it-<hash>
        let own = std::env::current_exe().unwrap();
        let profile = own.ancestors().nth(2).unwrap();
        let binary = profile.join("weir");
        if let Some(cargo) = std::env::var_os("CARGO") {
            let mut build = Command::new(cargo);
            build.args(["build", "--quiet", "--package", "weir", "--bin", "weir"]);
            if profile.ends_with("release") {
                build.arg("--release");
            }
            build.arg("--target-dir").arg(profile.parent().unwrap());
            // What cargo tells a test of its own package would make it build others anew.
            let told = |name: &str| {
                ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"]
                    .iter()
                    .any(|p| name.starts_with(p))
            };
            for (name, _) in std::env::vars_os().filter(|(name, _)| told(&name.to_string_lossy())) {
                build.env_remove(name);
            }
            let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
            let words = String::from_utf8_lossy(&built.stderr);
            assert!(built.status.success(), "weir does not build:\n{words}");
        }
        assert!(binary.is_file(), "no {}: run cargo build -p weir", binary.display());
        binary
    })
}

/// What a command that ended left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed for programs.
    pub stdout: String,
    /// What it printed for people.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// A command of the binary, with no variable set that it reads.
pub fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        let read = name.to_string_lossy();
        if read.starts_with("WEIR_") || ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"].contains(&&*read)
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end.
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ended {
    command(arguments).output().unwrap().into()
}

/// A running `weir run`; killed when dropped.
#[derive(Debug)]
pub struct Weir {
    /// The process.
    pub child: Child,
    /// Where proxies connect.
    pub xds: SocketAddr,
    /// The API.
    pub api: Admin,
    /// The metrics.
    pub metrics: Admin,
    log: PathBuf,
    /// The log's length when this process began: the file outlives it.
    logged: usize,
}

impl Weir {
    /// Starts it on `weir.yaml` in a folder, and waits until it says where it listens.
    pub async fn start(folder: &Path, xds: SocketAddr) -> Self {
        match Self::started(folder, program(folder, xds)).await {
            Ok(weir) => weir,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`Weir::start`] on a port of the system's choice, with the command changed.
    pub async fn start_by(folder: &Path, change: impl FnOnce(Program) -> Program) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        match Self::started(folder, change(program(folder, any))).await {
            Ok(weir) => weir,
            Err(error) => panic!("{error}"),
        }
    }

    async fn started(folder: &Path, program: Program) -> Result<Self, ChildError> {
        let log = folder.join("weir.log");
        let logged = std::fs::metadata(&log).map_or(0, |log| usize::try_from(log.len()).unwrap());
        let mut child = Child::start(program)?;
        let mut running = None;
        let said = async || {
            running = events(&log, logged).into_iter().find(|e| e["message"] == "weir is running");
            running.is_some()
        };
        child.ready(START_WITHIN, said).await?;
        let running = running.unwrap();
        let at = |name: &str| running[name].as_str().unwrap().parse::<SocketAddr>().unwrap();
        let (api, metrics) = (Admin::new(at("api")), Admin::new(at("metrics")));
        Ok(Self { child, xds: at("xds"), api, metrics, log, logged })
    }

    /// What it logged since it began.
    pub fn events(&self) -> Vec<Value> {
        events(&self.log, self.logged)
    }

    /// Whether it logged something with these words, wherever they stand.
    pub fn said(&self, words: &str) -> bool {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text[self.logged..].contains(words)
    }

    /// An answer of the API, which is JSON; null where there is none or it is no success.
    pub async fn ask(&self, path: &str) -> Value {
        match self.api.get(path).await {
            Ok((status, body)) if status.is_success() => serde_json::from_slice(&body).unwrap(),
            _ => Value::Null,
        }
    }

    /// The service that the tests govern.
    pub async fn shop(&self) -> Value {
        self.ask("/api/v1/services/demo/shop").await
    }

    /// One of its endpoints; null where it is not there.
    pub async fn endpoint(&self, address: SocketAddr) -> Value {
        let shop = self.shop().await;
        let address = address.to_string();
        let all = shop["endpoints"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|endpoint| endpoint["address"] == address).unwrap_or_default()
    }

    /// How many steps it has taken: the sequence number of the newest.
    pub async fn steps(&self) -> u64 {
        self.metric("weir_steps_total").await
    }

    /// What a metric without labels stands at; zero where it does not answer.
    pub async fn metric(&self, name: &str) -> u64 {
        let Ok((_, text)) = self.metrics.get("/metrics").await else { return 0 };
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    }

    /// Waits until it has taken so many more steps: what was to happen at its pace has happened.
    pub async fn more_steps(&self, count: u64) {
        let before = self.steps().await;
        until("more steps", async || self.steps().await >= before + count).await;
    }
}

/// `weir run` on the configuration in a folder.
fn program(folder: &Path, xds: SocketAddr) -> Program {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = folder.join("weir.yaml").display().to_string();
    let mut arguments = vec!["run".to_owned(), "--config".to_owned(), config];
    for (name, address) in [("xds", xds), ("api", any), ("metrics", any)] {
        arguments.extend([format!("--listen-{name}"), address.to_string()]);
    }
    Program {
        name: "Weir".to_owned(),
        path: binary().to_owned(),
        arguments: arguments.into_iter().map(Into::into).collect(),
        environment: Vec::new(),
        log: folder.join("weir.log"),
    }
}

/// The log's lines from a place on, those that are whole.
fn events(log: &Path, from: usize) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines = text.get(from..).unwrap_or_default().lines();
    lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
}
