//! The stage that tests and benchmark share: scenarios, and Weir's own loop as their governor.

use core::time::Duration;
use std::sync::Arc;

use weir_engine::decision::{EndpointState, ServiceDecision, Stance};
use weir_engine::goal::{Goal, Indicator, Mode, Objective};
use weir_engine::units::{Millis, Ratio};
use weir_models::reference::Reference;
use weir_simulator::governor;
use weir_simulator::random::Random;
use weir_simulator::rivals::Rival;
use weir_simulator::scenario::{Backend, Curve, Scenario};
use weir_simulator::score::Score;
use weir_simulator::world::{self, Assignment, Tick};

/// Faults last from here ...
const FROM: f64 = 20.0;

/// ... to here, in seconds.
const UNTIL: f64 = 50.0;

/// Weir's loop, and what it decided.
pub(crate) struct Governor {
    weir: governor::Governor<Reference>,
    /// What was decided, step by step.
    pub(crate) decisions: Vec<Arc<ServiceDecision>>,
}

impl Governor {
    /// With the demo's policy: 99.9 % available, 99 % under 500 ms.
    pub(crate) fn new() -> Self {
        let mut goal = Goal::of_unclaimed(world::service());
        goal.mode = Mode::Enforce;
        goal.policy = "demo/shop".into();
        let objective = |name: &str, target: f64, indicator: Indicator| Objective {
            name: name.into(),
            target: Ratio::clamped(target),
            window: Duration::from_secs(3_600),
            indicator,
        };
        let threshold = Millis::clamped(500.0);
        goal.objectives = vec![
            objective("available", 0.999, Indicator::Availability),
            objective("fast", 0.99, Indicator::Latency { threshold }),
        ];
        Self { weir: governor::Governor::new(Reference, goal), decisions: Vec::new() }
    }

    /// One step.
    pub(crate) fn step(&mut self, tick: Tick) -> Option<Assignment> {
        let assignment = self.weir.step(tick);
        self.decisions.extend(self.weir.last.clone());
        assignment
    }

    /// How many steps found an endpoint out.
    pub(crate) fn steps_with_ejections(&self) -> usize {
        let out = |decision: &&Arc<ServiceDecision>| {
            let mut endpoints = decision.endpoints.iter();
            endpoints.any(|endpoint| matches!(endpoint.state, EndpointState::Ejected { .. }))
        };
        self.decisions.iter().filter(out).count()
    }

    /// Whether it ever moved anything.
    pub(crate) fn ever_moved(&self) -> bool {
        let moved = |decision: &Arc<ServiceDecision>| {
            decision.stance == Stance::Steering
                || decision.endpoints.iter().any(|endpoint| (endpoint.weight - 1.0).abs() > 1e-9)
        };
        self.decisions.iter().any(moved)
    }
}

/// What one scenario came to, plain least request with outlier detection and governed.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Ungoverned.
    pub(crate) plain: Score,
    /// Governed by Weir.
    pub(crate) governed: Score,
    /// The governors, one per seed.
    pub(crate) governors: Vec<Governor>,
}

impl Outcome {
    /// Governed over plain tail latency.
    pub(crate) fn p99(&self) -> f64 {
        ratio(self.governed.p99_ms(), self.plain.p99_ms())
    }

    /// Governed over plain errors; one where there are none at all.
    pub(crate) fn errors(&self) -> f64 {
        ratio(self.governed.error_ratio().value(), self.plain.error_ratio().value())
    }
}

fn ratio(governed: f64, plain: f64) -> f64 {
    if plain > 0.0 {
        governed / plain
    } else if governed > 0.0 {
        f64::INFINITY
    } else {
        1.0
    }
}

/// Plays a scenario with several seeds and pools what was counted.
pub(crate) fn play(name: &str, seeds: u64, declared: bool) -> Outcome {
    let mut outcome = Outcome::default();
    for seed in 1..=seeds {
        let mut scenario = scenario(name, seed);
        scenario.telemetry.declares_workers = declared;
        outcome.plain.pool(world::run(&scenario, Rival::LeastRequestOd, |_| None));
        let mut governor = Governor::new();
        outcome.governed.pool(world::run(&scenario, Rival::Weir, |tick| governor.step(tick)));
        outcome.governors.push(governor);
    }
    outcome.plain.sort();
    outcome.governed.sort();
    outcome
}

/// A scenario by name: ten backends of eight workers at 60 % behind forty proxies, and a fault.
pub(crate) fn scenario(name: &str, seed: u64) -> Scenario {
    let mut scenario = Scenario::fleet(seed);
    let within = |inside: f64| Curve::between(FROM, UNTIL, 1.0, inside);
    let errors = |inside: f64| Curve::between(FROM, UNTIL, 0.0, inside);
    let backends = &mut scenario.backends;
    match name {
        "healthy" => {}
        "busy" => scenario.load = Curve::level(1_800.0),
        "slow3" => backends[3].slowness = within(3.0),
        "slow10" => backends[3].slowness = within(10.0),
        "slow50" => backends[3].slowness = within(50.0),
        "err5" => backends[3].errors = errors(0.05),
        "err30" => backends[3].errors = errors(0.3),
        "err100" => backends[3].errors = errors(1.0),
        "all-fail" => backends.iter_mut().for_each(|backend| backend.errors = errors(0.2)),
        "two-at-once" => {
            backends[3].slowness = within(3.0);
            backends[6].errors = errors(0.3);
        }
        "four-slow" => backends[..4].iter_mut().for_each(|backend| backend.slowness = within(2.0)),
        "cold" => cold(&mut scenario),
        "mixed-speed" => {
            backends[..5].iter_mut().for_each(|backend| backend.slowness = Curve::level(2.0));
            lasting(&mut scenario, 1_050.0);
        }
        "mixed-size" => {
            backends[..5].iter_mut().for_each(|backend| backend.workers = 4);
            lasting(&mut scenario, 1_125.0);
        }
        "moving" => moving(&mut scenario, 10.0),
        "moving-fast" => moving(&mut scenario, 1.0),
        other => panic!("no scenario is called {other}"),
    }
    scenario
}

/// Five of the ten leave; later they join five times slower, easing to full speed.
fn cold(scenario: &mut Scenario) {
    for backend in &mut scenario.backends[5..] {
        *backend = Backend {
            present: vec![(0.0, 8.0), (FROM, f64::INFINITY)],
            slowness: Curve::through(&[
                (FROM - 1.0, 1.0),
                (FROM - 1.0, 5.0),
                (FROM, 5.0),
                (UNTIL, 1.0),
            ]),
            ..backend.clone()
        };
    }
    scenario.load = Curve::through(&[(7.0, 1_200.0), (7.0, 800.0), (FROM, 800.0), (FROM, 1_000.0)]);
}

fn lasting(scenario: &mut Scenario, load: f64) {
    (scenario.load, scenario.length, scenario.counted) = (Curve::level(load), 92.0, (40.0, 90.0));
}

/// Each backend alternates between full speed and 2.5 times slower; it is slow for `mean` seconds
/// and well for twice as long, on average.
fn moving(scenario: &mut Scenario, mean: f64) {
    lasting(scenario, 1_000.0);
    let (seed, length) = (scenario.seed, scenario.length);
    for (number, backend) in (0..).zip(&mut scenario.backends) {
        let mut random = Random::of(seed, 77, number);
        let (mut at, mut slow) = (0.0, random.unit() < 1.0 / 3.0);
        let speed = |slow: bool| if slow { 2.5 } else { 1.0 };
        let mut knots = vec![(at, speed(slow))];
        while at < length {
            at += random.exponential() * if slow { mean } else { 2.0 * mean };
            knots.push((at, speed(slow)));
            slow = !slow;
            knots.push((at, speed(slow)));
        }
        backend.slowness = Curve::through(&knots);
    }
}
