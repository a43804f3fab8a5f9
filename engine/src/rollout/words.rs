//! A rollout in a sentence.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use super::{Phase, Reason, RolloutDecision};

impl fmt::Display for RolloutDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} gets {} of {}: ", self.canary, self.weight, self.service)?;
        match self.phase {
            Phase::Stepping { step } => {
                write!(f, "step {} of {}, ", step + 1, self.steps.len())?;
            }
            Phase::GivenUp => f.write_str("given up, ")?,
            Phase::Paused => f.write_str("paused, ")?,
            Phase::Watching | Phase::Done => {}
        }
        f.write_str(&self.why())?;
        if !self.verdict.comparisons.is_empty() {
            write!(f, "; {}", self.verdict)?;
        }
        Ok(())
    }
}

impl RolloutDecision {
    /// Why the weight is what it is, in words.
    pub fn why(&self) -> String {
        match &self.yields {
            Some(why) if self.reason == Reason::Yielding => alloc::format!("held: {why}"),
            Some(_) | None => alloc::format!("{}", self.reason),
        }
    }

    /// The step that waits for a person, in words.
    pub fn offered(&self) -> Option<String> {
        self.offer.map(|offer| alloc::format!("send {} to {}", offer.weight, self.canary))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observing => f.write_str("only shown in this mode"),
            Self::Suspended => f.write_str("held: the policy is suspended"),
            Self::Unrecorded => f.write_str("held: the journal cannot be written"),
            Self::Silent { age } => write!(f, "held: no telemetry for {}", Seconds(*age)),
            Self::NoEndpoint { canary: true } => {
                f.write_str("the new version has no endpoint that takes traffic")
            }
            Self::NoEndpoint { canary: false } => {
                f.write_str("the version in use has no endpoint that takes traffic")
            }
            Self::Moving { to } => write!(f, "on the way to {to}"),
            Self::Gathering => f.write_str("not enough evidence yet"),
            Self::Failing { failures, limit } => {
                write!(f, "failed {failures} of {limit} evaluations")
            }
            Self::Worse => f.write_str("the new version is worse"),
            Self::Late { deadline } => write!(f, "not proven within {}", Seconds(*deadline)),
            Self::Watched { left } => write!(f, "taken over, watched for {}", Seconds(*left)),
            Self::TakenOver => f.write_str("taken over"),
            Self::Awaiting => f.write_str("the next step waits for approval"),
            Self::Gone => f.write_str("held: no policy wants it any more"),
            Self::Yielding => f.write_str("held: another controller is at work"),
        }
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds if seconds >= 120 => write!(f, "{} min", seconds / 60),
            seconds => write!(f, "{seconds} s"),
        }
    }
}
