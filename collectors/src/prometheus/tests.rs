#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::status::Kind;
use crate::testing::{Canned, serve};
use weir_engine::names::ClusterName;

const NOW: u64 = 1_700_000_000_000;

fn fixed() -> Now {
    Arc::new(|| Moment::from_millis(NOW))
}

fn json(body: &str) -> Canned {
    Canned::new("200 OK", "application/json", body)
}

fn vector(values: &[&str]) -> Canned {
    let series: Vec<String> = (0..values.len())
        .map(|at| format!(r#"{{"metric":{{"at":"{at}"}},"value":[1700000000,"{}"]}}"#, values[at]))
        .collect();
    let series = series.join(",");
    json(&format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#))
}

async fn measured(canned: Canned) -> Result<f64, String> {
    let server = serve(move |_| canned.clone()).await;
    let client = Client::new(&server.url(), &http::Options::default()).unwrap();
    let outcome = client.measure("sum(x)", &Values::new(), &fixed()).await;
    outcome.map_err(|error| one_line(&error))
}

#[track_caller]
fn check_error(outcome: Result<f64, String>, expected: &str) {
    let error = outcome.unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn an_objective_is_one_number_or_unknown() {
    assert_eq!(measured(vector(&["12.5"])).await, Ok(12.5));
    assert_eq!(measured(vector(&["0"])).await, Ok(0.0));
    let scalar = json(r#"{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}"#);
    assert_eq!(measured(scalar).await, Ok(3.0));
    check_error(measured(vector(&[])).await, "not one usable number but nothing for sum(x)");
    check_error(measured(vector(&["1", "2"])).await, "but 2 series");
    for bad in ["NaN", "+Inf", "-1", "x"] {
        check_error(measured(vector(&[bad])).await, "not one usable number");
    }
}

#[tokio::test]
async fn answers_of_others_are_not_believed() {
    let html = Canned::new("200 OK", "text/html; charset=utf-8", "<html>");
    check_error(measured(html).await, "answered \"text/html\", not a Prometheus answer");
    let bad = r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
    check_error(
        measured(Canned::new("400 Bad Request", "application/json", bad)).await,
        "refused (bad_data): parse error",
    );
    let busy = Canned::new("503 Service Unavailable", "text/plain", "starting");
    check_error(measured(busy).await, "answered 503");
    let many = Canned::new("429 Too Many Requests", "application/json", "{}");
    check_error(measured(many).await, "answered 429 Too Many Requests: asked too often");
    check_error(measured(vector(&["1"]).cut_short()).await, "cut off");
    let huge = json(&" ".repeat(BODY_MAX + 1));
    check_error(measured(huge).await, "longer than 16 MiB");
    let client = Client::new("http://127.0.0.1:1", &http::Options::default()).unwrap();
    let error = client.measure("x", &Values::new(), &fixed()).await.unwrap_err();
    let line = one_line(&error);
    assert!(line.starts_with("no answer: cannot connect: ") && !line.contains("query="), "{line}");
}

#[tokio::test]
async fn a_clock_far_away_makes_every_age_a_guess() {
    // 1,700,000,000 is 22:13:20.
    for (date, skewed) in [("22:13:20", false), ("22:13:45", false), ("23:13:20", true)] {
        let canned = vector(&["1"]).with(&format!("date: Tue, 14 Nov 2023 {date} GMT"));
        match measured(canned).await {
            Ok(_) => assert!(!skewed, "{date}"),
            Err(error) => assert!(skewed && error.contains("3600 s away"), "{date}: {error}"),
        }
    }
}

/// What `envoy` asks, answered with counters that grow by ten a second, asked once a second.
fn growing(path: &str, second: u64) -> Canned {
    let endpoints = path.contains("endpoint");
    let (metric, labels) = if endpoints {
        ("envoy_cluster_endpoint_rq_success", r#","envoy_endpoint_address":"a:1""#)
    } else {
        ("envoy_cluster_upstream_rq_completed", "")
    };
    json(&format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":
        {{"__name__":"{metric}","instance":"i","envoy_cluster_name":"c"{labels}}},
        "values":[[{},"{}"]]}}]}}}}"#,
        NOW / 1000 + second,
        second * 10
    ))
}

#[tokio::test]
async fn reports_arrive_and_failures_are_shown() {
    let asked = Arc::new(AtomicU64::new(0));
    let under_way = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = serve(move |request| {
        let round = count.fetch_add(1, Ordering::Relaxed) / 2;
        assert!(under_way.fetch_add(1, Ordering::Relaxed) < CONCURRENCY);
        under_way.fetch_sub(1, Ordering::Relaxed);
        if round == 1 {
            Canned::new("500 Oops", "text/plain", "")
        } else {
            growing(&request.path, round)
        }
    })
    .await;
    let ticks = Arc::clone(&asked);
    let now: Now = Arc::new(move || Moment::from_millis(NOW + 500 * ticks.load(Ordering::Relaxed)));
    let (intake, mut reports) = Intake::new(16);
    let (status, mut reader) = Publisher::new("prom", Kind::Prometheus, &server.url());
    let cancel = CancellationToken::new();
    let mut config = Config::of(&server.url(), recipe::envoy(&[ClusterName::from("c")]).unwrap());
    config.interval = Duration::from_millis(1);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(config.run(intake, status, now, cancel.clone()));
    let failed = reader.wait_for(|status| status.last_error.is_some()).await.unwrap().clone();
    let text = failed.last_error.unwrap().text;
    assert!(text.starts_with("envoy ") && text.contains("answered 500"), "{text}");
    let (first, second) = (reports.recv().await.unwrap(), reports.recv().await.unwrap());
    let (endpoints, cluster) =
        if first.totals.is_none() { (first, second) } else { (second, first) };
    // The failed round is bridged: two seconds' worth.
    assert_eq!(endpoints.samples[0].requests, Some(20));
    assert_eq!(endpoints.window, Duration::from_secs(2));
    assert_eq!(cluster.totals.unwrap().requests, Some(20));
    reader.wait_for(|status| status.last_error.is_none() && status.delivered >= 2).await.unwrap();
    cancel.cancel();
    tasks.join_next().await.unwrap().unwrap();
}

#[test]
fn finding_nothing_is_a_failure_only_if_nothing_at_all_is_found() {
    let nothing = || {
        let error = Error::Nothing { query: "x".to_owned() };
        Err(Failed { recipe: "r".to_owned(), error })
    };
    let refused = || {
        let error = Error::Answer(AnswerError::NoData);
        Err(Failed { recipe: "r".to_owned(), error })
    };
    for (outcomes, shown, waits) in [
        (vec![Ok(Vec::new()), nothing()], None, false),
        (vec![nothing(), nothing()], Some("r: no series found for x"), false),
        (vec![nothing(), refused(), Ok(Vec::new())], Some("r: answer without data"), true),
    ] {
        let (status, reader) = Publisher::new("prom", Kind::Prometheus, "x");
        assert_eq!(publish(outcomes, &Intake::new(1).0, &status, &fixed()), waits);
        let error = reader.borrow().last_error.as_ref().map(|error| error.text.clone());
        assert_eq!(error.as_deref(), shown);
    }
}
