//! `weir config view`, and configurations that are wrong.

use tempfile::TempDir;
use weir_tests::weir::{Ended, command, run};

use super::{BAD_INPUT, OK, refused};

fn file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.yaml");
    std::fs::write(&path, text).unwrap();
    let shown = path.display().to_string();
    (folder, shown)
}

/// What is said of the tick when these say something of it.
#[track_caller]
fn tick(flag: Option<&str>, variable: Option<&str>, written: Option<&str>, expected: &str) {
    let (_folder, path) = file(&written.map(|text| format!("tick: {text}\n")).unwrap_or_default());
    let mut command = command(["config", "view", "--origin", "--config", &path]);
    command.args(flag.map(|text| format!("--tick={text}")));
    command.envs(variable.map(|text| ("WEIR_TICK", text)));
    let ended = Ended::from(command.output().unwrap());
    assert_eq!(ended.code, Some(OK), "{}", ended.stderr);
    let line = ended.stdout.lines().find(|line| line.starts_with("tick:")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words.join(" "), expected.replace("FILE", &path));
}

#[test]
fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
    tick(Some("2s"), Some("3s"), Some("4s"), "tick: 2s # flag");
    tick(None, Some("3s"), Some("4s"), "tick: 3s # environment WEIR_TICK");
    tick(None, None, Some("4s"), "tick: 4s # file FILE");
    tick(None, None, None, "tick: 1s # default");
}

#[test]
fn every_setting_tells_its_origin() {
    let (_folder, path) = file("services: [{name: shop, endpoints: {dns: 'shop:80'}}]\n");
    let ended = run(["config", "view", "--origin", "--config", &path]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(OK), ""));
    for line in ended.stdout.lines() {
        assert!(line.contains("# "), "{line}");
    }
    let plain = run(["config", "view", "--config", &path]).stdout;
    assert!(plain.contains("services: [default/shop]\n"), "{plain}");
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let (_folder, path) = file("tick: 7s\n");
    let mut command = command(["config", "view"]);
    let ended = Ended::from(command.env("WEIR_CONFIG", path).output().unwrap());
    assert!(ended.stdout.contains("tick: 7s\n"), "{ended:?}");
}

#[test]
fn mistakes_are_told_at_their_lines_all_at_once() {
    let (_folder, path) = file("tick: soon\nlisten:\n  xds: nowhere\n");
    for arguments in [&["run", "--config", &path][..], &["config", "view", "--config", &path]] {
        let at = [format!("{path}:1:"), format!("{path}:3:")];
        let words = ["1m30s", "127.0.0.1:18010", &at[0], &at[1]];
        refused(&run(arguments), BAD_INPUT, &words);
    }
}

#[test]
fn an_unknown_field_is_told_with_what_was_meant() {
    let (_folder, path) = file("services:\n  - name: shop\n    endpoint: {dns: 'shop:80'}\n");
    let at = format!("{path}:3:");
    refused(&run(["run", "--config", &path]), BAD_INPUT, &["`endpoint`", "`endpoints`", &at]);
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    for path in ["/nowhere/weir.yaml", "/"] {
        refused(&run(["run", "--config", path]), BAD_INPUT, &[path, "cannot be read"]);
    }
}
