#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    clippy::needless_pass_by_value,
    reason = "small made-up numbers"
)]

use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::assessment::{Expectation, Judgement};
use crate::decision::{Failing, Hold};
use crate::goal::Goal;
use crate::history::History;
use crate::names::{Locality, ServiceId};
use crate::observation::{Row, ServiceTraffic, Source};
use crate::plan::Wish;
use crate::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology};
use crate::units::{Millis, PerSecond, Ratio};

mod any;
mod zones;

/// A service under test: steps of one second, with whatever a model may say.
struct Service {
    topology: ServiceTopology,
    goal: Goal,
    history: History,
    memory: Memory,
    mesh: Mesh,
    at: Moment,
    unrecorded: bool,
}

impl Service {
    fn of(count: usize) -> Self {
        let endpoints: Vec<Endpoint> = (0..count)
            .map(|index| Endpoint {
                address: format!("10.0.0.{index:03}:80").into(),
                locality: Locality::default(),
                concurrency: None,
                ready: true,
            })
            .collect();
        let service = ServiceId::new("demo", "shop");
        let mut memory = Memory::default();
        memory.remap(&alloc::vec![None; count], Moment::default(), Duration::from_secs(30));
        Self {
            topology: ServiceTopology {
                service: service.clone(),
                endpoints,
                clusters: alloc::vec![ClientCluster {
                    name: "shop".into(),
                    form: ClusterForm::native(),
                }],
                counts: Source::LoadReport,
            },
            goal: Goal::of_unclaimed(service),
            history: History::default(),
            memory,
            mesh: Mesh { load: 1_000.0, ..Mesh::default() },
            at: Moment::from_millis(1_000_000),
            unrecorded: false,
        }
    }

    fn traffic(&self, ejected_by: &[u32]) -> ServiceTraffic {
        let rows = (0..self.topology.endpoints.len())
            .map(|index| Row {
                endpoint: index as u32,
                requests: 100,
                clients: 40,
                exposure: Duration::from_secs(40),
                opinions: 40,
                ejected_by: ejected_by.get(index).copied().unwrap_or(0),
                ..Row::default()
            })
            .collect();
        ServiceTraffic { clients: 40, reporters: 1, rows, ..ServiceTraffic::default() }
    }

    /// One second with full telemetry.
    fn step(&mut self, plan: &Plan, assessment: &Assessment) -> Allowed {
        self.step_seen(plan, assessment, Some(self.traffic(&[])))
    }

    fn step_seen(
        &mut self,
        plan: &Plan,
        assessment: &Assessment,
        traffic: Option<ServiceTraffic>,
    ) -> Allowed {
        self.at = self.at.plus(Duration::from_secs(1));
        self.history.absorb(self.at, self.topology.endpoints.len(), traffic.as_ref());
        let standings = self.memory.standings.clone();
        let view = View {
            at: self.at,
            elapsed: Duration::from_secs(1),
            topology: &self.topology,
            goal: &self.goal,
            history: &self.history,
            standings: &standings,
            acting: self.goal.mode == crate::goal::Mode::Enforce,
            unrecorded: self.unrecorded,
        };
        allow(plan, assessment, &view, &mut self.memory, &mut self.mesh)
    }

    fn answered(&mut self, node: &str, decision: u64, outcome: Outcome) {
        let service = self.topology.service.clone();
        let receipt = Receipt { node: node.into(), service, decision, outcome };
        self.memory.answered(&receipt, self.at);
    }

    fn seconds(&mut self, count: u32, plan: &Plan, assessment: &Assessment) -> Allowed {
        let mut last = self.step(plan, assessment);
        for _ in 1..count {
            last = self.step(plan, assessment);
        }
        last
    }
}

fn plan(weights: &[f64], eject: &[usize]) -> Plan {
    let wish = |(index, &weight): (usize, &f64)| Wish {
        weight,
        eject: eject.contains(&index),
        reason: Reason::Equal,
    };
    Plan {
        shed: Ratio::ZERO,
        zones: Vec::new(),
        endpoints: weights.iter().enumerate().map(wish).collect(),
        steering: true,
        capacity: None,
    }
}

/// So many endpoints of 100 rps capacity each, some of them failing.
fn judged(count: usize, failing: &[usize], load: f64) -> Assessment {
    let judgement = |index: usize| Judgement {
        expectation: Some(Expectation {
            service_time: Millis::clamped(40.0),
            deviation: 0.05,
            concurrency: 4.0,
            capacity: PerSecond::clamped(100.0),
            present: PerSecond::clamped(f64::MAX),
            sustained: PerSecond::clamped(50.0),
            utilization: Ratio::clamped(0.5),
        }),
        failing: failing.contains(&index).then(|| Failing {
            errors: 30.0,
            requests: 100.0,
            bound: Ratio::clamped(0.22),
            limit: Ratio::clamped(0.01),
        }),
        slow: None,
        bad: failing.contains(&index),
        errors: 0.0,
        requests: 100.0,
    };
    Assessment {
        endpoints: (0..count).map(judgement).collect(),
        load: PerSecond::clamped(load),
        persistence: 1.0,
        warnings: Vec::new(),
    }
}

fn out(allowed: &Allowed) -> Vec<usize> {
    let ejected = |e: &Granted| matches!(e.state, EndpointState::Ejected { .. });
    let numbered = allowed.endpoints.iter().enumerate();
    numbered.filter(|(_, e)| ejected(e)).map(|(index, _)| index).collect()
}

const EQUAL: [f64; 10] = [1.0; 10];

#[test]
fn a_failing_endpoint_goes_at_once() {
    let mut service = Service::of(10);
    let allowed = service.step(&plan(&EQUAL, &[3]), &judged(10, &[3], 500.0));
    assert_eq!(out(&allowed), [3]);
    assert_eq!(allowed.stance, Stance::Steering);
}

#[test]
fn what_should_be_out_and_may_not_be_is_given_no_more() {
    let mut service = Service::of(10);
    let assessment = judged(10, &[0, 1, 9], 100.0);
    let mut light = [1.0; 10];
    light[9] = 0.3;
    service.seconds(60, &plan(&light, &[]), &assessment);
    let allowed = service.seconds(60, &plan(&EQUAL, &[0, 1, 9]), &assessment);
    let held = &allowed.endpoints[9];
    assert_eq!((held.is_in(), held.bound), (true, Some(Bound::EjectionCap)));
    assert!(held.weight < 0.4, "{}", held.weight);
    let allowed = service.seconds(60, &plan(&EQUAL, &[0, 1]), &assessment);
    assert!(allowed.endpoints[9].weight > 0.9, "once it should be in, it is");
}

#[test]
fn never_more_than_the_cap() {
    let mut service = Service::of(10);
    let allowed = service.step(&plan(&EQUAL, &[1, 2, 3, 4]), &judged(10, &[1, 2, 3, 4], 300.0));
    assert_eq!(out(&allowed), [1, 2]);
    assert_eq!(allowed.endpoints[3].bound, Some(Bound::EjectionCap));
}

#[test]
fn what_proxies_and_discovery_took_out_counts() {
    let mut service = Service::of(10);
    let mut ejected_by = [0; 10];
    (ejected_by[5], ejected_by[6]) = (40, 30);
    let seen = service.traffic(&ejected_by);
    let assessment = judged(10, &[1], 300.0);
    let allowed = service.step_seen(&plan(&EQUAL, &[1]), &assessment, Some(seen));
    assert_eq!(out(&allowed), [0_usize; 0], "one and three quarters are out already");
    assert_eq!(allowed.endpoints[1].bound, Some(Bound::EjectionCap));

    let mut service = Service::of(10);
    service.topology.endpoints[7].ready = false;
    service.topology.endpoints[8].ready = false;
    let allowed = service.step(&plan(&EQUAL, &[1]), &judged(10, &[1], 300.0));
    assert_eq!(out(&allowed), [0_usize; 0]);
}

#[test]
fn small_services_keep_their_endpoints() {
    for (count, expected) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
        let mut service = Service::of(count);
        let weights = alloc::vec![1.0; count];
        let allowed = service.step(&plan(&weights, &[0]), &judged(count, &[0], 10.0));
        assert_eq!(out(&allowed).len(), expected, "of {count}");
    }
}

#[test]
fn nobody_is_ejected_into_the_proxies_panic() {
    let mut service = Service::of(10);
    service.goal.ejection.max_ejected = Ratio::ONE;
    service.goal.ejection.min_health = Ratio::ZERO;
    let failing: Vec<usize> = (0..5).collect();
    let allowed = service.step(&plan(&EQUAL, &failing), &judged(10, &failing, 100.0));
    assert_eq!(out(&allowed).len(), 4, "at 60 % healthy the next one would near the 50 % line");
    assert_eq!(allowed.endpoints[4].bound, Some(Bound::PanicLine));
}

#[test]
fn not_if_more_would_be_lost_at_the_others() {
    // The others carry 810; 22 % of a tenth of the load fail here.
    let goes = |load: f64, shed: f64| {
        let mut service = Service::of(10);
        service.memory.shed = Ratio::clamped(shed);
        let allowed = service.step(&plan(&EQUAL, &[0]), &judged(10, &[0], load));
        let bound = allowed.endpoints[0].bound;
        assert_eq!(bound, out(&allowed).is_empty().then_some(Bound::Capacity));
        bound.is_none()
    };
    assert!(goes(800.0, 0.0));
    assert!(goes(820.0, 0.0), "10 a second are lost, and 18 fail");
    assert!(!goes(840.0, 0.0));
    assert!(!goes(760.0, 0.1), "what is turned away is part of the load");
}

#[test]
fn a_common_cause_ejects_nobody() {
    let mut service = Service::of(10);
    let failing: Vec<usize> = (0..6).collect();
    let allowed = service.step(&plan(&EQUAL, &failing), &judged(10, &failing, 300.0));
    assert_eq!(out(&allowed), [0_usize; 0]);
    assert_eq!(allowed.stance, Stance::Holding(Hold::CommonCause { bad: 6, judged: 10 }));
}

#[test]
fn an_ejection_doubles_and_ends_in_probation() {
    let mut service = Service::of(10);
    let failing = judged(10, &[3], 300.0);
    let mut lengths = Vec::new();
    for _ in 0..3 {
        let allowed = service.step(&plan(&EQUAL, &[3]), &failing);
        let EndpointState::Ejected { until, .. } = allowed.endpoints[3].state else {
            panic!("not ejected: {:?}", allowed.endpoints[3])
        };
        lengths.push(until.since(service.at).as_secs());
        while service.at.plus(Duration::from_secs(1)) < until {
            service.step(&plan(&EQUAL, &[]), &judged(10, &[], 300.0));
        }
        let back = service.step(&plan(&EQUAL, &[]), &judged(10, &[], 300.0));
        assert_eq!(back.endpoints[3].state, EndpointState::Probation);
        assert!(back.endpoints[3].weight <= ejection::PROBATION_WEIGHT);
    }
    assert_eq!(lengths, [10, 20, 40]);
    let proven = service.seconds(6, &plan(&EQUAL, &[]), &judged(10, &[], 300.0));
    assert_eq!(proven.endpoints[3].state, EndpointState::Serving);
}

#[test]
fn ten_clean_minutes_are_forgiveness() {
    let mut service = Service::of(10);
    service.step(&plan(&EQUAL, &[3]), &judged(10, &[3], 300.0));
    assert_eq!(service.memory.standings[3].ejections, 1);
    service.seconds(620, &plan(&EQUAL, &[]), &judged(10, &[], 300.0));
    assert_eq!(service.memory.standings[3].ejections, 0);
}

#[test]
fn stale_evidence_holds_then_decays_to_equal_and_never_ejects() {
    let mut service = Service::of(4);
    let weights = [1.0, 1.0, 1.0, 0.5];
    service.seconds(3, &plan(&weights, &[]), &judged(4, &[], 100.0));
    let mut stances = Vec::new();
    service.step_seen(&plan(&weights, &[]), &judged(4, &[], 100.0), None);
    service.at = service.at.plus(Duration::from_secs(2));
    for _ in 0..15 * 60 + 10 {
        let allowed = service.step_seen(&plan(&weights, &[0]), &judged(4, &[0], 100.0), None);
        if service.at.since(service.history.fresh.unwrap()) > Duration::from_secs(3) {
            assert_eq!(out(&allowed), [0_usize; 0]);
            stances.push((allowed.stance, allowed.endpoints[3].weight));
        }
    }
    assert!(matches!(stances[0].0, Stance::Holding(Hold::Stale { .. })), "{:?}", stances[0]);
    assert!((stances[200].1 - stances[0].1).abs() < 1e-9, "held for five minutes");
    let middle = stances[10 * 60 - 4].1;
    assert!((middle - 0.75).abs() < 0.02, "half way after ten minutes, not {middle}");
    assert!((stances.last().unwrap().1 - 1.0).abs() < 1e-6);
}

#[test]
fn freeze_holds_for_ever() {
    let mut service = Service::of(4);
    service.goal.evaluation.on_stale = crate::goal::OnStale::Freeze;
    let weights = [1.0, 1.0, 1.0, 0.5];
    service.seconds(3, &plan(&weights, &[]), &judged(4, &[], 100.0));
    let held = service.memory.standings[3].weight;
    service.at = service.at.plus(Duration::from_secs(3));
    for _ in 0..1_200 {
        service.step_seen(&plan(&EQUAL[..4], &[]), &judged(4, &[], 100.0), None);
    }
    assert!((service.memory.standings[3].weight - held).abs() < 1e-9);
}

#[test]
fn thin_evidence_moves_nothing() {
    let mut service = Service::of(10);
    let mut seen = service.traffic(&[]);
    seen.rows = seen.rows[..6].into();
    let allowed =
        service.step_seen(&plan(&EQUAL, &[0]), &judged(10, &[0], 300.0), Some(seen.clone()));
    assert!(matches!(allowed.stance, Stance::Holding(Hold::Quorum { covered: 6, .. })));
    let mut service = Service::of(10);
    seen = service.traffic(&[]);
    for row in alloc::sync::Arc::make_mut(&mut seen.rows) {
        row.requests = 9;
    }
    let allowed = service.step_seen(&plan(&EQUAL, &[0]), &judged(10, &[0], 300.0), Some(seen));
    assert!(matches!(allowed.stance, Stance::Holding(Hold::Quorum { requests: 90, .. })));
}

#[test]
fn a_suspended_policy_changes_nothing() {
    let mut service = Service::of(10);
    service.goal.suspended = true;
    let mut weights = EQUAL;
    weights[0] = 0.1;
    let allowed = service.seconds(20, &plan(&weights, &[1]), &judged(10, &[1], 300.0));
    assert_eq!(allowed.stance, Stance::Holding(Hold::Suspended));
    assert!(allowed.endpoints.iter().all(|e| e.weight == 1.0 && e.is_in()));
}

#[test]
fn what_cannot_be_recorded_is_not_done() {
    let mut service = Service::of(10);
    service.unrecorded = true;
    let allowed = service.step(&plan(&EQUAL, &[1]), &judged(10, &[1], 300.0));
    assert_eq!(allowed.stance, Stance::Holding(Hold::Unrecorded));
    assert_eq!(out(&allowed), [0_usize; 0]);
}

#[test]
fn refused_pushes_stop_the_policy() {
    let mut service = Service::of(10);
    let refused = || Outcome::Refused("no".into());
    for (node, outcome) in [("a", refused()), ("b", refused()), ("c", Outcome::Taken)] {
        service.answered(node, 7, outcome);
    }
    let step = |service: &mut Service| service.step(&plan(&EQUAL, &[1]), &judged(10, &[1], 300.0));
    assert_eq!(step(&mut service).stance, Stance::Holding(Hold::Refused { nodes: 2 }));
    service.answered("a", 6, Outcome::Taken);
    let still = "taking back what it had is no change of mind";
    assert_eq!(step(&mut service).stance, Stance::Holding(Hold::Refused { nodes: 2 }), "{still}");
    service.answered("a", 8, Outcome::Taken);
    assert_eq!(out(&step(&mut service)), [1]);
}

#[test]
fn refusals_of_nodes_that_are_gone_do_not_stop_it_for_ever() {
    let mut service = Service::of(10);
    for node in ["a", "b"] {
        service.answered(node, 7, Outcome::Refused("no".into()));
    }
    let held = service.seconds(50, &plan(&EQUAL, &[1]), &judged(10, &[1], 300.0));
    assert_eq!(held.stance, Stance::Holding(Hold::Refused { nodes: 2 }));
    let later = service.seconds(20, &plan(&EQUAL, &[1]), &judged(10, &[1], 300.0));
    assert_eq!(out(&later), [1]);
}

#[test]
fn equal_shares_need_no_room() {
    let mut service = Service::of(4);
    let unequal = [0.5, 1.0, 1.0, 1.0];
    service.seconds(60, &plan(&unequal, &[]), &judged(4, &[], 200.0));
    let mut full = judged(4, &[], 200.0);
    if let Some(known) = &mut full.endpoints[0].expectation {
        known.capacity = PerSecond::clamped(50.0);
    }
    let kept = service.seconds(60, &plan(&[0.9, 1.0, 1.0, 1.0], &[]), &full);
    let rest = Plan { steering: false, ..plan(&[1.0; 4], &[]) };
    let back = service.seconds(60, &rest, &full);
    let weights =
        |allowed: &Allowed| allowed.endpoints.iter().map(|e| e.weight).collect::<Vec<_>>();
    assert_eq!((weights(&kept)[0], weights(&back)), (0.5, alloc::vec![1.0; 4]));
}

#[test]
fn a_full_endpoint_gains_nothing_unless_all_are_full() {
    let mut service = Service::of(4);
    let weights = [2.0, 1.0, 1.0, 1.0];
    let allowed = service.step(&plan(&weights, &[]), &judged(4, &[], 300.0));
    assert_eq!(allowed.endpoints[0].bound, Some(Bound::Capacity));
    assert!(allowed.endpoints[0].weight <= 1.0);
    let mut service = Service::of(4);
    let allowed = service.step(&plan(&weights, &[]), &judged(4, &[], 1_000.0));
    assert!(allowed.endpoints[0].weight > 1.0, "all are full: {:?}", allowed.endpoints[0]);
}

#[test]
fn newcomers_ramp_but_do_not_drown_the_old() {
    let mut service = Service::of(10);
    service.step(&plan(&EQUAL, &[]), &judged(10, &[], 100.0));
    let from: Vec<Option<usize>> = (0..10).map(|i| (i < 5).then_some(i)).collect();
    service.memory.remap(&from, service.at, Duration::from_secs(30));
    let first = service.step(&plan(&EQUAL, &[]), &judged(10, &[], 100.0));
    assert!((first.endpoints[9].weight - 0.13).abs() < 0.01, "{:?}", first.endpoints[9]);
    let later = service.seconds(14, &plan(&EQUAL, &[]), &judged(10, &[], 100.0));
    assert!((later.endpoints[9].weight - 0.55).abs() < 0.01, "{:?}", later.endpoints[9]);
    let done = service.seconds(16, &plan(&EQUAL, &[]), &judged(10, &[], 100.0));
    assert_eq!(done.stance, Stance::Resting, "{:?}", done.endpoints[9]);

    let mut one_old = Service::of(10);
    let from: Vec<Option<usize>> = (0..10).map(|i| (i < 1).then_some(i)).collect();
    one_old.memory.remap(&from, one_old.at, Duration::from_secs(30));
    let first = one_old.step(&plan(&EQUAL, &[]), &judged(10, &[], 100.0));
    assert!(shares(&first.endpoints)[0] <= 0.2 + 1e-9, "{:?}", shares(&first.endpoints));
}

#[test]
fn changes_per_minute_are_counted() {
    let mut service = Service::of(4);
    service.goal.guardrails.max_changes_per_minute = Some(1);
    service.step(&plan(&[1.0, 1.0, 1.0, 0.8], &[]), &judged(4, &[], 100.0));
    let allowed = service.step(&plan(&[1.0, 1.0, 0.8, 0.8], &[]), &judged(4, &[], 100.0));
    assert!((allowed.endpoints[2].weight - 1.0).abs() < 1e-9);
    assert_eq!(allowed.endpoints[2].bound, Some(Bound::Changes));
}
