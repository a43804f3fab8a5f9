//! The house stays as `ARCHITECTURE.md` draws it: who may depend on whom, how long a file may
//! be, what must not stand in the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weir_tests::root;

/// Per crate: which of our crates it may use, and which crates it must never see, not even
/// through another one of ours.
const ROOMS: &[(&str, &[&str], &[&str])] = &[
    ("weir-engine", &[], &["tokio", "tonic", "kube", "ndarray", "libc", "getrandom"]),
    ("weir-models", &["weir-engine"], &["tokio", "tonic"]),
    ("weir-simulator", &["weir-engine"], &["tokio", "tonic"]),
    ("weir-journal", &["weir-engine"], &["tokio", "tonic"]),
    ("weir-policies", &["weir-engine"], &["tokio", "tonic"]),
    ("weir-collectors", &["weir-engine"], &[]),
    ("weir-dashboard", &["weir-engine"], &[]),
    ("weir-proxy-adapter", &["weir-engine"], &[]),
    ("weir-testbed", &[], &[]),
];

/// Lines of a source file without its tests.
const LINES_MAX: usize = 500;

/// What `ls` at the top shows, beside hidden entries and what a build leaves.
const TOP: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "clippy.toml",
    "collectors",
    "dashboard",
    "deploy",
    "docs",
    "engine",
    "journal",
    "models",
    "policies",
    "proxy-adapter",
    "rustfmt.toml",
    "simulator",
    "testbed",
    "tests",
    "weir",
];

/// What is built here: crates for other platforms need not even be downloaded.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", "host-tuple"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Per package name: the names of its normal (not development or build) dependencies.
fn dependencies(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let name_of: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let mut table: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let own = table.entry(name_of[node["id"].as_str().unwrap()].to_owned()).or_default();
        for dependency in node["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                own.insert(name_of[dependency["pkg"].as_str().unwrap()].to_owned());
            }
        }
    }
    table
}

fn reachable(table: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        for next in table.get(&name).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    seen
}

#[test]
fn arrows_point_to_the_middle() {
    let table = dependencies(&metadata());
    let mut wrong = Vec::new();
    for (room, allowed, never) in ROOMS {
        for used in table[*room].iter().filter(|name| name.starts_with("weir")) {
            if !allowed.contains(&used.as_str()) {
                wrong.push(format!("{room} uses {used}"));
            }
        }
        let seen = reachable(&table, room);
        wrong.extend(
            never.iter().filter(|n| seen.contains(**n)).map(|n| format!("{room} sees {n}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let rooms: BTreeSet<&str> = ROOMS.iter().map(|room| room.0).collect();
    let ours = table.keys().filter(|name| name.starts_with("weir-") && *name != "weir-tests");
    let missing: Vec<_> = ours.filter(|name| !rooms.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "rooms without a row in the table: {missing:?}");
}

#[test]
fn the_engine_has_neither_std_nor_features_that_bring_it() {
    let manifest = std::fs::read_to_string(root().join("engine/Cargo.toml")).unwrap();
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let names: Vec<&str> = section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect();
    assert_eq!(names, ["serde", "libm"], "the engine's dependencies stay these two");
    for name in names {
        let line = workspace.lines().find(|line| line.starts_with(&format!("{name} ="))).unwrap();
        assert!(line.contains("default-features = false"), "{line}");
        assert!(!line.contains("\"std\""), "{line}");
    }
    let lib = std::fs::read_to_string(root().join("engine/src/lib.rs")).unwrap();
    assert!(lib.contains("#![cfg_attr(not(test), no_std)]"));
}

/// Clocks, environment, threads and files have no place in the pure crates; nor have hash maps,
/// whose order is hidden randomness, where decisions are made.
#[test]
fn the_pure_crates_ask_nobody() {
    let banned =
        ["std::time::Instant", "SystemTime", "std::env", "std::thread", "std::fs", "std::net"];
    let deciding = ["engine/src", "models/src", "simulator/src"];
    let mut wrong = Vec::new();
    for room in ["engine/src", "models/src", "simulator/src", "journal/src", "policies/src"] {
        for (path, text) in sources(&root().join(room)) {
            let code = without_tests(&text);
            let unordered: &[&str] =
                if deciding.contains(&room) { &["HashMap", "HashSet"] } else { &[] };
            let words = banned.iter().chain(unordered).filter(|word| code.contains(**word));
            wrong.extend(words.map(|word| format!("{}: {word}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

/// A file's text up to its inline tests; nothing of a file of tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn tracked() -> Vec<String> {
    let output = Command::new("git").args(["ls-files"]).current_dir(root()).output();
    let Ok(output) = output else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn files_are_short_and_finished() {
    let mut wrong = Vec::new();
    let unfinished = [concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    for path in
        tracked().iter().filter(|path| Path::new(path).extension().is_some_and(|e| e == "rs"))
    {
        let Ok(text) = std::fs::read_to_string(root().join(path)) else { continue };
        let lines = without_tests(&text).lines().count();
        if lines > LINES_MAX && !path.contains("tests") {
            wrong.push(format!("{path}: {lines} lines"));
        }
        wrong.extend(
            unfinished.iter().filter(|w| text.contains(**w)).map(|w| format!("{path}: {w}")),
        );
        let needs_head = !path.contains("/tests/") && !path.ends_with("tests.rs");
        if needs_head && !text.trim_start().starts_with("//!") && !text.starts_with("#!") {
            wrong.push(format!("{path}: no //! head"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_top_level_is_the_architecture() {
    let tops: BTreeSet<String> = tracked()
        .iter()
        .filter_map(|path| path.split('/').next())
        .filter(|name| !name.starts_with('.'))
        .map(str::to_owned)
        .collect();
    let strays: Vec<_> = tops.iter().filter(|name| !TOP.contains(&name.as_str())).collect();
    assert!(strays.is_empty(), "{strays:?}");
}
