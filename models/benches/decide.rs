//! Prints how long a decision takes: 10,000 endpoints in 100 services, at rest and steering.
//!
//! `cargo bench -p weir-models --bench decide`. The budget of the whole is 10 ms on one core; the
//! model's own part is printed beside it.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use core::cell::Cell;
use core::num::NonZeroU32;
use core::time::Duration;
use std::time::Instant;

use weir_engine::assessment::Assessment;
use weir_engine::decide;
use weir_engine::decision::{Decision, Stance};
use weir_engine::goal::{Goal, Goals, Indicator, Mode, Objective};
use weir_engine::latency::Latency;
use weir_engine::model::{Model, View};
use weir_engine::names::{Locality, ServiceId};
use weir_engine::observation::{Observation, Row, ServiceTraffic, Source};
use weir_engine::plan::Plan;
use weir_engine::state::State;
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology, Topology};
use weir_engine::units::{Millis, Moment, Ratio};
use weir_models::reference::{Memory, Reference};
use weir_simulator::random::Random;

const SERVICES: usize = 100;
const ENDPOINTS: usize = 100;
const STEPS: u64 = 60;

/// Counted from here: by then slow endpoints have been steered around.
const WARM: u64 = 30;

/// The reference model with a stop watch.
struct Watched(Cell<Duration>);

impl Model for Watched {
    type Memory = Memory;

    fn version(&self) -> &'static str {
        Reference.version()
    }

    fn remap(&self, memory: &mut Memory, from: &[Option<usize>]) {
        Reference.remap(memory, from);
    }

    fn assess(&self, view: &View<'_>, memory: &mut Memory) -> Assessment {
        let start = Instant::now();
        let assessment = Reference.assess(view, memory);
        self.0.set(self.0.get() + start.elapsed());
        assessment
    }

    fn share(&self, view: &View<'_>, assessment: &Assessment, memory: &mut Memory) -> Plan {
        let start = Instant::now();
        let plan = Reference.share(view, assessment, memory);
        self.0.set(self.0.get() + start.elapsed());
        plan
    }
}

fn main() {
    for (name, slow) in [("all at rest", 0), ("all steering", ENDPOINTS / 5)] {
        let (mut whole, mut model) = (Vec::new(), Vec::new());
        let watched = Watched(Cell::default());
        let mut state = State::default();
        let mut last = Decision::default();
        let drawn = Drawn::new(slow);
        for step in 0..STEPS {
            let observation = observation(step, &drawn, &last);
            watched.0.set(Duration::ZERO);
            let start = Instant::now();
            last = decide(&mut state, &observation, &watched);
            if step >= WARM {
                whole.push(start.elapsed());
                model.push(watched.0.get());
            }
        }
        let resting = last.services.iter().filter(|s| s.stance == Stance::Resting).count();
        println!(
            "{name:12} decide {:6.2} ms, of it the model {:6.2} ms (median of {}; least {:.2} and {:.2}); {resting} of {SERVICES} services rest",
            median_ms(&mut whole),
            median_ms(&mut model),
            whole.len(),
            whole[0].as_secs_f64() * 1e3,
            model[0].as_secs_f64() * 1e3,
        );
    }
}

/// Latencies drawn beforehand, so that the benchmark does not spend its time on them.
struct Drawn {
    slow: usize,
    /// Of a well endpoint and of a slow one.
    latencies: [Vec<Latency>; 2],
}

impl Drawn {
    fn new(slow: usize) -> Self {
        let drawn = |ms: f64| {
            let one = |number: u64| {
                let mut random = Random::of(1, 1, number);
                let mut latency = Latency::default();
                for _ in 0..100 {
                    latency.record(Millis::clamped(ms * random.lognormal(0.8)));
                }
                latency
            };
            (0..256).map(one).collect()
        };
        Self { slow, latencies: [drawn(40.0), drawn(80.0)] }
    }
}

fn median_ms(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn id(service: usize) -> ServiceId {
    ServiceId::new("bench", &format!("s{service:03}"))
}

fn observation(step: u64, drawn: &Drawn, last: &Decision) -> Observation {
    let first = step == 0;
    Observation {
        at: Moment::from_millis(1_000_000 + 1_000 * step),
        topology: first.then(topology),
        goals: first
            .then(|| Goals { services: (0..SERVICES).map(goal).collect(), ..Goals::default() }),
        traffic: (0..SERVICES)
            .map(|service| ServiceTraffic {
                service: id(service),
                clients: 40,
                reporters: 40,
                rows: (0..ENDPOINTS)
                    .map(|index| row(step, (service, index), drawn, last))
                    .collect(),
                totals: None,
                zones: Vec::new(),
            })
            .collect(),
        ..Observation::default()
    }
}

fn topology() -> Topology {
    let endpoint = |index: usize| Endpoint {
        address: format!("10.0.0.{index:05}:80").into(),
        locality: Locality::default(),
        concurrency: NonZeroU32::new(8),
        ready: true,
    };
    let service = |service: usize| ServiceTopology {
        service: id(service),
        endpoints: (0..ENDPOINTS).map(endpoint).collect(),
        clusters: vec![ClientCluster {
            name: format!("c{service:03}").into(),
            form: ClusterForm::native(),
        }],
        counts: Source::LoadReport,
    };
    Topology { services: (0..SERVICES).map(service).collect() }
}

fn goal(service: usize) -> Goal {
    let mut goal = Goal::of_unclaimed(id(service));
    goal.mode = Mode::Enforce;
    goal.objectives.push(Objective {
        name: "fast".into(),
        target: Ratio::clamped(0.99),
        window: Duration::from_secs(3_600),
        indicator: Indicator::Latency { threshold: Millis::clamped(1_000.0) },
    });
    goal
}

/// About 100 requests where shares are equal; they follow the last decision's shares.
fn row(step: u64, (service, index): (usize, usize), drawn: &Drawn, last: &Decision) -> Row {
    let mut random = Random::of(step, 2, (service * ENDPOINTS + index) as u64);
    let share = last.services.get(service).map(|decided| {
        let predicted = decided.realisations.first().map(|realisation| &realisation.predicted);
        predicted.map_or(1.0, |predicted| predicted[index].value() * ENDPOINTS as f64)
    });
    let requests = (90 + random.below(20)) as f64 * share.unwrap_or(1.0);
    let latencies = &drawn.latencies[usize::from(index < drawn.slow)];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, positive")]
    let requests = requests.round() as u64;
    Row {
        endpoint: u32::try_from(index).unwrap_or(0),
        requests,
        judged_requests: requests as f64,
        exposure: Duration::from_secs(40),
        clients: 40,
        latency: latencies[random.below(latencies.len())].clone(),
        ..Row::default()
    }
}
