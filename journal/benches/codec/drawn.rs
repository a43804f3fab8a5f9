//! A mesh at rest as telemetry tells of it.

use std::time::Duration;

use weir_engine::goal::{Goal, Goals, Indicator, Mode, Objective};
use weir_engine::latency::Latency;
use weir_engine::names::{Locality, ServiceId};
use weir_engine::observation::{LogVolume, Observation, Row, ServiceTraffic, Source};
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology, Topology};
use weir_engine::units::{Millis, Moment, Ratio};

const SERVICES: usize = 10;
const PROXIES: u32 = 20;
/// Requests a second and endpoint.
const RATE: f64 = 60.0;
const MEAN_MS: f64 = 40.0;

pub(crate) struct Mesh {
    endpoints: usize,
    /// The part of the requests that the access log times.
    sampled: f64,
    chance: Chance,
}

impl Mesh {
    pub(crate) fn new(endpoints: usize, sampled: f64) -> Self {
        Self { endpoints, sampled, chance: Chance(7) }
    }

    /// A second's telemetry, as `fold` hands it over.
    pub(crate) fn observation(&mut self, second: u64) -> Observation {
        let first = second == 0;
        // A tick is not to the millisecond, and intervals of load reports are not to the nanosecond.
        let late = self.chance.count(2.0);
        Observation {
            at: Moment::from_millis(1_700_000_000_000 + 1_000 * second + late),
            topology: first.then(|| self.topology()),
            goals: first.then(goals),
            traffic: (0..SERVICES).map(|number| self.traffic(number)).collect(),
            logs: (0..PROXIES).map(|node| self.log(node)).collect(),
            ..Observation::default()
        }
    }

    fn log(&mut self, node: u32) -> LogVolume {
        let entries = self.endpoints as f64 * RATE * self.sampled / f64::from(PROXIES);
        LogVolume {
            node: format!("proxy-{node:03}").into(),
            entries: self.chance.count(entries),
            requests: None,
            window: Duration::from_millis(998 + self.chance.count(2.0)),
        }
    }

    fn topology(&self) -> Topology {
        let services = (0..SERVICES).map(|number| {
            let size = self.endpoints / SERVICES;
            let mut endpoints: Vec<Endpoint> = (0..size)
                .map(|endpoint| Endpoint {
                    address: format!("10.{number}.{}.{}:8080", endpoint / 250, endpoint % 250)
                        .into(),
                    locality: Locality::default(),
                    concurrency: None,
                    ready: true,
                })
                .collect();
            endpoints.sort_by(|a, b| a.address.cmp(&b.address));
            let name = service(number).to_string().into();
            let form = ClusterForm::native();
            ServiceTopology {
                service: service(number),
                endpoints,
                clusters: vec![ClientCluster { name, form }],
                counts: Source::LoadReport,
            }
        });
        Topology { services: services.collect() }
    }

    fn traffic(&mut self, number: usize) -> ServiceTraffic {
        let jitter = Duration::from_nanos(self.chance.count(1e6) * u64::from(PROXIES));
        let size = u32::try_from(self.endpoints / SERVICES).unwrap();
        let rows = (0..size).map(|endpoint| {
            let requests = self.chance.count(RATE);
            let timed =
                if self.sampled < 1.0 { self.chance.count(RATE * self.sampled) } else { requests };
            Row {
                endpoint,
                requests,
                judged_requests: requests as f64,
                exposure: Duration::from_secs(PROXIES.into()) + jitter,
                clients: PROXIES,
                in_flight: Some(self.chance.count(RATE * MEAN_MS / 1e3) as f64),
                latency: self.chance.latency(timed),
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
}

fn service(number: usize) -> ServiceId {
    ServiceId::new("bench", &format!("service-{number:04}"))
}

fn goals() -> Goals {
    let objective = |name: &str, target, indicator| Objective {
        name: name.to_owned(),
        target: Ratio::clamped(target),
        window: Duration::from_secs(24 * 3_600),
        indicator,
    };
    let goal = |number| Goal {
        mode: Mode::Enforce,
        objectives: vec![
            objective("availability", 0.999, Indicator::Availability),
            objective("latency", 0.99, Indicator::Latency { threshold: Millis::clamped(500.0) }),
        ],
        ..Goal::of_unclaimed(service(number))
    };
    Goals { services: (0..SERVICES).map(goal).collect(), ..Goals::default() }
}

/// A generator good enough to draw counts with.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }

    /// A Poisson count, near enough.
    fn count(&mut self, mean: f64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small count"
        )]
        let count = (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64;
        count
    }

    /// Lognormal latencies to the nanosecond, as Envoy tells them.
    fn latency(&mut self, requests: u64) -> Latency {
        let (sigma, mut latency) = (0.8_f64, Latency::default());
        for _ in 0..requests {
            let factor = (sigma * self.normal() - sigma * sigma / 2.0).exp();
            let took = Duration::from_secs_f64(MEAN_MS * factor / 1e3);
            latency.record(Millis::clamped(took.as_secs_f64() * 1e3));
        }
        latency
    }
}
