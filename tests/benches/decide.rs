//! How long one step takes: `decide` with the reference model, and `fold` before it.
//!
//! `cargo bench -p weir-tests --bench decide [-- --steps 60]`
//!
//! 10,000 endpoints in 100 services (and ten times as many), all governed by the demo's policy, on
//! one core. *resting*: all endpoints are alike. *steering*: in every service three of ten are
//! lastingly slower and traffic follows the decision. The rivals get the same rows in the same run:
//! the least that could be called weighting (a mean and a division per endpoint), a copy of the
//! observation, and the observation as JSON. All times are the thread's own processor time, which
//! other work on the machine lengthens only by what it takes from the caches; beside it stands the
//! wall time.
//!
//! *fold*: 20 proxies, each with load reports and access log of 1,000 endpoints in ten clusters,
//! beside a `HashMap` of sums that knows no zones, votes or latency, and beside JSON.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::collections::HashMap;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use weir::store::last_good;
use weir_engine::decision::{Decision, Stance};
use weir_engine::goal::{Goal, Goals, Indicator, Mode, Objective};
use weir_engine::latency::Latency;
use weir_engine::names::{Locality, ServiceId};
use weir_engine::observation::{Observation, Report, Row, Sample, ServiceTraffic, Source, fold};
use weir_engine::state::State;
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology, Topology};
use weir_engine::units::{Millis, Moment, Ratio};
use weir_models::reference::{Memory, Reference};

#[path = "shared/figures.rs"]
mod figures;
use figures::{Times, option, timed};

const SERVICE_SIZE: u32 = 100;
/// Requests a second and endpoint at an equal share.
const RATE: f64 = 60.0;
/// Steps before the first that counts: filters are warm, lasting differences are adopted, and the
/// mesh's limit (a tenth of its traffic moves in a minute) has let every service begin to move.
const WARM_UP: u64 = 180;
const WORKERS: NonZeroU32 = NonZeroU32::new(8).unwrap();
const FAST_MS: f64 = 40.0;
/// What three of ten take where a service has to be steered.
const SLOW_MS: f64 = 100.0;

fn main() {
    let steps = option("--steps", 60);
    println!("one step of decide, reference model, one core; {steps} steps each");
    println!(
        "{:>30}{:>12}{:>12}{:>12}{:>14}",
        "", "p50 (CPU)", "p99 (CPU)", "p50 (wall)", "x weighting"
    );
    for services in [100, 1_000] {
        let steps = if services > 100 { steps / 4 } else { steps };
        for slow in [false, true] {
            Mesh::new(services, slow).run(steps);
        }
    }
    println!();
    folding(steps);
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

    /// What an access log tells of an endpoint in a second: a sample of lognormal latencies.
    fn latency(&mut self, mean: f64, requests: u64) -> Latency {
        let (sigma, mut latency) = (0.8_f64, Latency::default());
        for _ in 0..requests {
            let factor = (sigma * self.normal() - sigma * sigma / 2.0).exp();
            latency.record(Millis::clamped(mean * factor));
        }
        latency
    }
}

/// Latencies of a second, drawn once and taken in turn.
struct Drawn(Vec<Latency>);

impl Drawn {
    fn of(mean: f64, chance: &mut Chance) -> Self {
        Self((0..997).map(|_| chance.latency(mean, 20)).collect())
    }
}

struct Mesh {
    topology: Topology,
    slow: bool,
    chance: Chance,
    fast: Drawn,
    slower: Drawn,
    state: State<Memory>,
    last: Option<Decision>,
}

fn service(number: usize) -> ServiceId {
    ServiceId::new("bench", &format!("service-{number:04}"))
}

fn topology(services: usize, concurrency: Option<NonZeroU32>) -> Topology {
    let services = (0..services).map(|number| {
        let mut endpoints: Vec<Endpoint> = (0..SERVICE_SIZE)
            .map(|endpoint| Endpoint {
                address: format!("10.{}.{}.{endpoint}:8080", number / 256, number % 256).into(),
                locality: Locality::default(),
                concurrency,
                ready: true,
            })
            .collect();
        endpoints.sort_by(|a, b| a.address.cmp(&b.address));
        let form = ClusterForm::native();
        ServiceTopology {
            service: service(number),
            endpoints,
            clusters: vec![ClientCluster { name: service(number).to_string().into(), form }],
            counts: Source::LoadReport,
        }
    });
    Topology { services: services.collect() }
}

fn goals(services: usize) -> Goals {
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
    Goals { services: (0..services).map(goal).collect(), ..Goals::default() }
}

impl Mesh {
    fn new(services: usize, slow: bool) -> Self {
        let mut chance = Chance(7);
        Self {
            // Latency here is service time alone, so where it differs the workers are declared:
            // a model that had to learn them would take slowness for waiting.
            topology: topology(services, slow.then_some(WORKERS)),
            slow,
            fast: Drawn::of(FAST_MS, &mut chance),
            slower: Drawn::of(SLOW_MS, &mut chance),
            chance,
            state: State::default(),
            last: None,
        }
    }

    /// A second's telemetry, as `fold` hands it over.
    fn observation(&mut self, step: u64) -> Observation {
        let services = 0..self.topology.services.len();
        let traffic = services.map(|number| self.traffic(number)).collect();
        let first = step == 0;
        Observation {
            at: Moment::from_millis(1_700_000_000_000 + 1_000 * step),
            topology: first.then(|| self.topology.clone()),
            goals: first.then(|| goals(self.topology.services.len())),
            traffic,
            ..Observation::default()
        }
    }

    fn traffic(&mut self, number: usize) -> ServiceTraffic {
        let realised = self.last.as_ref().and_then(|last| last.services.get(number));
        let predicted = realised.and_then(|service| service.realisations.first());
        let rows = (0..SERVICE_SIZE).map(|endpoint| {
            let share = predicted.and_then(|made| made.predicted.get(endpoint as usize));
            let share = share.map_or(1.0 / f64::from(SERVICE_SIZE), |share| share.value());
            let requests = self.chance.count(share * f64::from(SERVICE_SIZE) * RATE);
            let drawn = if self.slow && endpoint % 10 < 3 { &self.slower } else { &self.fast };
            let turn = (self.chance.0 >> 33) as usize % drawn.0.len();
            Row {
                endpoint,
                requests,
                judged_requests: requests as f64,
                exposure: Duration::from_secs(20),
                clients: 20,
                latency: drawn.0[turn].clone(),
                ..Row::default()
            }
        });
        ServiceTraffic {
            service: service(number),
            clients: 20,
            reporters: 20,
            rows: rows.collect(),
            ..ServiceTraffic::default()
        }
    }

    fn run(mut self, steps: usize) {
        let model = Reference;
        let (mut ours, mut wall) = (Times::default(), Times::default());
        let mut rivals = Rivals::default();
        for step in 0..WARM_UP + steps as u64 {
            let observation = self.observation(step);
            let started = Instant::now();
            let decided = || weir_engine::decide(&mut self.state, &observation, &model);
            let (decision, used) = timed(decided);
            if step >= WARM_UP {
                wall.add(started.elapsed());
                ours.add(used);
                rivals.run(&observation);
            }
            self.last = Some(decision);
        }
        self.print((&ours, &wall), &rivals);
        self.follow();
    }

    /// What a follower gets of all this, and what it costs: to copy it in the loop, and to encode and
    /// read it beside the loop.
    fn follow(&self) {
        let (state, copied) = timed(|| last_good::lasting(&self.state));
        let (bytes, encoded) = timed(|| last_good::encode(&state));
        let (read, decoded) = timed(|| last_good::decode::<State<Memory>>(&bytes));
        assert_eq!(read.unwrap(), state);
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        println!(
            "        a follower gets {:.1} MB: copied in {:.1} ms, encoded in {:.1} ms, read in {:.1} ms",
            bytes.len() as f64 / 1e6,
            ms(copied),
            ms(encoded),
            ms(decoded),
        );
    }

    fn print(&self, (ours, wall): (&Times, &Times), rivals: &Rivals) {
        let decided = &self.last.as_ref().unwrap().services;
        let steering = decided.iter().filter(|one| one.stance == Stance::Steering).count();
        let resting = decided.iter().filter(|one| one.stance == Stance::Resting).count();
        let endpoints: usize = decided.iter().map(|service| service.endpoints.len()).sum();
        println!(
            "{endpoints:>7} endpoints, {:<11}{:>9.2} ms{:>9.2} ms{:>9.2} ms{:>13.1}x",
            if self.slow { "steering" } else { "resting" },
            ours.ms(0.5),
            ours.ms(0.99),
            wall.ms(0.5),
            ours.ms(0.5) / rivals.weighting.ms(0.5),
        );
        println!(
            "        {steering} of {} services steer, {resting} rest; of the same rows: weighting \
             {:.2} ms, a copy {:.2} ms, JSON {:.2} ms (p50)",
            decided.len(),
            rivals.weighting.ms(0.5),
            rivals.copy.ms(0.5),
            rivals.json.ms(0.5),
        );
    }
}

/// What else could be done with a second's rows.
#[derive(Default)]
struct Rivals {
    weighting: Times,
    copy: Times,
    json: Times,
    means: Vec<Vec<f64>>,
}

impl Rivals {
    fn run(&mut self, observation: &Observation) {
        let (weights, used) = timed(|| self.weigh(observation));
        black_box(weights);
        self.weighting.add(used);
        self.copy.add(timed(|| black_box(copied(observation))).1);
        self.json.add(timed(|| black_box(serde_json::to_vec(observation).unwrap())).1);
    }

    /// A smoothed mean latency per endpoint, and weights inverse to it: no uncertainty, no errors,
    /// no limits, no reasons.
    fn weigh(&mut self, observation: &Observation) -> Vec<Vec<f64>> {
        self.means.resize_with(observation.traffic.len(), Vec::new);
        let services = observation.traffic.iter().zip(&mut self.means);
        services
            .map(|(traffic, means)| {
                means.resize(traffic.rows.len(), FAST_MS);
                for (mean, row) in means.iter_mut().zip(&*traffic.rows) {
                    *mean += 0.2 * (row.latency.sum_ms / row.latency.count.max(1.0) - *mean);
                }
                let sum: f64 = means.iter().map(|mean| 1.0 / mean).sum();
                means.iter().map(|mean| 1.0 / mean / sum).collect()
            })
            .collect()
    }
}

/// All rows anew: a plain clone of the observation shares them.
fn copied(observation: &Observation) -> Vec<Vec<Row>> {
    observation.traffic.iter().map(|traffic| traffic.rows.to_vec()).collect()
}

/// Reports of one second: 20 proxies, load reports and access log.
fn reports(topology: &Topology, proxies: usize) -> Vec<Report> {
    let mut chance = Chance(11);
    let mut reports = Vec::new();
    for proxy in 0..proxies {
        for service in &topology.services {
            for source in [Source::LoadReport, Source::AccessLog] {
                let samples = service.endpoints.iter().map(|endpoint| {
                    let requests = chance.count(RATE / proxies as f64) + 1;
                    let sample = Sample { endpoint: endpoint.address.clone(), ..Sample::default() };
                    if source == Source::LoadReport {
                        Sample { requests: Some(requests), errors: Some(0), ..sample }
                    } else {
                        Sample { latency: Some(chance.latency(FAST_MS, requests)), ..sample }
                    }
                });
                reports.push(Report {
                    reporter: format!("proxy-{proxy:02}").into(),
                    cluster: service.clusters[0].name.clone(),
                    zone: "".into(),
                    source,
                    at: Moment::from_millis(1_700_000_000_000),
                    window: Duration::from_secs(1),
                    complete: source == Source::LoadReport,
                    samples: samples.collect(),
                    totals: None,
                });
            }
        }
    }
    reports
}

fn folding(steps: usize) {
    let topology = topology(10, None);
    let reports = reports(&topology, 20);
    let (mut ours, mut sums, mut json) = (Times::default(), Times::default(), Times::default());
    for _ in 0..steps {
        ours.add(timed(|| black_box(fold(black_box(&reports), &topology))).1);
        sums.add(timed(|| black_box(summed(black_box(&reports)).len())).1);
        json.add(timed(|| black_box(serde_json::to_vec(&reports).unwrap())).1);
    }
    let samples: usize = reports.iter().map(|report| report.samples.len()).sum();
    println!(
        "fold of 20 proxies x 1,000 endpoints ({samples} samples of two sources), one core, CPU"
    );
    println!(
        "  ours {:.2} ms p50, {:.2} ms p99; sums in a HashMap {:.2} ms ({:.1}x); JSON {:.2} ms",
        ours.ms(0.5),
        ours.ms(0.99),
        sums.ms(0.5),
        ours.ms(0.5) / sums.ms(0.5),
        json.ms(0.5),
    );
}

/// Plain sums by cluster and endpoint.
fn summed(reports: &[Report]) -> HashMap<(&str, &str), (u64, u64, f64, f64)> {
    let mut sums: HashMap<(&str, &str), (u64, u64, f64, f64)> = HashMap::new();
    for report in reports {
        for sample in &report.samples {
            let sum = sums.entry((report.cluster.as_str(), sample.endpoint.as_str())).or_default();
            sum.0 += sample.requests.unwrap_or(0);
            sum.1 += sample.errors.unwrap_or(0);
            if let Some(latency) = &sample.latency {
                sum.2 += latency.count;
                sum.3 += latency.sum_ms;
            }
        }
    }
    sums
}
