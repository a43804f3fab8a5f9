//! Journals of every format that ever was are read.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use weir_engine::state::State;
use weir_journal::{Reader, Record, VERSION};
use weir_models::reference::Memory;

fn path(version: u16) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(format!("v{version}.weir"))
}

fn records(version: u16) -> Vec<Record> {
    let path = path(version);
    let bytes = std::fs::read(&path).unwrap_or_else(|cause| {
        panic!("{}: {cause}; its README says how to make it", path.display())
    });
    let (segment, reader) = Reader::open(&bytes).unwrap();
    assert_eq!(segment.version, version);
    reader.map(Result::unwrap).collect()
}

#[test]
fn every_format_is_read_and_says_the_same() {
    let first = records(1);
    assert_eq!(first.len(), 22, "a state, twenty steps and an end");
    for version in 2..=VERSION {
        assert!(records(version) == first, "format {version} says what format 1 says");
    }
}

#[test]
fn what_is_read_is_what_was_seen() {
    let records = records(1);
    let [Record::Opened { build, model, state, .. }, steps @ .., Record::Closed { .. }] =
        &records[..]
    else {
        panic!("a state, steps and an end")
    };
    assert_eq!((build.as_str(), model.as_str()), ("0.1.0", "reference"));
    let state: State<Memory> = state.read().unwrap();
    assert_eq!(state.services[0].topology.endpoints.len(), 10);
    let steps = steps.iter().map(|record| match record {
        Record::Step(step) => step,
        Record::Opened { .. } | Record::Closed { .. } => panic!("a step, not {record:?}"),
    });
    let rows = steps.flat_map(|step| &step.observation.traffic).flat_map(|one| &one.rows[..]);
    let (requests, sum_ms) = rows.fold((0, 0.0), |(requests, sum_ms), row| {
        (requests + row.requests, sum_ms + row.latency.sum_ms)
    });
    assert_eq!((requests, f64::to_bits(sum_ms)), (24_358, 4_697_464_715_423_491_272));
}
