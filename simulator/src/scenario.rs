//! What happens in a run: backends, load and faults over time.

use core::time::Duration;

mod curve;
mod fleet;
mod telemetry;
mod traffic;

pub use curve::Curve;
pub use fleet::{Autoscaler, Backend, Chain, Cold};
pub use telemetry::{Lies, Telemetry};
pub use traffic::{Class, Pool, Retries};

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
    /// What proxies try again, if anything.
    pub retries: Option<Retries>,
    /// The proxies' connections, if they are limited.
    pub pool: Option<Pool>,
    /// Kinds of requests; all are alike where there are none.
    pub classes: Vec<Class>,
    /// What scales the first tier.
    pub autoscalers: Vec<Autoscaler>,
    /// A second tier behind the first.
    pub chain: Option<Chain>,
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
            retries: None,
            pool: None,
            classes: Vec::new(),
            autoscalers: Vec::new(),
            chain: None,
            telemetry: Telemetry {
                tick: Duration::from_secs(1),
                ticks_late: 0,
                sampled: 1.0,
                declares_workers: true,
                lost: 0.0,
                silences: Vec::new(),
                lies: None,
            },
            length: 52.0,
            counted: (20.0, 50.0),
        }
    }
}
