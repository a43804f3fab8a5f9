//! `AdaptiveTrafficPolicy`, as people write it.
//!
//! These types are both the reader and the JSON schema. What a field allows by itself is said by
//! its type ([`values`]); what two fields may not say together is said by `check`. Names follow
//! what mesh operators know: targets from the Gateway API, ejection from Istio and Envoy.

pub mod values;

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize as DeserializeDerive;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny};

use crate::reader::At;
use values::{
    Amount, Count, Currency, Few, GoalPercent, Label, LabelKey, LocalityPattern, Name, Percent,
    Query, Share, TargetName, Timer, Timestamp, Window,
};

/// The API group; a placeholder until the project owns a domain.
pub const GROUP: &str = "weir.dev";

/// The one version of the document.
pub const VERSION: &str = "v1alpha1";

/// The document's kind.
pub const KIND: &str = "AdaptiveTrafficPolicy";

/// `GROUP/VERSION`, as documents name it.
pub fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

/// A day in milliseconds, for bounds.
const DAY: u64 = 24 * HOUR;
const HOUR: u64 = 60 * MINUTE;
const MINUTE: u64 = 60 * SECOND;
const SECOND: u64 = 1_000;

/// What is wanted of a service, and what Weir may do for it.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdaptiveTrafficPolicy {
    /// The group and version of this document.
    pub api_version: ApiVersion,
    /// The kind of this document.
    pub kind: Kind,
    /// Its name and namespace.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Spec,
    /// Written by Weir, read by people; ignored here.
    #[schemars(with = "Option<serde_json::Value>")]
    pub status: Option<IgnoredAny>,
}

/// The group and version that this reader understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersion;

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == api_version() {
            return Ok(Self);
        }
        Err(D::Error::custom(format!("unknown version\nwrite {}", api_version())))
    }
}

impl JsonSchema for ApiVersion {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ApiVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "const": api_version()})
    }
}

/// The kind of document that this reader understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeserializeDerive, JsonSchema)]
#[schemars(inline)]
pub enum Kind {
    /// What is wanted of a service.
    AdaptiveTrafficPolicy,
}

/// A policy's name, and what Kubernetes keeps beside it.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The policy's name, unique within its namespace.
    pub name: At<Name>,
    /// Its namespace, and that of the services it targets. Default: default.
    pub namespace: Option<At<Label>>,
    /// Labels, for people.
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations, for people and tools.
    pub annotations: Option<BTreeMap<String, String>>,
    /// When it was made. Of two policies for one service, the older governs.
    pub creation_timestamp: Option<At<Timestamp>>,
    /// Kubernetes' own.
    pub uid: Option<String>,
    /// Kubernetes' own.
    pub resource_version: Option<String>,
    /// Kubernetes' own.
    pub generation: Option<Count<0, { u32::MAX as u64 }>>,
    /// Kubernetes' own.
    #[schemars(with = "Option<Vec<serde_json::Value>>")]
    pub managed_fields: Option<IgnoredAny>,
    /// Kubernetes' own.
    #[schemars(with = "Option<Vec<serde_json::Value>>")]
    pub owner_references: Option<IgnoredAny>,
    /// Kubernetes' own.
    pub finalizers: Option<Vec<String>>,
}

/// What is wanted.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The services that this policy governs, of its own namespace.
    pub target_refs: Few<TargetRef, 1, 16>,
    /// How far Weir may go. Default: Observe.
    pub mode: Option<At<Mode>>,
    /// Hold everything as it stands. Default: false.
    pub suspend: Option<At<bool>>,
    /// What users of the services are promised.
    pub objectives: Option<Few<Objective, 0, 16>>,
    /// When evidence is enough, and when it is too old.
    #[serde(default)]
    pub evaluation: Evaluation,
    /// How traffic may be shared.
    #[serde(default)]
    pub load_balancing: LoadBalancing,
    /// How far endpoints may be taken out.
    #[serde(default)]
    pub ejection: Ejection,
    /// What holds whatever the model says.
    #[serde(default)]
    pub guardrails: Guardrails,
    /// What traffic between places costs. Accepted, not yet acted on.
    pub cost: Option<At<Cost>>,
    /// How a new version takes over.
    pub rollout: Option<At<Rollout>>,
    /// The only place for limits looser than the defaults.
    #[serde(default, rename = "unsafe")]
    pub loose: Loose,
}

/// A governed service.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// The API group, empty for a Service. Default: empty.
    #[schemars(extend("const" = ""))]
    pub group: Option<At<String>>,
    /// Service; other kinds are not governed.
    #[schemars(extend("const" = "Service"))]
    pub kind: At<String>,
    /// The service's name.
    pub name: At<TargetName>,
    /// The name of one of its ports, where Kubernetes names its endpoints.
    pub section_name: Option<At<Label>>,
}

/// How far Weir may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeserializeDerive, JsonSchema)]
#[schemars(inline)]
pub enum Mode {
    /// Decide and record, change nothing.
    Observe,
    /// As Observe, and offer the decision: what a person approves is done, as far and as long as it
    /// was approved.
    Recommend,
    /// Act.
    Enforce,
}

/// One promise.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Objective {
    /// Its name, unique within the policy.
    pub name: At<Label>,
    /// How many requests in a hundred shall be good.
    pub target_percent: At<GoalPercent>,
    /// Over how long. Default: 28d.
    pub time_window: Option<TimeWindow>,
    /// What is good.
    pub indicator: Indicator,
}

/// The time over which a promise is kept.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeWindow {
    /// Its length, in hours, days or weeks: from 1h to 90d.
    pub duration: At<Window>,
    /// Whether it ends now. Calendar windows are not read. Default: true.
    #[schemars(extend("const" = true))]
    pub is_rolling: Option<At<bool>>,
}

/// What counts as a good request.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = crate::schema::tie_indicator)]
pub struct Indicator {
    /// Where good is measured.
    #[serde(rename = "type")]
    pub kind: At<IndicatorType>,
    /// For Latency: the longest good latency.
    pub latency: Option<At<Latency>>,
    /// For Prometheus: two queries.
    pub prometheus: Option<At<Prometheus>>,
}

/// Where good is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeserializeDerive, JsonSchema)]
#[schemars(inline)]
pub enum IndicatorType {
    /// The request did not fail.
    Availability,
    /// It took at most so long.
    Latency,
    /// Two queries of your own.
    Prometheus,
}

/// The longest good latency.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Latency {
    /// From 1ms to 10m.
    pub threshold: At<Timer<1, { 10 * MINUTE }>>,
}

/// Two queries. `{{backend}}` stands for the service's name, `{{window}}` for the time looked back.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Prometheus {
    /// Good events per second.
    pub good: At<Query>,
    /// All events per second.
    pub total: At<Query>,
}

/// When evidence is enough, and when it is too old.
#[derive(Clone, Debug, Default, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evaluation {
    /// Time between decisions, from 1s to 10m. Default: Weir's tick.
    pub interval: Option<At<Timer<SECOND, { 10 * MINUTE }>>>,
    /// Requests in a window below which nothing is decided. Default: 100.
    pub min_samples: Option<At<Count<1, 1_000_000_000>>>,
    /// Evidence older than this is no evidence, from 1s to 2m. Default: twice the interval of the
    /// source, at least 3s.
    pub stale_after: Option<At<Timer<SECOND, { 2 * MINUTE }>>>,
    /// What to do then. Default: Fallback.
    pub on_stale: Option<At<OnStale>>,
}

/// What to do once evidence has become stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeserializeDerive, JsonSchema)]
#[schemars(inline)]
pub enum OnStale {
    /// Hold for five minutes, then go back to equal shares over ten.
    Fallback,
    /// Hold for ever.
    Freeze,
}

/// How traffic may be shared.
#[derive(Clone, Debug, Default, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancing {
    /// Who decides the shares. Default: Adaptive.
    #[serde(rename = "type")]
    pub kind: Option<At<BalancingType>>,
    /// How a new endpoint is brought in.
    pub slow_start: Option<SlowStart>,
    /// How far an endpoint's weight may be from the equal share.
    pub weight_range: Option<At<WeightRange>>,
    /// The largest part of the traffic moved within 15 s by re-weighting. Default: 50, which is
    /// also the most; more only under unsafe.
    #[schemars(extend("maximum" = 50))]
    pub max_step_percent: Option<At<Percent<1, 100>>>,
    /// Prefer endpoints in the clients' own zone.
    pub zone_aware: Option<At<ZoneAware>>,
}

/// Who decides the shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeserializeDerive, JsonSchema)]
#[schemars(inline)]
pub enum BalancingType {
    /// The model.
    Adaptive,
    /// Nobody: equal shares; ejection still applies.
    Equal,
}

/// A new endpoint's ramp from a tenth of its share to the whole.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlowStart {
    /// Its length, up to 1h. Default: 30s.
    pub window: At<Timer<0, HOUR>>,
}

/// How far an endpoint's weight may be from the equal share, in per cent of it.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WeightRange {
    /// The least, from 2 to 100. Default: 2.
    pub min: Option<At<Percent<2, 100>>>,
    /// The most, from 100 to 1000. Default: 300.
    pub max: Option<At<Percent<100, 1000>>>,
}

/// When traffic stays in its own zone.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZoneAware {
    /// When the own zone is preferred.
    pub prefer_local: PreferLocal,
    /// Which label to compare first when the own zone does not suffice.
    pub failover_priority: Option<Few<LabelKey, 0, 8>>,
}

/// When the own zone is preferred.
#[derive(Clone, Debug, Default, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreferLocal {
    /// Not below so many endpoints in all. Default: 6.
    pub min_endpoints_threshold: Option<At<Count<1, 100_000>>>,
    /// Not below so many in the zone. Default: 1.
    pub min_endpoints_in_zone_threshold: Option<At<Count<1, 100_000>>>,
}

/// How far endpoints may be taken out.
#[derive(Clone, Debug, Default, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ejection {
    /// The largest part of the endpoints, ejections by proxies included. Default: 20, which is
    /// also the most; more only under unsafe.
    #[schemars(extend("maximum" = 20))]
    pub max_ejection_percent: Option<At<Percent<0, 100>>>,
    /// The least part that stays healthy. Default: 60, which is also the least; less only under
    /// unsafe.
    #[schemars(extend("minimum" = 60))]
    pub min_health_percent: Option<At<Percent<0, 100>>>,
    /// The first ejection's length, doubled each time, from 1s to 1h. Default: 10s.
    pub base_ejection_time: Option<At<Timer<SECOND, HOUR>>>,
    /// The longest ejection, from 1s to 24h. Default: 5m.
    pub max_ejection_time: Option<At<Timer<SECOND, DAY>>>,
}

/// What holds whatever the model says.
#[derive(Clone, Debug, Default, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Guardrails {
    /// An endpoint predicted above this part of its capacity gains no share. Default: 80.
    pub max_utilization_percent: Option<At<Percent<1, 100>>>,
    /// At most this part of the requests is turned away, so that the rest is served, where there
    /// are more than all endpoints can serve. 0 turns nothing away. Default: 50.
    pub max_shed_percent: Option<At<Percent<0, 100>>>,
    /// Decisions that change something, per minute. Default: unlimited.
    pub max_changes_per_minute: Option<At<Count<1, 60>>>,
}

/// Limits looser than the defaults.
#[derive(Clone, Debug, Default, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Loose {
    /// In place of the one under ejection.
    pub max_ejection_percent: Option<At<Percent<0, 100>>>,
    /// In place of the one under ejection.
    pub min_health_percent: Option<At<Percent<0, 100>>>,
    /// In place of the one under loadBalancing.
    pub max_step_percent: Option<At<Percent<1, 100>>>,
}

/// What traffic between places costs.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cost {
    /// Three letters.
    pub currency: At<Currency>,
    /// Prices, by where traffic comes from.
    #[serde(rename = "perGiB")]
    pub per_gib: Few<Price, 1, 1000>,
    /// What saving may cost in latency, up to 10s. Default: nothing.
    pub max_latency_increase: Option<At<Timer<0, { 10 * SECOND }>>>,
    /// A warning is given past this much a month.
    pub max_monthly: Option<At<Amount>>,
}

/// Prices per GiB from one place.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Price {
    /// The place: region/zone/sub-zone, `*` for the rest.
    pub from: At<LocalityPattern>,
    /// The price, by where traffic goes to; the longest match counts.
    pub to: BTreeMap<LocalityPattern, Amount>,
}

/// How a new version takes over.
#[derive(Clone, Debug, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// The version in use.
    pub stable_ref: VersionRef,
    /// The new version.
    pub canary_ref: VersionRef,
    /// The new version's part of the requests at each step in per cent, rising.
    pub step_weights: Few<At<Share>, 1, 100>,
    /// Its largest part before it takes over: a last step where the others end below. Default: the
    /// last step's.
    pub max_weight: Option<At<Share>>,
    /// Failed evaluations at which it is given up. Default: 2.
    pub failure_limit: Option<At<Count<0, 100>>>,
    /// The longest time for all steps, from 1m to 7 days. Default: 30m.
    pub progress_deadline: Option<At<Timer<MINUTE, { 7 * DAY }>>>,
    /// What to do when it fails. Default: Rollback.
    pub on_failure: Option<At<OnFailure>>,
}

/// A service that one version runs behind.
#[derive(Clone, Debug, PartialEq, DeserializeDerive, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VersionRef {
    /// Its name.
    pub name: At<TargetName>,
    /// The number of its port, where Kubernetes names its endpoints.
    pub port: Option<At<Count<1, 65_535>>>,
}

/// What to do when a rollout fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeserializeDerive, JsonSchema)]
#[schemars(inline)]
pub enum OnFailure {
    /// Go back to the version in use.
    Rollback,
    /// Stay where it is and wait for a person.
    Pause,
}

impl Metadata {
    /// The namespace, `default` if none is given.
    pub fn namespace(&self) -> &str {
        self.namespace.as_ref().map_or("default", |namespace| namespace.as_str())
    }
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.name.as_str())
    }
}
