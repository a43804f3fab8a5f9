//! What happens in a run: backends, load and faults over time.

use core::time::Duration;

mod curve;

pub use curve::Curve;

/// One backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Requests that it works on at once.
    pub workers: u32,
    /// By how much its service is slower than the scenario's.
    pub slowness: Curve,
    /// The part of its requests that fail at once, without using a worker.
    pub errors: Curve,
    /// When it is declared: from a second until another.
    pub present: Vec<(f64, f64)>,
    /// The zone that it stands in: an index into the scenario's.
    pub zone: usize,
}

impl Backend {
    /// Always there, and well.
    pub fn healthy(workers: u32) -> Self {
        Self {
            workers,
            slowness: Curve::level(1.0),
            errors: Curve::level(0.0),
            present: vec![(0.0, f64::INFINITY)],
            zone: 0,
        }
    }

    /// Whether it is declared at a second.
    pub fn is_present(&self, second: f64) -> bool {
        self.present.iter().any(|&(from, until)| from <= second && second < until)
    }
}

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
}

/// Everything that defines a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Makes runs repeat.
    pub seed: u64,
    /// The backends.
    pub backends: Vec<Backend>,
    /// How many proxies the clients' requests come through.
    pub proxies: usize,
    /// Requests per second over all proxies.
    pub load: Curve,
    /// Mean service time and the sigma of its logarithm.
    pub service: (Duration, f64),
    /// The clients' patience.
    pub timeout: Duration,
    /// Network delay one way.
    pub one_way: Duration,
    /// Zones and the part of all requests that clients of each send.
    pub zones: Vec<(String, f64)>,
    /// What a request to another zone takes longer, there and back.
    pub cross_zone: Duration,
    /// How telemetry is made.
    pub telemetry: Telemetry,
    /// How long the run is, in seconds.
    pub length: f64,
    /// From when until when arrivals are counted, in seconds.
    pub counted: (f64, f64),
}

impl Scenario {
    /// Whether what is sent at a microsecond is counted.
    pub(crate) fn is_counted(&self, sent: u64) -> bool {
        let (from, until) = self.counted;
        (from..until).contains(&(sent as f64 / 1e6))
    }

    /// Ten backends of eight workers and 40 ms, forty proxies, 1,200 requests a second: a fleet at
    /// 60 % of its capacity. Counted from second 20 to 50.
    pub fn fleet(seed: u64) -> Self {
        Self {
            seed,
            backends: vec![Backend::healthy(8); 10],
            proxies: 40,
            load: Curve::level(1_200.0),
            service: (Duration::from_millis(40), 0.8),
            timeout: Duration::from_secs(2),
            one_way: Duration::from_micros(250),
            zones: vec![(String::new(), 1.0)],
            cross_zone: Duration::ZERO,
            telemetry: Telemetry {
                tick: Duration::from_secs(1),
                ticks_late: 0,
                sampled: 1.0,
                declares_workers: true,
            },
            length: 52.0,
            counted: (20.0, 50.0),
        }
    }
}
