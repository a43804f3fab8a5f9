//! What was seen since the last step.
//!
//! Collectors hand over [`Report`]s, one per reporter, client cluster and interval; [`fold`]
//! pools them into one row per endpoint, so that two hundred proxies make an observation no
//! larger than one. Counts and sums, never rates: a rate hides how sure one may be.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::approval::Word;
use crate::goal::Goals;
use crate::latency::Latency;
use crate::names::{Address, ClusterName, Node, Place, ServiceId};
use crate::topology::Topology;
use crate::units::Moment;

mod fold;
pub use fold::fold;

/// Where a report comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// Envoy's load reports (LRS).
    LoadReport,
    /// Envoy's `/stats/prometheus`, read directly.
    Scrape,
    /// A Prometheus server's answer.
    Prometheus,
    /// Envoy's access log stream (ALS): the only source of latency per endpoint.
    AccessLog,
    /// Envoy's `/clusters`: health flags.
    Admin,
}

/// What one reporter says of one client cluster over one interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The reporting node. Votes are counted by node.
    pub reporter: Node,
    /// The client cluster. A client is one cluster of one node.
    pub cluster: ClusterName,
    /// The client's zone; empty when unknown.
    pub zone: Place,
    /// What kind of source says it.
    pub source: Source,
    /// When the interval ended.
    pub at: Moment,
    /// How long the interval was.
    pub window: Duration,
    /// Whether an endpoint that is not listed had no request (load reports leave idle ones out),
    /// rather than being unknown.
    pub complete: bool,
    /// One entry per endpoint.
    pub samples: Vec<Sample>,
    /// The client cluster as a whole, where the source says it (endpoint is empty): complete
    /// counts and latency even where the endpoints' are sampled.
    pub totals: Option<Sample>,
}

/// One endpoint in a report. `None` is "not known", never zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Which endpoint.
    pub endpoint: Address,
    /// Requests that ended in the interval.
    pub requests: Option<u64>,
    /// Of these, the failed ones (5xx, resets, timeouts).
    pub errors: Option<u64>,
    /// Of the errors, the timeouts.
    pub timeouts: Option<u64>,
    /// Of the errors, those that never reached the endpoint (connect failures, overflow).
    pub local_failures: Option<u64>,
    /// Mean number of requests in flight over the interval.
    pub in_flight: Option<f64>,
    /// Latencies as this client saw them, of the requests that were timed (maybe a sample).
    pub latency: Option<Latency>,
    /// What the proxy itself thinks of the endpoint.
    pub verdict: Option<Verdict>,
}

/// A proxy's own opinion of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// In use.
    Healthy,
    /// Ejected by the proxy's own outlier detection.
    Ejected,
    /// Failing active health checks.
    Unhealthy,
}

/// Everything since the last step. What is not in here or in the state does not exist.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When the step is taken.
    pub at: Moment,
    /// The whole topology, if it changed.
    pub topology: Option<Topology>,
    /// All goals, if they changed.
    pub goals: Option<Goals>,
    /// Folded telemetry, in ascending order of service; services that nothing was seen of are
    /// missing.
    pub traffic: Vec<ServiceTraffic>,
    /// What the user's own queries counted for objectives.
    pub indicated: Vec<Indicated>,
    /// What proxies said of earlier pushes.
    pub receipts: Vec<Receipt>,
    /// Access log entries per node since the last step.
    pub logs: Vec<LogVolume>,
    /// Access log entries per second that all nodes together may send, if it changed.
    pub log_budget: Option<u32>,
    /// Whether the last step could not be recorded (a full disk): what cannot be explained
    /// afterwards is not decided.
    pub unrecorded: bool,
    /// What was fitted apart from the steps since the last one.
    pub fitted: Vec<Fitted>,
    /// What people said to offers.
    #[serde(default)]
    pub words: Vec<Word>,
}

/// One service's telemetry, pooled over clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceTraffic {
    /// Which service.
    pub service: ServiceId,
    /// How many clients reported counts.
    pub clients: u32,
    /// How many nodes they belong to.
    pub reporters: u32,
    /// One row per endpoint that something is known of, in ascending order of `endpoint`. Shared
    /// with the history, which keeps them for seconds.
    pub rows: Arc<[Row]>,
    /// The service as a whole, where a source says it; `endpoint` is zero.
    pub totals: Option<Row>,
    /// The same split by client zone; empty where fewer than two zones report.
    pub zones: Vec<ZoneTraffic>,
}

/// What the clients of one zone saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ZoneTraffic {
    /// The clients' zone.
    pub zone: Place,
    /// One row per endpoint, as above.
    pub rows: Arc<[Row]>,
}

impl ZoneTraffic {
    /// What these clients saw of an endpoint, if it is covered.
    pub fn row(&self, endpoint: usize) -> Option<&Row> {
        row_of(&self.rows, endpoint)
    }
}

/// One endpoint, summed over clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Index in the service's topology.
    pub endpoint: u32,
    /// Requests that ended.
    pub requests: u64,
    /// Of these, failed.
    pub errors: u64,
    /// Of the errors, timeouts.
    pub timeouts: u64,
    /// Of the errors, those that never reached the endpoint.
    pub local_failures: u64,
    /// Requests for judging: as `requests`, but one reporter weighs at most a tenth where at
    /// least ten report, so that no single proxy can condemn an endpoint.
    pub judged_requests: f64,
    /// Errors for judging, bounded likewise.
    pub judged_errors: f64,
    /// Sum over clients of the time they report on: counts / (exposure / clients) is a rate.
    pub exposure: Duration,
    /// How many clients' counts are in here; zero: counts are unknown, not zero.
    pub clients: u32,
    /// Requests in flight, summed over the clients that know.
    pub in_flight: Option<f64>,
    /// Latencies of the timed requests.
    pub latency: Latency,
    /// Clients that ejected it themselves.
    pub ejected_by: u32,
    /// Clients whose opinion is known.
    pub opinions: u32,
}

/// An endpoint's row among those in ascending order: where all are covered at its own index, and
/// never behind that.
pub(crate) fn row_of(rows: &[Row], endpoint: usize) -> Option<&Row> {
    let (last, before) = rows.get(..rows.len().min(endpoint + 1))?.split_last()?;
    if last.endpoint as usize == endpoint {
        return Some(last);
    }
    before.binary_search_by_key(&endpoint, |row| row.endpoint as usize).ok().map(|at| &before[at])
}

/// Events that a query of the user's own counted for an objective since it was last asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Indicated {
    /// Whose objective.
    pub service: ServiceId,
    /// The objective's name.
    pub objective: String,
    /// Good events.
    pub good: f64,
    /// All events.
    pub total: f64,
}

/// Weights of a service's model, fitted to earlier samples apart from the steps. They are an
/// input like any other: a journal holds them, so that it replays without fitting anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fitted {
    /// Which service.
    pub service: ServiceId,
    /// The step whose samples it was fitted to last.
    pub version: u64,
    /// The weights, as the model that fitted them reads them.
    pub weights: Vec<u8>,
}

/// Whether a push was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Who answers.
    pub node: Node,
    /// Which service the pushed resource belongs to.
    pub service: ServiceId,
    /// Which decision it carried.
    pub decision: u64,
    /// Taken or refused.
    pub outcome: Outcome,
}

/// A proxy's answer to a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Acknowledged.
    Taken,
    /// Refused (NACK), with the proxy's own words, shortened.
    Refused(String),
    /// No answer within the deadline: unknown, not applied.
    Silent,
}

/// Access log entries that one node sent since the last step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogVolume {
    /// Which node.
    pub node: Node,
    /// How many entries arrived.
    pub entries: u64,
    /// How many requests the node's clusters had in the same time, if known.
    pub requests: Option<u64>,
    /// Over how long.
    pub window: Duration,
}
