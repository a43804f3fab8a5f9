//! What is decided for a new version, and why.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::StepOffer;
use crate::comparison::Verdict;
use crate::goal::Mode;
use crate::names::{PolicyName, ServiceId};
use crate::units::Ratio;

/// What is decided for one rollout. A level, as all of a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutDecision {
    /// The service that clients call.
    pub service: ServiceId,
    /// The policy that wants it.
    pub policy: PolicyName,
    /// Whether it is acted on.
    pub mode: Mode,
    /// The version in use.
    pub stable: ServiceId,
    /// The new version.
    pub canary: ServiceId,
    /// The new version's part of the requests; the version in use gets the others.
    pub weight: Ratio,
    /// How far it has come.
    pub phase: Phase,
    /// The parts that it goes through.
    pub steps: Vec<Ratio>,
    /// Evaluations that failed.
    pub failures: u32,
    /// What the evidence says.
    pub verdict: Verdict,
    /// Why the weight is what it is.
    pub reason: Reason,
    /// Why it is left to another controller for now, in words.
    #[serde(default)]
    pub yields: Option<Arc<str>>,
    /// In Recommend: the step that waits for a person's approval.
    #[serde(default)]
    pub offer: Option<StepOffer>,
}

impl RolloutDecision {
    /// Whether anything of it is done.
    pub fn acts(&self) -> bool {
        match self.mode {
            Mode::Enforce => true,
            Mode::Recommend => self.weight > Ratio::ZERO,
            Mode::Observe => false,
        }
    }

    /// Whether it is still done in routes that belong to others: what nobody wants any more comes
    /// back there as it was found. A route of Weir's own leads somewhere in any case.
    pub fn acts_on_others(&self) -> bool {
        self.acts() && self.reason != Reason::Gone
    }
}

/// How far a rollout has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// At one of its steps, counted from 0.
    Stepping {
        /// Which.
        step: u32,
    },
    /// The new version has taken over and is still watched.
    Watching,
    /// It has taken over.
    Done,
    /// It was given up; its traffic goes back, or has gone.
    #[default]
    GivenUp,
    /// It was given up, and waits for a person where it is.
    Paused,
}

/// Why a rollout's weight is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reason {
    /// Nothing is acted on in this mode.
    Observing,
    /// The policy is suspended: everything stays.
    Suspended,
    /// The journal cannot be written.
    Unrecorded,
    /// No telemetry.
    Silent {
        /// For how long.
        age: Duration,
    },
    /// A version has no endpoint that takes traffic.
    NoEndpoint {
        /// Whether it is the new one.
        canary: bool,
    },
    /// Traffic moves to the step, no faster than there is capacity for it.
    Moving {
        /// Where to.
        to: Ratio,
    },
    /// Neither better nor worse is proven.
    Gathering,
    /// It failed, but not yet as often as the policy allows.
    Failing {
        /// So often.
        failures: u32,
        /// Given up at so many.
        limit: u32,
    },
    /// It was worse.
    Worse,
    /// It was not proven in time.
    Late {
        /// The time that it had.
        deadline: Duration,
    },
    /// It has taken over and is watched.
    Watched {
        /// For so long still.
        left: Duration,
    },
    /// It has taken over.
    TakenOver,
    /// The next step waits for a person.
    Awaiting,
    /// The policy is gone, or says nothing of a new version any more: everything stays.
    Gone,
    /// Another controller moves requests between these versions, or may do so.
    Yielding,
}

impl Reason {
    /// Whether something keeps the weight from following the evidence.
    pub fn is_held(&self) -> bool {
        match self {
            Self::Observing
            | Self::Suspended
            | Self::Unrecorded
            | Self::Silent { .. }
            | Self::NoEndpoint { .. }
            | Self::Awaiting
            | Self::Gone
            | Self::Yielding => true,
            Self::Moving { .. }
            | Self::Gathering
            | Self::Failing { .. }
            | Self::Worse
            | Self::Late { .. }
            | Self::Watched { .. }
            | Self::TakenOver => false,
        }
    }
}
