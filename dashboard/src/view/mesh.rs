//! What stands around the engine: telemetry sources, proxies and policies. `weir` fills these.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;
use super::service::Mode;

/// A telemetry source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Its name in the configuration.
    pub name: String,
    /// What kind of source it is: `load reports`, `scrape`, `prometheus`, ...
    pub kind: String,
    /// What it talks to or listens on, without credentials.
    pub target: String,
    /// When it last brought something usable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Time>,
    /// What last went wrong, where and how to mend it; absent after a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Reports handed over since the start.
    pub delivered: u64,
    /// Reports lost since the start because the engine was behind.
    pub dropped: u64,
}

/// A proxy that is or was connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyView {
    /// Its node id.
    pub node: String,
    /// The cluster it says it belongs to; empty when it says none.
    pub cluster: String,
    /// Its version as it says it; empty when it says none.
    pub version: String,
    /// Whether a stream is open.
    pub connected: bool,
    /// When it last sent anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
    /// What it subscribes to, one per resource type.
    pub types: Vec<SubscriptionView>,
}

/// One resource type at one proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionView {
    /// Short name of the type: `CDS`, `EDS`, `RTDS`, ...
    pub kind: String,
    /// How the proxy stands against what it was sent.
    pub sync: Sync,
    /// The version last sent; empty before the first.
    pub sent_version: String,
    /// The version in force at the proxy; empty before the first.
    pub taken_version: String,
    /// When the last response was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<Time>,
    /// How long the last acknowledgement took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<f64>,
    /// The proxy's own words if it refused the last response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a proxy stands against what it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Sync {
    /// Nothing was sent yet.
    #[default]
    NotSent,
    /// The last response is acknowledged.
    Synced,
    /// The last response is not answered yet.
    Pending,
    /// The last response was refused; the one before it stays in force.
    Refused,
}

/// A policy document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyView {
    /// `namespace/name`; empty for a document that cannot be read so far.
    pub name: String,
    /// The file it stands in.
    pub path: String,
    /// The services it governs, as `namespace/name`.
    pub targets: Vec<String>,
    /// How far Weir may go; absent for a document that cannot be read so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Whether the policy holds everything as it stands.
    pub suspended: bool,
    /// What is promised, one line per objective.
    pub objectives: Vec<String>,
    /// Whether the document as it stands is in force.
    pub state: PolicyState,
    /// What is wrong with the document as it stands.
    pub problems: Vec<ProblemView>,
}

/// Whether a document is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PolicyState {
    /// It is in force as it stands.
    #[default]
    InForce,
    /// It is wrong; its last good version is in force.
    LastGood,
    /// It is wrong and was never good: nothing of it is in force.
    Refused,
    /// Another policy governs its target: the older one wins.
    Conflicted,
}

/// What is wrong with a document, where, and how to mend it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemView {
    /// Whether it keeps the document from being used.
    pub severity: Severity,
    /// Which kind of mistake, stable across versions.
    pub code: String,
    /// The file.
    pub path: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// What is wrong.
    pub what: String,
    /// How to mend it; empty where nothing general can be said.
    pub mend: String,
    /// The same as a terminal would show it, with the lines around it; no colours.
    pub text: String,
}

/// Whether a problem keeps a document from being used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The document is not used.
    #[default]
    Error,
    /// The document is used.
    Warning,
}

/// What has become of resources that another control plane sent, counted since Weir began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayView {
    /// Streams that stand now.
    pub streams: u64,
    /// Changed resources that proxies took.
    pub taken: u64,
    /// Changed resources that proxies refused.
    pub refused: u64,
    /// Opinions that were not applied.
    pub withheld: u64,
    /// Opinions about resources that the control plane has not sent.
    pub blind: u64,
    /// Endpoints sent for a changed cluster for which the control plane sent none.
    pub repaired: u64,
}
