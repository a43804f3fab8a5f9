//! What Weir writes beside a policy in Kubernetes, for people and for `kubectl wait`.
//!
//! The shape of a policy's status is GEP-713's: conditions per ancestor, which are the services that it
//! targets. The rest is what one asks first when one looks at a policy.

use schemars::JsonSchema;
use serde::Serialize;

/// The status of a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// How it stands with each of its targets, at most sixteen.
    pub ancestors: Vec<Ancestor>,
    /// How its promises stand.
    pub objectives: Vec<ObjectiveStatus>,
    /// The endpoints of its targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<EndpointCounts>,
    /// The last decision that changed something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<LastDecision>,
}

/// How a policy stands with one of its targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ancestor {
    /// The target.
    pub ancestor_ref: AncestorRef,
    /// Who says so.
    pub controller_name: String,
    /// What is the case.
    pub conditions: Vec<Condition>,
}

/// A target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AncestorRef {
    /// Its API group; empty for Services.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// One thing that is, is not, or is not known to be the case (`metav1.Condition`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What: `Accepted` (it can be acted on) or `Programmed` (proxies have what was decided).
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// Why, in one word for programs.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// Which generation of the policy this is about.
    pub observed_generation: i64,
    /// Since when, as RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
}

/// Whether it is the case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub enum ConditionStatus {
    /// It is.
    True,
    /// It is not.
    False,
    /// Nobody knows.
    #[default]
    Unknown,
}

/// How one promise stands. Numbers are texts: a status is compared byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectiveStatus {
    /// Its name.
    pub name: String,
    /// The part of the error budget that is left, in per cent; negative when overspent.
    pub budget_remaining: String,
    /// How fast the last hour spent it: 1 spends it exactly over the window.
    pub burn_rate_1h: String,
}

/// How many endpoints there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointCounts {
    /// All that discovery names.
    pub total: u32,
    /// Of these, ejected by Weir.
    pub ejected: u32,
}

/// A decision that changed something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastDecision {
    /// Its id, as the API names it.
    pub id: String,
    /// When, as RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// What and why.
    pub summary: String,
}
