#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::mesh::Mesh;
use super::*;
use crate::testing::{Canned, Request, Server, serve};

const START: u64 = 1_700_000_100;
const STEP: u64 = 15;
const STEPS: u64 = 60;

/// A counter of some series at some time; nothing while it is not there.
type Counter = fn(u64) -> Option<u64>;

/// Two endpoints of a service: one restarts at step 20, the other is gone from 30 to 50; a series
/// of errors begins at step 10.
const SERIES: [(&str, &str, Counter); 4] = [
    ("istio_requests_total", r#""instance":"10.0.0.1:80","response_code":"200""#, |step| {
        Some(if step < 20 { 1_000 + step * 30 } else { (step - 20) * 30 + 7 })
    }),
    ("istio_requests_total", r#""instance":"10.0.0.1:80","response_code":"503""#, |step| {
        (step >= 10).then(|| (step - 9) * 2)
    }),
    ("istio_requests_total", r#""instance":"10.0.0.2:80","response_code":"200""#, |step| {
        (!(30..50).contains(&step)).then(|| step * 10)
    }),
    ("istio_request_duration_milliseconds_sum", r#""instance":"10.0.0.2:80""#, |step| {
        (!(30..50).contains(&step)).then(|| step * 100)
    }),
];

fn parameter(request: &Request, name: &str) -> u64 {
    let url = reqwest::Url::parse(&format!("http://h{}", request.path)).unwrap();
    let found = url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    found.split('.').next().unwrap().parse().unwrap()
}

fn answer(request: &Request) -> Canned {
    let (start, end) = (parameter(request, "start"), parameter(request, "end"));
    let step = parameter(request, "step");
    let mut result = Vec::new();
    for (name, labels, counter) in SERIES {
        let times = (start..=end).step_by(usize::try_from(step).unwrap());
        let points: Vec<String> = times
            .filter_map(|at| Some((at, counter((at - START) / STEP)?)))
            .map(|(at, value)| format!("[{at},\"{value}\"]"))
            .collect();
        if !points.is_empty() {
            result.push(format!(
                r#"{{"metric":{{"__name__":"{name}","destination_service_namespace":"demo","destination_service_name":"shop",{labels}}},"values":[{}]}}"#,
                points.join(",")
            ));
        }
    }
    let body = format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#,
        result.join(",")
    );
    Canned::new("200 OK", "application/json", &body)
}

fn at(step: u64) -> Moment {
    Moment::from_millis((START + step * STEP) * 1000)
}

fn history() -> History {
    History::new(Mesh::Istio.recipes().unwrap(), Duration::from_secs(STEP))
}

fn client(server: &Server) -> Client {
    Client::of_the_past(&server.url(), &http::Options::default()).unwrap()
}

/// The reports of steps from one on, asked for in pages of a length.
async fn reports(client: &Client, from: u64, length: u64) -> Vec<Vec<Report>> {
    let mut history = history();
    let mut all = Vec::new();
    for first in (from..STEPS).step_by(usize::try_from(length).unwrap()) {
        let last = (first + length).min(STEPS) - 1;
        let step = Duration::from_secs(STEP);
        let span = Span { first: at(first), last: at(last), step };
        let mut page = history.page(client, span).await.unwrap();
        all.extend((first..=last).map(|index| history.step(&mut page, at(index))));
    }
    all
}

/// (endpoint, requests, errors, milliseconds of window) of a step.
type Row<'a> = (&'a str, Option<u64>, Option<u64>, u128);

fn rows(reports: &[Report]) -> Vec<Row<'_>> {
    let of = |report: &'_ Report| report.window.as_millis();
    let samples = reports.iter().flat_map(|r| r.samples.iter().map(move |s| (s, of(r))));
    samples.map(|(s, window)| (s.endpoint.as_str(), s.requests, s.errors, window)).collect()
}

#[tokio::test]
async fn counts_are_those_of_live_answers() {
    let server = serve(answer).await;
    let all = reports(&client(&server), 0, STEPS).await;
    assert_eq!(rows(&all[0]), [], "there is nothing to compare with yet");
    let (one, other) = ("10.0.0.1:80", "10.0.0.2:80");
    let step = u128::from(STEP) * 1000;
    assert_eq!(all[5][0].cluster.as_str(), "demo/shop");
    assert_eq!(all[5][0].at, at(5));
    assert_eq!(rows(&all[5]), [(one, Some(30), Some(0), step), (other, Some(10), Some(0), step)]);
    // Errors begin: their series was not there a step before.
    assert_eq!(rows(&all[10])[0], (one, Some(32), Some(2), step));
    // A restart: what was counted since.
    assert_eq!(rows(&all[20])[0], (one, Some(9), Some(2), step));
    assert_eq!(rows(&all[40]), [(one, Some(32), Some(2), step)]);
    // Back after a long gap: not to be known at first.
    assert_eq!(rows(&all[50]), [(one, Some(32), Some(2), step)]);
    assert_eq!(rows(&all[51])[1], (other, Some(10), Some(0), step));
}

#[tokio::test]
async fn pages_of_any_length_give_the_same() {
    let server = serve(answer).await;
    let client = client(&server);
    let whole = reports(&client, 0, STEPS).await;
    for length in [1, 7, 59] {
        assert_eq!(reports(&client, 0, length).await, whole, "pages of {length}");
    }
    // And so does a new beginning, after as long as a step may depend on earlier ones.
    let reach = history().reach().as_secs().div_ceil(STEP) + 1;
    for from in [1, 15, 31, 45] {
        let again = reports(&client, from, 13).await;
        let settled = usize::try_from(reach).unwrap();
        assert_eq!(again[settled..], whole[usize::try_from(from).unwrap() + settled..], "{from}");
    }
}

#[tokio::test]
async fn how_often_there_is_a_sample_is_told_by_the_samples() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = serve(move |request| {
        let series = r#""metric":{"instance":"a\"b:1"}"#;
        count.fetch_add(1, Ordering::Relaxed);
        let (kind, value) = if request.path.contains("topk") {
            ("vector", r#""value":[1,"40"]"#)
        } else {
            assert!(request.path.contains("instance%3D%22a%5C%22b%3A1%22"), "{}", request.path);
            ("matrix", r#""values":[[0,"1"],[29.9,"1"],[60.1,"1"],[180,"1"],[210,"1"]]"#)
        };
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"{kind}","result":[{{{series},{value}}}]}}}}"#
        );
        Canned::new("200 OK", "application/json", &body)
    })
    .await;
    let client = client(&server);
    let every = client.sampled_every(Mesh::Istio.essential(), at(0)).await.unwrap();
    assert_eq!(every, Some(Duration::from_secs(30)));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn names_are_asked_for_by_selector_and_time() {
    let server = serve(|request| {
        assert!(
            request.path.starts_with("/prom/api/v1/label/__name__/values?"),
            "{}",
            request.path
        );
        assert!(request.path.contains("start=1700000100&end=1700000115&match%5B%5D=up"));
        Canned::new("200 OK", "application/json", r#"{"status":"success","data":["a","b"]}"#)
    })
    .await;
    let url = format!("{}/prom/", server.url());
    let client = Client::of_the_past(&url, &http::Options::default()).unwrap();
    let query = Query::render("up", &Values::new()).unwrap();
    let span = Span { first: at(0), last: at(1), step: Duration::from_secs(STEP) };
    assert_eq!(client.names(Some(&query), span).await.unwrap(), ["a", "b"]);
}

/// What helps against an answer.
async fn remedy(status: &'static str, kind: &'static str, body: &'static str) -> Remedy {
    let server = serve(move |_| Canned::new(status, kind, body)).await;
    let span = Span { first: at(0), last: at(1), step: Duration::from_secs(STEP) };
    history().page(&client(&server), span).await.unwrap_err().remedy()
}

#[tokio::test]
async fn refusals_say_what_helps() {
    let json = "application/json";
    for (status, kind, body, expected) in [
        (
            "400 Bad Request",
            json,
            r#"{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 points per timeseries."}"#,
            Remedy::Less,
        ),
        (
            "422 Unprocessable Entity",
            json,
            r#"{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory in query execution"}"#,
            Remedy::Less,
        ),
        (
            "503 Service Unavailable",
            json,
            r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#,
            Remedy::Less,
        ),
        (
            "429 Too Many Requests",
            json,
            r#"{"status":"error","errorType":"too_many_requests","error":"too many outstanding requests"}"#,
            Remedy::Later,
        ),
        (
            "400 Bad Request",
            json,
            r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#,
            Remedy::Nothing,
        ),
        (
            "200 OK",
            json,
            r#"{"status":"success","warnings":["store down"],"data":{"resultType":"matrix","result":[]}}"#,
            Remedy::Later,
        ),
        ("429 Too Many Requests", "text/plain", "slow down", Remedy::Later),
        ("502 Bad Gateway", "text/html", "<html>", Remedy::Later),
        ("504 Gateway Timeout", "text/html", "<html>", Remedy::Less),
        ("413 Payload Too Large", "text/plain", "", Remedy::Less),
        ("401 Unauthorized", "text/plain", "", Remedy::Nothing),
        ("200 OK", "text/html", "<html>", Remedy::Nothing),
    ] {
        assert_eq!(remedy(status, kind, body).await, expected, "{status} {body}");
    }
}
