//! What people install: files of `deploy/` agree with one another, with the pages and with what
//! Weir itself reads. What takes a real Helm and a real API server is in `tests/mesh/deploy.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use weir_testbed::required;
use weir_tests::root;

mod documents;
mod image;
mod values;
mod watched;

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

/// Files of a folder with this ending, by name.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let names = root().join(folder).read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let mut paths: Vec<String> =
        names.map(|name| format!("{folder}/{}", name.to_str().unwrap())).collect();
    paths.retain(|path| path.ends_with(ending));
    paths.sort();
    assert!(!paths.is_empty(), "{folder} holds no {ending}");
    paths
}

/// A chart cannot look outside its folder, so it carries copies.
#[test]
fn what_the_chart_carries_is_the_same() {
    let chart = "deploy/chart/weir";
    for (source, copy) in [
        ("deploy/crds/adaptivetrafficpolicies.yaml", "crds/adaptivetrafficpolicies.yaml"),
        ("deploy/grafana/weir.json", "files/weir.json"),
        ("deploy/prometheus/weir.rules.yaml", "files/weir.rules.yaml"),
    ] {
        let same = read(source) == read(&format!("{chart}/{copy}"));
        assert!(same, "differs: cp {source} {chart}/{copy}");
    }
    let version = yaml("deploy/chart/weir/Chart.yaml")["appVersion"].clone();
    assert_eq!(version, env!("CARGO_PKG_VERSION"), "the chart installs the version beside it");
}
