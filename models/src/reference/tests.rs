//! The model's behaviour, told by what endpoints do: rates, latencies, errors.

#![allow(clippy::unwrap_used, reason = "tests")]

use core::time::Duration;

use proptest::prelude::*;
use weir_engine::assessment::Assessment;
use weir_engine::decision::{EndpointState, Reason};
use weir_engine::goal::{Goal, Indicator, Objective};
use weir_engine::history::History;
use weir_engine::latency::Latency;
use weir_engine::model::{Model, Standing, View};
use weir_engine::names::{Locality, ServiceId};
use weir_engine::observation::{Row, ServiceTraffic, Source};
use weir_engine::plan::Plan;
use weir_engine::topology::{Endpoint, ServiceTopology};
use weir_engine::units::{Millis, Moment, Ratio};
use weir_simulator::random::Random;

use super::{Memory, Reference};
use crate::queue::Queue;

/// How an endpoint behaves in one step.
#[derive(Clone, Copy, Debug)]
struct Behaves {
    ms: f64,
    rate: f64,
    errors: f64,
}

const WELL: Behaves = Behaves { ms: 40.0, rate: 120.0, errors: 0.0 };

/// A service driven step by step: what the model wishes is not acted on.
struct Driven {
    topology: ServiceTopology,
    goal: Goal,
    history: History,
    standings: Vec<Standing>,
    memory: Memory,
    at: Moment,
    seed: u64,
    workers: f64,
    timed: bool,
}

impl Driven {
    fn new(endpoints: usize) -> Self {
        let service = ServiceId::new("demo", "shop");
        let endpoint = |index: usize| Endpoint {
            address: format!("e{index:05}").into(),
            locality: Locality::default(),
            concurrency: core::num::NonZeroU32::new(8),
            ready: true,
        };
        Self {
            topology: ServiceTopology {
                service: service.clone(),
                endpoints: (0..endpoints).map(endpoint).collect(),
                clusters: Vec::new(),
                counts: Source::LoadReport,
            },
            goal: Goal::of_unclaimed(service),
            history: History::default(),
            standings: vec![Standing::default(); endpoints],
            memory: Memory::default(),
            at: Moment::from_millis(1_000_000),
            seed: 1,
            workers: 8.0,
            timed: true,
        }
    }

    fn undeclared(mut self) -> Self {
        for endpoint in &mut self.topology.endpoints {
            endpoint.concurrency = None;
        }
        self
    }

    fn with_tail_goal(mut self) -> Self {
        self.goal.objectives.push(Objective {
            name: "fast".into(),
            target: Ratio::clamped(0.99),
            window: Duration::from_secs(3_600),
            indicator: Indicator::Latency { threshold: Millis::clamped(500.0) },
        });
        self
    }

    /// Lets a second pass.
    fn step(&mut self, behaves: impl Fn(usize) -> Behaves) -> (Assessment, Plan) {
        self.at = self.at.plus(Duration::from_secs(1));
        self.seed += 1;
        let rows = (0..self.topology.endpoints.len()).map(|index| {
            let mut random = Random::of(self.seed, 9, index as u64);
            row(index, behaves(index), self.workers, self.timed, &mut random)
        });
        let traffic = ServiceTraffic {
            service: self.topology.service.clone(),
            clients: 1,
            reporters: 1,
            rows: rows.collect(),
            totals: None,
            zones: Vec::new(),
        };
        self.history.absorb(self.at, self.topology.endpoints.len(), Some(&traffic));
        self.judge()
    }

    fn judge(&mut self) -> (Assessment, Plan) {
        let view = View {
            at: self.at,
            elapsed: Duration::from_secs(1),
            topology: &self.topology,
            goal: &self.goal,
            history: &self.history,
            standings: &self.standings,
            acting: true,
            unrecorded: false,
        };
        let assessment = Reference.assess(&view, &mut self.memory);
        let plan = Reference.share(&view, &assessment, &mut self.memory);
        (assessment, plan)
    }

    /// Steps, and takes over the wished weights each time; the last plan.
    fn follow(&mut self, steps: u32, behaves: impl Fn(usize) -> Behaves) -> Plan {
        let mut last = Plan::default();
        for _ in 0..steps {
            let sum: f64 = self.standings.iter().map(|standing| standing.weight).sum();
            let weights: Vec<f64> = self.standings.iter().map(|s| s.weight).collect();
            let count = weights.len() as f64;
            let shared = |index: usize| {
                let own = behaves(index);
                Behaves { rate: own.rate * weights[index] / sum * count, ..own }
            };
            last = self.step(shared).1;
            for (standing, wish) in self.standings.iter_mut().zip(&last.endpoints) {
                standing.weight = wish.weight;
            }
        }
        last
    }
}

/// Draws what one second of telemetry shows of an endpoint.
fn row(index: usize, behaves: Behaves, workers: f64, timed: bool, random: &mut Random) -> Row {
    // A rough Poisson count: normal, never below zero.
    let drawn = behaves.rate + behaves.rate.sqrt() * random.normal();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, positive")]
    let requests = libm::round(drawn.max(0.0)) as u64;
    let utilization = (behaves.rate * behaves.ms / 1_000.0 / workers).min(0.99);
    let in_queue = 1_000.0 * Queue::of(workers).inside(utilization) / behaves.rate;
    let mut latency = Latency::default();
    let mut errors = 0;
    for _ in 0..requests {
        if random.unit() < behaves.errors {
            errors += 1;
            latency.record(Millis::clamped(1.0));
        } else {
            let wait = in_queue - behaves.ms;
            latency.record(Millis::clamped(behaves.ms * random.lognormal(0.8) + wait));
        }
    }
    Row {
        endpoint: u32::try_from(index).unwrap(),
        requests,
        errors,
        judged_requests: requests as f64,
        judged_errors: errors as f64,
        exposure: Duration::from_secs(1),
        clients: 1,
        latency: if timed { latency } else { Latency::default() },
        ..Row::default()
    }
}

fn first_is(odd: Behaves) -> impl Fn(usize) -> Behaves {
    move |index| if index == 0 { odd } else { WELL }
}

fn wishes_rest(plan: &Plan) -> bool {
    !plan.steering && plan.endpoints.iter().all(|w| (w.weight - 1.0).abs() < 1e-9 && !w.eject)
}

#[test]
fn equal_endpoints_stay_at_rest() {
    // Forty services of a hundred steps each, sparse and busy: nobody leaves rest, ever.
    for (endpoints, rate) in [(10, 120.0), (10, 3.0), (30, 8.0), (100, 30.0)] {
        for seed in 0..10 {
            let mut driven = Driven::new(endpoints);
            driven.seed = 1_000 * seed;
            for step in 0..100 {
                let (_, plan) = driven.step(|_| Behaves { rate, ..WELL });
                assert!(wishes_rest(&plan), "{endpoints} at {rate} rps, step {step}");
            }
        }
    }
}

#[test]
fn knows_service_time_and_capacity() {
    let mut driven = Driven::new(10);
    driven.follow(20, |_| WELL);
    let (assessment, plan) = driven.step(|_| WELL);
    for judgement in &assessment.endpoints {
        let known = judgement.expectation.as_ref().unwrap();
        assert!((known.service_time.value() / 40.0 - 1.0).abs() < 0.2, "{known:?}");
        assert!((known.utilization.value() - 0.6).abs() < 0.15);
    }
    assert!((plan.capacity.unwrap().value() / 2_000.0 - 1.0).abs() < 0.1);
    assert!((assessment.load.value() / 1_200.0 - 1.0).abs() < 0.1);
}

#[test]
fn a_slow_endpoint_gets_less_within_seconds() {
    // At three times 40 ms an equal share is more than it can carry.
    for (ms, rate, steps, most) in [(400.0, 20.0, 3, 0.2), (120.0, 66.0, 4, 0.5)] {
        let mut driven = Driven::new(10);
        driven.follow(40, |_| WELL);
        let slow = Behaves { ms, rate, errors: 0.0 };
        let plan = driven.follow(steps, first_is(slow));
        assert!(plan.steering && plan.endpoints[0].weight < most, "{plan:?}");
        assert!(matches!(plan.endpoints[0].reason, Reason::ServiceTime { .. }));
        let others = &plan.endpoints[1..];
        assert!(others.iter().all(|w| (w.weight - others[0].weight).abs() < 1e-9));
        assert!(others.iter().all(|w| w.reason == Reason::Remainder));
    }
}

#[test]
fn goes_back_to_rest_once_it_is_well() {
    let mut driven = Driven::new(10);
    driven.follow(20, |_| WELL);
    driven.follow(20, first_is(Behaves { ms: 400.0, rate: 20.0, errors: 0.0 }));
    let plan = driven.follow(40, |_| WELL);
    assert!(wishes_rest(&plan), "{plan:?}");
}

#[test]
fn without_a_declaration_capacity_is_unknown_but_slowness_is_not() {
    let mut driven = Driven::new(10).undeclared();
    let plan = driven.follow(20, |_| WELL);
    assert_eq!(plan.capacity, None);
    let plan = driven.follow(10, first_is(Behaves { ms: 400.0, rate: 20.0, errors: 0.0 }));
    assert!(plan.endpoints[0].weight < 0.3, "{plan:?}");
}

#[test]
fn thirty_per_cent_errors_are_found_in_one_window() {
    let mut driven = Driven::new(10);
    driven.follow(20, |_| WELL);
    let (assessment, plan) = driven.step(first_is(Behaves { errors: 0.3, ..WELL }));
    let out: Vec<bool> = plan.endpoints.iter().map(|wish| wish.eject).collect();
    assert_eq!(out, [true, false, false, false, false, false, false, false, false, false]);
    assert!(matches!(plan.endpoints[0].reason, Reason::Failing(_)));
    assert_eq!(assessment.endpoints.iter().filter(|judgement| judgement.bad).count(), 1);
}

#[test]
fn where_all_fail_nobody_goes_and_all_look_bad() {
    let mut driven = Driven::new(10);
    driven.follow(20, |_| WELL);
    for _ in 0..30 {
        let (assessment, plan) = driven.step(|_| Behaves { errors: 0.2, ..WELL });
        assert!(wishes_rest(&plan));
        assert!(assessment.endpoints.iter().all(|judgement| judgement.bad));
    }
}

#[test]
fn a_service_that_always_fails_a_little_is_not_bad() {
    let mut driven = Driven::new(10);
    for _ in 0..30 {
        let (assessment, plan) = driven.step(|_| Behaves { errors: 0.03, ..WELL });
        assert!(wishes_rest(&plan) && !assessment.endpoints.iter().any(|j| j.bad));
    }
}

#[test]
fn where_all_become_slow_all_look_bad_and_nothing_moves() {
    let mut driven = Driven::new(10);
    driven.follow(20, |_| WELL);
    let (mut assessment, mut plan) = driven.step(|_| WELL);
    for _ in 0..5 {
        (assessment, plan) = driven.step(|_| Behaves { ms: 160.0, rate: 45.0, errors: 0.0 });
    }
    assert!(wishes_rest(&plan));
    assert!(assessment.endpoints.iter().filter(|judgement| judgement.bad).count() > 5);
}

#[test]
fn without_latency_errors_are_judged_all_the_same() {
    let mut driven = Driven::new(10);
    driven.timed = false;
    driven.follow(20, |_| WELL);
    let (assessment, plan) = driven.step(first_is(Behaves { errors: 0.3, ..WELL }));
    assert!(plan.endpoints[0].eject);
    assert!(assessment.endpoints.iter().all(|judgement| judgement.expectation.is_none()));
    assert_eq!(plan.endpoints[1].reason, Reason::Unknown);
}

#[test]
fn too_few_requests_leave_it_unknown() {
    let mut driven = Driven::new(3);
    for _ in 0..10 {
        let (assessment, _) = driven.step(|_| Behaves { rate: 1.0, ..WELL });
        assert!(assessment.endpoints.iter().all(|judgement| judgement.expectation.is_none()));
    }
}

#[test]
fn slowness_ejects_only_for_a_tail_goal_and_after_three_windows() {
    let slow = first_is(Behaves { ms: 2_000.0, rate: 30.0, errors: 0.0 });
    for tail in [true, false] {
        let mut driven = if tail { Driven::new(10).with_tail_goal() } else { Driven::new(10) };
        driven.follow(20, |_| WELL);
        let ejects: Vec<bool> = (0..4).map(|_| driven.step(&slow).1.endpoints[0].eject).collect();
        assert_eq!(ejects, if tail { [false, false, true, true] } else { [false; 4] });
    }
}

#[test]
fn a_returned_endpoint_is_judged_by_its_own_counts() {
    let mut driven = Driven::new(10);
    driven.follow(20, first_is(Behaves { errors: 0.3, ..WELL }));
    let since = driven.at;
    driven.standings[0] =
        Standing { weight: 0.1, state: EndpointState::Probation, since, ejections: 1 };
    let (assessment, plan) = driven.step(first_is(Behaves { rate: 12.0, ..WELL }));
    assert!(assessment.endpoints[0].requests < 30.0, "earlier counts are gone");
    assert!(!plan.endpoints[0].eject && plan.endpoints[0].weight <= 0.1);
    let failing = first_is(Behaves { rate: 12.0, errors: 0.4, ..WELL });
    let again = (0..5).any(|_| driven.step(&failing).1.endpoints[0].eject);
    assert!(again, "out again once its own counts prove it");
}

#[test]
fn a_new_endpoint_ramps() {
    let mut driven = Driven::new(10);
    driven.follow(20, |_| WELL);
    let since = driven.at;
    driven.standings[0] =
        Standing { weight: 0.1, state: EndpointState::Joining, since, ejections: 0 };
    let early = driven.follow(3, |_| WELL).endpoints[0].weight;
    let late = driven.follow(15, |_| WELL).endpoints[0].weight;
    assert!(early < 0.25 && (0.5..0.8).contains(&late), "{early} {late}");
}

#[test]
fn memory_follows_the_topology() {
    let mut driven = Driven::new(3);
    driven.follow(10, first_is(Behaves { ms: 160.0, rate: 40.0, errors: 0.0 }));
    let before = driven.memory.clone();
    Reference.remap(&mut driven.memory, &[Some(2), None, Some(0)]);
    assert_eq!(driven.memory.endpoints[0], before.endpoints[2]);
    assert_eq!(driven.memory.endpoints[1], super::Endpoint::default());
    assert_eq!(driven.memory.endpoints[2], before.endpoints[0]);
}

#[test]
fn memory_survives_being_written_down() {
    let mut driven = Driven::new(5).with_tail_goal();
    driven.follow(20, first_is(Behaves { ms: 400.0, rate: 20.0, errors: 0.1 }));
    let text = serde_json::to_string(&driven.memory).unwrap();
    assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), driven.memory);
}

fn odd_row(endpoint: u32) -> impl Strategy<Value = Row> {
    let numbers = (any::<u64>(), any::<u64>(), any::<f64>(), any::<f64>());
    let latency = (any::<f64>(), any::<f64>(), any::<f64>());
    let rest = (0_u64..100_000, 0_u32..4);
    (numbers, latency, rest).prop_map(move |(counts, latency, (millis, clients))| Row {
        endpoint,
        requests: counts.0 >> (counts.1 % 64),
        errors: counts.1 >> (counts.0 % 64),
        judged_requests: counts.2,
        judged_errors: counts.3,
        exposure: Duration::from_millis(millis),
        clients,
        latency: Latency { count: latency.0, sum_ms: latency.1, buckets: vec![(40, latency.2)] },
        ..Row::default()
    })
}

proptest! {
    #[test]
    fn any_telemetry_gives_sane_wishes(
        steps in prop::collection::vec((odd_row(0), odd_row(1), odd_row(2), 0_u64..5_000), 1..8),
        weight in any::<f64>(),
        declared in any::<bool>(),
    ) {
        let mut driven = Driven::new(4).with_tail_goal();
        driven = if declared { driven } else { driven.undeclared() };
        driven.standings[1].weight = weight;
        driven.standings[2].state = EndpointState::Probation;
        for (a, b, c, later) in steps {
            driven.at = driven.at.plus(Duration::from_millis(later));
            let traffic = ServiceTraffic { rows: [a, b, c].into(), ..ServiceTraffic::default() };
            driven.history.absorb(driven.at, 4, Some(&traffic));
            let (assessment, plan) = driven.judge();
            prop_assert_eq!(assessment.endpoints.len(), 4);
            prop_assert!(assessment.load.value().is_finite());
            for (index, wish) in plan.endpoints.iter().enumerate() {
                let sane = wish.weight.is_finite() && (0.0..=3.0).contains(&wish.weight);
                prop_assert!(sane || index == 1, "{wish:?}");
            }
            let text = serde_json::to_string(&driven.memory).unwrap();
            prop_assert!(serde_json::from_str::<Memory>(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_same_twice_is_the_same(seed in 0_u64..1_000) {
        let run = || {
            let mut driven = Driven::new(6).with_tail_goal();
            driven.seed = seed;
            driven.follow(8, first_is(Behaves { ms: 200.0, rate: 40.0, errors: 0.05 }))
        };
        prop_assert_eq!(run(), run());
    }
}
