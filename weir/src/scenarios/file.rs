//! The shape of a scenario's file.

use serde::Deserialize;
use weir_policies::reader::At;

/// The whole file. Its name's stem is the scenario's name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// What happens, in a sentence.
    #[serde(default)]
    pub(super) description: String,
    /// Requests per second over all proxies, step by step.
    pub(super) load: At<Vec<Step>>,
    /// Groups of backends.
    pub(super) backends: At<Vec<Group>>,
    /// Mean service time; 20ms by default.
    pub(super) service: Option<At<String>>,
    /// Deviation of the logarithm of service times; 0.8 by default.
    pub(super) sigma: Option<At<f64>>,
    /// The clients' patience; 1s by default.
    pub(super) timeout: Option<At<String>>,
    /// Zones of clients; none by default.
    #[serde(default)]
    pub(super) zones: Vec<Zone>,
    /// What a request to another zone takes longer, there and back.
    pub(super) cross_zone: Option<At<String>>,
    /// What befalls all backends, or all of a zone, of both tiers.
    #[serde(default)]
    pub(super) faults: Vec<CommonFault>,
    /// What proxies try again; nothing by default.
    pub(super) retries: Option<Retries>,
    /// The connections of each proxy; as many as wanted by default.
    pub(super) pool: Option<Pool>,
    /// Kinds of requests; one by default.
    #[serde(default)]
    pub(super) classes: Vec<Class>,
    /// A second tier that each request to the first one calls; none by default.
    pub(super) chain: Option<Chain>,
    /// How telemetry comes.
    #[serde(default)]
    pub(super) telemetry: Telemetry,
    /// How long the run is; 100s by default.
    pub(super) length: Option<At<String>>,
    /// What is counted: arrivals from here ...
    pub(super) counted_from: Option<At<String>>,
    /// ... until here; 40s and 90s by default.
    pub(super) counted_until: Option<At<String>>,
}

/// The load from a moment on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// From when on; the start by default.
    pub(super) from: Option<At<String>>,
    /// Requests per second.
    pub(super) rps: At<f64>,
}

/// Backends that are alike.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    /// How many.
    pub(super) count: At<usize>,
    /// Requests that each works on at once; 8 by default.
    pub(super) workers: Option<At<u32>>,
    /// By how much each is faster than the scenario's service time; 1 by default.
    pub(super) speed: Option<At<f64>>,
    /// The zone that they stand in; the first by default.
    pub(super) zone: Option<At<String>>,
    /// When they come; the start by default.
    pub(super) joins: Option<At<String>>,
    /// When they go; never by default.
    pub(super) leaves: Option<At<String>>,
    /// What befalls each of them.
    #[serde(default)]
    pub(super) faults: Vec<Fault>,
    /// Slow spells at random.
    pub(super) antagonist: Option<Antagonist>,
    /// How those start that join a running fleet; like any other by default.
    pub(super) cold: Option<Cold>,
    /// Replaces them one by one.
    pub(super) rolling: Option<Rolling>,
    /// Runs as many as their utilisation asks for; `count` are there from the start.
    pub(super) autoscale: Option<Autoscale>,
}

/// A slow start.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cold {
    /// By how much service is slower at first.
    pub(super) slowness: At<f64>,
    /// How long it takes to ease to none.
    pub(super) lasts: At<String>,
}

/// A deployment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rolling {
    /// When the first one leaves.
    pub(super) from: At<String>,
    /// Time from one to the next.
    pub(super) every: At<String>,
    /// From when one leaves until its successor, at another address, joins; 0s by default.
    pub(super) gap: Option<At<String>>,
}

/// An autoscaler.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Autoscale {
    /// How many run at least.
    pub(super) min: At<usize>,
    /// How many run at most.
    pub(super) max: At<usize>,
    /// The part of workers that shall be busy.
    pub(super) target: At<f64>,
    /// Time from one look to the next; 15s by default.
    pub(super) every: Option<At<String>>,
    /// How old the utilisation is that it sees; 15s by default.
    pub(super) lag: Option<At<String>>,
    /// How long a new one takes to be there; 30s by default.
    pub(super) startup: Option<At<String>>,
    /// How long fewer are wanted before any goes; 5m by default.
    pub(super) patience: Option<At<String>>,
}

/// A fault of all backends of a group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    /// From when on.
    pub(super) from: At<String>,
    /// Until when.
    pub(super) until: At<String>,
    /// By how much service is slower.
    pub(super) slowness: Option<At<f64>>,
    /// The part of requests that fail at once.
    pub(super) errors: Option<At<f64>>,
    /// Whether slowness eases to none over the time.
    #[serde(default)]
    pub(super) easing: bool,
}

/// A fault wherever it reaches.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommonFault {
    /// The zone that it is in; everywhere by default.
    pub(super) zone: Option<At<String>>,
    /// From when on.
    pub(super) from: At<String>,
    /// Until when.
    pub(super) until: At<String>,
    /// By how much service is slower.
    pub(super) slowness: Option<At<f64>>,
    /// The part of requests that fail at once.
    pub(super) errors: Option<At<f64>>,
    /// Whether slowness eases to none over the time.
    #[serde(default)]
    pub(super) easing: bool,
}

/// What is tried again, in Envoy's terms.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retries {
    /// Retries of one request at most; 1 by default.
    pub(super) max: Option<At<u32>>,
    /// Whether errors are; they are by default.
    pub(super) errors: Option<bool>,
    /// How long one try may take before it is tried again; as long as the request by default.
    pub(super) per_try_timeout: Option<At<String>>,
    /// Percentage of a proxy's requests in flight; 20 by default.
    pub(super) budget_percent: Option<At<f64>>,
    /// Retries at once that are always allowed; 3 by default.
    pub(super) min_retry_concurrency: Option<At<u32>>,
    /// Whether a retry avoids the backends that were tried.
    #[serde(default)]
    pub(super) avoid_previous: bool,
}

/// A proxy's connections and circuit breakers, in Envoy's terms.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pool {
    /// Connections over all backends; 1024 by default.
    pub(super) max_connections: Option<At<u32>>,
    /// Requests that wait for one; 1024 by default.
    pub(super) max_pending_requests: Option<At<u32>>,
    /// Requests under way; 1024 by default.
    pub(super) max_requests: Option<At<u32>>,
}

/// A kind of requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Class {
    /// Its part of all requests, relative to the others'.
    pub(super) share: At<f64>,
    /// By how much it takes longer to serve than `service`.
    pub(super) cost: At<f64>,
}

/// A second tier.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chain {
    /// Groups of backends.
    pub(super) backends: At<Vec<Group>>,
    /// Mean service time; 20ms by default.
    pub(super) service: Option<At<String>>,
    /// Deviation of the logarithm of service times; 0.8 by default.
    pub(super) sigma: Option<At<f64>>,
    /// The first tier's patience with it; 1s by default.
    pub(super) timeout: Option<At<String>>,
    /// What the first tier tries again; nothing by default.
    pub(super) retries: Option<Retries>,
    /// The first tier's connections; as many as wanted by default.
    pub(super) pool: Option<Pool>,
}

/// A neighbour that takes what a backend needs, now and then.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Antagonist {
    /// By how much service is slower meanwhile.
    pub(super) slowness: At<f64>,
    /// How long a spell is on average.
    pub(super) on: At<String>,
    /// How long it is quiet on average.
    pub(super) off: At<String>,
}

/// A zone of clients.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Zone {
    /// Its name.
    pub(super) name: At<String>,
    /// Its part of all requests.
    pub(super) demand: At<f64>,
}

/// How telemetry comes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Telemetry {
    /// Time from one report to the next, and from one decision to the next; 1s by default.
    pub(super) tick: Option<At<String>>,
    /// How much later a report arrives, in whole ticks; one tick by default.
    pub(super) delay: Option<At<String>>,
    /// Part of the requests that the access log times; all by default.
    pub(super) sampled: Option<At<f64>>,
    /// Whether endpoints declare their workers; they do not by default.
    pub(super) declares_workers: bool,
    /// Part of the proxies' reports that never arrive; none by default.
    pub(super) lost: Option<At<f64>>,
    /// When no report arrives at all.
    pub(super) silent: Vec<Span>,
    /// Proxies that report what is not so.
    pub(super) lies: Option<Lies>,
}

/// A time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    /// From when on.
    pub(super) from: At<String>,
    /// Until when.
    pub(super) until: At<String>,
}

/// What some proxies report that is not so.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lies {
    /// The part of proxies that do.
    pub(super) part: At<f64>,
    /// From when on.
    pub(super) from: At<String>,
    /// Until when.
    pub(super) until: At<String>,
    /// The part of successes that they report as errors; none by default.
    pub(super) errors: Option<At<f64>>,
    /// By how much they report latencies longer; 1 by default.
    pub(super) latency: Option<At<f64>>,
    /// The group that they lie about, counted from 0; all by default.
    pub(super) about: Option<At<usize>>,
}
