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
}
