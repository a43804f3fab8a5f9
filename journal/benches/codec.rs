//! How many bytes an endpoint's second takes in a journal, and how long writing and reading take.
//!
//! `cargo bench -p weir-journal --bench codec [-- --seconds 600 --endpoints 1000] [RECORDING...]`
//!
//! *simulated*: ten backends of the simulator behind forty proxies, at rest, with three slow ones,
//! and with one that fails 30 % of its requests; Weir's own loop decides on what it sees. *drawn*:
//! many endpoints in ten services, all alike, as `fold` hands them over: counts of load reports,
//! and latencies in whole nanoseconds of a part of the requests. *recorded*: files that a running
//! Weir wrote. The rival is format 1, LZ4 of postcard, in the same run. Bytes include frames' heads
//! and the state that a segment of 16 MiB begins with. Times are this thread's processor time,
//! of format 2 with checksums and chain, of format 1 without.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::borrow::Cow;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
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
#[path = "../../tests/benches/shared/figures.rs"]
mod figures;
use figures::{option, timed};

/// A segment's size, unless configured.
const SEGMENT: usize = 16 << 20;

/// What both formats put before a body.
const FRAME_HEAD: usize = 24;

fn main() {
    println!(
        "{:>28}{:>10}{:>10}{:>12}{:>10}{:>10}",
        "an endpoint's tick", "bytes", "at rest", "state, B", "write, us", "read, us"
    );
    for (name, scenario) in scenarios(option("--seconds", 600)) {
        measure(name, &simulated(&scenario));
    }
    for sampled in [1.0, 0.1] {
        let seconds = option("--seconds", 600) as u64;
        let mut mesh = drawn::Mesh::new(option("--endpoints", 1_000), sampled);
        let mut seen = |second| mesh.observation(second);
        let records = decided((0..seconds).map(&mut seen));
        measure(&format!("drawn, {:.0} % timed", sampled * 100.0), &records);
    }
    let words = std::env::args().skip(1).map(PathBuf::from);
    for path in words.filter(|word| word.extension().is_some_and(|end| end == "weir")) {
        let bytes = std::fs::read(&path).unwrap();
        let records = Reader::open(&bytes).unwrap().1.collect::<Result<Vec<_>, _>>().unwrap();
        measure("recorded", &records);
    }
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
        Some(Assignment {
            groups: first.groups.clone(),
            zones: first.zones.clone(),
            shed: first.shed,
        })
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
                epoch: None,
                state: StateImage::of(&self.state),
            }];
        }
        let decision = weir_engine::decide(&mut self.state, &observation, &Reference);
        let acted = |one: &&Arc<ServiceDecision>| {
            one.moved.value() > 0.0 || !matches!(one.stance, Stance::Resting)
        };
        let changed = decision.services.iter().filter(acted).cloned().collect();
        let step = Step { observation, decision: digest(&decision), changed, pushed: vec![] };
        self.records.push(Record::Step(Box::new(step)));
        decision.services
    }
}

/// Format 1's record.
#[derive(Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Old<'a> {
    Opened { at: u64, build: &'a str, model: &'a str, state: &'a [u8] },
    Step(Cow<'a, Observation>, [u8; 16], Cow<'a, [Arc<ServiceDecision>]>),
    Closed { at: u64 },
}

fn write_old(record: &Record) -> Vec<u8> {
    let old = match record {
        Record::Opened { at, build, model, state, .. } => {
            Old::Opened { at: at.millis(), build, model, state: state.bytes() }
        }
        Record::Step(step) => {
            Old::Step(Cow::Borrowed(&step.observation), step.decision, Cow::Borrowed(&step.changed))
        }
        Record::Closed { at } => Old::Closed { at: at.millis() },
    };
    lz4_flex::compress_prepend_size(&postcard::to_allocvec(&old).unwrap())
}

fn read_old(body: &[u8]) {
    let plain = lz4_flex::decompress_size_prepended(body).unwrap();
    black_box(postcard::from_bytes::<Old<'_>>(&plain).unwrap());
}

/// Sizes of frames and times of one format.
#[derive(Default)]
struct Figures {
    steps: usize,
    /// Of steps that changed nothing.
    at_rest: usize,
    state: usize,
    writing: Duration,
    reading: Duration,
}

impl Figures {
    fn add(&mut self, record: &Record, bytes: usize, writing: Duration) {
        self.writing += writing;
        match record {
            Record::Opened { .. } => self.state += bytes,
            Record::Closed { .. } => {}
            Record::Step(step) => {
                self.steps += bytes;
                self.at_rest += if step.changed.is_empty() { bytes } else { 0 };
            }
        }
    }

    /// Bytes an endpoint-tick where so much of a segment is left for steps.
    fn each(&self, bytes: usize, rows: usize) -> f64 {
        let left = SEGMENT.saturating_sub(self.state).max(1);
        bytes as f64 / rows as f64 * SEGMENT as f64 / left as f64
    }

    fn print(&self, what: &str, (rows, rows_at_rest): (usize, usize)) {
        let us = |time: Duration| time.as_secs_f64() * 1e6 / rows as f64;
        println!(
            "{what:>28}{:>10.1}{:>10.1}{:>12}{:>10.3}{:>10.3}",
            self.each(self.steps, rows),
            self.each(self.at_rest, rows_at_rest),
            self.state,
            us(self.writing),
            us(self.reading),
        );
    }
}

fn rows(record: &Record) -> usize {
    match record {
        Record::Step(step) => step.observation.traffic.iter().map(|one| one.rows.len()).sum(),
        Record::Opened { .. } | Record::Closed { .. } => 0,
    }
}

fn is_at_rest(record: &Record) -> bool {
    matches!(record, Record::Step(step) if step.changed.is_empty())
}

fn measure(name: &str, records: &[Record]) {
    let (mut new, mut old) = (Figures::default(), Figures::default());
    let mut writer = Writer::new(Link::default());
    let mut bytes = writer.header();
    for record in records {
        let (frame, used) = timed(|| writer.frame(record));
        new.add(record, frame.len(), used);
        bytes.extend(&frame);
        let (body, used) = timed(|| write_old(record));
        old.add(record, body.len() + FRAME_HEAD, used);
        old.reading += timed(|| read_old(&body)).1;
    }
    let read = || Reader::open(&bytes).unwrap().1.map(Result::unwrap);
    assert!(read().eq(records.iter().cloned()), "what is read is what was written");
    new.reading = timed(|| read().for_each(|record| drop(black_box(record)))).1;
    let all: usize = records.iter().map(rows).sum();
    let at_rest: usize = records.iter().filter(|record| is_at_rest(record)).map(rows).sum();
    let steps = records.iter().filter(|record| rows(record) > 0).count();
    println!("{name}: {} endpoints, {steps} ticks", all / steps);
    new.print("format 2", (all, at_rest));
    old.print("format 1", (all, at_rest));
}
