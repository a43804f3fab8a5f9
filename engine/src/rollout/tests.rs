use alloc::string::ToString;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::assessment::Assessment;
use crate::decision::{EndpointDecision, Stance};
use crate::model::View;
use crate::names::PolicyName;
use crate::observation::{Row, ServiceTraffic};
use crate::plan::Plan;
use crate::units::PerSecond;

/// Says of every look what it is told to.
struct Says(Finding);

impl Model for Says {
    type Memory = u32;

    fn version(&self) -> &'static str {
        "says"
    }

    fn remap(&self, _: &mut u32, _: &[Option<usize>]) {}

    fn assess(&self, _: &View<'_>, _: &mut u32) -> Assessment {
        Assessment::default()
    }

    fn share(&self, _: &View<'_>, _: &Assessment, _: &mut u32) -> Plan {
        Plan::default()
    }

    fn compare(&self, _: &Look, _: &Bar, memory: &mut u32) -> Verdict {
        *memory += 1;
        Verdict { finding: self.0, comparisons: Vec::new() }
    }
}

fn id(name: &str) -> ServiceId {
    ServiceId::new("shop", name)
}

fn goal() -> Rollout {
    Rollout {
        service: id("search"),
        policy: PolicyName::from("shop/search"),
        mode: Mode::Enforce,
        suspended: false,
        yields: None,
        stable: id("search-v6"),
        canary: id("search-v7"),
        steps: [0.02, 0.1, 0.5].map(Ratio::clamped).to_vec(),
        failures_max: 2,
        deadline: Duration::from_secs(1_800),
        on_failure: OnFailure::Rollback,
        objectives: Vec::new(),
        interval: None,
        min_samples: 100,
        stale_after: None,
    }
}

fn version(name: &str, serving: usize, (load, capacity): (f64, Option<f64>)) -> ServiceDecision {
    let endpoint = |number: usize| EndpointDecision {
        address: alloc::format!("10.0.0.{number}:80").into(),
        weight: 1.0,
        share: Ratio::ZERO,
        state: EndpointState::Serving,
        reason: crate::decision::Reason::Equal,
        bound: None,
    };
    ServiceDecision {
        warnings: Vec::new(),
        service: id(name),
        policy: PolicyName::default(),
        mode: Mode::Enforce,
        stance: Stance::Resting,
        load: PerSecond::clamped(load),
        capacity: capacity.map(PerSecond::clamped),
        endpoints: (0..serving).map(endpoint).collect(),
        realisations: Vec::new(),
        objectives: Vec::new(),
        moved: Ratio::ZERO,
        shed: Ratio::ZERO,
        zones: Vec::new(),
        offer: None,
        approval: None,
    }
}

fn traffic(name: &str, requests: u64) -> ServiceTraffic {
    let row = Row { requests, clients: 1, ..Row::default() };
    ServiceTraffic { service: id(name), clients: 1, rows: vec![row].into(), ..Default::default() }
}

/// A rollout, second by second.
struct Run {
    goals: Goals,
    progress: Vec<Progress<u32>>,
    at: Moment,
    last: Option<Arc<RolloutDecision>>,
    /// Capacity of the version in use.
    capacity: Option<f64>,
    canaries: usize,
    stables: usize,
    words: Vec<crate::approval::Word>,
}

impl Run {
    fn new(goal: Rollout) -> Self {
        Self {
            goals: Goals { services: Vec::new(), rollouts: vec![goal] },
            progress: Vec::new(),
            at: Moment::default(),
            last: None,
            capacity: None,
            canaries: 2,
            stables: 2,
            words: Vec::new(),
        }
    }

    /// One second, with telemetry or without; the new version's weight after it.
    fn second(&mut self, finding: Finding, seen: bool) -> f64 {
        self.at = self.at.plus(Duration::from_secs(1));
        let weight = self.last.as_ref().map_or(0.0, |last| last.weight.value());
        let mut observation = Observation { at: self.at, ..Observation::default() };
        observation.words = core::mem::take(&mut self.words);
        if seen {
            observation.traffic = vec![traffic("search-v6", 900), traffic("search-v7", 100)];
        }
        let load = (1_000.0 * (1.0 - weight), self.capacity);
        let services = [
            Arc::new(version("search-v6", self.stables, load)),
            Arc::new(version("search-v7", self.canaries, (1_000.0 * weight, None))),
        ];
        let given = Given {
            at: self.at,
            sequence: self.at.millis(),
            elapsed: Duration::from_secs(1),
            observation: &observation,
            services: &services,
        };
        let decided = decide(&mut self.progress, &self.goals, &given, &Says(finding));
        self.last = decided.into_iter().next();
        self.last().weight.value()
    }

    fn seconds(&mut self, count: u32, finding: Finding) -> f64 {
        (0..count).map(|_| self.second(finding, true)).last().unwrap()
    }

    fn last(&self) -> &RolloutDecision {
        self.last.as_deref().unwrap()
    }
}

#[test]
fn a_version_that_passes_takes_over_and_is_watched() {
    let mut run = Run::new(goal());
    assert!((run.second(Finding::Inconclusive, true) - 0.02).abs() < 1e-9);
    assert!((run.seconds(60, Finding::Inconclusive) - 0.02).abs() < 1e-9, "it waits for proof");
    assert_eq!(run.last().reason, Reason::Gathering);
    run.seconds(60, Finding::Pass);
    assert!((run.last().weight.value() - 1.0).abs() < 1e-9);
    assert_eq!(run.last().phase, Phase::Watching);
    run.seconds(601, Finding::Inconclusive);
    assert_eq!((run.last().phase, run.last().reason), (Phase::Done, Reason::TakenOver));
}

#[test]
fn a_version_that_fails_after_it_took_over_goes_back_as_there_is_room() {
    let mut run = Run::new(goal());
    run.seconds(80, Finding::Pass);
    assert_eq!(run.last().phase, Phase::Watching);
    run.capacity = Some(1_375.0);
    let mut before = run.last().weight.value();
    for _ in 0..60 {
        let after = run.second(Finding::Fail, true);
        // The version in use is empty at first: 80 % of its capacity is all of the traffic.
        assert!(before - after <= 0.25 + 1e-9);
        before = after;
    }
    assert_eq!(run.last().phase, Phase::GivenUp);
    assert!(before < 1e-9);
}

#[test]
fn a_version_in_use_without_room_takes_its_traffic_back_slowly() {
    let mut run = Run::new(goal());
    run.seconds(80, Finding::Pass);
    run.capacity = Some(125.0);
    run.seconds(10, Finding::Fail);
    let before = run.last().weight.value();
    let after = run.second(Finding::Fail, true);
    assert!(before > 0.5 && before - after <= 0.1 + 1e-9, "{before} {after}");
}

#[test]
fn failures_count_up_to_the_limit() {
    let mut run = Run::new(goal());
    run.seconds(5, Finding::Inconclusive);
    run.seconds(5, Finding::Fail);
    assert_eq!(run.last().reason, Reason::Failing { failures: 1, limit: 2 });
    run.seconds(5, Finding::Fail);
    assert_eq!((run.last().phase, run.last().reason), (Phase::GivenUp, Reason::Worse));
    assert!(run.seconds(600, Finding::Pass) < 1e-9, "what is given up stays so");
    assert_eq!(
        run.last().to_string(),
        "shop/search-v7 gets 0.0 % of shop/search: given up, the new version is worse"
    );
}

#[test]
fn a_policy_may_want_longer_evaluations_but_not_shorter_ones() {
    for (interval, seconds) in [(1, 5), (30, 30)] {
        let interval = Some(Duration::from_secs(interval));
        let mut run = Run::new(Rollout { interval, ..goal() });
        run.seconds(seconds - 1, Finding::Fail);
        assert_eq!(run.last().failures, 0);
        run.seconds(1, Finding::Fail);
        assert_eq!(run.last().failures, 1);
    }
}

#[test]
fn pausing_stays_where_it_is() {
    let mut run = Run::new(Rollout { on_failure: OnFailure::Pause, ..goal() });
    let weight = run.seconds(40, Finding::Fail);
    assert!((weight - 0.02).abs() < 1e-9);
    assert_eq!((run.last().phase, run.last().reason), (Phase::Paused, Reason::Worse));
}

#[test]
fn silence_holds_and_does_not_count() {
    let mut run = Run::new(Rollout { deadline: Duration::from_secs(60), ..goal() });
    run.seconds(20, Finding::Inconclusive);
    for _ in 0..600 {
        assert!((run.second(Finding::Pass, false) - 0.02).abs() < 1e-9);
    }
    assert!(matches!(run.last().reason, Reason::Silent { .. }));
    run.seconds(30, Finding::Inconclusive);
    assert_eq!(run.last().phase, Phase::Stepping { step: 0 });
    run.seconds(15, Finding::Inconclusive);
    assert_eq!(run.last().reason, Reason::Late { deadline: Duration::from_secs(60) });
    assert!(run.last().weight.value() < 1e-9);
}

#[test]
fn only_enforcing_moves_anything() {
    for goal in [
        Rollout { mode: Mode::Observe, ..goal() },
        Rollout { mode: Mode::Recommend, ..goal() },
        Rollout { suspended: true, ..goal() },
    ] {
        assert!(Run::new(goal).seconds(60, Finding::Pass) < 1e-9);
    }
    let mut run = Run::new(goal());
    run.seconds(20, Finding::Pass);
    let before = run.last().weight;
    run.goals.rollouts.clear();
    run.seconds(60, Finding::Pass);
    assert_eq!(run.last().weight, before, "a policy that goes leaves the route as it is");
    assert!(run.last().acts() && !run.last().acts_on_others(), "but a route of others' comes back");
}

#[test]
fn while_another_controller_is_at_work_nothing_moves_and_nothing_is_judged() {
    let mut run = Run::new(goal());
    run.seconds(5, Finding::Inconclusive);
    let before = run.last().weight;
    run.goals.rollouts[0].yields = Some(Arc::from("Flagger's Canary search is at work"));
    run.seconds(3_600, Finding::Fail);
    assert_eq!((run.last().weight, run.last().failures), (before, 0));
    assert_eq!(run.last().reason, Reason::Yielding);
    assert!(run.last().to_string().contains("held: Flagger's Canary search is at work"));
    run.goals.rollouts[0].yields = None;
    run.seconds(20, Finding::Inconclusive);
    assert_eq!(run.last().reason, Reason::Gathering, "that time was not its own");
    run.seconds(60, Finding::Pass);
    assert!(run.last().weight > before, "and it goes on");
}

#[test]
fn a_version_that_went_back_is_tried_again_only_once_its_policy_was_away() {
    let mut run = Run::new(goal());
    run.seconds(20, Finding::Fail);
    assert_eq!((run.last().phase, run.last().weight), (Phase::GivenUp, Ratio::ZERO));
    // Other steps, or a pause, are no other version.
    run.goals.rollouts[0].steps = vec![Ratio::clamped(0.01)];
    run.seconds(10, Finding::Pass);
    assert_eq!(run.last().phase, Phase::GivenUp);
    let wanted = run.goals.rollouts.pop().unwrap();
    run.seconds(2, Finding::Pass);
    assert_eq!((run.last().phase, run.last().reason), (Phase::GivenUp, Reason::Gone));
    run.goals.rollouts.push(wanted.clone());
    assert!((run.second(Finding::Inconclusive, true) - 0.01).abs() < 1e-9);
    assert_eq!((run.last().phase, run.last().failures), (Phase::Stepping { step: 0 }, 0));

    // One that has taken over goes on, away or not: beginning anew would take everything from it.
    let mut run = Run::new(goal());
    run.seconds(80, Finding::Pass);
    let wanted = run.goals.rollouts.pop().unwrap();
    run.seconds(2, Finding::Pass);
    run.goals.rollouts.push(wanted);
    run.seconds(2, Finding::Inconclusive);
    assert_eq!((run.last().phase, run.last().weight), (Phase::Watching, Ratio::ONE));
}

#[test]
fn what_nobody_wants_and_nothing_is_left_of_is_forgotten() {
    let mut run = Run::new(goal());
    run.seconds(20, Finding::Pass);
    run.goals.rollouts.clear();
    run.seconds(20, Finding::Pass);
    let observation = Observation { at: run.at, ..Observation::default() };
    let given = |services| Given {
        at: run.at,
        sequence: 1,
        elapsed: Duration::from_secs(1),
        observation: &observation,
        services,
    };
    let one = [Arc::new(version("search-v7", 2, (0.0, None)))];
    let left = decide(&mut run.progress, &run.goals, &given(&one), &Says(Finding::Pass));
    assert_eq!(left.len(), 1, "one of the two is there: its route is in use");
    assert!(decide(&mut run.progress, &run.goals, &given(&[]), &Says(Finding::Pass)).is_empty());
}

#[test]
fn another_version_begins_anew() {
    let mut run = Run::new(goal());
    run.seconds(80, Finding::Pass);
    run.goals.rollouts[0] = Rollout { stable: id("search-v7"), canary: id("search-v6"), ..goal() };
    assert!((run.second(Finding::Inconclusive, true) - 0.02).abs() < 1e-9);
}

/// Whoever calls the old version the one in use again, or the new one before it is proven, gets
/// that without a jump; then the next version begins.
#[test]
fn other_versions_begin_once_traffic_is_with_the_one_that_they_call_in_use() {
    for (stable, end) in [("search-v6", 0.0), ("search-v7", 1.0)] {
        let mut run = Run::new(goal());
        let mut before = 0.0;
        while before < 0.3 {
            before = run.second(Finding::Pass, true);
        }
        let next = Rollout { stable: id(stable), canary: id("search-v8"), ..goal() };
        run.goals.rollouts[0] = next;
        let mut seconds = 0;
        while run.last().canary == id("search-v7") {
            assert!(seconds < 20, "{}", run.last());
            let after = run.second(Finding::Fail, true);
            let most = if end > 0.5 { 0.1 } else { 0.25 };
            if run.last().canary == id("search-v7") {
                assert!((after - before).abs() <= most + 1e-9, "{before} {after}");
                before = after;
            }
            seconds += 1;
        }
        assert!((before - end).abs() < 1e-9, "{before}");
        assert_eq!(run.last().stable, id(stable));
        assert_eq!(run.last().phase, Phase::Stepping { step: 0 });
    }
}

#[test]
fn nobody_is_sent_back_to_a_version_without_endpoints() {
    let mut run = Run::new(goal());
    run.seconds(80, Finding::Pass);
    assert_eq!(run.last().phase, Phase::Watching);
    // The old version is gone, and somebody forgot that it is no longer the one in use.
    run.stables = 0;
    run.goals.rollouts[0].canary = id("search-v8");
    assert!((run.seconds(30, Finding::Pass) - 1.0).abs() < 1e-9);
    assert_eq!(run.last().reason, Reason::NoEndpoint { canary: false });
    assert_eq!(run.last().canary, id("search-v7"));
}

proptest! {
    /// Whatever the model says and whoever is there: the new version never has more than its
    /// step, nothing without endpoints, and the two shares are all of it.
    #[test]
    fn no_verdict_exceeds_the_steps(
        script in prop::collection::vec((0..3_u8, any::<bool>(), 0..3_usize, 0..3_usize), 1..200)
    ) {
        let mut run = Run::new(goal());
        for (finding, seen, canaries, stables) in script {
            (run.canaries, run.stables) = (canaries, stables);
            let finding = [Finding::Pass, Finding::Fail, Finding::Inconclusive][usize::from(finding)];
            let before = run.last.clone();
            let after = run.second(finding, seen);
            let last = run.last();
            if let Phase::Stepping { step } = last.phase {
                prop_assert!(after <= last.steps[step as usize].value() + 1e-9);
            }
            let acting = !matches!(last.reason, Reason::Silent { .. });
            if canaries == 0 && stables > 0 && acting {
                prop_assert!(after < 1e-9);
            }
            let parts = after * 10_000.0;
            prop_assert!((parts - libm::round(parts)).abs() < 1e-6 && after <= 1.0);
            if let Some(before) = before {
                prop_assert!(after - before.weight.value() <= 0.1 + 1e-9);
            }
        }
    }
}

/// The offer of the last second.
fn offered(run: &Run) -> StepOffer {
    run.last.as_ref().unwrap().offer.unwrap()
}

fn approve(run: &mut Run) {
    let until = Some(run.at.plus(Duration::from_secs(60)));
    let offer = offered(run).number;
    run.words.push(crate::approval::Word { service: id("search"), offer, until, by: "a".into() });
}

#[test]
fn in_recommend_every_step_waits_for_a_person() {
    let mut run = Run::new(Rollout { mode: Mode::Recommend, ..goal() });
    // Longer than the deadline: the time that a person takes is not the new version's.
    for _ in 0..2_000 {
        assert!(run.second(Finding::Pass, true) <= 0.0);
    }
    let first = offered(&run);
    assert_eq!((first.step, first.weight, first.number), (0, Ratio::clamped(0.02), 1_000));
    for weight in [0.02, 0.1, 0.5] {
        approve(&mut run);
        for _ in 0..200 {
            run.second(Finding::Pass, true);
        }
        let last = run.last.clone().unwrap();
        if weight < 0.5 {
            assert_eq!((last.weight.value(), last.reason), (weight, Reason::Awaiting));
        } else {
            assert_eq!((last.weight.value(), last.phase, last.offer), (1.0, Phase::Watching, None));
        }
    }
}

#[test]
fn what_is_approved_goes_back_by_itself() {
    let mut run = Run::new(Rollout { mode: Mode::Recommend, ..goal() });
    run.second(Finding::Pass, true);
    approve(&mut run);
    for _ in 0..200 {
        run.second(Finding::Pass, true);
    }
    assert_eq!(run.last.as_ref().unwrap().weight, Ratio::clamped(0.02));
    for _ in 0..200 {
        run.second(Finding::Fail, true);
    }
    let last = run.last.clone().unwrap();
    assert_eq!((last.weight.value(), last.phase, last.offer), (0.0, Phase::GivenUp, None));
}

#[test]
fn a_word_on_another_offer_is_no_approval() {
    let mut run = Run::new(Rollout { mode: Mode::Recommend, ..goal() });
    run.second(Finding::Pass, true);
    let until = Some(run.at.plus(Duration::from_secs(60)));
    let wrong =
        [(id("search"), 7, until), (id("other"), 1_000, until), (id("search"), 1_000, None)];
    run.words = wrong
        .map(|(service, offer, until)| crate::approval::Word {
            service,
            offer,
            until,
            by: "a".into(),
        })
        .to_vec();
    for _ in 0..200 {
        assert!(run.second(Finding::Pass, true) <= 0.0);
    }
}
