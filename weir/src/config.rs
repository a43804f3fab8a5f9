//! What the operator configured: flag, then environment, then file, then default.
//!
//! The file's shape is [`file`]; this module gives what the parts are built from, with nothing
//! left to doubt, and where each value came from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_collectors::http;
use weir_collectors::kubernetes::catalog::Port;
use weir_collectors::prometheus::query::Query;
use weir_collectors::prometheus::recipe::What;
use weir_engine::names::{ClusterName, ServiceId};
use weir_engine::observation::Source;
use weir_engine::topology::ClusterForm;
use weir_policies::check::{Reach, Services};
use weir_policies::problem::{Code, Problem};

mod balancer;
mod check;
pub mod file;
mod kubernetes;
pub mod relay;
mod secrets;

pub use kubernetes::{ClusterNames, KubernetesConfig};

pub(crate) use check::{Check, TICK_MIN, parse_duration};

/// Everything that `weir run` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where proxies connect: xDS, load reports, access log.
    pub xds: SocketAddr,
    /// Where the API and the pages are.
    pub api: SocketAddr,
    /// Where the metrics are.
    pub metrics: SocketAddr,
    /// Names besides `localhost` by which API and pages may be asked for.
    pub hosts: Vec<String>,
    /// Where the journal and the last good state are.
    pub data_dir: PathBuf,
    /// The largest size of the journal in bytes.
    pub journal_max: u64,
    /// Time from one decision to the next.
    pub tick: Duration,
    /// The folder of policies, if any.
    pub policies: Option<PathBuf>,
    /// The Kubernetes API server that is asked, if any.
    pub kubernetes: Option<KubernetesConfig>,
    /// What is governed.
    pub services: Vec<Service>,
    /// Where telemetry comes from.
    pub sources: Vec<SourceConfig>,
    /// In front of another control plane, if it is.
    pub relay: Option<relay::RelayConfig>,
    /// Where an Envoy Gateway calls, if one does.
    pub envoy_gateway: Option<SocketAddr>,
    /// Where each setting came from.
    pub origins: BTreeMap<&'static str, Origin>,
}

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag on the command line.
    Flag,
    /// An environment variable.
    Environment(&'static str),
    /// The configuration file.
    File(PathBuf),
    /// Nowhere: the default.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// `namespace/name`.
    pub id: ServiceId,
    /// The client clusters that lead to it.
    pub clusters: Vec<ClusterName>,
    /// What their proxies make of endpoint sets.
    pub form: ClusterForm,
    /// Whether Weir writes the clusters themselves (CDS), rather than only their endpoints.
    pub writes_clusters: bool,
    /// Whether the written clusters count per endpoint: the `scrape` telemetry profile.
    pub per_endpoint_stats: bool,
    /// Where its endpoints come from.
    pub endpoints: Endpoints,
    /// Whose counts are believed.
    pub counts: Source,
}

/// Where a service's endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// A watched file.
    File(PathBuf),
    /// A name to resolve, with a port.
    Dns(String),
    /// The EndpointSlices of a Service.
    Kubernetes {
        /// Which.
        of: ServiceId,
        /// By which port.
        port: Option<Port>,
    },
    /// Whoever the telemetry names. Weir cannot serve these over EDS.
    Telemetry,
    /// None of its own: requests go by a route to the versions that a policy's rollout names.
    Versions,
}

impl Endpoints {
    /// What a policy may count on.
    pub fn reach(&self) -> Reach {
        match self {
            Self::File(_) | Self::Dns(_) | Self::Kubernetes { .. } => Reach::Served,
            Self::Telemetry => Reach::Watched,
            Self::Versions => Reach::Routed,
        }
    }
}

/// The services as policies are checked against them.
pub fn known(services: &[Service]) -> Services {
    services.iter().map(|service| (service.id.clone(), service.endpoints.reach())).collect()
}

/// Where telemetry comes from.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    /// Load reports and access log, on the xDS port.
    Push {
        /// How often proxies report.
        interval: Duration,
        /// Access log entries per second over all proxies.
        entries_per_second: u32,
    },
    /// Envoys' own statistics.
    Scrape(ScrapeConfig),
    /// A Prometheus server.
    Prometheus(PrometheusConfig),
}

impl std::fmt::Display for SourceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Push { .. } => f.write_str("push"),
            Self::Scrape(scrape) => write!(f, "scrape of {}", scrape.targets.join(" and ")),
            Self::Prometheus(server) => write!(f, "prometheus at {}", server.url),
        }
    }
}

/// Proxies whose admin interface is read.
#[derive(Clone, Debug)]
pub struct ScrapeConfig {
    /// Their admin addresses.
    pub targets: Vec<String>,
    /// Time from one scrape to the next.
    pub interval: Duration,
    /// How to present oneself.
    pub http: http::Options,
}

/// A Prometheus server and what to ask it.
#[derive(Clone, Debug)]
pub struct PrometheusConfig {
    /// Its address.
    pub url: String,
    /// Time from one query to the next.
    pub interval: Duration,
    /// Which metrics to ask for.
    pub preset: Preset,
    /// Queries of the user's own, and what they count.
    pub queries: Vec<(What, Query)>,
    /// How to present oneself.
    pub http: http::Options,
}

/// Sets of queries that come with Weir.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// Envoy's own metric names.
    #[default]
    Envoy,
    /// Istio's standard metrics.
    Istio,
    /// None: only the user's own.
    None,
}

/// What the command line and the environment say; both go before the file.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// `--listen-xds`.
    pub xds: Option<(SocketAddr, Origin)>,
    /// `--listen-api`.
    pub api: Option<(SocketAddr, Origin)>,
    /// `--listen-metrics`.
    pub metrics: Option<(SocketAddr, Origin)>,
    /// `--data-dir`.
    pub data_dir: Option<(PathBuf, Origin)>,
    /// `--policies`.
    pub policies: Option<(PathBuf, Origin)>,
    /// `--tick`.
    pub tick: Option<(Duration, Origin)>,
}

/// Reads the file, lays what was given over it, and checks the whole; all problems at once.
pub fn load(given: Given) -> Result<Config, Vec<Problem>> {
    let (path, bytes) = match &given.file {
        None => (PathBuf::new(), Vec::new()),
        Some(path) => (path.clone(), read(path)?),
    };
    from_bytes(&path, &bytes, given)
}

fn read(path: &Path) -> Result<Vec<u8>, Vec<Problem>> {
    std::fs::read(path).map_err(|cause| {
        let what = format!("cannot be read: {cause}");
        let mend = "name a configuration file that is there: weir run -c weir.yaml";
        vec![Problem::of_file(&path.display().to_string(), Code::Unreadable, &what, mend)]
    })
}

/// As [`load`], of a file that was read already. Paths in it are relative to its folder.
pub fn from_bytes(path: &Path, bytes: &[u8], given: Given) -> Result<Config, Vec<Problem>> {
    let shown = path.display().to_string();
    let file: file::File = weir_policies::reader::read(&shown, bytes, &file::LIMITS)?;
    check::config(file, path, bytes, given)
}

#[cfg(test)]
mod tests;
