//! New versions that take over, as they stand.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::offer::OfferView;
use super::service::Mode;

/// A new version that takes over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// The service that clients call, as `namespace/name`.
    pub service: String,
    /// The policy that wants it.
    pub policy: String,
    /// How far Weir may go.
    pub mode: Mode,
    /// The service of the version in use.
    pub stable: String,
    /// The service of the new version.
    pub canary: String,
    /// The new version's part of the requests, 0 to 1; the version in use gets the others.
    pub weight: f64,
    /// How far it has come.
    pub phase: RolloutPhase,
    /// At which of its steps it is, from 1; absent when it is at none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The new version's part at each step, 0 to 1.
    pub steps: Vec<f64>,
    /// Evaluations that failed.
    pub failures: u32,
    /// What all evidence together says.
    pub finding: Finding,
    /// Why the weight is what it is, in one line.
    pub why: String,
    /// What the finding rests on, in one line.
    pub evidence: String,
    /// In Recommend: the step that waits for approval.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offer: Option<OfferView>,
    /// The evidence by signal.
    pub comparisons: Vec<ComparisonView>,
}

/// How far a rollout has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RolloutPhase {
    /// At one of its steps.
    #[default]
    Stepping,
    /// The new version has everything and is watched.
    Watching,
    /// The new version has taken over.
    Done,
    /// It was given up; its traffic goes back, or has gone.
    GivenUp,
    /// It was given up and waits for a person where it is.
    Paused,
}

/// What is proven of a new version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Finding {
    /// It may go on.
    Pass,
    /// It is worse than the version in use.
    Fail,
    /// Neither is proven yet.
    #[default]
    Inconclusive,
}

/// One signal of both versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComparisonView {
    /// What is compared.
    pub signal: String,
    /// What it shows.
    pub finding: Finding,
    /// The new version's value, with what it was counted from.
    pub canary: String,
    /// That of the version in use.
    pub stable: String,
    /// The new version's value over the other's; absent where one is zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// The least ratio that remains possible, however often one looks.
    pub at_least: f64,
    /// The largest; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// The largest chance of such evidence where the new version is no worse, 0 to 1.
    pub chance: f64,
}
