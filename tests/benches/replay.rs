//! How long `weir replay` takes: a day of a thousand endpoints at a step a second.
//!
//! `cargo bench -p weir-tests --bench replay [-- --hours 24 --endpoints 1000 --services 20 --keep DIR]`
//!
//! The journal is made first, by the same function and the same writer as a running Weir's, in
//! segments of the usual size: services of many endpoints, sixty requests a second at each, a third of
//! them timed. Most of the time all are alike; in each hour one endpoint fails a third of its
//! requests for five minutes and another one takes three times as long for ten. Requests follow
//! what was decided. Then the real `weir replay` reads it, on all cores. With fewer hours than a
//! day the day's time is told as what it is: a proportion. `--keep` leaves the journal in a folder,
//! and reads one that is there instead of making it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use weir::store::journal::{Bounds, Journal, Origin};
use weir_engine::state::State;
use weir_journal::{Record, StateImage, Step};
use weir_models::reference::{Memory, Reference};
use weir_tests::weir::binary;

#[path = "shared/figures.rs"]
mod figures;
#[path = "replay/mesh.rs"]
mod mesh;
use figures::option;
use mesh::Mesh;

/// As many segments as a day needs, each of the size that a running Weir's have.
const BOUNDS: Bounds = Bounds { segment: Bounds::TOTAL / 16, total: 1 << 40 };

/// What a day of a thousand endpoints may take.
const DAY: f64 = 86_400.0 * 1_000.0;
const DAY_SECONDS: f64 = 180.0;

fn main() {
    let (hours, endpoints) = (option("--hours", 1), option("--endpoints", 1_000));
    let services = option("--services", 20);
    let scratch = tempfile::tempdir().unwrap();
    let kept = kept();
    let folder = kept.as_deref().unwrap_or(scratch.path());
    if kept.is_none() || !folder.exists() {
        let began = Instant::now();
        let steps = hours as u64 * 3_600;
        let acted = record(&mut Mesh::new(services, endpoints), steps, folder);
        println!(
            "made: {steps} steps of {endpoints} endpoints in {services} services, {:.0} MB, in \
             {:.0} s; something was decided in {:.1} % of the steps",
            size(folder) as f64 / 1e6,
            began.elapsed().as_secs_f64(),
            100.0 * acted as f64 / steps as f64,
        );
    }
    replay(folder);
}

/// The folder after `--keep`.
fn kept() -> Option<PathBuf> {
    let mut words = std::env::args().skip_while(|word| word != "--keep");
    words.nth(1).map(PathBuf::from)
}

/// Writes a journal as a running Weir does; in how many steps something was decided.
fn record(mesh: &mut Mesh, steps: u64, folder: &Path) -> u64 {
    let (mut journal, _) = Journal::open(folder, BOUNDS, Origin::here()).unwrap();
    let mut state: State<Memory> = State::default();
    let mut acted = 0;
    for step in 0..steps {
        let observation = mesh.observation(step);
        journal.prepare(observation.at, || StateImage::of(&state)).unwrap();
        let decision = weir_engine::decide(&mut state, &observation, &Reference);
        let step = Step::of(observation, &decision);
        acted += u64::from(!step.changed.is_empty());
        journal.append(&Record::Step(Box::new(step))).unwrap();
        mesh.follow(decision);
    }
    journal.sync().unwrap();
    acted
}

fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn replay(folder: &Path) {
    // The shell tells what processor time its children took.
    let script = "\"$0\" replay \"$1\" -o json; code=$?; times >&2; exit $code";
    let began = Instant::now();
    let ended = Command::new("sh").args(["-c", script]).arg(binary()).arg(folder).output().unwrap();
    let wall = began.elapsed().as_secs_f64();
    let words = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "it does not replay identically: {words}");
    let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let segments = told["segments"].as_array().unwrap();
    let sum = |field: &str| segments.iter().map(|one| one[field].as_u64().unwrap()).sum::<u64>();
    let (steps, ticks) = (sum("steps"), sum("endpoint_steps"));
    let used: f64 = words.lines().last().unwrap().split(' ').map(seconds).sum();
    let cores = std::thread::available_parallelism().unwrap();
    println!(
        "replayed: {} segments, {steps} steps, {ticks} endpoint-ticks, identical, in {wall:.1} s \
         on {cores} cores; {used:.1} s of processor time, {:.2} us an endpoint-tick",
        segments.len(),
        used * 1e6 / ticks as f64,
    );
    let days = DAY / ticks as f64;
    let (day, least) = (wall * days, used * days / cores.get() as f64);
    let how = if (ticks as f64) < DAY { "in proportion, not measured" } else { "measured" };
    println!(
        "24 h of 1,000 endpoints: {day:.0} s ({how}), of which {least:.0} s are its own processor time \
         on every core, and the rest other programs'; wanted: {DAY_SECONDS} s at most"
    );
}

/// `1m2.345s`, as the shell's `times` writes it.
fn seconds(text: &str) -> f64 {
    let (minutes, seconds) = text.trim_end_matches('s').split_once('m').unwrap();
    60.0 * minutes.parse::<f64>().unwrap() + seconds.parse::<f64>().unwrap()
}
