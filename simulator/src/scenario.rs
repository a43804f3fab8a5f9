//! What happens in a run: backends, load and faults over time.

use core::time::Duration;

use crate::random::Random;

/// Stream of randomness of alternating curves.
const ALTERNATING: u64 = 6;

/// A value over time: straight lines between knots of (second, value), level outside them.
/// Two knots at one second make a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve(Vec<(f64, f64)>);

impl Curve {
    /// Always the same.
    pub fn level(value: f64) -> Self {
        Self(vec![(0.0, value)])
    }

    /// Through knots in ascending order of time.
    pub fn through(knots: &[(f64, f64)]) -> Self {
        assert!(knots.windows(2).all(|pair| pair[0].0 <= pair[1].0), "knots ascend in time");
        Self(knots.to_vec())
    }

    /// One value, and another between two moments.
    pub fn between(from: f64, until: f64, outside: f64, inside: f64) -> Self {
        Self(vec![(from, outside), (from, inside), (until, inside), (until, outside)])
    }

    /// One value, and another for exponentially distributed times in turn: `often` is the mean
    /// length in seconds of each.
    pub fn alternating(seed: u64, number: u64, often: (f64, f64), inside: f64, until: f64) -> Self {
        let mut random = Random::of(seed, ALTERNATING, number);
        let (mut knots, mut at) = (Vec::new(), 0.0);
        // Whoever is seen first at any moment is in either state as often as it usually is.
        let mut on = random.unit() < often.1 / (often.0 + often.1);
        while at < until {
            let (value, mean) = if on { (inside, often.1) } else { (1.0, often.0) };
            knots.push((at, value));
            at += mean * random.exponential();
            knots.push((at, value));
            on = !on;
        }
        Self(knots)
    }

    /// The value at a second.
    pub fn at(&self, second: f64) -> f64 {
        let next = self.0.partition_point(|knot| knot.0 <= second);
        match (next.checked_sub(1).and_then(|last| self.0.get(last)), self.0.get(next)) {
            (Some(last), Some(next)) => {
                last.1 + (next.1 - last.1) * (second - last.0) / (next.0 - last.0)
            }
            (Some(only), None) | (None, Some(only)) => only.1,
            (None, None) => 0.0,
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_step_and_ramp() {
        let step = Curve::between(10.0, 20.0, 1.0, 5.0);
        let ramp = Curve::through(&[(10.0, 5.0), (20.0, 1.0)]);
        let at = |curve: &Curve| [9.9, 10.0, 15.0, 20.0].map(|second| curve.at(second));
        assert_eq!(at(&step).map(f64::to_bits), [1.0, 5.0, 5.0, 1.0].map(f64::to_bits));
        assert_eq!(at(&ramp).map(f64::to_bits), [5.0, 5.0, 3.0, 1.0].map(f64::to_bits));
    }
}
