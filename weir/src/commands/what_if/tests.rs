use std::sync::Arc;

use weir_engine::decision::Realisation;
use weir_engine::goal::Mode;
use weir_models::reference::Reference;
use weir_simulator::rivals::Rival;
use weir_simulator::scenario::{Curve, Scenario};
use weir_simulator::twin::{Governed, record};
use weir_simulator::world;

use super::report::{Check, Column, Promise, Ranged};
use super::*;
use crate::recording::simulated::record as written;

const POLICY: &str = "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: { name: shop, namespace: demo }
spec:
  targetRefs: [{ group: '', kind: Service, name: shop }]
  mode: Enforce
  objectives:
    - name: available
      targetPercent: 99.9
      indicator: { type: Availability }
";

fn goal(mode: Mode) -> Goal {
    let goals = weir_policies::check::check(&[weir_policies::check::Document::new("p", POLICY)]);
    Goal { mode, ..goals.unwrap().goals.services.remove(0) }
}

/// One of ten fails a third of its requests.
fn failing() -> Scenario {
    let mut scenario = Scenario { load: Curve::level(1_300.0), length: 60.0, ..Scenario::fleet(4) };
    scenario.telemetry.ticks_late = 1;
    scenario.backends[0].errors = Curve::between(25.0, 45.0, 0.0, 0.3);
    scenario
}

/// What proxies follow.
type Followed<'a> = Option<(Mode, &'a [Arc<Realisation>])>;

/// What is in force at each step.
fn followed(steps: &[Seen]) -> Vec<Followed<'_>> {
    let of = |index: usize| {
        let decided = steps[..=index].iter().rev().find_map(|step| step.decided.as_deref())?;
        Some((decided.mode, &*decided.realisations))
    };
    (0..steps.len()).map(of).collect()
}

#[test]
fn a_journal_tells_what_the_world_did() {
    let shedding = Scenario { load: Curve::between(25.0, 45.0, 1_300.0, 3_000.0), ..failing() };
    for scenario in [failing(), shedding] {
        let folder = tempfile::tempdir().unwrap();
        let goal = goal(Mode::Enforce);
        written(&scenario, &goal, folder.path()).unwrap();
        let told = journal::read(folder.path(), &Part::default()).unwrap();
        assert_eq!(told.service, world::service());
        let plan = vec![(0.0, goal)];
        let mut governed = Governed::new(Reference, &plan).unwrap();
        let steps = record(&scenario, Rival::Weir, &mut governed);
        assert_eq!((told.recorded.plan, told.notes), (plan, vec![]));
        assert_eq!(told.recorded.steps.len(), steps.len());
        for (read, played) in told.recorded.steps.iter().zip(&steps) {
            assert_eq!((&read.at, &read.traffic), (&played.at, &played.traffic));
        }
        // At rest again, nothing is steered any more, though a journal does not say so.
        assert_eq!(followed(&told.recorded.steps), followed(&steps));
    }
}

#[test]
fn a_part_of_a_journal_begins_with_what_was_in_force() {
    let folder = tempfile::tempdir().unwrap();
    written(&failing(), &goal(Mode::Enforce), folder.path()).unwrap();
    let part = Part {
        from: Some(Moment::from_millis(20_000)),
        until: Some(Moment::from_millis(30_000)),
        ..Part::default()
    };
    let told = journal::read(folder.path(), &part).unwrap();
    let steps = &told.recorded.steps;
    assert_eq!(steps.len(), 11);
    assert!(steps[0].topology.is_some() && steps[0].decided.is_some());
    assert_eq!(told.recorded.plan.len(), 1);
    let later = Part { from: Some(Moment::from_millis(99_000)), ..Part::default() };
    let error = journal::read(folder.path(), &later).unwrap_err().to_string();
    assert!(error.contains("--from"), "{error}");
    let other = Part { service: Some("demo/cart".to_owned().try_into().unwrap()), ..part };
    let error = journal::read(folder.path(), &other).unwrap_err().to_string();
    assert!(error.contains("demo/cart") && error.contains("demo/shop"), "{error}");
}

#[test]
fn acting_is_foretold_from_watching() {
    let scenario = failing();
    let recorded = |mode: Mode| {
        let plan = vec![(0.0, goal(mode))];
        let mut governed = Governed::new(Reference, &plan).unwrap();
        let steps = record(&scenario, Rival::Weir, &mut governed);
        Recorded { steps, plan }
    };
    let (watched, acted) = (recorded(Mode::Observe), recorded(Mode::Enforce));
    let study = study(&watched, std::slice::from_ref(&acted.plan), 3).unwrap();
    assert!(study.doubts.is_empty(), "{:?}", study.doubts);
    let from = weir_simulator::twin::check::counted_from(&acted.steps);
    let truth = weir_simulator::twin::Tally::of(&acted.steps, &|slot| slot > from);
    let told = study.outcomes[1].likely();
    for figure in weir_simulator::twin::Figure::ALL {
        let (told, truth) = (told.figure(figure), truth.figure(figure));
        assert!(weir_simulator::twin::check::is_close(figure, told, truth), "{told} {truth}");
    }
    assert!(told.error_ratio() < 0.5 * study.outcomes[0].likely().error_ratio());
    assert!(told.ejections > 0 && study.outcomes[0].likely().ejections == 0);
}

fn column(policy: &str, errors: f64) -> Column {
    let one = |value: f64| Ranged { value, least: value, most: value };
    let objective = |name: &str, good: Option<f64>| Promise {
        name: name.to_owned(),
        target: 0.999,
        good,
        budget_burnt: good.map(|good| (1.0 - good) / 0.001),
    };
    Column {
        policy: policy.to_owned(),
        mode: "Enforce",
        requests: 1e6,
        p50_ms: one(16.4),
        p99_ms: Ranged { value: 97.0, least: 91.0, most: 104.0 },
        error_ratio: one(errors),
        refused_ratio: 0.0,
        cross_zone_ratio: Some(0.25),
        cross_zone_cost: Some(12.5),
        ejections: one(2.0),
        churn: one(0.42),
        objectives: vec![objective("available", Some(1.0 - errors)), objective("found", None)],
    }
}

fn shown(doubts: &[&str]) -> Answer {
    Answer {
        service: "demo/<shop>".to_owned(),
        conclusive: doubts.is_empty(),
        doubts: doubts.iter().map(|doubt| (*doubt).to_owned()).collect(),
        notes: vec!["the last frame is torn".to_owned()],
        seconds: 80.0,
        seeds: 5,
        recorded: Some(column("recorded", 0.012)),
        policies: vec![column("demo/shop (recorded)", 0.0121), column("b.yaml", 0.0004)],
        checks: vec![
            Check { figure: "p50_ms", recorded: 16.0, twin: 16.5 },
            Check { figure: "p99_ms", recorded: 96.0, twin: 97.2 },
            Check { figure: "error_ratio", recorded: 0.0119, twin: 0.0121 },
        ],
        twin: None,
    }
}

#[test]
fn answers_read_well() {
    insta::assert_snapshot!(table::text(&shown(&[])));
    let doubts = ["p99 of held-out ticks: 96 ms recorded, 130 ms in the twin (+35 %)"];
    let text = table::text(&shown(&doubts));
    assert!(text.ends_with(&format!("inconclusive: {}\n", doubts[0])), "{text}");
    let none = report::of_doubt("a/b".into(), &weir_simulator::twin::Doubt::Silent, 1, vec![]);
    assert_eq!(table::text(&none), "inconclusive: no traffic of the service is recorded\n");
}

#[test]
fn the_page_stands_alone_and_names_are_escaped() {
    for answer in [shown(&[]), shown(&["it is off"])] {
        let page = page::page(&answer, None);
        assert!(page.contains("demo/&lt;shop&gt;") && !page.contains("<shop>"));
        for foreign in ["http:", "https:", "<script", "<link", "url(", "@import", "src="] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert_eq!(page.contains("Inconclusive"), !answer.conclusive);
    }
}

#[test]
fn policies_of_other_services_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.yaml");
    std::fs::write(&path, POLICY).unwrap();
    let paths = [path];
    assert_eq!(policies::read(&paths, &world::service()).unwrap()[0].goal, goal(Mode::Enforce));
    let cart = "demo/cart".to_owned().try_into().unwrap();
    let problems = policies::read(&paths, &cart).unwrap_err();
    let text = render(&problems, Colour::Never);
    assert!(text.contains("demo/shop") && text.contains("name: cart"), "{text}");
}
