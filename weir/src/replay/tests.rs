#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;

use proptest::prelude::*;
use weir_engine::goal::{Goals, Mode};
use weir_journal::{HEADER_LEN, StateImage, Writer};

use super::compare::compare;
use super::*;
use crate::recording::Recording;
use crate::recording::simulated::testing::recorded;
use crate::store::journal::{Bounds, Journal, Origin};

fn quiet() -> impl FnMut(Turn<'_>) {
    |_: Turn<'_>| {}
}

fn only(folder: &Path) -> PathBuf {
    let recording = Recording::open(folder).unwrap();
    let [path] = recording.segments() else { panic!("one segment") };
    path.clone()
}

#[test]
fn worlds_of_every_kind_replay_identically() {
    for name in ["antag", "cold", "dual", "overload", "rolling", "zoneout", "liars"] {
        for mode in [Mode::Observe, Mode::Enforce] {
            let folder = recorded(name, 3, mode);
            let part = segment(&only(folder.path()), &mut quiet()).unwrap();
            assert_eq!((part.different, part.steps > 90), (0, true), "{name} {mode}: {part:?}");
        }
    }
}

/// The repository's scenarios.
fn worlds() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let names = files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Where each frame of a segment ends.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = HEADER_LEN;
    while let Some(length) = bytes.get(at..at + 4) {
        at += 24 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
        ends.push(at);
    }
    ends
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_world_replays_identically_up_to_where_its_journal_is_cut(
        name in prop::sample::select(worlds()),
        seed in 0..10_000_u64,
        mode in prop::sample::select(vec![Mode::Observe, Mode::Recommend, Mode::Enforce]),
        cut in 0.0..1.0_f64,
    ) {
        let folder = recorded(&name, seed, mode);
        let path = only(folder.path());
        let bytes = fs::read(&path).unwrap();
        let whole = segment(&path, &mut quiet()).unwrap();
        prop_assert!(whole.different == 0 && whole.steps > 0 && whole.torn.is_none(), "{whole:?}");

        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within it")]
        let cut = (cut * bytes.len() as f64) as usize;
        fs::write(&path, &bytes[..cut]).unwrap();
        let kept: Vec<usize> = ends(&bytes).into_iter().filter(|end| *end <= cut).collect();
        match (segment(&path, &mut quiet()), kept.last()) {
            (Ok(part), Some(end)) => {
                prop_assert_eq!((part.different, part.steps), (0, kept.len() as u64 - 1));
                prop_assert_eq!(part.torn.is_some(), *end < cut);
            }
            (Err(error), None) => {
                let text = error.to_string();
                prop_assert!(text.contains("torn") || text.contains("not a journal"), "{text}");
            }
            (came, end) => {
                let text = format!("{came:?} of a cut at {cut} behind {end:?}");
                return Err(TestCaseError::fail(text));
            }
        }

        // A Weir that starts there takes the torn frame away, and nothing else.
        let bounds = Bounds::of_total(Bounds::TOTAL);
        Journal::open(folder.path(), bounds, Origin::here()).unwrap();
        let left = fs::read(&path).ok();
        prop_assert_eq!(left.as_deref(), kept.last().map(|end| &bytes[..*end]));
    }
}

#[test]
fn another_decision_is_told_with_its_service_and_endpoint() {
    let folder = recorded("err30", 1, Mode::Enforce);
    let path = only(folder.path());
    let pages = Pages::read(&path).unwrap();
    let mut writer = Writer::new(Link::default());
    let mut bytes = writer.header();
    for record in pages.records().unwrap() {
        let mut record = record.unwrap();
        if let Record::Step(step) = &mut record
            && step.observation.at.millis() == 50_000
        {
            step.decision = [7; 16];
            std::sync::Arc::make_mut(&mut step.changed[0]).endpoints[3].weight = 0.25;
        }
        bytes.extend(writer.frame(&record));
    }
    fs::write(&path, bytes).unwrap();
    let part = segment(&path, &mut quiet()).unwrap();
    let first = part.first.unwrap();
    assert_eq!((part.different, first.at.millis()), (1, 50_000));
    assert!(first.what[0].contains("demo/shop 10.0.0.003:8080: then 0.250 x"), "{:?}", first.what);
}

#[test]
fn what_is_no_journal_or_of_another_time_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.weir");
    let told = |bytes: Vec<u8>| {
        fs::write(&path, bytes).unwrap();
        segment(&path, &mut quiet()).unwrap_err().to_string()
    };
    assert!(told(b"hello".to_vec()).contains("not a journal"));
    let mut writer = Writer::new(Link::default());
    let header = writer.header();
    assert!(told(header.clone()).contains("the first record is not a state"));
    let opened = Record::Opened {
        at: Moment::default(),
        build: "9.9.9".into(),
        model: "none".into(),
        epoch: None,
        state: StateImage::of(&[255_u8; 3]),
    };
    let text = told([header.clone(), writer.frame(&opened)].concat());
    assert!(text.contains("written by weir 9.9.9"), "{text}");
    let mut newer = header;
    newer[8] = 200;
    assert!(told(newer).contains("newer"));
    let nothing = Recording::open(folder.path().join("none").as_path()).unwrap_err().to_string();
    assert!(nothing.contains("none"), "{nothing}");
}

/// The goals that a journal was recorded by, in another mode.
fn goals_of(path: &Path, change: impl Fn(&mut weir_engine::goal::Goal)) -> Goals {
    let mut goals = Goals::default();
    let mut eye = |turn: Turn<'_>| goals = turn.state.goals.clone();
    segment(path, &mut eye).unwrap();
    goals.services.iter_mut().for_each(change);
    goals
}

#[test]
fn observing_and_enforcing_decide_alike_on_one_journal() {
    for name in ["err30", "hetero", "dual", "cold", "homog"] {
        for recorded_in in [Mode::Observe, Mode::Enforce] {
            let folder = recorded(name, 2, recorded_in);
            let recording = Recording::open(folder.path()).unwrap();
            for mode in [Mode::Observe, Mode::Recommend, Mode::Enforce] {
                let goals = goals_of(&only(folder.path()), |goal| goal.mode = mode);
                let compared = compare(&recording, &goals).unwrap();
                let comparison = compared.values().next().unwrap();
                let first =
                    comparison.first.as_ref().map(|(at, a, b)| (*at, a.summary(), b.summary()));
                assert_eq!(comparison.different, 0, "{name} {recorded_in} {mode}: {first:?}");
            }
        }
    }
}

#[test]
fn another_policy_decides_otherwise_and_is_told_what_it_costs() {
    let folder = recorded("err30", 1, Mode::Observe);
    let recording = Recording::open(folder.path()).unwrap();
    let goals = goals_of(&only(folder.path()), |goal| goal.suspended = true);
    let compared = compare(&recording, &goals).unwrap();
    let comparison = compared.values().next().unwrap();
    assert!(comparison.recorded.ejections > 0 && comparison.other.ejections == 0);
    let (recorded, other) =
        (comparison.recorded.error_ratio().unwrap(), comparison.other.error_ratio().unwrap());
    assert!(recorded < 0.5 * other, "{recorded} {other}");
}

#[test]
fn an_ejection_is_explained_from_evidence_to_effect() {
    use super::explain::{Which, explain};
    let folder = recorded("err30", 1, Mode::Enforce);
    let recording = Recording::open(folder.path()).unwrap();
    let found = explain(&recording, Which::At(Moment::from_millis(42_500)), |_| true).unwrap();
    let [found] = found.as_slice() else { panic!("one service") };
    assert_eq!(found.at.millis(), 42_000);
    assert!(found.decision.endpoints[0].is_ejected() && found.plan.endpoints[0].eject);
    assert!(found.assessment.endpoints[0].failing.is_some());
    assert!(found.seen[0].errors > 10.0 && found.seen[1].errors < 1.0, "{:?}", found.seen);
    let errors = |shares: &[f64]| found.prospect(shares).unwrap().0;
    assert!(errors(&found.decided()) < 0.1 * errors(&found.stood().unwrap()));
    assert!((errors(&found.equal()) - errors(&found.stood().unwrap())).abs() < 1e-9);
    let came = found.came.as_ref().unwrap();
    assert!(came[0].requests < 1.0 && came[1].requests > 1_000.0, "{came:?}");
    let last = explain(&recording, Which::Last, |_| true).unwrap();
    assert!(last[0].came.is_none(), "nothing follows");
    assert!(explain(&recording, Which::Number(9_999), |_| true).unwrap().is_empty());
}
