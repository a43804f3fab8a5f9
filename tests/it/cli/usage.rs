//! The command line itself.

use weir_tests::weir::{command, run};

use super::{OK, USAGE, refused};

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for (arguments, words) in [
        (&["nonsense"][..], "nonsense"),
        (&["run", "--tick", "soon"], "500ms, 1s or 1m30s"),
        (&["run", "--listen-xds", "nowhere"], "--listen-xds"),
        (&["policy", "check"], "<PATHS>"),
        (&["record", "--prometheus", "http://p"], "--start"),
        (&["record", "--prometheus", "http://p", "--start", "-1d", "--header", "a"], "NAME: VALUE"),
        (&["envoy", "bootstrap"], "--node"),
        (&["envoy", "bootstrap", "--node", "a", "--node-cluster", "b", "--weir", "a"], "HOST:PORT"),
        (&["envoy", "bootstrap", "--node", "a", "--node-cluster", "b", "--listen", "a:1"], "=shop"),
        (&["envoy", "bootstrap", "--merge", "a", "--admin", "0.0.0.0:1"], "stop the proxy"),
    ] {
        refused(&run(arguments), USAGE, &[words]);
    }
}

#[test]
fn a_wrong_variable_is_a_usage_error_too() {
    let mut command = command(["config", "view"]);
    let ended = command.env("WEIR_TICK", "soon").output().unwrap().into();
    refused(&ended, USAGE, &["soon", "500ms, 1s or 1m30s"]);
}

#[test]
fn help_names_every_command() {
    let help = run(["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(OK), ""));
    for command in ["run", "demo", "policy", "envoy", "config", "completions"] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{}", help.stdout);
    }
    assert!(run(["--version"]).stdout.starts_with("weir "));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = run(["completions", shell]);
        assert_eq!(printed.code, Some(OK), "{}", printed.stderr);
        for word in ["bootstrap", "policy", "data-dir"] {
            assert!(printed.stdout.contains(word), "{shell} does not know {word}");
        }
    }
}

/// Whether a refusal is coloured.
#[track_caller]
fn coloured(arguments: &[&str], variables: &[(&str, &str)], expected: bool) {
    let mut command = command(["run", "--config", "/nowhere.yaml"]);
    command.args(arguments).envs(variables.iter().copied());
    let stderr = command.output().unwrap().stderr;
    let found = String::from_utf8_lossy(&stderr).contains('\u{1b}');
    assert_eq!(found, expected, "{arguments:?} {variables:?}");
}

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    coloured(&[], &[], false);
    coloured(&["--color", "always"], &[], true);
    coloured(&["--color", "always"], &[("NO_COLOR", "1")], true);
    coloured(&["--color", "never"], &[("CLICOLOR_FORCE", "1")], false);
    coloured(&[], &[("CLICOLOR_FORCE", "1")], true);
    coloured(&[], &[("NO_COLOR", "1")], false);
}
