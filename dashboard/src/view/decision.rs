//! Decisions that changed something, and what they were made of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::Time;
use super::rollout::RolloutView;
use super::service::{EndpointState, LimitView, Mode, Stance};

/// A service's decision: the step's sequence number and the service's place in the step's list.
/// Stable, short, and found again in the journal; written `1042-0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionId {
    /// The step.
    pub sequence: u64,
    /// The service's place in `Decision::services`.
    pub place: u32,
}

impl PartialSchema for DecisionId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[0-9]+-[0-9]+$"))
            .description(Some("The step's sequence number and the service's place in the step"))
            .examples(["1042-0"])
            .into()
    }
}

impl ToSchema for DecisionId {}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sequence, self.place)
    }
}

/// Text that is no decision's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a decision's id is two numbers with a hyphen between them, as 1042-0")]
pub struct NotAnId;

impl FromStr for DecisionId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let (sequence, place) = text.split_once('-').ok_or(NotAnId)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(sequence) || !digits(place) {
            return Err(NotAnId);
        }
        Ok(Self {
            sequence: sequence.parse().map_err(|_| NotAnId)?,
            place: place.parse().map_err(|_| NotAnId)?,
        })
    }
}

impl Serialize for DecisionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DecisionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What kind of change a decision makes; of several at once, the first of this list.
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
pub enum Kind {
    /// Endpoints are taken out.
    Ejected,
    /// Endpoints come back on probation.
    Probation,
    /// A new version goes on, goes back or is held.
    Rollout,
    /// Weir holds, goes back to equal shares, or acts again.
    Stance,
    /// Another mode or policy is in force.
    Policy,
    /// Endpoints have proven themselves and get their full share.
    Restored,
    /// Endpoints came, left, or are ready or not by discovery.
    Endpoints,
    /// Shares moved.
    #[default]
    Shares,
    /// Weir sees the service for the first time since it started.
    First,
}

/// One decision at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionSummary {
    /// Its id.
    pub id: DecisionId,
    /// When it was taken.
    pub at: Time,
    /// The service's namespace.
    pub namespace: String,
    /// The service's name.
    pub name: String,
    /// What kind of change it makes.
    pub kind: Kind,
    /// What is done, in a few words.
    pub title: String,
    /// Why, in one line with the numbers that decided it.
    pub why: String,
    /// How far Weir may go with the service.
    pub mode: Mode,
    /// Whether it was acted on; if not, it is what Weir would have done.
    pub acted: bool,
    /// Part of the service's traffic that it moves, 0 to 1.
    pub moved: f64,
}

/// One decision with what it was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionDetail {
    /// The decision at a glance.
    pub decision: DecisionSummary,
    /// The policy in force, as `namespace/name`; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What Weir is doing with the service.
    pub stance: Stance,
    /// The same in words.
    pub stance_text: String,
    /// The endpoints that change, the largest change first.
    pub changes: Vec<ChangeView>,
    /// How many more endpoints change than are listed.
    pub changes_left_out: u32,
    /// What was measured in this step.
    pub inputs: InputsView,
    /// The limits in force.
    pub limits: Vec<LimitView>,
    /// What client clusters are sent.
    pub sent: Vec<SentView>,
    /// The service's new version that takes over, where the decision is about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// What proxies answered.
    pub answers: AnswersView,
    /// What was measured afterwards; absent until enough has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<EffectView>,
}

/// One endpoint before and after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeView {
    /// Its address.
    pub address: String,
    /// How it stood; absent for a new endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<StandingView>,
    /// How it stands; absent for one that left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<StandingView>,
    /// Why, in one line.
    pub why: String,
    /// The measure that decided it, if it was a measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceView>,
    /// The limit that kept Weir from more, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<String>,
}

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StandingView {
    /// Weight relative to the equal share.
    pub weight: f64,
    /// Its part of the service's traffic, 0 to 1.
    pub share: f64,
    /// In, out or in between.
    pub state: EndpointState,
}

/// A measure against its limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceView {
    /// What was measured.
    pub name: String,
    /// As it was measured.
    pub measured: f64,
    /// What it is at least, with 95 % confidence; absent where it is no estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// What it is compared with.
    pub limit: f64,
    /// The unit of all three: `ratio` or `ms`.
    pub unit: String,
}

/// What was measured in the step of a decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InputsView {
    /// Clients (one client cluster of one node each) that reported counts.
    pub clients: u32,
    /// Nodes that reported.
    pub reporters: u32,
    /// Requests of all endpoints.
    pub requests: u64,
    /// Of these, failed.
    pub errors: u64,
    /// How old the newest counts are, in milliseconds; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// Endpoints that change first, then the others in order of address.
    pub rows: Vec<InputRow>,
    /// How many more endpoints were measured than are listed.
    pub rows_left_out: u32,
}

/// What was measured of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InputRow {
    /// Its address.
    pub address: String,
    /// Clients whose counts are in here.
    pub clients: u32,
    /// Requests that ended.
    pub requests: u64,
    /// Of these, failed.
    pub errors: u64,
    /// Of the errors, timeouts.
    pub timeouts: u64,
    /// Of the errors, those that never reached the endpoint.
    pub local_failures: u64,
    /// Requests whose latency is known.
    pub timed: f64,
    /// 99th percentile of latency in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// Clients that have ejected it themselves.
    pub ejected_by: u32,
}

/// What one kind of client cluster is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SentView {
    /// The client clusters.
    pub clusters: Vec<String>,
    /// How many more clusters get the same.
    pub clusters_left_out: u32,
    /// The form that shares take there.
    pub form: String,
    /// Localities in the order sent.
    pub groups: Vec<GroupView>,
    /// How many more localities there are.
    pub groups_left_out: u32,
    /// Whether so few endpoints are healthy that these proxies ignore health.
    pub panicking: bool,
}

/// One locality as sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// `region/zone/sub-zone`.
    pub locality: String,
    /// Its weight.
    pub weight: u32,
    /// Members, as `address weight health`.
    pub members: Vec<MemberView>,
    /// How many more members there are.
    pub members_left_out: u32,
}

/// One endpoint as sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// Its address.
    pub address: String,
    /// Its weight within the locality.
    pub weight: u32,
    /// What proxies are told of its health.
    pub health: String,
}

/// What proxies answered to a decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswersView {
    /// Nodes that took it.
    pub taken: u32,
    /// Nodes that refused it.
    pub refused: u32,
    /// Nodes that did not answer in time.
    pub silent: u32,
    /// The first refusals, in the proxies' own words.
    pub refusals: Vec<RefusalView>,
}

/// One proxy's refusal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusalView {
    /// The node.
    pub node: String,
    /// Its words.
    pub text: String,
}

/// The service shortly before and after a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectView {
    /// Over how many seconds before it was measured.
    pub seconds_before: u32,
    /// Requests before.
    pub requests_before: u64,
    /// Part that failed before, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_ratio_before: Option<f64>,
    /// Over how many seconds after it was measured.
    pub seconds_after: u32,
    /// Requests after.
    pub requests_after: u64,
    /// Part that failed after, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_ratio_after: Option<f64>,
}

/// One page of decisions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionPage {
    /// Newest first.
    pub items: Vec<DecisionSummary>,
    /// Hand this back as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = DecisionId { sequence: 1042, place: 3 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "1042", "1-", "-1", "1-2-3", "+1-2", "1--2", "99999999999999999999-0"] {
            assert_eq!(bad.parse::<DecisionId>(), Err(NotAnId), "{bad}");
        }
    }
}
