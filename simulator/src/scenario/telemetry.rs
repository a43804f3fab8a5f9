//! How telemetry is made, and what becomes of it on the way.

use core::ops::Range;
use core::time::Duration;

/// How telemetry is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// Time between reports, and between the governor's steps.
    pub tick: Duration,
    /// How many ticks later a report arrives.
    pub ticks_late: usize,
    /// Part of the requests that the access log times.
    pub sampled: f64,
    /// Whether endpoints declare their workers.
    pub declares_workers: bool,
    /// Part of the reports that never arrive, each by itself.
    pub lost: f64,
    /// From when until when, in seconds, no report is made that arrives.
    pub silences: Vec<(f64, f64)>,
    /// Proxies that report what is not so.
    pub lies: Option<Lies>,
}

impl Telemetry {
    /// Whether all that is reported at a second is lost.
    pub fn is_silent(&self, second: f64) -> bool {
        self.silences.iter().any(|&(from, until)| from <= second && second < until)
    }
}

/// What some proxies report that is not so.
#[derive(Clone, Debug, PartialEq)]
pub struct Lies {
    /// The part of proxies that do, spread evenly over them.
    pub part: f64,
    /// From when until when, in seconds.
    pub during: (f64, f64),
    /// About which backends.
    pub about: Range<usize>,
    /// The part of successes that they report as errors.
    pub errors: f64,
    /// By how much they report latencies longer.
    pub latency: f64,
}

impl Lies {
    /// Whether a proxy is one of the liars: of any run of proxies, its part.
    pub fn is_told_by(&self, proxy: usize) -> bool {
        let before = libm::floor(proxy as f64 * self.part);
        libm::floor((proxy + 1) as f64 * self.part) > before
    }

    /// Whether it is told of a backend at a second.
    pub fn is_told_of(&self, backend: usize, second: f64) -> bool {
        let (from, until) = self.during;
        self.about.contains(&backend) && (from..until).contains(&second)
    }
}
