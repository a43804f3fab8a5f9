#![allow(clippy::unwrap_used, reason = "tests")]

use core::time::Duration;

use proptest::prelude::*;
use weir_engine::assessment::{Expectation, Judgement};
use weir_engine::goal::Goal;
use weir_engine::history::History;
use weir_engine::latency::Latency;
use weir_engine::names::{Locality, ServiceId};
use weir_engine::observation::{Row, ServiceTraffic, Source};
use weir_engine::topology::{Endpoint as Declared, ServiceTopology};
use weir_engine::units::{Millis, Moment, PerSecond, Ratio};
use weir_simulator::random::Random;

use super::*;
use crate::series::joint::{self, Choice};

/// A service of endpoints whose requests, errors and latency a test sets second by second.
struct Stage {
    topology: ServiceTopology,
    goal: Goal,
    history: History,
    watch: Watch,
    random: Random,
    second: u64,
    capacity: f64,
    spread: f64,
}

/// Of one endpoint in one second.
#[derive(Clone, Copy)]
struct Shows {
    requests: f64,
    errors: f64,
    ms: f64,
}

const WELL: Shows = Shows { requests: 100.0, errors: 0.2, ms: 40.0 };

impl Stage {
    fn new(endpoints: usize) -> Self {
        let declared = |index: usize| Declared {
            address: format!("10.0.0.{index}:80").as_str().into(),
            locality: Locality::default(),
            concurrency: None,
            ready: true,
        };
        let service = ServiceId::new("test", "watched");
        Self {
            goal: Goal::of_unclaimed(service.clone()),
            topology: ServiceTopology {
                service,
                endpoints: (0..endpoints).map(declared).collect(),
                clusters: Vec::new(),
                counts: Source::LoadReport,
            },
            history: History::default(),
            watch: Watch::default(),
            random: Random::of(1, 7, 7),
            second: 0,
            capacity: 0.0,
            spread: 0.1,
        }
    }

    fn second(&mut self, shows: impl Fn(usize) -> Shows) -> Vec<Warning> {
        let at = Moment::from_millis(1_000_000_000 + 1_000 * self.second);
        self.second += 1;
        let count = self.topology.endpoints.len();
        let rows: Vec<Row> = (0..count).map(|index| self.row(index, shows(index))).collect();
        let traffic = ServiceTraffic {
            service: self.topology.service.clone(),
            rows: rows.into(),
            ..ServiceTraffic::default()
        };
        self.history.absorb(at, count, Some(&traffic));
        let load: f64 = (0..count).map(|index| shows(index).requests).sum();
        let capacity = self.capacity / count as f64;
        let judgement = Judgement {
            expectation: Some(Expectation {
                service_time: Millis::clamped(10.0),
                deviation: 0.1,
                concurrency: 8.0,
                capacity: PerSecond::clamped(capacity),
                present: PerSecond::clamped(capacity),
                sustained: PerSecond::clamped(capacity),
                utilization: Ratio::clamped(load / self.capacity.max(2.0 * load)),
            }),
            ..Judgement::default()
        };
        let assessment = Assessment { endpoints: vec![judgement; count], ..Assessment::default() };
        let view = View {
            at,
            elapsed: Duration::from_secs(1),
            topology: &self.topology,
            goal: &self.goal,
            history: &self.history,
            standings: &[],
            acting: true,
            unrecorded: false,
        };
        self.watch.see(&view, &assessment)
    }

    fn row(&mut self, index: usize, shows: Shows) -> Row {
        let mean = shows.ms * libm::exp(self.spread * self.random.normal());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
        let whole = |value: f64| value.round() as u64;
        let errors = f64::from(u8::from(self.random.unit() < shows.errors.fract()));
        let requests = whole(shows.requests);
        Row {
            endpoint: u32::try_from(index).unwrap(),
            requests,
            errors: whole(errors + shows.errors.floor()),
            exposure: Duration::from_secs(1),
            clients: 1,
            latency: Latency {
                count: requests as f64,
                sum_ms: requests as f64 * mean,
                buckets: Vec::new(),
            },
            ..Row::default()
        }
    }

    fn seconds(&mut self, count: u64, shows: impl Fn(usize) -> Shows) -> Vec<Warning> {
        (0..count).flat_map(|_| self.second(&shows)).collect()
    }
}

fn told(warnings: &[Warning], kind: Kind) -> Vec<&Warning> {
    warnings.iter().filter(|warning| warning.finding.kind() == kind).collect()
}

#[test]
fn a_quiet_hour_tells_next_to_nothing() {
    let mut stage = Stage::new(10);
    let warned = (0..3_600).filter(|_| !stage.second(|_| WELL).is_empty()).count();
    assert!(warned < 36, "{warned} of 3,600 seconds with a warning");
}

#[test]
fn a_slow_endpoint_is_named_with_evidence() {
    let mut stage = Stage::new(10);
    stage.seconds(120, |_| WELL);
    let slow = |index| if index == 3 { Shows { ms: 120.0, ..WELL } } else { WELL };
    stage.seconds(4, slow);
    let warnings = stage.second(slow);
    assert!(warnings.iter().all(|warning| warning.endpoint == Some(3)), "{warnings:?}");
    let [unusual] = told(&warnings, Kind::Unusual)[..] else { panic!("{warnings:?}") };
    let text = unusual.finding.to_string();
    assert!(text.starts_with("latency 1") && text.contains("is usual"), "{text}");
    let [apart] = told(&warnings, Kind::Apart)[..] else { panic!("{warnings:?}") };
    assert!(apart.finding.to_string().contains("where its siblings have"), "{apart:?}");
    assert!(apart.since > Moment::from_millis(1_000_120_000));
    stage.seconds(60, |_| WELL);
    assert_eq!(stage.second(|_| WELL), [], "over");
}

#[test]
fn three_siblings_are_too_few_to_stand_apart_from() {
    let mut stage = Stage::new(3);
    stage.seconds(120, |_| WELL);
    let slow = |index| if index == 1 { Shows { ms: 120.0, ..WELL } } else { WELL };
    let warnings = stage.seconds(10, slow);
    assert_eq!(told(&warnings, Kind::Apart).len(), 0);
    assert!(warnings.iter().any(|warning| warning.endpoint == Some(1)), "by its own past");
}

#[test]
fn a_common_cause_names_the_service_alone() {
    let mut stage = Stage::new(10);
    stage.seconds(120, |_| WELL);
    let warnings = stage.seconds(10, |_| Shows { ms: 100.0, ..WELL });
    assert!(warnings.iter().all(|warning| warning.endpoint.is_none()), "{warnings:?}");
    assert!(!told(&warnings, Kind::Unusual).is_empty());
}

#[test]
fn a_small_lasting_shift_is_found() {
    let mut stage = Stage::new(1);
    stage.seconds(300, |_| WELL);
    let warnings = stage.seconds(30, |_| Shows { ms: 56.0, ..WELL });
    let shifts = told(&warnings, Kind::Shifted);
    assert!(!shifts.is_empty(), "{warnings:?}");
    assert!(shifts[0].finding.to_string().contains("above its usual for"), "{shifts:?}");
}

#[test]
fn errors_of_a_service_are_unusual() {
    let mut stage = Stage::new(5);
    stage.seconds(120, |_| WELL);
    let warnings = stage.seconds(6, |_| Shows { errors: 20.0, ..WELL });
    let texts: Vec<String> = warnings.iter().map(|w| w.finding.to_string()).collect();
    assert!(texts.iter().any(|text| text.starts_with("error ratio 2")), "{texts:?}");
}

#[test]
fn load_that_grows_towards_capacity_is_foretold() {
    let mut stage = Stage::new(4);
    stage.capacity = 1_000.0;
    stage.seconds(300, |_| WELL);
    let mut first = None;
    for second in 0_u32..100 {
        let requests = 100.0 + 1.5 * f64::from(second);
        let warnings = stage.second(|_| Shows { requests, ..WELL });
        if let [ahead] = told(&warnings, Kind::Ahead)[..] {
            first.get_or_insert((second, ahead.finding.to_string()));
        }
    }
    // 4 x (100 + 1.5 s) passes 900 after 83 s.
    let (second, text) = first.unwrap();
    assert!((23..70).contains(&second), "told at {second}");
    assert!(text.contains("more than the 900 that can be served well"), "{text}");
}

#[test]
fn a_daily_peak_above_capacity_is_foretold_on_the_second_day() {
    let mut ahead = super::ahead::Ahead::default();
    let minute = Duration::from_secs(60);
    let load = |at: u64| if at % 1_440 >= 600 && at % 1_440 < 660 { 950.0 } else { 300.0 };
    let mut told = Vec::new();
    for at in 0..2 * 1_440_u64 {
        let moment = Moment::from_millis(60_000 * at);
        if let Some(Finding::Ahead { after, .. }) =
            ahead.see(moment, (load(at), minute), Some(1_000.0))
        {
            told.push((at, after));
        }
    }
    let second_day: Vec<_> = told.iter().filter(|(at, _)| *at > 1_440 + 500).collect();
    let (first, after) = second_day.first().unwrap();
    assert!((1_980..=1_990).contains(first), "an hour before: {first}");
    let breach = *first + after.as_secs() / 60;
    assert!((2_035..=2_040).contains(&breach), "{after:?} from {first}");
}

/// Latency that follows load, as the joint judge sees it.
fn usual(stage: &mut Stage, second: u64) -> Vec<Warning> {
    let requests = 100.0 + 50.0 * libm::sin(second as f64 / 20.0);
    let ms = 20.0 + 0.4 * requests;
    stage.second(|_| Shows { requests, errors: 0.2, ms })
}

#[test]
fn a_broken_pattern_is_told_by_a_pattern_fitted_apart() {
    let mut stage = Stage::new(4);
    stage.capacity = 2_000.0;
    stage.spread = 0.02;
    let mut samples = Vec::new();
    for second in 0..400 {
        usual(&mut stage, second);
        samples.push(stage.watch.sample().unwrap().to_vec());
    }
    let pattern = joint::fit(&samples, Choice::Likeliest).unwrap();
    let weights = postcard::to_allocvec(&pattern).unwrap();
    let service = stage.topology.service.clone();
    let fitted = Fitted { service, version: 400, weights };
    stage.watch.adopt(&Fitted { weights: vec![1, 2, 3], ..fitted.clone() });
    assert!(stage.watch.service.pattern().is_none(), "garbage changes nothing");
    stage.watch.adopt(&fitted);
    let quiet: Vec<Warning> = (400..2_000).flat_map(|s| usual(&mut stage, s)).collect();
    assert!(told(&quiet, Kind::Misfit).len() < 40, "{}", told(&quiet, Kind::Misfit).len());
    // Little load and the latency of much: either by itself is usual.
    let broken: Vec<Warning> = (0..8)
        .flat_map(|_| stage.second(|_| Shows { requests: 55.0, errors: 0.2, ms: 80.0 }))
        .collect();
    let misfits = told(&broken, Kind::Misfit);
    let text = misfits.last().unwrap().finding.to_string();
    assert!(text.contains("pattern 400"), "{text}");
}

#[test]
fn warnings_follow_their_endpoint() {
    let mut stage = Stage::new(6);
    stage.seconds(120, |_| WELL);
    let slow = |index| if index == 5 { Shows { ms: 200.0, ..WELL } } else { WELL };
    assert!(!stage.seconds(5, slow).is_empty());
    stage.watch.remap(&[Some(5), None, Some(0)]);
    let standing = stage.watch.standing.iter().filter_map(|s| s.warning.endpoint);
    let standing: Vec<u32> = standing.collect();
    assert!(!standing.is_empty() && standing.iter().all(|at| *at == 0), "{standing:?}");
    stage.watch.remap(&[Some(1)]);
    let left = stage.watch.standing.iter().all(|s| s.warning.endpoint.is_none());
    assert!(left, "gone with it");
}

#[test]
fn memory_is_bounded() {
    let mut stage = Stage::new(100);
    stage.seconds(900, |_| WELL);
    let bytes = postcard::to_allocvec(&stage.watch).unwrap().len();
    assert!(bytes < 100 * 650 + 8_000, "{bytes} bytes for 100 endpoints");
    let before = bytes;
    stage.seconds(900, |_| WELL);
    assert!(postcard::to_allocvec(&stage.watch).unwrap().len() < before + 100 * 16);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn anything_may_be_seen(
        seconds in prop::collection::vec(
            prop::collection::vec((any::<u16>(), any::<u16>(), any::<f64>(), any::<f64>()), 0..6),
            1..40,
        ),
    ) {
        let mut stage = Stage::new(6);
        for (second, rows) in (1..).zip(seconds) {
            let at = Moment::from_millis(1_000 * second);
            let rows = rows.iter().zip(0..).map(|((requests, errors, count, sum), endpoint)| Row {
                endpoint,
                requests: u64::from(*requests),
                errors: u64::from(*errors),
                clients: 1,
                latency: Latency { count: *count, sum_ms: *sum, buckets: Vec::new() },
                ..Row::default()
            });
            let traffic =
                ServiceTraffic { rows: rows.collect(), ..ServiceTraffic::default() };
            stage.history.absorb(at, 6, Some(&traffic));
            let view = View {
                at,
                elapsed: Duration::from_secs(1),
                topology: &stage.topology,
                goal: &stage.goal,
                history: &stage.history,
                standings: &[],
                acting: true,
                unrecorded: false,
            };
            let warnings = stage.watch.see(&view, &Assessment::default());
            prop_assert!(warnings.len() <= WARNINGS_MAX);
            prop_assert_eq!(&stage.watch, &stage.watch.clone(), "no number that is none");
        }
    }
}
