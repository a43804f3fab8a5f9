//! A pattern that is fitted apart enters by an observation: what is journalled replays to the same
//! decisions, with the same warnings.

#![allow(clippy::unwrap_used, reason = "tests")]

use core::time::Duration;

use weir_engine::decide;
use weir_engine::decision::Decision;
use weir_engine::latency::Latency;
use weir_engine::names::{Locality, ServiceId};
use weir_engine::observation::{Fitted, Observation, Row, ServiceTraffic, Source};
use weir_engine::state::State;
use weir_engine::topology::{Endpoint, ServiceTopology, Topology};
use weir_engine::units::Moment;
use weir_engine::warning::Finding;
use weir_models::reference::{Memory, Reference};
use weir_models::series::joint::{Choice, fit};
use weir_simulator::random::Random;

const ENDPOINTS: u32 = 4;
/// Fitted after so many steps; from the other on load and latency do not belong together.
const FITTED_AT: u64 = 300;
const BROKEN_FROM: u64 = 1_500;
const STEPS: u64 = 1_510;

fn service() -> ServiceId {
    ServiceId::new("test", "watched")
}

fn observation(step: u64, fitted: Vec<Fitted>) -> Observation {
    let endpoint = |index: u32| Endpoint {
        address: format!("10.0.0.{index}:80").as_str().into(),
        locality: Locality::default(),
        concurrency: None,
        ready: true,
    };
    let topology = || ServiceTopology {
        service: service(),
        endpoints: (0..ENDPOINTS).map(endpoint).collect(),
        clusters: Vec::new(),
        counts: Source::LoadReport,
    };
    let wave = 100.0 + 50.0 * libm::sin(step as f64 / 20.0);
    let broken = step >= BROKEN_FROM;
    let (requests, ms) = if broken { (55.0, 80.0) } else { (wave, 20.0 + 0.4 * wave) };
    let row = |endpoint: u32| {
        let mut random = Random::of(step, 5, u64::from(endpoint));
        let mean = ms * libm::exp(0.02 * random.normal());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
        let count = f64::round(requests) as u64;
        Row {
            endpoint,
            requests: count,
            judged_requests: count as f64,
            exposure: Duration::from_secs(1),
            clients: 1,
            latency: Latency {
                count: count as f64,
                sum_ms: count as f64 * mean,
                buckets: vec![(30, count as f64)],
            },
            ..Row::default()
        }
    };
    let traffic = ServiceTraffic {
        service: service(),
        clients: 1,
        reporters: 1,
        rows: (0..ENDPOINTS).map(row).collect(),
        ..ServiceTraffic::default()
    };
    Observation {
        at: Moment::from_millis(1_000_000_000 + 1_000 * step),
        topology: (step == 0).then(|| Topology { services: vec![topology()] }),
        traffic: vec![traffic],
        fitted,
        ..Observation::default()
    }
}

/// Lives through all steps, fitting once; the journal and what was decided.
fn live() -> (Vec<Vec<u8>>, Vec<Decision>) {
    let mut state: State<Memory> = State::default();
    let (mut journal, mut decisions, mut samples) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..STEPS {
        let fitted = (step == FITTED_AT).then(|| {
            let pattern = fit(&samples, Choice::Likeliest).unwrap();
            let weights = postcard::to_allocvec(&pattern).unwrap();
            Fitted { service: service(), version: step, weights }
        });
        let observation = observation(step, fitted.into_iter().collect());
        journal.push(postcard::to_allocvec(&observation).unwrap());
        decisions.push(decide(&mut state, &observation, &Reference));
        let watch = state.services[0].memory.watch();
        samples.extend(watch.sample().map(|sample| sample.to_vec()));
    }
    (journal, decisions)
}

fn misfit(decision: &Decision) -> Option<u64> {
    let warnings = &decision.services[0].warnings;
    warnings.iter().find_map(|warning| match warning.finding {
        Finding::Misfit { pattern, .. } => Some(pattern),
        Finding::Unusual { .. }
        | Finding::Shifted { .. }
        | Finding::Apart { .. }
        | Finding::Ahead { .. } => None,
    })
}

#[test]
fn a_journal_replays_with_the_pattern_that_was_fitted_apart() {
    let (journal, decisions) = live();
    assert_eq!(misfit(decisions.last().unwrap()), Some(FITTED_AT), "the break is told");
    let replayed = |with_fitted: bool| {
        let mut state: State<Memory> = State::default();
        let step = |bytes: &Vec<u8>| {
            let mut observation: Observation = postcard::from_bytes(bytes).unwrap();
            if !with_fitted {
                observation.fitted.clear();
            }
            decide(&mut state, &observation, &Reference)
        };
        journal.iter().map(step).collect::<Vec<_>>()
    };
    assert_eq!(replayed(true), decisions);
    assert!(replayed(false).iter().all(|decision| misfit(decision).is_none()));
}

#[test]
fn a_state_that_was_saved_knows_its_pattern() {
    let (journal, decisions) = live();
    let mut state: State<Memory> = State::default();
    for (step, (bytes, expected)) in journal.iter().zip(&decisions).enumerate() {
        if step == 1_000 {
            let saved = postcard::to_allocvec(&state).unwrap();
            state = postcard::from_bytes(&saved).unwrap();
        }
        let observation: Observation = postcard::from_bytes(bytes).unwrap();
        assert_eq!(&decide(&mut state, &observation, &Reference), expected, "step {step}");
    }
}
