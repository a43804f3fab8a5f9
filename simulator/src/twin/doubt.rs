//! Why there is no answer, in words.

use core::fmt;

/// Why a twin cannot be made, or is not believed.
#[derive(Clone, Debug, PartialEq)]
pub enum Doubt {
    /// No traffic was recorded.
    Silent,
    /// The recording is short.
    Short {
        /// How long it is, in seconds.
        seconds: f64,
        /// How long it has to be.
        needed: f64,
    },
    /// There are few requests.
    Few {
        /// So many.
        requests: f64,
        /// So many are needed.
        needed: f64,
    },
    /// There are more requests than can be played.
    Large {
        /// So many.
        requests: f64,
        /// So many can be.
        most: f64,
    },
    /// There are more endpoints than can be played.
    Wide {
        /// So many.
        endpoints: usize,
        /// So many can be.
        most: usize,
    },
    /// No endpoint has latencies enough: there is no access log, or it is sampled thinly.
    Untimed,
    /// Of the held-out ticks, few requests were timed.
    Thin {
        /// So many were.
        timed: f64,
        /// So many are needed.
        needed: f64,
    },
    /// The twin, governed as the recording was, does not come to what was recorded.
    Off(Off),
    /// Endpoints answered as no number of workers has it.
    Unexplained {
        /// The part of the requests.
        part: f64,
    },
    /// Many requests timed out: what their clients do then is not in a recording.
    Impatient {
        /// The part that did.
        timeouts: f64,
        /// In the recording, or on the twin by the policy of a number.
        policy: Option<usize>,
    },
    /// Worlds that the recording does not tell apart answer differently.
    Open {
        /// Which figure.
        figure: Figure,
        /// Of which policy, counted from the recorded one.
        policy: usize,
        /// The least that it comes to.
        least: f64,
        /// The most that it comes to.
        most: f64,
    },
}

/// A figure that a twin has to reproduce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// The median latency, in milliseconds.
    P50,
    /// The 99th percentile of latency, in milliseconds.
    P99,
    /// The part of the requests that failed or were turned away.
    Errors,
}

impl Figure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::P50, Self::P99, Self::Errors];

    /// Its key for programs.
    pub fn key(self) -> &'static str {
        match self {
            Self::P50 => "p50_ms",
            Self::P99 => "p99_ms",
            Self::Errors => "error_ratio",
        }
    }

    /// A value of it for people.
    pub fn said(self, value: f64) -> String {
        match self {
            Self::P50 | Self::P99 if value < 10.0 => format!("{value:.2} ms"),
            Self::P50 | Self::P99 => format!("{value:.0} ms"),
            Self::Errors => format!("{:.3} %", value * 100.0),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Errors => "errors",
        })
    }
}

/// A figure that is off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Off {
    /// Which.
    pub figure: Figure,
    /// Whether of ticks that the fit had not seen.
    pub held_out: bool,
    /// What was recorded.
    pub recorded: f64,
    /// What the twin came to.
    pub twin: f64,
}

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { figure, held_out, recorded, twin } = *self;
        let ticks = if held_out { "held-out ticks" } else { "all ticks" };
        write!(f, "{figure} of {ticks}: {} recorded", figure.said(recorded))?;
        write!(f, ", {} in the twin", figure.said(twin))?;
        if recorded > 0.0 {
            write!(f, " ({:+.0} %)", (twin / recorded - 1.0) * 100.0)?;
        }
        Ok(())
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => write!(f, "no traffic of the service is recorded"),
            Self::Short { seconds, needed } => {
                write!(f, "{seconds:.0} s are recorded, and a twin needs {needed:.0} s")
            }
            Self::Few { requests, needed } => {
                write!(f, "{requests:.0} requests are recorded, and a twin needs {needed:.0}")
            }
            Self::Large { requests, most } => write!(
                f,
                "{requests:.0} requests are recorded, and at most {most:.0} are played; \
                 name a shorter stretch with --from and --to"
            ),
            Self::Wide { endpoints, most } => {
                write!(f, "{endpoints} endpoints are recorded, and at most {most} are played")
            }
            Self::Untimed => write!(
                f,
                "no endpoint has 200 timed requests in a row at one pace: a twin needs latencies \
                 by endpoint, as an access log brings them"
            ),
            Self::Thin { timed, needed } => write!(
                f,
                "{timed:.0} requests were timed in the ticks that check the twin, and a 99th \
                 percentile needs {needed:.0}"
            ),
            Self::Off(off) => off.fmt(f),
            Self::Unexplained { part } => write!(
                f,
                "{:.0} % of the requests were answered as by no number of workers: endpoints of the \
                 service are not what a twin has",
                part * 100.0
            ),
            Self::Impatient { timeouts, policy } => {
                let place = policy.map_or("in the recording".to_owned(), |policy| {
                    format!("on the twin of {}", named(policy))
                });
                write!(
                    f,
                    "{:.0} % of the requests time out {place}: whether clients try again then, and \
                     so load depends on how it goes, is not in a journal",
                    timeouts * 100.0
                )
            }
            Self::Open { figure, policy, least, most } => {
                let who = named(*policy);
                let (least, most) = (figure.said(*least), figure.said(*most));
                write!(
                    f,
                    "{figure} of {who}: between {least} and {most}, by what the recording does not \
                     tell"
                )
            }
        }
    }
}

/// A policy by its number: names are not known here.
fn named(policy: usize) -> String {
    match policy {
        0 => "the recorded policy".to_owned(),
        number => format!("policy {number}"),
    }
}
