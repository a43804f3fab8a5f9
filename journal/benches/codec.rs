//! How many bytes an endpoint's second takes in a journal, and how long writing and reading take.
//!
//! `cargo bench -p weir-journal --bench codec [-- --seconds 600 --endpoints 1000] [RECORDING...]`
//!
//! *simulated*: ten backends of the simulator behind forty proxies, at rest, with three slow ones,
//! and with one that fails 30 % of its requests; Weir's own loop decides on what it sees. *drawn*:
//! many endpoints in ten services, all alike, as `fold` hands them over: counts of load reports,
//! and latencies in whole nanoseconds of a part of the requests. *recorded*: files that a running
//! Weir wrote. The rival is format 1, LZ4 of postcard, in the same run. Bytes include frames' heads
//! and the state that a segment of 16 MiB begins with. Times are of one core, everything included:
//! checksum, chain, compression.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use weir_engine::decision::{ServiceDecision, Stance};
use weir_engine::goal::{Goal, Goals, Mode};
use weir_engine::names::ServiceId;
use weir_engine::observation::{Observation, fold};
use weir_engine::state::State;
use weir_engine::topology::Topology;
use weir_journal::{Link, Reader, Record, StateImage, Step, Writer, digest};
use weir_models::reference::{Memory, Reference};
use weir_simulator::rivals::Rival;
use weir_simulator::scenario::{Curve, Scenario};
use weir_simulator::world::{self, Assignment, Tick};

#[path = "codec/drawn.rs"]
mod drawn;

/// A segment's size, unless configured.
const SEGMENT: usize = 16 << 20;

fn main() {
    println!(
        "{:>26}{:>10}{:>10}{:>22}{:>16}{:>16}",
        "bytes an endpoint-tick", "ticks", "endpoints", "format 2 (state)", "format 1", "read, write (us)"
    );
    for (name, scenario) in scenarios(option("--seconds", 600)) {
        measure(name, simulated(&scenario));
    }
    for sampled in [1.0, 0.1] {
        let seconds = option("--seconds", 600) as u64;
        let mut mesh = drawn::Mesh::new(option("--endpoints", 1_000), sampled);
        let mut seen = |second| mesh.observation(second);
        measure(&format!("drawn, {sampled} timed"), decided((0..seconds).map(&mut seen)));
    }
    for path in std::env::args().skip(1).filter(|word| word.ends_with(".weir")) {
        let bytes = std::fs::read(&path).unwrap();
        let records = Reader::open(&bytes).unwrap().1.collect::<Result<Vec<_>, _>>().unwrap();
        measure("recorded", records);
    }
}

fn option(name: &str, default: usize) -> usize {
    let words: Vec<String> = std::env::args().collect();
    let at = words.iter().position(|word| word == name);
    at.and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(default)
}

fn scenarios(seconds: usize) -> Vec<(&'static str, Scenario)> {
    let length = seconds as f64;
    let fleet = || Scenario { length, counted: (20.0, length), ..Scenario::fleet(1) };
    let (mut slow, mut failing) = (fleet(), fleet());
    for backend in &mut slow.backends[..3] {
        backend.slowness = Curve::level(2.0);
    }
    failing.backends[0].errors = Curve::level(0.3);
    vec![("simulated, rest", fleet()), ("simulated, slow", slow), ("simulated, failing", failing)]
}

/// Weir's loop over a simulated world, recorded.
fn simulated(scenario: &Scenario) -> Vec<Record> {
    let mut recorder = Recorder::new(ServiceId::new("demo", "shop"));
    let mut topology = Topology::default();
    world::run(scenario, Rival::Weir, |tick: Tick| {
        let changed = tick.topology.map(|service| Topology { services: vec![service] });
        topology = changed.clone().unwrap_or(topology.clone());
        let made = recorder.step(Observation {
            at: tick.at,
            topology: changed,
            traffic: fold(&tick.reports, &topology),
            ..Observation::default()
        });
        let first = made.last()?.realisations.first()?.clone();
        Some(Assignment { groups: first.groups.clone(), zones: first.zones.clone(), shed: first.shed })
    });
    recorder.records
}

fn decided(seen: impl Iterator<Item = Observation>) -> Vec<Record> {
    let mut recorder = Recorder::new(ServiceId::default());
    seen.for_each(|observation| drop(recorder.step(observation)));
    recorder.records
}

/// What the shell's loop does: decides and writes down.
struct Recorder {
    state: State<Memory>,
    goals: Option<Goals>,
    steps: u64,
    records: Vec<Record>,
}

impl Recorder {
    fn new(service: ServiceId) -> Self {
        let goal = Goal { mode: Mode::Enforce, ..Goal::of_unclaimed(service) };
        let goals = Some(Goals { services: vec![goal], ..Goals::default() });
        Self { state: State::default(), goals, steps: 0, records: Vec::new() }
    }

    fn step(&mut self, mut observation: Observation) -> Vec<Arc<ServiceDecision>> {
        observation.goals = observation.goals.or(self.goals.take());
        self.steps += 1;
        if self.steps == 60 {
            // A segment amid a run: the state is of its usual size.
            self.records = vec![Record::Opened {
                at: observation.at,
                build: "bench".into(),
                model: "reference".into(),
                state: StateImage::of(&self.state),
            }];
        }
        let decision = weir_engine::decide(&mut self.state, &observation, &Reference);
        let acted = |one: &&Arc<ServiceDecision>| {
            one.moved.value() > 0.0 || !matches!(one.stance, Stance::Resting)
        };
        let changed = decision.services.iter().filter(acted).cloned().collect();
        let step = Step { observation, decision: digest(&decision), changed };
        self.records.push(Record::Step(Box::new(step)));
        decision.services
    }
}

/// Format 1's record.
#[derive(Serialize)]
enum Old<'a> {
    Opened { at: u64, build: &'a str, model: &'a str, state: &'a [u8] },
    Step { observation: &'a Observation, decision: [u8; 16], changed: &'a [Arc<ServiceDecision>] },
    Closed { at: u64 },
}

fn old(record: &Record) -> Vec<u8> {
    let old = match record {
        Record::Opened { at, build, model, state } => {
            Old::Opened { at: at.millis(), build, model, state: state.bytes() }
        }
        Record::Step(step) => Old::Step {
            observation: &step.observation,
            decision: step.decision,
            changed: &step.changed,
        },
        Record::Closed { at } => Old::Closed { at: at.millis() },
    };
    lz4_flex::compress_prepend_size(&postcard::to_allocvec(&old).unwrap())
}

fn measure(name: &str, records: Vec<Record>) {
    let rows = |record: &Record| match record {
        Record::Step(step) => step.observation.traffic.iter().map(|one| one.rows.len()).sum(),
        Record::Opened { .. } | Record::Closed { .. } => 0,
    };
    let ticks = records.iter().filter(|record| matches!(record, Record::Step(_))).count();
    let endpoint_ticks = records.iter().map(rows).sum::<usize>() as f64;
    let (mut writer, mut opened, mut frames) = (Writer::new(Link::default()), 0, 0);
    let mut bytes = writer.header();
    let started = Instant::now();
    for record in &records {
        let frame = writer.frame(record);
        if matches!(record, Record::Opened { .. }) { opened += frame.len() } else { frames += frame.len() }
        bytes.extend(frame);
    }
    let writing = started.elapsed();
    let started = Instant::now();
    let mut read = Vec::with_capacity(records.len());
    let mut reading = Duration::ZERO;
    for record in Reader::open(&bytes).unwrap().1 {
        read.push(record.unwrap());
        reading = started.elapsed();
    }
    assert!(read == records, "what is read is what was written");
    let is_step = |record: &&Record| matches!(record, Record::Step(_));
    let olds: usize = records.iter().filter(is_step).map(|record| old(record).len() + 24).sum();
    let old_opened: usize = records.iter().filter(|r| !is_step(r)).map(|record| old(record).len() + 24).sum();
    // So much of a segment is left for steps.
    let spread = |opened: usize| SEGMENT as f64 / (SEGMENT - opened.min(SEGMENT - 1)) as f64;
    let each = |bytes: usize, opened: usize| bytes as f64 / endpoint_ticks * spread(opened);
    let us = |time: Duration| time.as_secs_f64() * 1e6 / endpoint_ticks;
    println!(
        "{name:>26}{ticks:>10}{:>10.0}{:>10.1} ({:>7} B){:>16.1}{:>8.3}{:>8.3}",
        endpoint_ticks / ticks as f64,
        each(frames, opened),
        opened,
        each(olds, old_opened),
        us(reading),
        us(writing),
    );
}
