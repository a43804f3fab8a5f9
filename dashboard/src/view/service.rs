//! Services and their endpoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;
use super::decision::DecisionSummary;
use super::offer::{ApprovalView, OfferView};
use super::rollout::RolloutView;

/// How far Weir may go with a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Decide and record, change nothing.
    #[default]
    Observe,
    /// As observe, and offer the decision for approval.
    Recommend,
    /// Act.
    Enforce,
}

/// What Weir is doing with a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Stance {
    /// Nothing is proven: equal shares.
    #[default]
    Resting,
    /// Shares follow proven differences, or endpoints are out.
    Steering,
    /// Everything stays as it was.
    Holding,
    /// Evidence has been missing for long: going back to equal shares.
    Decaying,
}

/// In, out or in between.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum EndpointState {
    /// Takes traffic.
    #[default]
    Serving,
    /// New: its share is ramping up.
    Joining,
    /// Back from an ejection with little traffic until proven.
    Probation,
    /// Out.
    Ejected,
    /// Discovery says that it must not take traffic.
    NotReady,
}

/// One service at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSummary {
    /// Namespace.
    pub namespace: String,
    /// Name within the namespace.
    pub name: String,
    /// The policy in force, as `namespace/name`; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// How far Weir may go.
    pub mode: Mode,
    /// What Weir is doing.
    pub stance: Stance,
    /// What Weir is doing and why, in one line.
    pub stance_text: String,
    /// Whether there is no fresh telemetry.
    pub stale: bool,
    /// How old the newest counts are, in milliseconds; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry_age_ms: Option<u64>,
    /// Load, errors and latency of the last seconds.
    pub traffic: TrafficView,
    /// Requests per second that the endpoints which are in can carry, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_per_second: Option<f64>,
    /// Where the clients of each zone go; empty where all go alike.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub zones: Vec<ZoneView>,
    /// How many endpoints are in which state.
    pub endpoints: EndpointCounts,
    /// How the policy's objectives stand.
    pub objectives: Vec<ObjectiveView>,
    /// How many warnings stand.
    pub warnings: u32,
    /// In Recommend: what waits for approval.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offer: Option<OfferView>,
    /// In Recommend: what is done because a person approved it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approval: Option<ApprovalView>,
}

impl ServiceSummary {
    /// Whether anything of what is decided is done.
    pub(crate) fn acts(&self) -> bool {
        self.mode == Mode::Enforce || self.approval.is_some()
    }
}

/// What a warning is about.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum WarningKind {
    /// Far above its own last minute.
    #[default]
    Unusual,
    /// Its level has gone up.
    Shifted,
    /// Slower than its siblings.
    Apart,
    /// Load will pass what endpoints can carry well.
    Ahead,
    /// Signals do not fit together as usual.
    Misfit,
}

/// What judges of series find: advice, for which Weir moves no traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WarningView {
    /// The endpoint that it is about; absent: the service as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What it is about.
    pub kind: WarningKind,
    /// The signal: `load`, `latency`, `error ratio` or `utilization`.
    pub signal: String,
    /// Since when.
    pub since: Time,
    /// The evidence, in one line.
    pub text: String,
}

/// Where the clients of one zone go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneView {
    /// The clients' zone.
    pub client: String,
    /// Their part of the service's requests, 0 to 1.
    pub part: f64,
    /// By endpoint zone: the part of these clients' requests that goes there, 0 to 1.
    pub shares: BTreeMap<String, f64>,
}

/// Load, errors and latency over the last seconds. What is absent is not known, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficView {
    /// Requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// Part of the requests that failed, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_ratio: Option<f64>,
    /// 99th percentile of latency in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// How many endpoints are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointCounts {
    /// All declared endpoints.
    pub total: u32,
    /// Take traffic.
    pub serving: u32,
    /// New, ramping up.
    pub joining: u32,
    /// Back from an ejection.
    pub probation: u32,
    /// Out.
    pub ejected: u32,
    /// Not ready by discovery.
    pub not_ready: u32,
}

/// How one objective stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectiveView {
    /// Its name in the policy.
    pub name: String,
    /// What is promised: `99.9 % of requests succeed over 28 d`.
    pub text: String,
    /// The part of requests that shall be good, 0 to 1.
    pub target: f64,
    /// The part that was good over the objective's window; absent before the first request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub good: Option<f64>,
    /// Part of the error budget that is left, 0 to 1; negative when it is overspent.
    pub budget_left: f64,
    /// How fast the last hour spent the budget: 1 spends it exactly over the window.
    pub burn_rate: f64,
}

/// One service with its endpoints and latest decisions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDetail {
    /// The service at a glance.
    pub service: ServiceSummary,
    /// One per declared endpoint, in ascending order of address.
    pub endpoints: Vec<EndpointView>,
    /// New versions that take over: of this service, or those in which it is one of the versions.
    pub rollouts: Vec<RolloutView>,
    /// What is unusual or lies ahead, the service's before its endpoints'; at most 16.
    pub warnings: Vec<WarningView>,
    /// The limits that hold whatever the model says.
    pub limits: Vec<LimitView>,
    /// The latest decisions that changed something, newest first.
    pub decisions: Vec<DecisionSummary>,
}

/// One endpoint as it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// Its address.
    pub address: String,
    /// Where it stands, as `region/zone/sub-zone`; empty when unknown.
    pub locality: String,
    /// Weight relative to the equal share: 1 is equal.
    pub weight: f64,
    /// Its part of the service's traffic, 0 to 1.
    pub share: f64,
    /// In, out or in between.
    pub state: EndpointState,
    /// When an ejection ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Why it gets what it gets, in one line with the numbers that decided it.
    pub why: String,
    /// The limit that kept Weir from more, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<String>,
    /// Load, errors and latency of the last seconds.
    pub traffic: TrafficView,
}

/// One limit of the policy in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitView {
    /// What is limited.
    pub name: String,
    /// To how much.
    pub value: String,
}

/// The last minutes of a service, column by column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryView {
    /// A column's width in milliseconds.
    pub step_ms: u64,
    /// When each column begins.
    pub at: Vec<Time>,
    /// How many endpoints there are in all.
    pub total: u32,
    /// One series per endpoint, in ascending order of address; those that left are last.
    pub endpoints: Vec<SeriesView>,
}

/// One endpoint's last minutes; one entry per column, null where nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeriesView {
    /// Its address.
    pub address: String,
    /// Its part of the service's traffic, 0 to 1.
    pub share: Vec<Option<f32>>,
    /// Requests that ended.
    pub requests: Vec<Option<u32>>,
    /// Of these, failed.
    pub errors: Vec<Option<u32>>,
    /// 99th percentile of latency in milliseconds.
    pub p99_ms: Vec<Option<f32>>,
}
