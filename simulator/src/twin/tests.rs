use std::sync::Arc;

use proptest::prelude::*;
use weir_engine::decision::ServiceDecision;
use weir_engine::latency::Latency;
use weir_engine::names::Locality;
use weir_engine::observation::{Row, ServiceTraffic, Source, ZoneTraffic};
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint as Declared, ServiceTopology};
use weir_engine::units::Moment;

use super::check::{check, counted_from, is_close, is_held_out, open};
use super::*;
use crate::rivals::Rival;
use crate::scenario::{Curve, Scenario};
use crate::world::{Assignment, Tick};

/// Leaves proxies alone: all endpoints are equal.
struct Nobody;

impl Govern for Nobody {
    fn step(&mut self, _: Tick) -> Option<Assignment> {
        None
    }

    fn last(&self) -> Option<Arc<ServiceDecision>> {
        None
    }
}

fn recorded(scenario: &Scenario) -> Vec<Seen> {
    record(scenario, Rival::Weir, &mut Nobody)
}

/// Sixty seconds of ten endpoints at 70 %.
fn fleet() -> Scenario {
    let mut scenario = Scenario { load: Curve::level(1_400.0), length: 60.0, ..Scenario::fleet(5) };
    scenario.telemetry.declares_workers = false;
    scenario.telemetry.ticks_late = 1;
    scenario
}

/// The best world, as a study finds it.
fn fitted(steps: &[Seen]) -> Fit {
    let first = Fit::of(steps, &|_| true, Guess::Likely).unwrap();
    let settled = |counts: Vec<u32>| {
        counts.into_iter().map(|count| first.clone().with_workers(count).settled(steps))
    };
    let mut tried: Vec<Fit> = settled(first.coarse()).collect();
    tried.extend(settled(first.fine(&tried)).collect::<Vec<Fit>>());
    first.clone().best(tried).settled(steps)
}

#[track_caller]
fn near(found: f64, truth: f64, part: f64) {
    assert!((found / truth - 1.0).abs() <= part, "{found} for {truth}");
}

fn at(pieces: &[(f64, f64)], second: f64) -> f64 {
    let before = pieces.iter().rev().find(|(from, _)| *from <= second);
    before.or(pieces.first()).map_or(f64::NAN, |piece| piece.1)
}

#[test]
fn work_errors_load_and_workers_are_recovered() {
    let mut scenario = fleet();
    scenario.backends[2].slowness = Curve::between(30.0, 50.0, 1.0, 1.5);
    scenario.backends[4].errors = Curve::between(25.0, 45.0, 0.0, 0.3);
    scenario.load = Curve::between(40.0, 1e9, 1_400.0, 1_000.0);
    let found = fitted(&recorded(&scenario)).found();
    for (index, endpoint) in found.endpoints.iter().enumerate() {
        let (least, likely, most) = endpoint.workers;
        assert!((7..=9).contains(&likely) && least <= 8 && most >= 8, "{endpoint:?}");
        let slow = if index == 2 { 1.5 } else { 1.0 };
        near(at(&endpoint.works_ms, 40.0), 40.0 * slow, 0.12);
        let errors = at(&endpoint.errors, 35.0);
        let truth = if index == 4 { 0.3 } else { 0.0 };
        assert!((errors - truth).abs() < 0.03, "{index}: {errors}");
    }
    near(at(&found.load, 20.0), 1_400.0, 0.03);
    near(at(&found.load, 50.0), 1_000.0, 0.03);
    near(found.sigma, 0.8, 0.05);
    assert_eq!((found.clients, found.ticks_late), (40, 1));
}

#[test]
fn zones_comings_and_patience_are_recovered() {
    let mut scenario = fleet();
    scenario.zones = vec![("a".to_owned(), 0.7), ("b".to_owned(), 0.3)];
    scenario.cross_zone = core::time::Duration::from_millis(20);
    scenario.timeout = core::time::Duration::from_millis(700);
    scenario.telemetry.declares_workers = true;
    for (index, backend) in scenario.backends.iter_mut().enumerate() {
        backend.zone = index % 2;
    }
    scenario.backends[3].present = vec![(20.0, f64::INFINITY)];
    scenario.backends[5].slowness = Curve::between(30.0, 50.0, 1.0, 30.0);
    let fit = Fit::of(&recorded(&scenario), &|_| true, Guess::Likely).unwrap();
    let (found, made) = (fit.found(), fit.scenario(1));
    near(found.cross_zone_ms, 20.0, 0.1);
    near(found.patience.as_secs_f64(), 0.7, 0.1);
    assert_eq!(made.backends.len(), 10);
    near(made.zones[0].1 / (made.zones[0].1 + made.zones[1].1), 0.7, 0.03);
    assert!(!made.backends[3].is_present(10.0) && made.backends[3].is_present(25.0));
    assert!(found.endpoints.iter().all(|one| one.declared && one.workers == (8, 8, 8)));
}

#[test]
fn a_twin_comes_to_what_was_recorded() {
    let mut scenario = fleet();
    scenario.backends[2].slowness = Curve::between(30.0, 50.0, 1.0, 2.0);
    scenario.backends[4].errors = Curve::between(25.0, 45.0, 0.0, 0.3);
    let steps = recorded(&scenario);
    let fit = Fit::of(&steps, &|slot| !is_held_out(slot), Guess::Likely).unwrap().settled(&steps);
    let from = counted_from(&steps);
    let held_out = |slot: usize| slot > from && is_held_out(slot);
    let twin = recorded(&fit.scenario(77));
    let doubts = check(&Tally::of(&steps, &held_out), &Tally::of(&twin, &held_out), true);
    assert!(doubts.is_empty(), "{doubts:?}");
}

#[test]
fn what_is_not_seen_is_guessed_in_two_ways() {
    let mut scenario = fleet();
    // Nobody asks it from second 30 on, when it is failing.
    scenario.backends[4].errors = Curve::between(20.0, 1e9, 0.0, 0.5);
    let mut steps = recorded(&scenario);
    for step in &mut steps[30..] {
        if let Some(traffic) = &mut step.traffic {
            traffic.rows = traffic.rows.iter().filter(|row| row.endpoint != 4).cloned().collect();
        }
    }
    let errors = |guess: Guess| {
        let fit = Fit::of(&steps, &|_| true, guess).unwrap();
        fit.scenario(1).backends[4].errors.at(50.0)
    };
    near(errors(Guess::Dark), 0.5, 0.1);
    assert!(errors(Guess::Bright) < 0.01);
}

#[test]
fn few_requests_tell_a_ratio_roughly() {
    // Wilson's interval for 5 of 100 at two deviations.
    near(Guess::Dark.ratio((5.0, 100.0)), 0.1127, 0.01);
    near(Guess::Bright.ratio((5.0, 100.0)), 0.0212, 0.01);
    for (failed, all) in [(0.0, 1.0), (1.0, 1.0), (3.0, 1e6)] {
        let [likely, bright, dark] = Guess::ALL.map(|guess| guess.ratio((failed, all)));
        assert!(bright <= likely && likely <= dark, "{failed} of {all}");
    }
    assert!(Guess::Dark.ratio((0.0, 1e5)) < 1e-4);
}

#[test]
fn patience_that_nobody_lost_is_not_told() {
    let steps = recorded(&fleet());
    let [likely, bright, dark] = Guess::ALL
        .map(|guess| Fit::of(&steps, &|_| true, guess).unwrap().found().patience.as_secs_f64());
    assert!(likely >= 15.0 && bright >= 15.0 && (0.2..2.0).contains(&dark), "{dark}");
}

#[test]
fn worlds_have_to_agree_with_each_other() {
    let world = |ms: f64| {
        let mut tally = Tally { requests: 1e4, ..Tally::default() };
        let bucket = (0..80).find(|one| weir_engine::latency::upper_ms(*one) >= ms).unwrap();
        tally.latency = Latency { count: 1e4, sum_ms: 1e4 * ms, buckets: vec![(bucket, 1e4)] };
        tally
    };
    assert!(open(1, &[100.0, 98.0, 102.0].map(world)).is_empty());
    let doubts = open(1, &[100.0, 80.0, 125.0].map(world));
    assert!(matches!(doubts[..], [Doubt::Open { .. }, Doubt::Open { .. }]), "{doubts:?}");
}

#[test]
fn little_is_told_as_little() {
    let short = Scenario { length: 12.0, counted: (2.0, 10.0), ..fleet() };
    let steps = recorded(&short);
    let of = |steps: &[Seen]| Fit::of(steps, &|_| true, Guess::Likely).err();
    assert!(matches!(of(&steps), Some(Doubt::Short { .. })));
    assert_eq!(of(&[]), Some(Doubt::Silent));
    let quiet = Scenario { load: Curve::level(5.0), ..fleet() };
    assert!(matches!(of(&recorded(&quiet)), Some(Doubt::Few { .. })));
    let mut untimed = fleet();
    untimed.telemetry.sampled = 0.0;
    assert_eq!(of(&recorded(&untimed)), Some(Doubt::Untimed));
    for doubt in [of(&steps), of(&[])].into_iter().flatten() {
        assert!(!doubt.to_string().is_empty());
    }
}

#[test]
fn close_is_close_both_ways() {
    for (one, other, close) in
        [(100.0, 114.0, true), (100.0, 118.0, false), (0.0, 0.0, true), (f64::NAN, 1.0, false)]
    {
        assert_eq!(is_close(Figure::P99, one, other), close, "{one} {other}");
        assert_eq!(is_close(Figure::P99, other, one), close, "{other} {one}");
    }
    assert!(is_close(Figure::Errors, 0.0005, 0.0014) && !is_close(Figure::P99, 0.0005, 0.0014));
}

fn topology(endpoints: u32) -> ServiceTopology {
    let endpoint = |index: u32| Declared {
        address: format!("10.1.0.{index:03}:80").into(),
        locality: Locality {
            zone: if index.is_multiple_of(2) { "a" } else { "b" }.into(),
            ..Locality::default()
        },
        concurrency: core::num::NonZeroU32::new(index),
        ready: index != 3,
    };
    ServiceTopology {
        service: crate::world::service(),
        endpoints: (0..endpoints).map(endpoint).collect(),
        clusters: vec![ClientCluster { name: "c".into(), form: ClusterForm::native() }],
        counts: Source::LoadReport,
    }
}

fn any_row() -> impl Strategy<Value = Row> {
    let counts = (0..6_u32, 0..3_000_u64, 0..400_u64, 0..400_u64, 0..50_u32);
    let timed = (0.0..3_000.0_f64, prop_oneof![0.0..1e5_f64, Just(f64::MAX), Just(f64::NAN)]);
    (counts, timed, 0..90_u8, 0..100_000_u64).prop_map(|(counts, timed, bucket, exposure)| {
        let (endpoint, requests, errors, timeouts, clients) = counts;
        Row {
            endpoint,
            requests,
            errors,
            timeouts,
            clients,
            exposure: core::time::Duration::from_millis(exposure),
            latency: Latency { count: timed.0, sum_ms: timed.1, buckets: vec![(bucket, timed.0)] },
            ..Row::default()
        }
    })
}

fn any_step() -> impl Strategy<Value = (u64, Option<u32>, Option<Vec<Row>>)> {
    let gap = prop_oneof![9 => 900..1_100_u64, 1 => 0..40_000_u64];
    (
        gap,
        prop::option::weighted(0.1, 0..6_u32),
        prop::option::weighted(0.9, prop::collection::vec(any_row(), 0..8)),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_recording_gives_a_world_or_a_doubt(told in prop::collection::vec(any_step(), 0..70)) {
        let mut at = 1_000_000;
        let mut steps = Vec::new();
        for (index, (gap, endpoints, rows)) in told.into_iter().enumerate() {
            at += gap;
            let declared = if index == 0 { Some(4) } else { endpoints };
            let traffic = rows.map(|rows| ServiceTraffic {
                service: crate::world::service(),
                clients: 3,
                reporters: 3,
                zones: vec![ZoneTraffic { zone: "a".into(), rows: rows.clone().into() }],
                rows: rows.into(),
                ..ServiceTraffic::default()
            });
            steps.push(Seen {
                at: Moment::from_millis(at),
                topology: declared.map(topology),
                traffic,
                decided: None,
            });
        }
        for guess in Guess::ALL {
            match Fit::of(&steps, &|slot| !is_held_out(slot), guess) {
                Ok(fit) => {
                    let fit = fit.with_workers(5).settled(&steps);
                    let told = recorded(&fit.scenario(3));
                    let tally = Tally::of(&told, &|_| true);
                    for doubt in check(&Tally::of(&steps, &|_| true), &tally, true) {
                        prop_assert!(!doubt.to_string().is_empty());
                    }
                }
                Err(doubt) => prop_assert!(!doubt.to_string().is_empty()),
            }
        }
    }
}
