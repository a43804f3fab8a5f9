//! `weir envoy bootstrap`, with what Envoy itself says of it.

use std::process::Command;

use weir_testbed::{envoy, required};
use weir_tests::weir::{Ended, run};
use weir_tests::world::write;

use super::{BAD_INPUT, OK, USAGE, refused};

/// A bootstrap somebody has already, with a cluster of their own.
const OWN: &str = "
node: {id: edge-1, cluster: edge}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
static_resources:
  clusters:
    - name: shop
      type: EDS
      lb_policy: ROUND_ROBIN
      eds_cluster_config: {eds_config: {resource_api_version: V3, ads: {}}}
";

/// Envoy takes what is printed with these arguments.
#[track_caller]
fn valid(arguments: &[&str]) -> Option<Ended> {
    let envoy = required::or_skip("envoy", envoy::find())?;
    let printed = run(["envoy", "bootstrap"].iter().chain(arguments));
    assert_eq!(printed.code, Some(OK), "{}", printed.stderr);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("envoy.yaml");
    std::fs::write(&path, &printed.stdout).unwrap();
    let mut check = Command::new(envoy);
    check.args(["--mode", "validate", "--log-level", "error", "--config-path"]).arg(path);
    let checked = check.output().unwrap();
    let words = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{arguments:?}: {words}\n{}", printed.stdout);
    Some(printed)
}

#[test]
fn envoy_takes_what_is_generated() {
    let node = ["--node", "edge-1", "--node-cluster", "edge"];
    let listen = ["--listen", "127.0.0.1:8080=shop", "--listen", "[::1]:8081=cart"];
    let routed =
        ["--listen-route", "127.0.0.1:8082=demo/shop", "--listen-route", "[::1]:8083=cart"];
    let many = ["--weir", "127.0.0.1:18010", "--weir", "[::1]:18010", "--weir", "weir.mesh:7400"];
    let place = ["--locality", "eu-west-1/eu-west-1a/rack-4", "--admin", "[::1]:9902"];
    let rest = ["--sotw", "--clusters-min", "0", "--no-access-log"];
    for telemetry in ["push", "scrape"] {
        let telemetry = &["--telemetry", telemetry][..];
        for more in [&[][..], &listen, &routed, &many, &place, &rest] {
            if valid(&[&node[..], telemetry, more].concat()).is_none() {
                return;
            }
        }
    }
}

#[test]
fn envoy_takes_what_is_merged_and_notes_go_to_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "own.yaml", OWN);
    let own = folder.path().join("own.yaml").display().to_string();
    for telemetry in ["push", "scrape"] {
        let Some(merged) = valid(&["--telemetry", telemetry, "--merge", &own]) else { return };
        assert!(merged.stdout.contains("ROUND_ROBIN") && merged.stdout.contains("18010"));
        assert!(merged.stderr.contains("note: ") && !merged.stderr.contains("error:"));
        assert_eq!(merged.stdout.contains("load_stats_config"), telemetry == "push");
        assert!(!merged.stdout.contains("rds:"), "no listener is added that nobody asked for");
        let route = ["--listen-route", "127.0.0.1:8082=demo/shop"];
        let merge = ["--telemetry", telemetry, "--merge", &own];
        let Some(routed) = valid(&[&merge[..], &route].concat()) else { return };
        assert!(routed.stdout.contains("demo/shop") && routed.stderr.contains("its versions"));
        // Merging what was merged changes nothing.
        write(folder.path(), "merged.yaml", &merged.stdout);
        let again = folder.path().join("merged.yaml").display().to_string();
        let again = run(["envoy", "bootstrap", "--telemetry", telemetry, "--merge", &again]);
        assert_eq!(again.stdout, merged.stdout);
    }
}

#[test]
fn what_stands_in_the_way_is_told_with_file_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own.yaml").display().to_string();
    let reports = format!("{OWN}cluster_manager: {{load_stats_config: {{api_type: GRPC}}}}\n");
    for (text, words) in [
        (reports.as_str(), "cluster_manager.load_stats_config"),
        ("static_resources: [", "own.yaml"),
        ("just words", "own.yaml"),
        (&weir_tests::world::policy("Observe"), "apiVersion"),
    ] {
        write(folder.path(), "own.yaml", text);
        let ended = run(["envoy", "bootstrap", "--merge", &own]);
        refused(&ended, BAD_INPUT, &["error: ", "own.yaml: ", words]);
    }
    for (text, words) in [
        ("127.0.0.1:1", "names no service"),
        ("here=a/b", "HOST:PORT"),
        ("127.0.0.1:1=/a", "names no service"),
    ] {
        let ended = run([
            "envoy",
            "bootstrap",
            "--node",
            "n",
            "--node-cluster",
            "c",
            "--listen-route",
            text,
        ]);
        refused(&ended, USAGE, &[words]);
    }
    let ended = run(["envoy", "bootstrap", "--merge", "/nowhere/envoy.yaml"]);
    refused(&ended, BAD_INPUT, &["/nowhere/envoy.yaml", "cannot be read", "bootstrap"]);
}
