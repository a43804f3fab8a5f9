//! How a new version compares with the one in use: what a judge is asked, and what it answers.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::goal::{Indicator, Objective};
use crate::latency::Latency;
use crate::observation::ServiceTraffic;
use crate::units::{Millis, Ratio};

/// A look is at least so long and of at least so many requests at each version, or else a minute:
/// shorter ones would take one burst for many. A policy may want longer ones.
const LOOK: Duration = Duration::from_secs(5);
const LOOK_REQUESTS: f64 = 50.0;
const LOOK_LONGEST: Duration = Duration::from_secs(60);

/// The chance of giving up a version that is no worse, however often one looks.
pub const ALPHA: f64 = 0.025;

/// Without an objective for availability so many requests may fail.
const ERRORS_ALLOWED: f64 = 0.01;

/// Both versions over the same time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// The new version.
    pub canary: Side,
    /// The version in use.
    pub stable: Side,
}

impl Look {
    /// Whether what was gathered for so long makes a look; `least`: the shortest that is wanted.
    pub fn is_full(&self, gathered: Duration, least: Option<Duration>) -> bool {
        let requests = self.canary.requests.min(self.stable.requests);
        let least = least.map_or(LOOK, |least| least.max(LOOK));
        let long = gathered >= least && requests >= LOOK_REQUESTS;
        long || gathered >= least.max(LOOK_LONGEST) && requests > 0.0
    }

    /// Puts shorter looks, of this length each and in the order of time, together to full ones.
    /// What is left at the end is no look yet.
    pub fn gathered(parts: impl Iterator<Item = Self>, length: Duration) -> Vec<Self> {
        let mut looks = Vec::new();
        let (mut look, mut gathered) = (Self::default(), Duration::ZERO);
        for part in parts {
            look.canary.add(&part.canary);
            look.stable.add(&part.stable);
            gathered = gathered.saturating_add(length);
            if look.is_full(gathered, None) {
                looks.push(core::mem::take(&mut look));
                gathered = Duration::ZERO;
            }
        }
        looks
    }
}

/// What was counted of one version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Requests that ended.
    pub requests: f64,
    /// Of these, failed.
    pub errors: f64,
    /// Latencies of the timed ones.
    pub latency: Latency,
}

impl Side {
    /// What was counted in a step; none where no client reported.
    pub fn of(traffic: &ServiceTraffic) -> Option<Self> {
        if traffic.clients == 0 {
            return None;
        }
        let mut side = Self::default();
        for row in traffic.rows.iter() {
            side.requests += row.requests as f64;
            side.errors += row.errors as f64;
            side.latency.add(&row.latency);
        }
        let whole = traffic.totals.as_ref().filter(|_| side.latency.count <= 0.0);
        if let Some(whole) = whole {
            side.latency.add(&whole.latency);
        }
        Some(side)
    }

    /// Adds another's requests.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.latency.add(&other.latency);
    }

    /// A part of its requests, the same as the whole but for their number.
    #[must_use]
    pub fn part(&self, part: f64) -> Self {
        let latency = &self.latency;
        Self {
            requests: self.requests * part,
            errors: self.errors * part,
            latency: Latency {
                count: latency.count * part,
                sum_ms: latency.sum_ms * part,
                buckets: latency.buckets.iter().map(|&(at, count)| (at, count * part)).collect(),
            },
        }
    }
}

/// What a new version has to reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// The largest chance of condemning a version that is no worse, however often one looks.
    pub alpha: Ratio,
    /// Fewer requests at either version decide nothing.
    pub requests_min: u64,
    /// The part of all requests that may fail.
    pub errors_allowed: Ratio,
    /// A latency, and the part of all requests that may take longer.
    pub slow_allowed: Option<(Millis, Ratio)>,
    /// The part of all requests that the new version gets once it has passed.
    pub exposure: Ratio,
}

impl Bar {
    /// What these objectives want of a version that gets all requests next. Those that a query of
    /// the user's own counts say nothing of versions.
    pub fn of(objectives: &[Objective], requests_min: u64) -> Self {
        let missed = |target: Ratio| Ratio::clamped(1.0 - target.value());
        let available = objectives.iter().find(|o| o.indicator == Indicator::Availability);
        let slow = objectives.iter().find_map(|objective| match objective.indicator {
            Indicator::Latency { threshold } => Some((threshold, missed(objective.target))),
            Indicator::Availability | Indicator::Prometheus { .. } => None,
        });
        Self {
            alpha: Ratio::clamped(ALPHA),
            requests_min,
            errors_allowed: available
                .map_or(Ratio::clamped(ERRORS_ALLOWED), |objective| missed(objective.target)),
            slow_allowed: slow,
            exposure: Ratio::ONE,
        }
    }
}

/// What a judge makes of a new version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// All comparisons taken together.
    pub finding: Finding,
    /// One per signal that something is known of.
    pub comparisons: Vec<Comparison>,
}

/// What is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// It may go on: what it may still do wrong fits the goals.
    Pass,
    /// It is worse than the version in use.
    Fail,
    /// Neither is proven yet.
    #[default]
    Inconclusive,
}

/// One signal of both versions, with everything that the finding rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What is compared.
    pub signal: Signal,
    /// What it shows.
    pub finding: Finding,
    /// The new version.
    pub canary: Measured,
    /// The version in use.
    pub stable: Measured,
    /// The new version's value over the other's; none where one is zero.
    pub ratio: Option<f64>,
    /// The least ratio that remains possible, at any time at once.
    pub lower: f64,
    /// The largest; none: any.
    pub upper: Option<f64>,
    /// The largest chance of such evidence where the new version is no worse (an always-valid p).
    pub chance: Ratio,
    /// The largest part of the new version's own requests that may still be bad.
    pub at_most: Option<Ratio>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Signal {
    /// The part of requests that fail.
    Errors,
    /// The part of requests that take longer.
    Slow {
        /// Than this.
        threshold: Millis,
    },
    /// The typical latency (geometric mean).
    Latency,
}

/// One version's side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Measured {
    /// Events among requests.
    Part {
        /// How many.
        events: f64,
        /// Of so many.
        requests: f64,
    },
    /// A latency.
    Typical {
        /// The geometric mean.
        latency: Millis,
        /// Of so many.
        requests: f64,
    },
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part { events, requests } => {
                let percent = 100.0 * Ratio::of(*events, *requests).value();
                write!(f, "{percent:.2} % ({events:.0} of {requests:.0})")
            }
            Self::Typical { latency, requests } => write!(f, "{latency} ({requests:.0} timed)"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.signal {
            Signal::Errors => f.write_str("errors")?,
            Signal::Slow { threshold } => write!(f, "requests over {threshold}")?,
            Signal::Latency => f.write_str("typical latency")?,
        }
        write!(f, " {} against {}", self.canary, self.stable)?;
        let lower = self.lower;
        match self.upper {
            Some(upper) => write!(f, ", surely {lower:.2} to {upper:.2} times")?,
            None if lower > 0.0 => write!(f, ", surely at least {lower:.2} times")?,
            None => f.write_str(", too few to compare")?,
        }
        if self.finding == Finding::Fail {
            let percent = (100.0 * self.chance.value()).max(0.01);
            write!(f, "; without a difference the chance of this is below {percent:.2} %")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let telling = |c: &&Comparison| c.finding == self.finding;
        let mut told = self.comparisons.iter().filter(telling).peekable();
        if told.peek().is_none() {
            return f.write_str("too few requests to compare");
        }
        while let Some(comparison) = told.next() {
            write!(f, "{comparison}")?;
            if told.peek().is_some() {
                f.write_str("; ")?;
            }
        }
        Ok(())
    }
}
