//! A mesh as telemetry tells of it: mostly at rest, with faults now and then.

use std::time::Duration;

use weir_engine::decision::Decision;
use weir_engine::goal::{Goal, Goals, Indicator, Mode, Objective};
use weir_engine::latency::Latency;
use weir_engine::names::{Locality, ServiceId};
use weir_engine::observation::{LogVolume, Observation, Row, ServiceTraffic, Source};
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology, Topology};
use weir_engine::units::{Millis, Moment, Ratio};

const PROXIES: u32 = 20;
/// Requests a second and endpoint at an equal share.
const RATE: f64 = 60.0;
/// Of these, timed.
const TIMED: f64 = 20.0;
const MEAN_MS: f64 = 40.0;
/// How much longer the slow one takes.
const SLOW: f64 = 3.0;
/// The part of its requests that the failing one fails.
const FAILING: f64 = 0.3;
/// Latencies of a second, drawn once and taken in turn: a prime, so that no pattern repeats soon.
const DRAWN: usize = 4_999;

/// The services and what they are like.
pub(crate) struct Mesh {
    services: usize,
    size: u32,
    chance: Chance,
    usual: Vec<Latency>,
    slow: Vec<Latency>,
    last: Option<Decision>,
}

impl Mesh {
    pub(crate) fn new(services: usize, endpoints: usize) -> Self {
        let mut chance = Chance(7);
        let mut drawn = |mean| (0..DRAWN).map(|_| chance.latency(mean)).collect();
        let (usual, slow) = (drawn(MEAN_MS), drawn(SLOW * MEAN_MS));
        let size = u32::try_from(endpoints / services).unwrap();
        Self { services, size, chance, usual, slow, last: None }
    }

    /// Requests follow this decision from now on.
    pub(crate) fn follow(&mut self, decision: Decision) {
        self.last = Some(decision);
    }

    /// A second's telemetry, as `fold` hands it over.
    pub(crate) fn observation(&mut self, second: u64) -> Observation {
        let first = second == 0;
        // A tick is not to the millisecond, and intervals of load reports are not to the nanosecond.
        let late = self.chance.count(2.0);
        Observation {
            at: Moment::from_millis(1_700_000_000_000 + 1_000 * second + late),
            topology: first.then(|| self.topology()),
            goals: first.then(|| self.goals()),
            traffic: (0..self.services).map(|number| self.traffic(number, second)).collect(),
            logs: (0..PROXIES).map(|node| self.log(node)).collect(),
            ..Observation::default()
        }
    }

    fn log(&mut self, node: u32) -> LogVolume {
        let all = f64::from(self.size) * self.services as f64 * TIMED;
        LogVolume {
            node: format!("proxy-{node:03}").into(),
            entries: self.chance.count(all / f64::from(PROXIES)),
            requests: None,
            window: Duration::from_millis(998 + self.chance.count(2.0)),
        }
    }

    fn traffic(&mut self, number: usize, second: u64) -> ServiceTraffic {
        let jitter = Duration::from_nanos(self.chance.count(1e6) * u64::from(PROXIES));
        let exposure = Duration::from_secs(PROXIES.into()) + jitter;
        let (failing, slow) = (fault(second, 600..900), fault(second, 1_800..2_400));
        let here = |hour: u64| hour % self.services as u64 == number as u64;
        let failing = failing.is_some_and(here).then_some(0);
        let slow = slow.is_some_and(|hour| here(hour + 1)).then_some(1);
        let last = self.last.as_ref().and_then(|last| last.services.get(number));
        let predicted = last.and_then(|one| one.realisations.first()).map(|one| &one.predicted);
        let rows = (0..self.size).map(|endpoint| {
            let share = predicted.and_then(|shares| shares.get(endpoint as usize));
            let share = share.map_or(1.0, |share| share.value() * f64::from(self.size));
            let requests = self.chance.count(share * RATE);
            let bad = if failing == Some(endpoint) { FAILING } else { 0.0 };
            let errors = self.chance.count(bad * requests as f64).min(requests);
            let slowed = slow == Some(endpoint);
            let drawn = if slowed { &self.slow } else { &self.usual };
            let turn = self.chance.turn(drawn.len());
            let mean = if slowed { SLOW * MEAN_MS } else { MEAN_MS };
            Row {
                endpoint,
                requests,
                errors,
                judged_requests: requests as f64,
                judged_errors: errors as f64,
                exposure,
                clients: PROXIES,
                in_flight: Some(self.chance.count(share * RATE * mean / 1e3) as f64),
                latency: if requests == 0 { Latency::default() } else { drawn[turn].clone() },
                ..Row::default()
            }
        });
        ServiceTraffic {
            service: service(number),
            clients: PROXIES,
            reporters: PROXIES,
            rows: rows.collect(),
            ..ServiceTraffic::default()
        }
    }

    fn topology(&self) -> Topology {
        let services = (0..self.services).map(|number| {
            let mut endpoints: Vec<Endpoint> = (0..self.size)
                .map(|endpoint| Endpoint {
                    address: format!("10.{number}.{}.{}:8080", endpoint / 250, endpoint % 250)
                        .into(),
                    locality: Locality::default(),
                    concurrency: None,
                    ready: true,
                })
                .collect();
            endpoints.sort_by(|a, b| a.address.cmp(&b.address));
            let (name, form) = (service(number).to_string().into(), ClusterForm::native());
            let clusters = vec![ClientCluster { name, form }];
            ServiceTopology {
                service: service(number),
                endpoints,
                clusters,
                counts: Source::LoadReport,
            }
        });
        Topology { services: services.collect() }
    }

    fn goals(&self) -> Goals {
        let objective = |name: &str, target, indicator| Objective {
            name: name.to_owned(),
            target: Ratio::clamped(target),
            window: Duration::from_secs(24 * 3_600),
            indicator,
        };
        let threshold = Millis::clamped(500.0);
        let goal = |number| Goal {
            mode: Mode::Enforce,
            objectives: vec![
                objective("availability", 0.999, Indicator::Availability),
                objective("latency", 0.99, Indicator::Latency { threshold }),
            ],
            ..Goal::of_unclaimed(service(number))
        };
        Goals { services: (0..self.services).map(goal).collect(), ..Goals::default() }
    }
}

/// The hour, in these of its seconds.
fn fault(second: u64, within: std::ops::Range<u64>) -> Option<u64> {
    within.contains(&(second % 3_600)).then_some(second / 3_600)
}

fn service(number: usize) -> ServiceId {
    ServiceId::new("bench", &format!("service-{number:04}"))
}

/// A generator good enough to draw counts with.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of so many.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below count")]
    fn turn(&mut self, count: usize) -> usize {
        (self.next() * count as f64) as usize
    }

    fn normal(&mut self) -> f64 {
        (0..4).map(|_| self.next() - 0.5).sum::<f64>() * 3.0_f64.sqrt()
    }

    /// A Poisson count, near enough.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    fn count(&mut self, mean: f64) -> u64 {
        (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64
    }

    /// Lognormal latencies to the nanosecond, as Envoy tells them.
    fn latency(&mut self, mean: f64) -> Latency {
        let (sigma, mut latency) = (0.8_f64, Latency::default());
        for _ in 0..self.count(TIMED) {
            let factor = (sigma * self.normal() - sigma * sigma / 2.0).exp();
            let took = Duration::from_secs_f64(mean * factor / 1e3);
            latency.record(Millis::clamped(took.as_secs_f64() * 1e3));
        }
        latency
    }
}
