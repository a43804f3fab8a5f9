#![allow(clippy::unwrap_used, reason = "test helpers")]

use super::*;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);

fn shell(directory: &TempDir, script: &str) -> Child {
    Child::start(Program {
        name: "shell".to_owned(),
        path: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: vec![("GREETING".to_owned(), "hello".to_owned())],
        log: directory.path().join("shell.log"),
    })
    .unwrap()
}

async fn started(directory: &TempDir, script: &str) -> Child {
    let mut child = shell(directory, script);
    let log = directory.path().join("shell.log");
    let says_ready = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("ready"));
    child.ready(SOON, async || says_ready()).await.unwrap();
    child
}

fn running(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    status.is_ok_and(|stat| !stat.contains(") Z "))
}

async fn until(condition: impl Fn() -> bool) {
    let held = async {
        while !condition() {
            sleep(TRY_EVERY).await;
        }
    };
    timeout(SOON, held).await.unwrap();
}

#[tokio::test]
async fn a_child_that_ends_early_is_told_with_its_log() {
    let directory = TempDir::new().unwrap();
    let mut child = shell(&directory, "echo $GREETING, no port; exit 3");
    let message = child.ready(SOON, async || false).await.unwrap_err().to_string();
    assert!(message.contains("exit status: 3"), "{message}");
    assert!(message.contains("hello, no port"), "{message}");
}

#[tokio::test]
async fn a_child_that_is_never_ready_is_told_with_its_log() {
    let directory = TempDir::new().unwrap();
    let mut child = shell(&directory, "echo still loading; sleep 1000");
    until(|| child.log_tail().contains("loading")).await;
    let within = Duration::from_millis(50);
    let message = child.ready(within, async || false).await.unwrap_err().to_string();
    assert!(message.contains("within 50ms") && message.contains("still loading"), "{message}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let directory = TempDir::new().unwrap();
    let program = Program {
        name: "envoy".to_owned(),
        path: "/nowhere/envoy".into(),
        arguments: Vec::new(),
        environment: Vec::new(),
        log: directory.path().join("log"),
    };
    let message = Child::start(program).unwrap_err().to_string();
    assert!(message.contains("/nowhere/envoy"), "{message}");
}

#[tokio::test]
async fn stop_lets_it_end_in_its_own_way() {
    let directory = TempDir::new().unwrap();
    let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = started(&directory, script).await;
    assert_eq!(child.stop().await.unwrap().code(), Some(7));
    assert!(child.log_tail().contains("bye"));
}

#[tokio::test]
async fn dropping_it_ends_it_and_what_it_started() {
    let directory = TempDir::new().unwrap();
    let pids = directory.path().join("pids");
    let script =
        format!("sleep 1000 & echo $$ > {0}; echo $! >> {0}; echo ready; wait", pids.display());
    let child = started(&directory, &script).await;
    let pids = std::fs::read_to_string(pids).unwrap();
    assert_eq!(pids.lines().filter(|pid| running(pid)).count(), 2);
    drop(child);
    until(|| !pids.lines().any(running)).await;
}
