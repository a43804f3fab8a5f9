//! What judges of series find: advice with its evidence. A warning moves no traffic.

use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decision::Span;
use crate::units::{Moment, PerSecond};

/// At most so many warnings of one service at a time: a page of them. What comes later waits
/// until one of them is over.
pub const WARNINGS_MAX: usize = 16;

/// One finding that stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// About which endpoint, in the topology's order; `None`: the service as a whole.
    pub endpoint: Option<u32>,
    /// Since when.
    pub since: Moment,
    /// What was found, as it was last seen.
    pub finding: Finding,
}

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// Requests per second.
    Load,
    /// Mean latency in milliseconds.
    Latency,
    /// The part of requests that fail.
    Errors,
    /// The part of workers in use.
    Utilization,
}

/// What was found, with the numbers that show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Finding {
    /// Far above its own last minute.
    Unusual {
        /// What is.
        signal: Signal,
        /// The newest sample, in the signal's unit.
        value: f64,
        /// The median of the samples before.
        usual: f64,
        /// How far above, in usual deviations.
        deviations: f64,
    },
    /// No sample alone is unusual, but the level has gone up.
    Shifted {
        /// What has.
        signal: Signal,
        /// The newest sample, in the signal's unit.
        value: f64,
        /// The present level above its usual, in usual deviations.
        deviations: f64,
        /// For how many samples.
        samples: u32,
    },
    /// An endpoint is slower than its siblings.
    Apart {
        /// Its latency in milliseconds.
        value: f64,
        /// The siblings' median.
        siblings: f64,
        /// How far above, in the siblings' deviations.
        deviations: f64,
        /// In how many of the last five samples.
        samples: u32,
    },
    /// The service's load will pass what its endpoints can carry well.
    Ahead {
        /// What is expected then.
        expected: PerSecond,
        /// The line that it passes.
        line: PerSecond,
        /// After so long.
        after: Duration,
    },
    /// The signals of a service do not fit together as usual.
    Misfit {
        /// The one that fits least.
        signal: Signal,
        /// By how many deviations it is off what the others let expect.
        deviations: f64,
        /// How far the sample is from the pattern: 1 is usual.
        distance: f64,
        /// Which fitted pattern says so.
        pattern: u64,
    },
}

/// What a finding is, without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// [`Finding::Unusual`].
    Unusual,
    /// [`Finding::Shifted`].
    Shifted,
    /// [`Finding::Apart`].
    Apart,
    /// [`Finding::Ahead`].
    Ahead,
    /// [`Finding::Misfit`].
    Misfit,
}

impl Finding {
    /// What kind of finding it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unusual { .. } => Kind::Unusual,
            Self::Shifted { .. } => Kind::Shifted,
            Self::Apart { .. } => Kind::Apart,
            Self::Ahead { .. } => Kind::Ahead,
            Self::Misfit { .. } => Kind::Misfit,
        }
    }

    /// The signal that it is about.
    pub fn signal(&self) -> Signal {
        match self {
            Self::Unusual { signal, .. }
            | Self::Shifted { signal, .. }
            | Self::Misfit { signal, .. } => *signal,
            Self::Apart { .. } => Signal::Latency,
            Self::Ahead { .. } => Signal::Load,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "load",
            Self::Latency => "latency",
            Self::Errors => "error ratio",
            Self::Utilization => "utilization",
        })
    }
}

/// A value in its signal's unit.
struct Value(Signal, f64);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(signal, value) = *self;
        match signal {
            Signal::Load => write!(f, "{value:.0}/s"),
            Signal::Latency => write!(f, "{value:.1} ms"),
            Signal::Errors | Signal::Utilization => write!(f, "{:.1} %", 100.0 * value),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unusual { signal, value, usual, deviations } => write!(
                f,
                "{signal} {} where {} is usual, {deviations:.1} deviations above",
                Value(signal, value),
                Value(signal, usual)
            ),
            Self::Shifted { signal, value, deviations, samples } => write!(
                f,
                "{signal} is now about {}, {deviations:.1} deviations above its usual for \
                 {samples} samples",
                Value(signal, value)
            ),
            Self::Apart { value, siblings, deviations, samples } => write!(
                f,
                "latency {value:.1} ms where its siblings have {siblings:.1} ms, {deviations:.1} \
                 of their deviations above in {samples} of 5 samples"
            ),
            Self::Ahead { expected, line, after } => write!(
                f,
                "{:.0} requests per second are expected in {}, more than the {:.0} that can be \
                 served well",
                expected.value(),
                Span(after),
                line.value()
            ),
            Self::Misfit { signal, deviations, distance, pattern } => {
                let way = if deviations < 0.0 { "below" } else { "above" };
                write!(
                    f,
                    "{signal} is {:.1} deviations {way} what the other signals let expect, \
                     {distance:.1} times as far from pattern {pattern} as usual",
                    libm::fabs(deviations)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(finding: &Finding, expected: &str) {
        assert_eq!(finding.to_string(), expected);
    }

    #[test]
    fn evidence_reads_as_a_sentence() {
        check(
            &Finding::Unusual {
                signal: Signal::Latency,
                value: 84.2,
                usual: 40.1,
                deviations: 7.3,
            },
            "latency 84.2 ms where 40.1 ms is usual, 7.3 deviations above",
        );
        check(
            &Finding::Shifted {
                signal: Signal::Errors,
                value: 0.012,
                deviations: 2.1,
                samples: 14,
            },
            "error ratio is now about 1.2 %, 2.1 deviations above its usual for 14 samples",
        );
        check(
            &Finding::Ahead {
                expected: PerSecond::clamped(950.0),
                line: PerSecond::clamped(900.0),
                after: Duration::from_secs(1_200),
            },
            "950 requests per second are expected in 20 min, more than the 900 that can be served \
             well",
        );
        check(
            &Finding::Misfit {
                signal: Signal::Load,
                deviations: -6.0,
                distance: 9.0,
                pattern: 600,
            },
            "load is 6.0 deviations below what the other signals let expect, 9.0 times as far \
             from pattern 600 as usual",
        );
    }
}
