use proptest::prelude::*;
use weir_engine::observation::Sample;

use super::*;

const STEP: Duration = Duration::from_secs(15);
const START: u64 = 1_700_000_010_000;
const STEPS: u64 = 60;

fn at(index: u64) -> Moment {
    Moment::from_millis(START + index * 15_000)
}

/// A service of two to three endpoints, one of which fails for a while, and a gap.
fn reports(index: u64) -> Vec<Report> {
    if index == 0 || (20..24).contains(&index) {
        return Vec::new();
    }
    let endpoints = if (30..34).contains(&index) { 2 } else { 3 };
    let sample = |number: u64| {
        let failing = number == 0 && (10..40).contains(&index);
        Sample {
            endpoint: format!("10.0.0.{number}:80").as_str().into(),
            requests: Some(200 + number),
            errors: Some(if failing { 120 } else { 1 }),
            ..Sample::default()
        }
    };
    vec![Report {
        reporter: "proxy".into(),
        cluster: "demo/shop".into(),
        zone: "".into(),
        source: Source::Prometheus,
        at: at(index),
        window: STEP,
        complete: false,
        samples: (0..endpoints).map(sample).collect(),
        totals: None,
    }]
}

/// Takes steps from where the journal ends; says how far an earlier run had come.
fn go_on(folder: &Path, until: u64) -> Progress {
    let (mut recorder, progress) = Recorder::open(folder, Mesh::Istio, Goals::default()).unwrap();
    let from = progress.last.map_or(0, |last| last.since(at(0)).as_secs() / 15 + 1);
    for index in 0..from {
        recorder.recall(&reports(index), at(index));
    }
    for index in from..until {
        recorder.step(&reports(index), at(index)).unwrap();
    }
    progress
}

fn recorded(folder: &Path) -> Vec<Step> {
    let mut steps = Vec::new();
    for path in segments(folder).unwrap() {
        let pages = Pages::read(&path).unwrap();
        for record in pages.records().unwrap() {
            if let Record::Step(step) = record.unwrap() {
                steps.push(*step);
            }
        }
    }
    steps
}

fn uninterrupted() -> Vec<Step> {
    let folder = tempfile::tempdir().unwrap();
    go_on(folder.path(), STEPS);
    recorded(folder.path())
}

#[test]
fn topology_and_decisions_follow_telemetry() {
    let steps = uninterrupted();
    assert_eq!(steps.len(), 60);
    let first = &steps[0].observation;
    assert_eq!(first.topology.as_ref().map(|topology| topology.services.len()), Some(0));
    assert!(first.goals.is_some());
    let known = steps[1].observation.topology.as_ref().unwrap();
    assert_eq!(known.services[0].service, ServiceId::new("demo", "shop"));
    assert_eq!(known.services[0].endpoints.len(), 3);
    assert_eq!(steps[1].observation.traffic[0].rows[0].requests, 200);
    assert!(steps[22].observation.traffic.is_empty());
    let later = steps[2..].iter().filter(|step| step.observation.topology.is_some());
    assert_eq!(later.count(), 0, "a silent endpoint is remembered for minutes");
    assert!(steps.iter().any(|step| !step.changed.is_empty()), "something was decided");
}

#[test]
fn an_interruption_anywhere_changes_nothing() {
    let whole = uninterrupted();
    for cut in [0, 1, 2, 21, 33, 59, 60] {
        let folder = tempfile::tempdir().unwrap();
        go_on(folder.path(), cut);
        let progress = go_on(folder.path(), STEPS);
        assert_eq!(progress.last, cut.checked_sub(1).map(at), "{cut}");
        assert!(recorded(folder.path()) == whole, "cut after {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    /// A killed process leaves any prefix of the bytes.
    #[test]
    fn a_torn_journal_is_gone_on_with(steps in 1_u64..30, torn in 0_u64..1_000) {
        let folder = tempfile::tempdir().unwrap();
        go_on(folder.path(), steps);
        let path = segments(folder.path()).unwrap().pop().unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        let left = length * torn / 1_000;
        std::fs::File::options().write(true).open(&path).unwrap().set_len(left).unwrap();
        go_on(folder.path(), 30);
        let whole = uninterrupted();
        prop_assert!(recorded(folder.path()) == whole[..30]);
        // And the chain goes on: an ordinary reader takes all of it.
        prop_assert_eq!(go_on(folder.path(), 30).last, Some(at(29)));
    }
}

#[test]
fn the_end_is_known() {
    for steps in [1, 5] {
        let folder = tempfile::tempdir().unwrap();
        let open = || Recorder::open(folder.path(), Mesh::Istio, Goals::default()).unwrap();
        go_on(folder.path(), steps);
        let last = at(steps - 1);
        // Killed before it could say so.
        let (mut recorder, before) = open();
        assert_eq!(before, Progress { last: Some(last), finished: false });
        recorder.finish(last).unwrap();
        drop(recorder);
        assert_eq!(open().1, Progress { last: Some(last), finished: true });
        assert_eq!(recorded(folder.path()).len() as u64, steps);
    }
}

#[test]
fn a_clusters_service_is_named_by_metrics_or_policies() {
    let goal =
        |namespace: &&str| weir_engine::goal::Goal::of_unclaimed(ServiceId::new(namespace, "shop"));
    let check = |mesh, namespaces: &[&str], cluster: &str, expected: &str| {
        let services = namespaces.iter().map(goal).collect();
        let services = Services::of(mesh, &Goals { services, ..Goals::default() });
        assert_eq!(services.id(cluster).to_string(), expected);
    };
    check(Mesh::Istio, &[], "demo/shop", "demo/shop");
    check(Mesh::Linkerd, &["other"], "demo/shop", "demo/shop");
    check(Mesh::Istio, &[], "a/b/c", "default/a_b_c");
    check(Mesh::Envoy, &[], "shop", "default/shop");
    check(Mesh::Envoy, &["demo"], "shop", "demo/shop");
    check(Mesh::Envoy, &["demo", "other"], "shop", "default/shop");
    check(Mesh::Envoy, &["demo"], "demo/shop", "default/demo_shop");
}
