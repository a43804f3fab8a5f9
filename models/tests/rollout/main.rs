//! Whole rollouts in a closed loop: the engine's steps, the reference model's verdicts, and
//! versions whose requests fail or take long at a ratio, drawn from a seed.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking; its requests are few and not negative"
)]

use std::time::Duration;

use weir_engine::decide;
use weir_engine::goal::{Goal, Goals, Indicator, Mode, Objective, OnFailure, Rollout};
use weir_engine::latency::Latency;
use weir_engine::names::{Locality, ServiceId};
use weir_engine::observation::{Observation, Row, ServiceTraffic, Source};
use weir_engine::rollout::{Phase, Reason, RolloutDecision};
use weir_engine::state::State;
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology, Topology};
use weir_engine::units::{Millis, Moment, Ratio};
use weir_models::reference::{Memory, Reference};
use weir_simulator::random::Random;

/// Requests per second of both versions together.
const LOAD: f64 = 400.0;

/// How a version answers.
#[derive(Clone, Copy)]
struct Version {
    errors: f64,
    latency_ms: f64,
}

const GOOD: Version = Version { errors: 0.002, latency_ms: 20.0 };

fn id(name: &str) -> ServiceId {
    ServiceId::new("shop", name)
}

fn goals() -> Goals {
    let rollout = Rollout {
        service: id("search"),
        policy: "shop/search".into(),
        mode: Mode::Enforce,
        suspended: false,
        yields: None,
        stable: id("v6"),
        canary: id("v7"),
        steps: [0.05, 0.2, 0.5].map(Ratio::clamped).to_vec(),
        failures_max: 2,
        deadline: Duration::from_secs(3_600),
        on_failure: OnFailure::Rollback,
        objectives: Vec::new(),
        interval: None,
        min_samples: 100,
        stale_after: None,
    };
    let availability = Objective {
        name: "availability".to_owned(),
        target: Ratio::clamped(0.99),
        window: Duration::from_secs(3_600),
        indicator: Indicator::Availability,
    };
    let search = Goal { objectives: vec![availability], ..Goal::of_unclaimed(id("search")) };
    Goals { services: vec![search], rollouts: vec![rollout] }
}

fn topology() -> Topology {
    let service = |name: &str, number: u8| ServiceTopology {
        service: id(name),
        endpoints: vec![Endpoint {
            address: format!("10.0.0.{number}:80").into(),
            locality: Locality::default(),
            concurrency: None,
            ready: true,
        }],
        clusters: vec![ClientCluster { name: name.into(), form: ClusterForm::native() }],
        counts: Source::LoadReport,
    };
    let search = ServiceTopology {
        service: id("search"),
        endpoints: Vec::new(),
        clusters: Vec::new(),
        counts: Source::LoadReport,
    };
    Topology { services: vec![search, service("v6", 6), service("v7", 7)] }
}

struct World {
    state: State<Memory>,
    seed: u64,
    second: u64,
    /// Failed requests to the new version.
    failed: u64,
    last: Option<RolloutDecision>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self { state: State::default(), seed, second: 0, failed: 0, last: None }
    }

    fn second(&mut self, canary: Version) {
        self.second += 1;
        let first = self.second == 1;
        let weight = self.last.as_ref().map_or(0.0, |last| last.weight.value());
        let (failed, new) = self.traffic("v7", canary, LOAD * weight);
        self.failed += failed;
        let old = self.traffic("v6", GOOD, LOAD * (1.0 - weight)).1;
        let observation = Observation {
            at: Moment::from_millis(1_000 * self.second),
            topology: first.then(topology),
            goals: first.then(goals),
            traffic: vec![old, new],
            ..Observation::default()
        };
        let decision = decide(&mut self.state, &observation, &Reference);
        self.last = decision.rollouts.first().map(|decided| (**decided).clone());
    }

    fn traffic(&self, name: &str, version: Version, requests: f64) -> (u64, ServiceTraffic) {
        let stream = if name == "v6" { 6 } else { 7 };
        let mut random = Random::of(self.seed, stream, self.second);
        let requests = requests as u64;
        let errors = (0..requests).filter(|_| random.unit() < version.errors).count() as u64;
        let mut latency = Latency::default();
        let middle = version.latency_ms * (0.03 * random.normal()).exp();
        for _ in 0..requests.min(50) {
            latency.record(Millis::clamped(middle * random.lognormal(0.8)));
        }
        let row = Row {
            requests,
            errors,
            judged_requests: requests as f64,
            judged_errors: errors as f64,
            exposure: Duration::from_secs(1),
            clients: 1,
            latency,
            ..Row::default()
        };
        let rows = vec![row].into();
        (errors, ServiceTraffic { service: id(name), clients: 1, rows, ..Default::default() })
    }

    /// Goes on until the rollout stands so, and tells the second.
    fn until(&mut self, canary: Version, most: u64, stands: impl Fn(Phase) -> bool) -> u64 {
        while !self.last.as_ref().is_some_and(|last| stands(last.phase)) {
            assert!(self.second < most, "{}", self.last.as_ref().unwrap());
            self.second(canary);
        }
        self.second
    }
}

#[test]
fn a_good_version_takes_over() {
    for seed in 0..5 {
        let mut world = World::new(seed);
        let took = world.until(GOOD, 3_000, |phase| phase == Phase::Watching);
        world.until(GOOD, took + 700, |phase| phase == Phase::Done);
        assert_eq!(world.last.unwrap().weight, Ratio::ONE);
    }
}

#[test]
fn a_failing_version_goes_back_early() {
    for seed in 0..5 {
        let mut world = World::new(seed);
        let bad = Version { errors: 0.1, ..GOOD };
        let after = world.until(bad, 300, |phase| phase == Phase::GivenUp);
        for _ in 0..5 {
            world.second(bad);
        }
        let last = world.last.as_ref().unwrap();
        assert_eq!((last.weight, last.reason), (Ratio::ZERO, Reason::Worse));
        // Of all requests until then, what it cost.
        let cost = world.failed as f64 / (LOAD * after as f64);
        assert!(after < 60 && cost < 0.01, "{after} s, {cost}");
        assert!(last.to_string().contains("errors"), "{last}");
    }
}

#[test]
fn a_slow_version_goes_back() {
    for seed in 0..5 {
        let mut world = World::new(seed);
        let slow = Version { latency_ms: 60.0, ..GOOD };
        world.until(slow, 600, |phase| phase == Phase::GivenUp);
        assert!(world.last.as_ref().unwrap().to_string().contains("latency"));
    }
}

#[test]
fn a_version_that_fails_once_it_took_over_goes_back() {
    let mut world = World::new(1);
    let took = world.until(GOOD, 3_000, |phase| phase == Phase::Watching);
    let bad = Version { errors: 0.1, ..GOOD };
    let gone = world.until(bad, took + 300, |phase| phase == Phase::GivenUp);
    for _ in 0..5 {
        world.second(bad);
    }
    assert_eq!(world.last.unwrap().weight, Ratio::ZERO);
    assert!(gone - took < 200, "{}", gone - took);
}

/// The service that clients call has no endpoint of its own; its promise holds for what they get.
#[test]
fn both_versions_count_for_what_clients_are_promised() {
    let bad = Version { errors: 0.5, ..GOOD };
    let mut world = World::new(1);
    for _ in 0..20 {
        world.second(bad);
    }
    let search = world.state.services.iter().find(|one| one.topology.service == id("search"));
    let search = search.unwrap().last.clone().unwrap();
    let good = search.objectives[0].good.unwrap().value();
    // A twentieth of the requests went to a version that fails half of them, from about the third
    // second on; the rest to one that fails hardly any.
    assert!((0.96..0.99).contains(&good), "{good}");
}

#[test]
fn equal_versions_do_not_go_back() {
    for seed in 100..140 {
        let mut world = World::new(seed);
        for _ in 0..900 {
            world.second(GOOD);
        }
        let last = world.last.unwrap();
        assert!(!matches!(last.phase, Phase::GivenUp | Phase::Paused), "{seed}: {last}");
    }
}
