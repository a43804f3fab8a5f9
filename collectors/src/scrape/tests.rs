#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::status::Kind;
use crate::testing::{Canned, Server, serve};
use weir_engine::units::Moment;

const INFO: &str = r#"{"version":"x","node":{"id":"edge-7","locality":{"zone":"z1"}}}"#;

/// A clock that goes on a second at each look.
fn ticking() -> Now {
    let ticks = AtomicU64::new(1);
    Arc::new(move || Moment::from_millis(1000 * ticks.fetch_add(1, Ordering::Relaxed)))
}

async fn envoy(stats: impl Fn(u64) -> Canned + Send + Sync + 'static) -> Server {
    let scrapes = AtomicU64::new(0);
    serve(move |request| match request.path.as_str() {
        "/server_info" => Canned::new("200 OK", "application/json", INFO),
        path => {
            assert!(path.starts_with("/stats/prometheus?usedonly&filter="), "{path}");
            stats(scrapes.fetch_add(1, Ordering::Relaxed))
        }
    })
    .await
}

fn plain(text: &str) -> Canned {
    Canned::new("200 OK", "text/plain; charset=UTF-8", text)
}

fn completed(count: u64) -> Canned {
    plain(&format!("envoy_cluster_upstream_rq_completed{{envoy_cluster_name=\"c\"}} {count}\n"))
}

#[tokio::test]
async fn reports_reach_the_intake_until_cancelled() {
    let server =
        envoy(|scrape| if scrape == 1 { plain("?\n") } else { completed(scrape * 10) }).await;
    let (intake, mut reports) = Intake::new(16);
    let (status, mut reader) = Publisher::new("edge", Kind::Scrape, &server.url());
    let cancel = CancellationToken::new();
    let mut config = Config::of(&server.url());
    config.interval = Duration::from_millis(1);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(config.run(intake, status, ticking(), cancel.clone()));
    let failed = reader.wait_for(|status| status.last_error.is_some()).await.unwrap().clone();
    let text = failed.last_error.unwrap().text;
    assert!(text.contains("1 unreadable lines, first: line 1: "), "{text}");
    // The broken second scrape is bridged by the third.
    let report = reports.recv().await.unwrap();
    assert_eq!((report.reporter.as_str(), report.zone.as_str()), ("edge-7", "z1"));
    assert_eq!(report.totals.unwrap().requests, Some(20));
    reader.wait_for(|status| status.last_error.is_none() && status.delivered > 0).await.unwrap();
    cancel.cancel();
    tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_proxy_that_does_not_say_who_it_is_is_named_by_the_user() {
    let server = serve(|request| match request.path.as_str() {
        "/server_info" => Canned::new("200 OK", "application/json", "{}"),
        _ => completed(1),
    })
    .await;
    let mut scraper = Config::of(&server.url()).build().unwrap();
    let error = scraper.scrape(&ticking()).await.unwrap_err();
    assert_eq!(error.to_string(), "no node id in /server_info: set `node` for this proxy");
    let mut config = Config::of(&server.url());
    config.node = Some("edge".into());
    assert_eq!(config.build().unwrap().scrape(&ticking()).await.unwrap(), []);
}

#[tokio::test]
async fn a_setting_that_cannot_work_is_shown_and_ends_nothing() {
    let (intake, _reports) = Intake::new(1);
    let (status, mut reader) = Publisher::new("edge", Kind::Scrape, "x");
    let cancel = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(Config::of("nowhere").run(intake, status, ticking(), cancel.clone()));
    let shown = reader.wait_for(|status| status.last_error.is_some()).await.unwrap().clone();
    assert!(shown.last_error.unwrap().text.contains("is no URL"));
    assert!(tasks.try_join_next().is_none());
    cancel.cancel();
    tasks.join_next().await.unwrap().unwrap();
}

#[test]
fn a_slow_proxy_is_asked_less_often() {
    let ms = Duration::from_millis;
    assert_eq!(pause(ms(1000), ms(20)), ms(980));
    assert_eq!(pause(ms(1000), ms(500)), ms(1500));
    assert_eq!(pause(ms(1000), ms(250)), ms(750));
}

#[test]
fn addresses_may_have_a_path_of_their_own() {
    let admin = http::target("http://h:1/proxy/").unwrap();
    assert_eq!(under(&admin, "stats/prometheus").as_str(), "http://h:1/proxy/stats/prometheus");
}
