//! Setting up: what is missing is named with the command that installs it, and the scripts and
//! targets that people run are sound.

use std::process::{Command, Output};

use weir_tests::root;

fn bash() -> Command {
    let mut command = Command::new("/bin/bash");
    command.current_dir(root());
    command
}

/// A script that must give up, and what it says.
#[track_caller]
fn refusal(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(stdout.is_empty(), "standard output is the demo's document's alone");
    String::from_utf8(stderr).unwrap()
}

#[test]
fn every_script_is_sound() {
    let scripts = root().join("deploy/setup").read_dir().unwrap();
    let mut scripts = scripts.map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert!(!scripts.is_empty());
    scripts.push(root().join("tests/peers/build.sh"));
    for script in scripts {
        assert!(bash().arg("-n").arg(&script).status().unwrap().success(), "{script:?}");
    }
}

#[test]
fn every_target_is_there() {
    for target in ["demo", "test", "test-mesh", "bench", "nightly", "clean"] {
        let mut make = Command::new("make");
        let planned = make.current_dir(root()).args(["--dry-run", target]).output().unwrap();
        assert!(planned.status.success(), "make {target}: {planned:?}");
    }
}

#[test]
fn missing_tools_are_named_all_at_once() {
    let said = refusal(bash().arg("deploy/setup/tools.sh").env("PATH", "/nowhere"));
    for tool in ["cargo: https://", "cc: apt-get install", "python3: apt-get install"] {
        assert!(said.contains(tool), "{said}");
    }
}

#[test]
fn a_program_that_debian_lacks_is_named() {
    let said = refusal(bash().args(["deploy/setup/debian.sh", "weir-no-such-program"]));
    assert!(said.contains("apt-get install -y --no-install-recommends weir-no-such"), "{said}");
}
