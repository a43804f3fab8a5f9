//! `weir simulate`: the scenarios that come with Weir, and what it says of wrong ones.

use std::path::Path;

use serde_json::Value;
use weir_tests::weir::run;
use weir_tests::world::write;

use super::{BAD_INPUT, OK, USAGE, refused};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

fn simulate(arguments: &[&str]) -> Vec<Value> {
    let ended = run(["simulate", "-o", "json"].iter().chain(arguments));
    assert_eq!(ended.code, Some(OK), "{}", ended.stderr);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    document["rows"].as_array().unwrap().clone()
}

fn of<'a>(rows: &'a [Value], rival: &str) -> &'a Value {
    rows.iter().find(|row| row["rival"] == rival).unwrap()
}

#[test]
fn a_failing_endpoint_costs_less_with_weir() {
    let scenario = format!("{SCENARIOS}/err30.yaml");
    let rivals = ["--rivals", "weir,least-request+od,omniscient", "--seeds", "1"];
    let rows = simulate(&[&[scenario.as_str()], &rivals[..]].concat());
    assert_eq!(rows.len(), 3);
    let errors = |rival: &str| of(&rows, rival)["error_ratio"].as_f64().unwrap();
    assert!(errors("weir") < 0.2 * errors("least-request+od"), "{rows:#?}");
    assert!(errors("omniscient") < errors("weir"));
    let row = of(&rows, "weir");
    assert_eq!(
        (&row["scenario"], &row["proxies"], &row["seeds"]),
        (&"err30".into(), &100.into(), &1.into())
    );
    for number in
        ["p50_ms", "p99_ms", "cross_zone_ratio", "retry_ratio", "overflow_ratio", "goodput_rps"]
    {
        assert!(row[number].is_f64(), "{number} in {row}");
    }
}

#[test]
fn a_healthy_fleet_is_left_alone() {
    let scenario = format!("{SCENARIOS}/homog.yaml");
    let rivals = ["--rivals", "weir,least-request+od", "--seeds", "1", "--proxies", "5"];
    let rows = simulate(&[&[scenario.as_str()], &rivals[..]].concat());
    let p99 = |rival: &str| of(&rows, rival)["p99_ms"].as_f64().unwrap();
    assert!(p99("weir") <= 1.01 * p99("least-request+od"), "{rows:#?}");
}

#[test]
fn retries_and_pools_do_what_they_say() {
    let scenario = |name: &str| format!("{SCENARIOS}/{name}.yaml");
    let rivals = ["--rivals", "least-request,omniscient", "--seeds", "1", "--proxies", "20"];
    let rows = simulate(&[&[scenario("retries").as_str()], &rivals[..]].concat());
    let number = |row: &Value, field: &str| row[field].as_f64().unwrap();
    let plain = of(&rows, "least-request");
    assert!(number(plain, "retry_ratio") > 0.02, "a tenth fails by half: {plain}");
    assert!(number(plain, "error_ratio") < 0.005, "but hardly ever twice: {plain}");
    let rows = simulate(&[&[scenario("pools").as_str()], &rivals[..]].concat());
    let (plain, best) = (of(&rows, "least-request"), of(&rows, "omniscient"));
    assert!(number(plain, "overflow_ratio") > number(best, "overflow_ratio"), "{rows:#?}");
    assert!(number(plain, "error_ratio") >= number(plain, "overflow_ratio"), "{plain}");
}

#[test]
fn a_chain_is_governed_tier_by_tier() {
    let scenario = format!("{SCENARIOS}/chain.yaml");
    let rivals = ["--rivals", "weir,least-request+od", "--seeds", "1", "--proxies", "20"];
    let rows = simulate(&[&[scenario.as_str()], &rivals[..]].concat());
    let errors = |rival: &str| of(&rows, rival)["error_ratio"].as_f64().unwrap();
    assert!(errors("weir") < 0.5 * errors("least-request+od"), "{rows:#?}");
}

#[test]
fn the_page_needs_nothing_else() {
    let scenario = format!("{SCENARIOS}/lossy.yaml");
    let asked = ["--rivals", "weir,random", "--seeds", "1", "--proxies", "5", "-o", "html"];
    let ended = run(["simulate", scenario.as_str()].iter().chain(&asked));
    assert_eq!(ended.code, Some(OK), "{}", ended.stderr);
    let page = ended.stdout;
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    for part in ["lossy", "A fifth of reports is lost", "<svg", "<table", "weir", "random"] {
        assert!(page.contains(part), "{part}");
    }
    for foreign in ["<script", "<link", "src=", "http"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    // One endpoint fails: Weir ejects it, and the page shows when.
    assert!(page.contains("class=\"out\""), "nobody was ejected");
}

#[test]
fn every_scenario_that_comes_with_weir_can_be_read() {
    let count = std::fs::read_dir(SCENARIOS).unwrap().count();
    let rows = simulate(&[SCENARIOS, "--rivals", "random", "--seeds", "1", "--proxies", "2"]);
    assert_eq!(rows.len(), count);
}

#[test]
fn mistakes_are_told_at_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", "load: [{rps: -3}]\nbackends: [{count: 10, speed: fast}]\n");
    write(folder.path(), "b.yaml", "load: [{rps: 10}]\n");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let ended = run(["simulate", path("a.yaml").as_str(), path("b.yaml").as_str()]);
    refused(&ended, BAD_INPUT, &["a.yaml:2", "b.yaml", "backends"]);
    let nowhere = Path::new("nowhere.yaml").display().to_string();
    refused(&run(["simulate", nowhere.as_str()]), BAD_INPUT, &["nowhere.yaml", "cannot be read"]);
    let empty = path("empty");
    std::fs::create_dir(&empty).unwrap();
    refused(&run(["simulate", empty.as_str()]), BAD_INPUT, &["holds no .yaml file"]);
    let ended = run(["simulate", path("b.yaml").as_str(), "--rivals", "chance"]);
    refused(&ended, USAGE, &["nobody is called so", "least-request+od"]);
    let homog = format!("{SCENARIOS}/homog.yaml");
    let ended = run(["simulate", homog.as_str(), "--policy", path("b.yaml").as_str()]);
    refused(&ended, BAD_INPUT, &["b.yaml"]);
}
