//! The words of decisions, as people read them in logs, on pages and in the API.
//!
//! Each text is a clause that stands after a colon: lower case, no full stop, the numbers that
//! decided it in the order evidence, then limit. One place for all of them, so that a page, a log
//! line and an answer of the API never tell the same choice in two ways.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::{
    Bound, EndpointDecision, EndpointState, Failing, Form, Health, Hold, Reason, ServiceDecision,
    Slow, Stance,
};
use crate::goal::Mode;
use crate::units::{Moment, Ratio};

/// A summary names so many endpoints; the rest are counted.
const NAMED_MAX: usize = 3;

pub(super) fn summary(decision: &ServiceDecision) -> String {
    let what = match &decision.stance {
        Stance::Steering => match (decision.acts(), decision.mode) {
            (true, Mode::Recommend) => "steering as approved".to_string(),
            (true, Mode::Enforce | Mode::Observe) => "steering".to_string(),
            (false, _) => "would steer".to_string(),
        },
        stance @ (Stance::Resting | Stance::Holding(_) | Stance::Decaying { .. }) => {
            stance.to_string()
        }
    };
    let mut text = format!("{}: {what}", decision.service);
    let out: Vec<_> = decision.endpoints.iter().filter(|endpoint| endpoint.is_ejected()).collect();
    if !out.is_empty() {
        text += &format!("; {} of {} endpoints out: ", out.len(), decision.endpoints.len());
        text += &listed(&out, |endpoint| format!("{}, {}", endpoint.address, endpoint.reason));
    } else if decision.stance == Stance::Steering {
        text += &shifted(decision);
    }
    if decision.shed > Ratio::ZERO {
        let turns = if decision.acts() { "turns" } else { "would turn" };
        text += &format!("; {turns} away {:.1} % of the requests", 100.0 * decision.shed.value());
    }
    if let Some(offer) = &decision.offer {
        text += &format!("; waits for approval: {}@{}", decision.service, offer.number);
    }
    text
}

/// The endpoints whose weight is farthest from equal, lightest first. Where all weigh the same,
/// whatever that is, none is lighter.
fn shifted(decision: &ServiceDecision) -> String {
    let heaviest = decision.endpoints.iter().map(|e| e.weight).fold(0.0, f64::max);
    let even = decision.endpoints.iter().all(|e| e.weight >= 0.995 * heaviest);
    let mut lighter: Vec<_> = decision.endpoints.iter().filter(|e| e.weight < 0.995).collect();
    if even || lighter.is_empty() {
        return String::new();
    }
    lighter.sort_by(|a, b| a.weight.total_cmp(&b.weight));
    let weighed =
        listed(&lighter, |endpoint| format!("{} at {:.2} x", endpoint.address, endpoint.weight));
    format!("; lighter than an equal share: {weighed}")
}

fn listed(endpoints: &[&EndpointDecision], text: impl Fn(&EndpointDecision) -> String) -> String {
    let named: Vec<_> = endpoints.iter().take(NAMED_MAX).map(|endpoint| text(endpoint)).collect();
    let joined = named.join("; ");
    match endpoints.len().saturating_sub(NAMED_MAX) {
        0 => joined,
        more => format!("{joined}; and {more} more"),
    }
}

impl EndpointDecision {
    /// One line for a person: what the endpoint is, for how long, why, and what bounded it. `at`
    /// is when the decision was taken.
    pub fn sentence(&self, at: Moment) -> String {
        let mut text = match self.state {
            EndpointState::Serving => self.reason.to_string(),
            EndpointState::NotReady => EndpointState::NotReady.to_string(),
            EndpointState::Ejected { until, times } => {
                let nth =
                    if times > 1 { format!(" ({times} times in a row)") } else { String::new() };
                format!("ejected for {}{nth}: {}", Span(until.since(at)), self.reason)
            }
            EndpointState::Joining | EndpointState::Probation => {
                format!("{}: {}", self.state, self.reason)
            }
        };
        if let Some(bound) = self.bound {
            text += &format!("; held back: {bound}");
        }
        text
    }

    /// Whether it is out by Weir's choice.
    pub fn is_ejected(&self) -> bool {
        matches!(self.state, EndpointState::Ejected { .. })
    }
}

/// A duration as people say it: `350 ms`, `1.5 s`, `10 s`, `5 min`, `2 h`.
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => f.write_str("0 s"),
            1..1_000 => write!(f, "{ms} ms"),
            1_000..10_000 if !ms.is_multiple_of(1_000) => {
                write!(f, "{}.{} s", ms / 1_000, ms % 1_000 / 100)
            }
            1_000..120_000 => write!(f, "{} s", ms / 1_000),
            120_000..7_200_000 => write!(f, "{} min", ms / 60_000),
            _ => write!(f, "{} h", ms / 3_600_000),
        }
    }
}

/// A count that may be a weighted one: whole where it is whole, one decimal where not.
struct Count(f64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = libm::round(self.0);
        if (self.0 - whole).abs() < 0.05 || self.0 >= 100.0 {
            write!(f, "{whole:.0}")
        } else {
            write!(f, "{:.1}", self.0)
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Observe => "Observe",
            Self::Recommend => "Recommend",
            Self::Enforce => "Enforce",
        })
    }
}

impl fmt::Display for Stance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resting => f.write_str("at rest: no imbalance is proven, shares are equal"),
            Self::Steering => f.write_str("steering by proven differences"),
            Self::Holding(hold) => write!(f, "holding: {hold}"),
            Self::Decaying { stale } => {
                write!(f, "going back to equal shares: no fresh telemetry for {}", Span(*stale))
            }
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspended => f.write_str("the policy is suspended"),
            Self::Unrecorded => f.write_str(
                "the journal cannot be written: what could not be explained is not done",
            ),
            Self::Stale { age } => write!(f, "no fresh telemetry for {}", Span(*age)),
            Self::Quorum { endpoints: 0, .. } => f.write_str("no endpoint is known to be ready"),
            Self::Quorum { covered, endpoints, requests, needed } => write!(
                f,
                "evidence is thin: {covered} of {endpoints} endpoints covered, \
                 {requests} of {needed} requests needed"
            ),
            Self::CommonCause { bad, judged } => write!(
                f,
                "{bad} of {judged} endpoints look bad at once, so the cause is not an endpoint's"
            ),
            Self::Mismatch { difference, tolerance } => write!(
                f,
                "measured shares differ from pushed ones by {difference} (tolerance {tolerance})"
            ),
            Self::Refused { nodes: 1 } => f.write_str("1 proxy refused the last push"),
            Self::Refused { nodes } => write!(f, "{nodes} proxies refused the last push"),
        }
    }
}

impl fmt::Display for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Serving => "serving",
            Self::Joining => "joining",
            Self::Probation => "on probation",
            Self::Ejected { .. } => "ejected",
            Self::NotReady => "not ready",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal => f.write_str("equal share: no imbalance is proven"),
            Self::Unknown => f.write_str("too little is known of it: keeps what it had"),
            Self::ServiceTime { own, peers, persistence } => write!(
                f,
                "service time {own}, peers {peers}; {:.0} % of the difference outlasts one step",
                persistence * 100.0
            ),
            Self::Failing(failing) => failing.fmt(f),
            Self::Slow(slow) => slow.fmt(f),
            Self::Proving { age } => write!(f, "has been proving itself for {}", Span(*age)),
            Self::Remainder => f.write_str("makes room for others' changes"),
            Self::NotReady => f.write_str("discovery says that it is not ready"),
            Self::EjectedByProxies { clients, of } => {
                write!(f, "{clients} of {of} clients have ejected it themselves")
            }
        }
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { errors, requests, bound, limit } = self;
        write!(
            f,
            "{} of {} requests failed (at least {bound}, limit {limit})",
            Count(*errors),
            Count(*requests)
        )
    }
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, peers, bound, limit, windows } = self;
        let times = if *windows == 1 { "window" } else { "windows in a row" };
        write!(
            f,
            "mean latency {own}, peers {peers}; at least {bound} too slow (limit {limit}) \
             in {windows} {times}"
        )
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EjectionCap => "as many endpoints are out as the policy allows",
            Self::MinHealth => "too few endpoints would stay healthy",
            Self::PanicLine => "proxies would enter panic",
            Self::Capacity => "the others could not carry its load",
            Self::TooFew => "with two endpoints or fewer none is ejected",
            Self::Quorum => "the evidence is thin",
            Self::Step => "largest step of the service",
            Self::MeshStep => "largest step of the mesh",
            Self::Changes => "changes per minute are used up",
            Self::Reversal => "it has just changed the other way",
            Self::WeightRange => "end of the policy's weight range",
        })
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "equal weights in the original localities",
            Self::InOut => "equal weights, health decides who takes part",
            Self::Classes => "weight classes as localities",
            Self::Weights => "a weight per endpoint",
            Self::Localities => "one locality per endpoint",
        })
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
        })
    }
}

#[cfg(test)]
mod tests;
