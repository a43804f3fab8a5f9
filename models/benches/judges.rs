//! Prints what judging series costs per endpoint and tick: all judges together beside a rival.
//!
//! `cargo bench -p weir-models --bench judges`. 10,000 endpoints in 100 services, each tick with
//! fresh latencies. The budget is 0.6 us per endpoint and tick. The rival is what is often built
//! instead: a rolling mean of the same minute of latency per endpoint, and three deviations.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use core::time::Duration;
use std::time::Instant;

use weir_engine::assessment::{Assessment, Expectation, Judgement};
use weir_engine::goal::Goal;
use weir_engine::history::History;
use weir_engine::latency::Latency;
use weir_engine::model::View;
use weir_engine::names::{Locality, ServiceId};
use weir_engine::observation::{Fitted, Row, ServiceTraffic, Source};
use weir_engine::topology::{Endpoint, ServiceTopology};
use weir_engine::units::{Millis, Moment, PerSecond, Ratio};
use weir_models::series::joint::{self, Choice};
use weir_models::watch::Watch;
use weir_simulator::random::Random;

const SERVICES: usize = 100;
const ENDPOINTS: usize = 100;
const TICKS: u64 = 180;
/// Counted from here: by then a minute is known, and patterns are fitted.
const WARM: u64 = 120;

struct Service {
    topology: ServiceTopology,
    goal: Goal,
    history: History,
    watch: Watch,
    samples: Vec<Vec<f64>>,
    rivals: Vec<Rolling>,
}

/// The rival: mean and deviation of the last sixty samples.
#[derive(Clone, Default)]
struct Rolling {
    last: Vec<f64>,
    next: usize,
    sum: f64,
    squares: f64,
}

impl Rolling {
    fn see(&mut self, value: f64) -> bool {
        let count = self.last.len() as f64;
        let mean = self.sum / count;
        let deviation = (self.squares / count - mean * mean).max(0.0).sqrt();
        let far = self.last.len() >= 8 && (value - mean).abs() > 3.0 * deviation;
        if self.last.len() < 60 {
            self.last.push(value);
        } else {
            let old = core::mem::replace(&mut self.last[self.next], value);
            self.next = (self.next + 1) % 60;
            self.sum -= old;
            self.squares -= old * old;
        }
        self.sum += value;
        self.squares += value * value;
        far
    }
}

fn main() {
    let mut services: Vec<Service> = (0..SERVICES).map(service).collect();
    let assessment = assessment();
    let (mut own, mut rival) = (Vec::new(), Vec::new());
    let (mut warned, mut alarms) = (0, 0);
    for tick in 0..TICKS {
        let at = Moment::from_millis(1_000_000 + 1_000 * tick);
        for (number, service) in services.iter_mut().enumerate() {
            let traffic = traffic(service, number, tick);
            service.history.absorb(at, ENDPOINTS, Some(&traffic));
        }
        if tick == WARM - 1 {
            services.iter_mut().for_each(fit);
        }
        let start = Instant::now();
        for service in &mut services {
            let view = View {
                at,
                elapsed: Duration::from_secs(1),
                topology: &service.topology,
                goal: &service.goal,
                history: &service.history,
                standings: &[],
                acting: true,
                unrecorded: false,
            };
            let warnings = service.watch.see(&view, &assessment);
            warned += if tick >= WARM { warnings.len() } else { 0 };
        }
        let took = start.elapsed();
        for service in &mut services {
            service.samples.extend(service.watch.sample().map(|sample| sample.to_vec()));
        }
        let start = Instant::now();
        for service in &mut services {
            let Some(window) = service.history.current(at) else { continue };
            for (row, rolling) in window.rows.iter().zip(&mut service.rivals) {
                let far = rolling.see(row.latency.sum_ms / row.latency.count);
                alarms += u64::from(far && tick >= WARM);
            }
        }
        if tick >= WARM {
            own.push(took);
            rival.push(start.elapsed());
        }
    }
    let judged = (SERVICES * ENDPOINTS) as u64 * (TICKS - WARM);
    for (name, times, count) in [
        ("all judges", &mut own, warned as u64),
        ("rolling mean, 3 deviations", &mut rival, alarms),
    ] {
        times.sort_unstable();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / (SERVICES * ENDPOINTS) as f64;
        println!(
            "{name:27} {:.3} us per endpoint and tick (median of {}; least {:.3}); \
             {count} warnings in {judged} quiet samples",
            each(times[times.len() / 2]),
            times.len(),
            each(times[0]),
        );
    }
}

fn service(number: usize) -> Service {
    let id = ServiceId::new("bench", &format!("s{number:03}"));
    let endpoint = |index: usize| Endpoint {
        address: format!("10.0.0.{index:05}:80").into(),
        locality: Locality::default(),
        concurrency: None,
        ready: true,
    };
    Service {
        goal: Goal::of_unclaimed(id.clone()),
        topology: ServiceTopology {
            service: id,
            endpoints: (0..ENDPOINTS).map(endpoint).collect(),
            clusters: Vec::new(),
            counts: Source::LoadReport,
        },
        history: History::default(),
        watch: Watch::default(),
        samples: Vec::new(),
        rivals: vec![Rolling::default(); ENDPOINTS],
    }
}

fn fit(service: &mut Service) {
    let pattern = joint::fit(&service.samples, Choice::Likeliest).expect("enough samples");
    let weights = postcard::to_allocvec(&pattern).expect("plain data");
    service.watch.adopt(&Fitted { service: service.topology.service.clone(), version: 1, weights });
}

/// Plenty of capacity that is known, so that load is forecast to the end of the horizon.
fn assessment() -> Assessment {
    let judgement = Judgement {
        expectation: Some(Expectation {
            service_time: Millis::clamped(20.0),
            deviation: 0.1,
            concurrency: 8.0,
            capacity: PerSecond::clamped(400.0),
            present: PerSecond::clamped(400.0),
            sustained: PerSecond::clamped(400.0),
            utilization: Ratio::clamped(0.3),
        }),
        ..Judgement::default()
    };
    Assessment { endpoints: vec![judgement; ENDPOINTS], ..Assessment::default() }
}

fn traffic(service: &Service, number: usize, tick: u64) -> ServiceTraffic {
    let row = |index: usize| {
        let mut random = Random::of(tick, 3, (number * ENDPOINTS + index) as u64);
        let requests = 90 + random.below(20) as u64;
        let mean = 40.0 * libm::exp(0.1 * random.normal());
        Row {
            endpoint: u32::try_from(index).unwrap_or(0),
            requests,
            errors: u64::from(random.unit() < 0.1),
            exposure: Duration::from_secs(1),
            clients: 1,
            latency: Latency {
                count: requests as f64,
                sum_ms: requests as f64 * mean,
                buckets: Vec::new(),
            },
            ..Row::default()
        }
    };
    ServiceTraffic {
        service: service.topology.service.clone(),
        rows: (0..ENDPOINTS).map(row).collect(),
        ..ServiceTraffic::default()
    }
}
