//! `weir evaluate`: small generated data, the keys that programs read, and what is said of wrong
//! folders.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use weir_tests::weir::run;
use weir_tests::world::write;

use super::{BAD_INPUT, OK, USAGE, refused};

fn evaluate(subject: &str, folder: &Path) -> Value {
    let folder = folder.display().to_string();
    let ended = run(["evaluate", subject, folder.as_str(), "-o", "json"]);
    assert_eq!(ended.code, Some(OK), "{}", ended.stderr);
    let table = run(["evaluate", subject, folder.as_str()]);
    assert_eq!(table.code, Some(OK), "{}", table.stderr);
    assert!(table.stdout.contains("weir") && table.stdout.contains("blind_periodic"));
    serde_json::from_str(&ended.stdout).unwrap()
}

#[track_caller]
fn number(document: &Value, path: &str) -> f64 {
    let found = document.pointer(path).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no number at {path} in {document:#}"))
}

fn wrong(subject: &str, folder: &Path, words: &[&str]) {
    let folder = folder.display().to_string();
    refused(&run(["evaluate", subject, folder.as_str()]), BAD_INPUT, words);
}

/// Noise that needs no generator: the same on every machine.
fn noise(at: usize) -> f64 {
    f64::from(u16::try_from(at * 7_919 % 1_009).unwrap()) / 1_009.0 - 0.5
}

/// A moment so many five-minute steps into April 2014.
fn moment(at: usize) -> String {
    let (day, minute) = (1 + at / 288, at % 288 * 5);
    format!("2014-04-{day:02} {:02}:{:02}:00", minute / 60, minute % 60)
}

fn series(length: usize, value: impl Fn(usize) -> f64) -> String {
    let mut text = "timestamp,value\n".to_owned();
    for at in 0..length {
        writeln!(text, "{},{:.4}", moment(at), value(at)).unwrap();
    }
    text
}

fn day(at: usize) -> f64 {
    50.0 + 30.0 * (std::f64::consts::TAU * (at % 288) as f64 / 288.0).sin() + 2.0 * noise(at)
}

/// Five series of seven days, each with a fault in a window of its own.
fn benchmark(folder: &Path) {
    let mut windows = serde_json::Map::new();
    for number in 0..5 {
        let fault = 1_200 + 100 * number;
        let faulty = |at: usize| (fault..fault + 40).contains(&at);
        let text = series(2_016, |at| if faulty(at) { day(at) + 90.0 } else { day(at) });
        let name = format!("group/series{number}.csv");
        write(folder, &name, &text);
        let window = [moment(fault - 50), moment(fault + 150)];
        windows.insert(name, serde_json::json!([window]));
    }
    write(folder, "labels/combined_windows.json", &Value::Object(windows).to_string());
}

#[test]
fn plain_anomalies_score_well_and_blind_alarms_do_not() {
    let folder = tempfile::tempdir().unwrap();
    benchmark(folder.path());
    let document = evaluate("nab", folder.path());
    let own = number(&document, "/cross_validated/standard");
    assert!(own > 60.0, "{document:#}");
    for profile in ["standard", "reward_low_fp", "reward_low_fn"] {
        number(&document, &format!("/cross_validated/{profile}"));
        for baseline in ["random", "blind_periodic", "persist"] {
            number(&document, &format!("/baselines/{baseline}/cross_validated/{profile}"));
        }
    }
    assert!(number(&document, "/baselines/blind_periodic/cross_validated/standard") < own);
    assert!(number(&document, "/alarm_on_ratio") < 0.02);
    number(&document, "/stuck_alarms");
    let group = folder.path().join("group");
    let alone = evaluate("nab", &group);
    assert_eq!(alone["windows"], 5, "a group may be named alone");
}

#[test]
fn wrong_benchmarks_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    wrong("nab", &at("nowhere"), &["nowhere", "cannot be read"]);
    std::fs::create_dir(at("empty")).unwrap();
    wrong("nab", &at("empty"), &["empty", "labels/combined_windows.json"]);
    write(&at("bare"), "labels/combined_windows.json", "{}");
    wrong("nab", &at("bare"), &["holds no series"]);
    write(&at("bare"), "group/a.csv", &series(10, day));
    wrong("nab", &at("bare"), &["`group/a.csv` has no entry", "leave the series out"]);
    benchmark(&at("broken"));
    write(&at("broken"), "group/series1.csv", "timestamp,value\n2014-04-01 00:00:00,much\n");
    wrong("nab", &at("broken"), &["series1.csv:2", "`much` is no number"]);
    write(&at("broken"), "group/series1.csv", "name,colour\ncat,grey\n");
    wrong("nab", &at("broken"), &["series1.csv", "timestamp,value"]);
    write(&at("quiet"), "labels/combined_windows.json", r#"{"group/a.csv": []}"#);
    write(&at("quiet"), "group/a.csv", &series(100, day));
    wrong("nab", &at("quiet"), &["no window"]);
    write(&at("quiet"), "labels/combined_windows.json", "{");
    wrong("nab", &at("quiet"), &["combined_windows.json:1"]);
    refused(&run(["evaluate", "moon", "."]), USAGE, &["moon"]);
}

#[test]
fn periodic_load_is_foretold() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "shop.csv", &series(2_880, day));
    write(folder.path(), "noise.csv", &series(2_880, noise));
    let document = evaluate("forecast", folder.path());
    assert!(number(&document, "/breaches_warned") >= 0.8, "{document:#}");
    assert!(number(&document, "/precision") >= 0.7, "{document:#}");
    assert!(number(&document, "/recall/60") >= 0.5, "{document:#}");
    assert!(number(&document, "/median_lead") >= 30.0);
    for baseline in ["reactive", "persist", "blind_periodic"] {
        let theirs = number(&document, &format!("/baselines/{baseline}/recall/60"));
        assert!(theirs < 0.5, "{baseline}: {theirs}");
    }
    assert_eq!(document["left_out"].as_array().unwrap().len(), 1, "noise does not repeat");
    std::fs::remove_file(folder.path().join("shop.csv")).unwrap();
    wrong("forecast", folder.path(), &["no series that repeats"]);
    std::fs::remove_file(folder.path().join("noise.csv")).unwrap();
    wrong("forecast", folder.path(), &["no .csv file"]);
}

/// One pod's metrics of 200 minutes, slow from `fault` on for four; stamps may be shifted.
fn pod(name: &str, fault: usize, shift: usize) -> String {
    let mut text = "Time,TimeStamp,PodName,CpuUsage(m),PodServerLatencyP90(s)\n".to_owned();
    for at in 0..200 {
        let slow = if (fault..fault + 4).contains(&at) { 40.0 } else { 1.0 };
        let time = format!("2022-08-22 {:02}:{:02}:00.1 +0000 UTC m=+0.1", at / 60, at % 60);
        // One stamp is ahead of the next, as a broken clock writes it.
        let stamp = 1_661_126_400 + 60 * at + shift + if shift > 0 && at == 9 { 500 } else { 0 };
        let cpu = slow * (5.0 + noise(at));
        let latency = slow * (0.02 + 0.001 * noise(at + 500));
        let latency = if at == 100 { String::new() } else { latency.to_string() };
        writeln!(text, "{time},{stamp},{name},{cpu},{latency}").unwrap();
    }
    text
}

#[test]
fn faults_of_pods_are_found_and_defects_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut list = Vec::new();
    for number in 0..5 {
        let (name, fault) = (format!("pod-{number}"), 60 + 20 * number);
        let shift = if number == 0 { 200_000_000 } else { 0 };
        write(folder.path(), &format!("day/{name}_metric.csv"), &pod(&name, fault, shift));
        let fault = |at: usize| {
            serde_json::json!({ "inject_timestamp": (1_661_126_400 + 60 * at).to_string(),
                                "inject_pod": name, "inject_type": "cpu" })
        };
        list.extend([fault(number * 20 + 60), fault(2)]);
    }
    let list = serde_json::json!({ "00": list }).to_string();
    write(folder.path(), "day/2022-08-22-fault_list.json", &list);
    let document = evaluate("nezha", folder.path());
    assert!(number(&document, "/recall") > 0.9, "{document:#}");
    assert!(number(&document, "/precision") > 0.7, "{document:#}");
    assert_eq!(document["faults"], 5, "those in the warm-up do not count");
    let defects = document["defects"].to_string();
    for words in
        ["off by +200000000 s", "backwards 1 times", "in the warm-up", "1 values are missing"]
    {
        assert!(defects.contains(words), "{words}: {defects}");
    }
    for baseline in ["random", "blind_periodic", "persist"] {
        number(&document, &format!("/baselines/{baseline}/recall"));
    }
    for judge in ["with_callers", "joint_directions", "joint_mixture", "joint_likeliest"] {
        number(&document, &format!("/judges/{judge}/recall"));
    }
    std::fs::remove_file(folder.path().join("day/2022-08-22-fault_list.json")).unwrap();
    wrong("nezha", folder.path(), &["no *fault_list.json"]);
}

/// Samples of two nodes, the shop and what it calls; slow or failing from a sample on.
fn metrics(from: usize, length: usize, slow: usize) -> String {
    let mut text = String::new();
    for (line, cells) in [
        ("microservice", ["Shop", "Shop", "Shop", "Base"]),
        ("metric", ["latency", "availability", "requests", "latency"]),
        ("statistic", ["Average", "Average", "Sum", "Average"]),
        ("unix_timestamp", [""; 4]),
    ] {
        writeln!(text, "{line},{}", cells.join(",")).unwrap();
    }
    for at in 0..length {
        let factor = if at >= slow { 3.0 } else { 1.0 };
        let latency = factor * (0.1 + 0.01 * noise(from + at));
        let base = factor * factor * (0.01 + 0.001 * noise(from + at + 300));
        writeln!(text, "{}.0,{latency},100.0,500,{base}", 1_000_000 + 300 * at).unwrap();
    }
    text
}

#[test]
fn issues_of_an_application_are_found() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "low/noissue/metrics.csv", &metrics(0, 400, usize::MAX));
    for number in 0..5 {
        let issue = format!("low/test/issue_{number}");
        write(folder.path(), &format!("{issue}/metrics.csv"), &metrics(40 * number, 5, 2));
        let target = r#"{"target": {"node": "Shop", "metric": "latency", "agg": "Average",
            "timestamp": 1000610}, "root_cause": {"node": "Base", "metric": null}}"#;
        write(folder.path(), &format!("{issue}/target.json"), target);
    }
    let document = evaluate("petshop", folder.path());
    assert!(number(&document, "/recall") > 0.9, "{document:#}");
    assert!(number(&document, "/precision") > 0.9, "{document:#}");
    assert_eq!(document["root_cause"]["first"], 5, "{document:#}");
    write(folder.path(), "low/test/issue_0/target.json", "{}");
    wrong("petshop", folder.path(), &["issue_0/target.json", "target"]);
    write(folder.path(), "low/noissue/metrics.csv", "a,b\n1,2\n");
    wrong("petshop", folder.path(), &["noissue/metrics.csv", "no metrics file of PetShop"]);
    std::fs::remove_dir_all(folder.path().join("low")).unwrap();
    wrong("petshop", folder.path(), &["no noissue/metrics.csv"]);
}
