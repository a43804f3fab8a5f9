#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use weir_engine::goal::Mode;
use weir_policies::problem::{Colour, render};

use super::{FILE, Outcome, Test};
use crate::recording::simulated::testing::record_in;

fn outcomes(folder: &Path, text: &str) -> Vec<Outcome> {
    fs::write(folder.join(FILE), text).unwrap();
    let tests = Test::find(folder).map_err(|problems| render(&problems, Colour::Never)).unwrap();
    tests[0].run().unwrap()
}

fn told(outcomes: &[Outcome]) -> String {
    let line = |Outcome { what, came }: &Outcome| match came {
        Ok(how) => format!("ok      {what} ({how})\n"),
        Err(how) => format!("FAILED  {what}: {how}\n"),
    };
    outcomes.iter().map(line).collect()
}

#[test]
fn each_kind_holds_where_it_is_true_and_fails_where_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    record_in(folder.path(), ("err30", 1), Mode::Enforce);
    let text = "
description: One of ten fails 30 % of its requests.
expect:
  - { service: demo/shop, from: +40s, ejects: '10.0.0.000:8080', within: 5s }
  - { from: +40s, ejects: '10.0.0.000:8080', within: 1s }
  - { from: +40s, ejects: '10.0.0.001:8080' }
  - { neverEjects: '10.0.0.001:8080' }
  - { neverEjects: any, until: +40s }
  - { neverEjects: any }
  - { returns: '10.0.0.000:8080', from: +40s, within: 40s }
  - { ejectedMost: 1 }
  - { ejectedMost: 0, from: '00:00:50' }
  - { movedMostPercent: 500 }
  - { movedMostPercent: 0.1 }
  - { weight: { endpoint: '10.0.0.005:8080', atLeast: 0.9, atMost: 1.1 } }
  - { weight: { endpoint: '10.0.0.005:8080', atLeast: 1.1 } }
  - { keeps: fast }
  - { keeps: available }
  - { keeps: cheap }
  - { rests: true, until: +40s }
  - { rests: true, from: '1970-01-01T00:00:40Z' }
  - { holds: true, until: +1s }
  - { holds: true }
  - { newVersionMostPercent: 20 }
  - { service: demo/other, rests: true }
";
    insta::assert_snapshot!(told(&outcomes(folder.path(), text)));
}

#[test]
fn other_policies_are_tried_on_the_same_journal() {
    let folder = tempfile::tempdir().unwrap();
    record_in(folder.path(), ("err30", 1), Mode::Enforce);
    let policy = "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: { name: shop, namespace: demo }
spec:
  targetRefs: [{ group: \"\", kind: Service, name: shop }]
  mode: Enforce
  suspend: true
";
    fs::write(folder.path().join("still.yaml"), policy).unwrap();
    let text = "policies: [still.yaml]\nexpect: [{ neverEjects: any }, { rests: true }]\n";
    let came = outcomes(folder.path(), text);
    assert!(came.iter().all(|outcome| outcome.came.is_ok()) && came.len() == 2, "{came:?}");
}

#[test]
fn mistakes_are_told_at_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let text = "identical: true
policies: [missing.yaml]
expect:
  - { service: shop, from: soon, ejects: a, within: ever }
  - { service: demo/shop }
  - { ejectedMost: 1, rests: true }
  - { ejectedMost: 1, within: 5s }
";
    fs::write(&path, text).unwrap();
    let problems = Test::find(&path).unwrap_err();
    let shown = render(&problems, Colour::Never);
    insta::assert_snapshot!(shown.replace(&format!("{}/", folder.path().display()), ""));
    fs::write(&path, "expect: [{ ejectMost: 1 }]").unwrap();
    let unknown = render(&Test::find(&path).unwrap_err(), Colour::Never);
    assert!(unknown.contains("did you mean `ejectedMost`?"), "{unknown}");
    let none = Test::find(&folder.path().join("none")).unwrap_err();
    assert!(none[0].render(Colour::Never).contains("cannot be read"));
}
