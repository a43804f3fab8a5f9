//! `weir evaluate canary`: figures that hold, recordings that are judged, mistakes that are told.

use serde_json::Value;
use weir_tests::weir::run;
use weir_tests::world::write;

use super::{BAD_INPUT, OK, refused};

fn evaluate(arguments: &[&str]) -> Value {
    let ended = run(["evaluate", "canary", "-o", "json"].iter().chain(arguments));
    assert_eq!(ended.code, Some(OK), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// A recording of ten looks: 1 % of the stable version's requests fail, and so many of 500 of the
/// new one's.
fn recording(errors: u32) -> String {
    let header = "time,version,requests,errors,le_50,le_500\n".to_owned();
    (0..10).fold(header, |text, look| {
        let time = 1_700_000_000 + 10 * look;
        text + &format!(
            "{time},canary,500,{errors},400,500\n{time},stable,4500,{},3600,4500\n",
            40 + look
        )
    })
}

#[test]
fn a_false_alarm_is_rare_and_a_real_one_comes_soon() {
    let figures = evaluate(&[]);
    assert!(figures["aa"]["false_alarm_ratio"].as_f64().unwrap() <= 0.01, "{figures:#}");
    assert!(figures["looks"]["median"].as_u64().unwrap() <= 6, "{figures:#}");
    let peeking = &figures["baselines"]["z_peeking"]["aa"]["false_alarm_ratio"];
    assert!(peeking.as_f64().unwrap() > 0.1, "{figures:#}");
    assert_eq!(figures.get("recordings"), None);
}

#[test]
fn recordings_are_judged_and_scored_by_their_labels() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "worse.csv", &recording(20));
    write(folder.path(), "alike.csv", &recording(5));
    write(folder.path(), "labels.csv", "recording,verdict\nworse.csv,bad\nalike.csv,good\n");
    let figures = evaluate(&[folder.path().to_str().unwrap()]);
    let recordings = &figures["recordings"];
    let worse = recordings["pairs"].as_array().unwrap().iter();
    let worse = worse.clone().find(|pair| pair["recording"] == "worse.csv").unwrap();
    assert_eq!((&worse["verdict"], &worse["right"]), (&"Fail".into(), &true.into()));
    assert_eq!((&recordings["recall"], &recordings["precision"]), (&1.0.into(), &1.0.into()));
}

#[test]
fn what_is_no_recording_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    refused(&run(["evaluate", "canary", path]), BAD_INPUT, &["holds no recording"]);
    write(folder.path(), "other.csv", "timestamp,value\n1,2\n");
    refused(&run(["evaluate", "canary", path]), BAD_INPUT, &["other.csv", "is no recording"]);
    write(folder.path(), "other.csv", "time,version,requests,errors\n1,blue,2,9\n");
    let words = ["other.csv:2", "version `blue`"];
    refused(&run(["evaluate", "canary", path]), BAD_INPUT, &words);
    refused(&run(["evaluate", "canary", "/nowhere"]), BAD_INPUT, &["/nowhere", "cannot be read"]);
}
