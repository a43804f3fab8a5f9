//! Whether Weir is ready, and what happens while it runs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// Whether Weir is ready to govern, and why or why not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthView {
    /// Whether every check passes.
    pub ready: bool,
    /// What it depends on.
    pub checks: Vec<CheckView>,
}

/// One thing that readiness depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckView {
    /// What is checked: `xds`, `telemetry`, ...
    pub name: String,
    /// Whether it passes.
    pub passes: bool,
    /// How it stands and, if it does not pass, how to mend it.
    pub text: String,
}

/// What an event is about: `?topics=` names these.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Topic {
    /// A step was taken: every service's numbers may have changed.
    Step,
    /// A decision changed something.
    Decision,
    /// Proxies connected, left, took or refused something.
    Proxies,
    /// Policies were read.
    Policies,
    /// Sources came or went wrong.
    Sources,
    /// Readiness changed.
    Health,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 6] =
        [Self::Step, Self::Decision, Self::Proxies, Self::Policies, Self::Sources, Self::Health];

    /// The name in `?topics=` and in the stream's `event:` field.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Decision => "decision",
            Self::Proxies => "proxies",
            Self::Policies => "policies",
            Self::Sources => "sources",
            Self::Health => "health",
        }
    }
}

/// The data of a `step` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepEvent {
    /// Counts steps, from 1.
    pub sequence: u64,
    /// When it was taken.
    pub at: Time,
    /// How many services it covers.
    pub services: u32,
}

/// The data of a `gone` event: what was asked for is no longer kept, or was never here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoneEvent {
    /// The id that the client asked to go on from.
    pub asked: String,
    /// The oldest id that is still kept; the stream goes on from the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
    /// What to do.
    pub text: String,
}
