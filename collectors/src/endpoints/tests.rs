#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::{sleep, timeout};
use weir_engine::units::Moment;

/// How long a condition is waited for: never reached on a machine that works.
const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn check(text: &str, expected: Option<&str>) {
    assert_eq!(address(text).ok().map(|address| address.to_string()).as_deref(), expected);
}

#[test]
fn addresses_are_ip_and_port_in_one_spelling() {
    check("10.0.0.1:80", Some("10.0.0.1:80"));
    check("[fd00:0:0::1]:80", Some("[fd00::1]:80"));
    for bad in [
        "",
        "10.0.0.1",
        "10.0.0.1:",
        ":80",
        "fd00::1:80",
        "shop:80",
        "10.0.0.1:80 ",
        "10.0.0.1:65536",
        "010.0.0.1:80",
        "[fe80::1%2]:80",
        "10.0.0.1:0",
        "0.0.0.0:80",
        "[::]:80",
        "224.0.0.1:80",
    ] {
        check(bad, None);
    }
}

/// A clock that tests set.
struct Rig {
    seconds: Arc<AtomicU64>,
    found: watch::Receiver<Arc<Discovered>>,
    status: watch::Receiver<Status>,
    discovery: Discovery,
}

fn rig(source: Source, last_known: Vec<Endpoint>) -> Rig {
    let seconds = Arc::new(AtomicU64::new(1));
    let clock = Arc::clone(&seconds);
    let now: Now = Arc::new(move || Moment::from_millis(clock.load(Ordering::Relaxed) * 1_000));
    let config = Config { service: ServiceId::new("demo", "shop"), source, last_known };
    let (discovery, found, status) = config.build(now);
    Rig { seconds, found, status, discovery }
}

fn addresses(discovered: &Discovered) -> Vec<&str> {
    discovered.endpoints.iter().map(|endpoint| endpoint.address.as_str()).collect()
}

fn endpoint(text: &str) -> Endpoint {
    plain(address(text).unwrap())
}

#[test]
fn duplicates_are_removed_and_counted() {
    let mut rig = rig(Source::Dns("shop:80".to_owned()), Vec::new());
    let mut draining = endpoint("10.0.0.1:80");
    draining.ready = false;
    rig.discovery.outlet.list(vec![
        endpoint("10.0.0.2:80"),
        endpoint("10.0.0.1:80"),
        draining.clone(),
    ]);
    let found = rig.found.borrow().clone();
    assert_eq!((found.duplicates, found.listed), (1, true));
    assert_eq!(found.endpoints, [draining, endpoint("10.0.0.2:80")]);
}

#[test]
fn before_the_first_list_only_the_last_known_stands() {
    let rig = rig(Source::Dns("shop:80".to_owned()), vec![endpoint("10.0.0.1:80")]);
    let found = rig.found.borrow().clone();
    assert_eq!((addresses(&found), found.listed), (vec!["10.0.0.1:80"], false));
    rig.discovery.outlet.fail(&AddressError::NotAnAddress(String::new()));
    assert!(!rig.found.borrow().listed);
}

#[test]
fn readers_are_told_of_changes_only() {
    let mut rig = rig(Source::Dns("shop:80".to_owned()), Vec::new());
    rig.discovery.outlet.list(vec![endpoint("10.0.0.1:80")]);
    assert!(rig.found.has_changed().unwrap());
    rig.found.mark_unchanged();
    rig.discovery.outlet.list(vec![endpoint("10.0.0.1:80")]);
    assert!(!rig.found.has_changed().unwrap());
}

/// Runs a discovery beside a test's steps.
async fn beside(discovery: Discovery, steps: impl Future<Output = ()>) {
    let stop = CancellationToken::new();
    let stopping = async {
        timeout(PATIENCE, steps).await.expect("the condition comes true");
        stop.cancel();
    };
    tokio::join!(discovery.run(stop.clone()), stopping);
}

async fn until<T>(reader: &mut watch::Receiver<T>, holds: impl FnMut(&T) -> bool) {
    reader.wait_for(holds).await.unwrap();
}

#[tokio::test]
async fn a_file_is_followed_through_changes_mistakes_and_mending() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.yaml");
    std::fs::write(&path, "endpoints: [10.0.0.1:80]").unwrap();
    let Rig { mut found, mut status, discovery, .. } = rig(Source::File(path.clone()), Vec::new());
    beside(discovery, async {
        until(&mut found, |found| addresses(found) == ["10.0.0.1:80"]).await;
        std::fs::write(&path, "endpoints: [10.0.0.1:80, 10.0.0.2:80]").unwrap();
        until(&mut found, |found| found.endpoints.len() == 2).await;
        std::fs::write(&path, "endpoints:\n- 10.0.0.3\n").unwrap();
        until(&mut status, |status| {
            let text = status.last_error.as_ref().map_or("", |error| error.text.as_str());
            text.contains("shop.yaml") && text.contains("line 2, column 3")
        })
        .await;
        assert_eq!(found.borrow().endpoints.len(), 2, "the last good list stays");
        // As editors and mounted volumes do it: another file in its place.
        let other = directory.path().join("other");
        std::fs::write(&other, "endpoints: [10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80]").unwrap();
        std::fs::rename(&other, &path).unwrap();
        until(&mut found, |found| found.endpoints.len() == 3).await;
        until(&mut status, |status| status.last_error.is_none()).await;
        std::fs::remove_file(&path).unwrap();
        until(&mut status, |status| status.last_error.is_some()).await;
        assert_eq!(found.borrow().endpoints.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_emptied_keeps_its_endpoints_for_a_minute() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.json");
    std::fs::write(&path, "{\"endpoints\": [\"10.0.0.1:80\"]}").unwrap();
    let Rig { mut found, seconds, discovery, .. } = rig(Source::File(path.clone()), Vec::new());
    beside(discovery, async {
        until(&mut found, |found| found.endpoints.len() == 1).await;
        std::fs::write(&path, "{\"endpoints\": []}").unwrap();
        until(&mut found, |found| found.withheld == 1).await;
        assert_eq!(found.borrow().endpoints.len(), 1);
        // The periodic reading confirms it: nothing in the directory changes any more.
        seconds.fetch_add(60, Ordering::Relaxed);
        until(&mut found, |found| found.endpoints.is_empty()).await;
        assert!(found.borrow().listed);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_appears_later_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.yaml");
    let Rig { mut found, mut status, discovery, .. } = rig(Source::File(path.clone()), Vec::new());
    beside(discovery, async {
        until(&mut status, |status| {
            status.last_error.as_ref().is_some_and(|error| error.text.contains("cannot read"))
        })
        .await;
        assert!(!found.borrow().listed);
        std::fs::write(&path, "endpoints: [10.0.0.1:80]").unwrap();
        until(&mut found, |found| found.listed).await;
    })
    .await;
}

#[tokio::test]
async fn a_name_is_resolved_and_one_that_cannot_be_keeps_what_was_known() {
    let Rig { mut found, discovery, .. } =
        rig(Source::Dns("localhost:8080".to_owned()), Vec::new());
    beside(discovery, until(&mut found, |found| found.listed)).await;
    assert!(found.borrow().endpoints.iter().all(|e| e.address.as_str().ends_with(":8080")));
    // A label longer than DNS allows: no resolver can know it.
    let known = vec![endpoint("10.0.0.1:80")];
    let Rig { found, mut status, discovery, .. } =
        rig(Source::Dns(format!("{}:80", "x".repeat(64))), known.clone());
    beside(discovery, async {
        until(&mut status, |status| status.last_error.is_some()).await;
    })
    .await;
    assert_eq!(found.borrow().endpoints, known);
    assert!(!found.borrow().listed);
}

#[tokio::test(start_paused = true)]
async fn a_discovery_ends_when_told() {
    let Rig { discovery, .. } = rig(Source::Dns("no-port".to_owned()), Vec::new());
    beside(discovery, sleep(Duration::from_secs(60) / 2)).await;
}
