//! What is proven of a new version, for whoever moves the traffic to it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;
use super::rollout::{ComparisonView, Finding};

/// A new version against the one in use, as far as their requests tell by now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerdictView {
    /// `pass`: it may go on; `fail`: it is worse; `inconclusive`: neither is proven yet.
    pub verdict: Finding,
    /// The version in use.
    pub stable: VersionView,
    /// The new version.
    pub canary: VersionView,
    /// The largest part of the new version's requests that may still fail, 0 to 1, however often
    /// one asks; absent before there is anything to compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// The verdict with what it rests on, in one line.
    pub text: String,
    /// What was compared.
    pub basis: Basis,
    /// Since when the requests count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The evidence by signal.
    pub comparisons: Vec<ComparisonView>,
}

/// One version's requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionView {
    /// Its service, as `namespace/name`.
    pub service: String,
    /// Requests that ended.
    pub requests: u64,
    /// Of these, failed.
    pub errors: u64,
}

/// What a verdict is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Basis {
    /// The rollout of a policy, which Weir itself moves: all requests since it began.
    Rollout,
    /// The last minutes of both services: somebody else moves the requests.
    #[default]
    Recent,
}
