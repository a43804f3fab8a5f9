//! Journals that are kept (`tests/journals`), with what is expected of decisions on them: recorded by
//! the real Weir beside a real Envoy under faults, and decided again by every later build, as its
//! users do with theirs.
//!
//! Two ways to write them anew, neither of them a part of the tests (`make journals`, `make decisions`):
//! `WEIR_WRITE=journals` plays their [`scenes`] again, which takes minutes. `WEIR_WRITE=decisions`
//! keeps what was seen and writes what this build decides on it, after a change that is meant to
//! decide otherwise.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_tests::weir::run;
use weir_tests::world::write;

mod scenes;

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/journals");

/// Whether this is to be written anew.
fn is_asked(what: &str) -> bool {
    std::env::var("WEIR_WRITE").is_ok_and(|asked| asked == what)
}

/// The folders, each with a journal, by name.
fn kept() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(KEPT).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

/// The segments in a folder, the oldest first.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut segments: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "weir")).collect();
    segments.sort();
    segments
}

/// Puts these segments in the place of those that are kept.
fn keep(from: &Path, folder: &Path) {
    for old in segments(folder) {
        std::fs::remove_file(old).unwrap();
    }
    for new in segments(from) {
        std::fs::copy(&new, folder.join(new.file_name().unwrap())).unwrap();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Ends well, and says this.
#[track_caller]
fn told(arguments: &[&str]) -> String {
    let ended = run(arguments);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

#[test]
fn what_is_kept_is_decided_alike_and_all_that_is_expected_holds() {
    let all = kept();
    if is_asked("decisions") {
        for folder in &all {
            let to = tempfile::tempdir().unwrap();
            println!(
                "{}\n{}",
                text(folder),
                told(&["replay", text(folder), "--write", text(to.path())])
            );
            keep(to.path(), folder);
        }
    }
    let came = told(&["test", KEPT]);
    assert!(came.contains(&format!("\n{} tests: ", all.len())), "one in each folder:\n{came}");
    for folder in &all {
        let name = text(folder);
        assert!(told(&["replay", name]).contains("every decision is the same, byte for byte"));
        assert!(told(&["journal", "verify", name]).contains("checksums and chain hold"));
        // The policy beside it is the one that it was recorded under.
        let policy = folder.join("policy.yaml");
        let beside = told(&["replay", name, "--policy", text(&policy), "-o", "json"]);
        let beside: Value = serde_json::from_str(&beside).unwrap();
        for service in beside["services"].as_array().unwrap() {
            assert_eq!(service["different"], 0, "{name}: {service:#}");
        }
        let bytes: u64 = segments(folder).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(bytes < 200_000, "{name}: {bytes} bytes are much for a repository");
    }
}

#[test]
fn an_expectation_that_does_not_hold_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("failing-endpoint");
    std::fs::create_dir(&copy).unwrap();
    keep(&Path::new(KEPT).join("failing-endpoint"), &copy);
    write(&copy, "test.yaml", "expect:\n  - { neverEjects: any }\n  - { ejectedMost: 1 }\n");
    let ended = run(["test", text(folder.path()), "-o", "junit"]);
    assert_eq!(ended.code, Some(79), "{}", ended.stderr);
    let junit = ended.stdout;
    assert!(junit.contains("tests=\"3\"") && junit.contains("failures=\"1\""), "{junit}");
    assert!(junit.contains("testcase name=\"ejects nobody\""), "{junit}");
    assert!(junit.contains("127.1.1.2:8080 was out: ") && junit.contains("failed"), "{junit}");
}

#[test]
fn a_journal_that_cannot_be_read_leaves_the_other_tests_told() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a-damaged", "b-whole"] {
        let copy = folder.path().join(name);
        std::fs::create_dir(&copy).unwrap();
        keep(&Path::new(KEPT).join("failing-endpoint"), &copy);
        write(&copy, "test.yaml", "expect:\n  - { ejectedMost: 1 }\n");
    }
    let damaged = segments(&folder.path().join("a-damaged")).remove(0);
    std::fs::write(damaged, "this is no journal").unwrap();
    let ended = run(["test", text(folder.path())]);
    assert_eq!(ended.code, Some(65), "{}", ended.stdout);
    assert!(ended.stdout.contains("ERROR   ") && ended.stdout.contains("not a journal"));
    assert!(ended.stdout.contains("2 tests: 2 expectations held, 1 failed"), "{}", ended.stdout);
    let junit = run(["test", text(folder.path()), "-o", "junit"]).stdout;
    assert!(junit.contains("errors=\"1\"") && junit.contains("failures=\"0\""), "{junit}");
}

#[test]
fn a_journal_decided_anew_is_another_one_that_replays() {
    let folder = tempfile::tempdir().unwrap();
    let (new, kept) = (folder.path().join("new"), Path::new(KEPT).join("killed"));
    let said = told(&["replay", text(&kept), "--write", text(&new)]);
    assert!(
        said.contains("written   2 segments, ") && said.contains("chain     begins anew"),
        "{said}"
    );
    assert!(told(&["replay", text(&new)]).contains("every decision is the same, byte for byte"));
    let again = run(["replay", text(&kept), "--write", text(&new)]);
    assert_eq!(again.code, Some(65), "{}", again.stdout);
    assert!(again.stderr.contains("holds a journal already"), "{}", again.stderr);
}
