//! The stream of events: what arrives, what is resumed, and what is gone.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::ask::{request, site};
use crate::story::{START, Story, at};

/// An open stream, read event by event.
struct Stream {
    body: Body,
    text: String,
}

#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

async fn open(site: &Router, path: &str, left: Option<&str>) -> Result<Stream, StatusCode> {
    let request = request(path);
    let request = match left {
        Some(id) => request.header("last-event-id", id),
        None => request,
    };
    let answer = site.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    if answer.status() != StatusCode::OK {
        return Err(answer.status());
    }
    Ok(Stream { body: answer.into_body(), text: String::new() })
}

impl Stream {
    /// The next event; the test's own deadline ends a wait for one that never comes.
    async fn next(&mut self) -> Event {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                return Event::read(&block);
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame()).await;
            let frame = frame.expect("an event within the deadline").unwrap().unwrap();
            self.text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
        }
    }

    async fn names(&mut self, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(self.next().await.name);
        }
        names
    }
}

impl Event {
    fn read(block: &str) -> Self {
        let field = |name: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_default().to_owned()
        };
        let data = serde_json::from_str(&field("data")).unwrap_or(Value::Null);
        Self { name: field("event"), id: field("id"), data }
    }
}

#[tokio::test]
async fn a_step_arrives_with_its_decisions() {
    let mut story = Story::new();
    let site = site(&story.board, at(0));
    let mut stream = open(&site, "/api/v1/events", None).await.unwrap();
    assert_eq!(stream.next().await.name, "open");
    story.tell(1);
    let first = stream.next().await;
    assert_eq!((first.name.as_str(), &first.data["kind"]), ("decision", &Value::from("first")));
    assert_eq!(stream.names(3).await, ["decision", "decision", "step"]);
    story.tell(1);
    let step = stream.next().await;
    assert_eq!((step.name.as_str(), &step.data["sequence"]), ("step", &Value::from(1_002)));
}

#[tokio::test]
async fn only_what_was_asked_for_arrives() {
    let mut story = Story::new();
    let site = site(&story.board, at(0));
    let mut stream = open(&site, "/api/v1/events?topics=proxies,%20health", None).await.unwrap();
    story.tell(3);
    story.surround();
    assert_eq!(stream.names(3).await, ["open", "proxies", "health"]);
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed() {
    let mut story = Story::new();
    let site = site(&story.board, at(0));
    let mut stream = open(&site, "/api/v1/events?topics=step", None).await.unwrap();
    story.tell(2);
    stream.next().await;
    let left = stream.next().await.id;
    drop(stream);
    story.tell(3);
    for query in [
        "/api/v1/events?topics=step".to_owned(),
        format!("/api/v1/events?topics=step&last_event_id={left}"),
    ] {
        let header = (!query.contains(&left)).then_some(left.as_str());
        let mut stream = open(&site, &query, header).await.unwrap();
        assert_eq!(stream.next().await.name, "open");
        let mut missed = Vec::new();
        for _ in 0..4 {
            missed.push(stream.next().await.data["sequence"].as_u64().unwrap());
        }
        assert_eq!(missed, [1_002, 1_003, 1_004, 1_005]);
    }
}

#[tokio::test]
async fn a_client_whose_place_is_gone_is_told_so() {
    let mut story = Story::new();
    let site = site(&story.board, at(0));
    story.tell(1_200);
    let here = START.millis();
    for left in [
        format!("{here}-5"),
        format!("{here}-99999999"),
        format!("{}-1100", here - 60_000),
        "nonsense".to_owned(),
        format!("{here}-{}", u64::MAX),
    ] {
        let mut stream = open(&site, "/api/v1/events?topics=step", Some(&left)).await.unwrap();
        let gone = stream.next().await;
        assert_eq!(gone.name, "gone", "{left}");
        assert_eq!(gone.data["asked"], Value::from(left.clone()));
        assert!(gone.data["oldest"].is_string());
        assert_eq!(stream.next().await.name, "open");
        story.tell(1);
        assert_eq!(stream.next().await.name, "step");
    }
}

#[tokio::test]
async fn a_slow_client_loses_its_place_and_not_the_servers_memory() {
    let mut story = Story::new();
    let site = site(&story.board, at(0));
    let mut stream = open(&site, "/api/v1/events?topics=step", None).await.unwrap();
    assert_eq!(stream.next().await.name, "open");
    story.tell(1_200);
    assert_eq!(stream.next().await.name, "gone");
    let step = stream.next().await;
    assert!(step.data["sequence"].as_u64().unwrap() > 1_100, "{step:?}");
}

#[tokio::test]
async fn streams_are_bounded_and_a_closed_one_makes_room() {
    let story = Story::new();
    let site = site(&story.board, at(0));
    let mut streams = Vec::new();
    let refused = loop {
        match open(&site, "/api/v1/events", None).await {
            Ok(stream) => streams.push(stream),
            Err(status) => break status,
        }
        assert!(streams.len() <= 64, "no bound");
    };
    assert_eq!((refused, streams.len()), (StatusCode::SERVICE_UNAVAILABLE, 64));
    assert!(story.board.metrics().text().contains("weir_event_streams 64"));
    streams.pop();
    assert!(open(&site, "/api/v1/events", None).await.is_ok());
}
