//! `weir arena`: a short scenario on a real Envoy, start to end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use weir_testbed::required::or_skip;
use weir_tests::weir::{Ended, command};
use weir_tests::world::write;

/// One of four fails everything, and clients are of two zones. Little enough for any machine.
const SHORT: &str = "description: One of four fails.
length: 3s
counted_from: 500ms
counted_until: 2s
timeout: 250ms
load: [{ rps: 80 }]
zones: [{ name: a, demand: 0.5 }, { name: b, demand: 0.5 }]
cross_zone: 10ms
backends:
  - { count: 1, zone: a, faults: [{ from: 0s, until: 3s, errors: 1 }] }
  - { count: 1, zone: a }
  - { count: 2, zone: b }
";

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key} in {row}"))
}

#[test]
fn a_scenario_is_played_on_real_proxies() {
    let Some(envoy) = or_skip("envoy", weir_testbed::envoy::find()) else { return };
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "short.yaml", SHORT);
    let file = folder.path().join("short.yaml").display().to_string();
    let rivals = "least-request,weir,peak-ewma";
    let asked = ["arena", &file, "--rivals", rivals, "--proxies", "6", "--scale", "2"];
    let mut command = command(asked.iter().chain(&["-o", "json"]));
    let ended = Ended::from(command.env("WEIR_ENVOY", envoy).output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("Plays in real time, for 0 min 15 s"), "{}", ended.stderr);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(document["scale"].is_string(), "{document}");
    let rows = document["rows"].as_array().unwrap();
    let all = |key: &str| rows.iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    assert_eq!(all("rival"), ["least-request", "weir", "peak-ewma"]);
    assert_eq!(all("via"), ["envoy", "weir+envoy", "own-proxy"]);
    assert_eq!((all("proxies"), all("seeds")), (vec![6.into(); 3], vec![1.into(); 3]));
    assert_eq!(all("scale"), vec![Value::from(2.0); 3]);
    // All of them met the same requests, of which some went to either zone and some failed, but
    // never all.
    let requests = number(&rows[0], "requests");
    assert!((30.0..100.0).contains(&requests), "{document}");
    for row in rows {
        assert_eq!(number(row, "requests"), requests, "{document}");
        for key in ["error_ratio", "cross_zone_ratio"] {
            assert!((0.01..0.99).contains(&number(row, key)), "{key} in {document}");
        }
        for key in ["p50_ms", "p99_ms", "goodput_rps"] {
            assert!(number(row, key) > 0.0, "{key} in {document}");
        }
        assert!((0.0..=1.0).contains(&number(row, "late_ratio")), "{document}");
        assert!(number(&row["simulated"], "p99_ms") > 0.0, "{document}");
        assert_eq!(number(&row["by_seed"][0], "seed"), 1.0, "{document}");
    }
    let ratios = document["ratios"].as_array().unwrap();
    assert_eq!(ratios.len(), 2);
    for ratio in ratios {
        assert_eq!(ratio["rival"], "least-request");
        for (kind, key) in [("p99", "pooled"), ("p99", "simulated"), ("errors", "least")] {
            assert!(number(&ratio[kind], key) > 0.0, "{kind} {key} in {document}");
        }
    }
}
