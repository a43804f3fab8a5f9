//! A client on paper, and each rule of the protocol as a test that fails without it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use weir_engine::names::Node;
use weir_engine::units::Moment;

use super::*;
use crate::resource::Snapshot;
use TypeUrl::{Cluster, Endpoints, Listener, Route, Runtime};

mod answers;
mod convergence;
mod incremental;
mod order;
mod pace;
mod refusal;
mod state_of_the_world;

const START: Moment = Moment::from_millis(1_000_000);
const NODE: &str = "node-1";

/// What a snapshot says, as `(type, name, content)`.
type Content<'a> = &'a [(TypeUrl, &'a str, u32)];

/// One stream with a client that does as it is told.
struct Stream {
    session: Session,
    view: View,
    now: Moment,
}

impl Stream {
    fn new(dialect: Dialect) -> Self {
        let session = Session::new(dialect, 7, None, START);
        Self { session, view: View::new(1), now: START }
    }

    fn sotw(content: Content<'_>) -> Self {
        let mut stream = Self::new(Dialect::StateOfTheWorld);
        stream.set(content);
        stream
    }

    fn delta(content: Content<'_>) -> Self {
        let mut stream = Self::new(Dialect::Incremental);
        stream.set(content);
        stream
    }

    fn set(&mut self, content: Content<'_>) {
        let mut snapshot = Snapshot::default();
        for (kind, name, content) in content {
            snapshot.insert(*kind, Resource::new(name, content));
        }
        if let Some(view) = self.view.change(Arc::new(snapshot)) {
            self.view = view;
        }
    }

    fn publish(&mut self, content: Content<'_>) -> Vec<Response> {
        self.set(content);
        self.session.update(&self.view, self.now)
    }

    /// Time passes.
    fn pass(&mut self, millis: u64) -> Vec<Response> {
        self.now = self.now.plus(Duration::from_millis(millis));
        self.session.update(&self.view, self.now)
    }

    fn send(&mut self, request: Request) -> Vec<Response> {
        self.session.handle(request, &self.view, self.now).unwrap()
    }

    /// State of the world: these names, in answer to `nonce`.
    fn names(&mut self, kind: TypeUrl, nonce: &str, names: &[&str]) -> Vec<Response> {
        self.names_having(kind, nonce, names, "")
    }

    fn names_having(
        &mut self,
        kind: TypeUrl,
        nonce: &str,
        names: &[&str],
        version: &str,
    ) -> Vec<Response> {
        let names = names.iter().map(ToString::to_string).collect();
        let ask = Ask::Names { version: version.to_owned(), names };
        self.send(Request { ask, ..request(kind, nonce) })
    }

    /// Incremental: names to add and to drop.
    fn change(&mut self, kind: TypeUrl, add: &[&str], drop: &[&str]) -> Vec<Response> {
        self.change_having(kind, add, drop, &[])
    }

    fn change_having(
        &mut self,
        kind: TypeUrl,
        add: &[&str],
        drop: &[&str],
        has: &[(&str, u32)],
    ) -> Vec<Response> {
        let ask = Ask::Changes {
            subscribe: add.iter().map(ToString::to_string).collect(),
            unsubscribe: drop.iter().map(ToString::to_string).collect(),
            has: has
                .iter()
                .map(|(name, content)| (name.to_string(), version(name, *content)))
                .collect(),
        };
        self.send(Request { ask, ..request(kind, "") })
    }

    /// Takes every one of these responses; names stay as they are (`names` in state of the world).
    fn ack(&mut self, responses: &[Response], names: &[&str]) -> Vec<Response> {
        self.answer(responses, names, None)
    }

    fn nack(&mut self, responses: &[Response], names: &[&str], words: &str) -> Vec<Response> {
        self.answer(responses, names, Some(words))
    }

    fn answer(
        &mut self,
        responses: &[Response],
        names: &[&str],
        error: Option<&str>,
    ) -> Vec<Response> {
        let mut out = Vec::new();
        for response in responses {
            let ask = match self.session.dialect {
                Dialect::StateOfTheWorld => Ask::Names {
                    version: response.version.to_string(),
                    names: names.iter().map(ToString::to_string).collect(),
                },
                Dialect::Incremental => {
                    Ask::Changes { subscribe: Vec::new(), unsubscribe: Vec::new(), has: Vec::new() }
                }
            };
            let error = error.map(ToOwned::to_owned);
            out.extend(self.send(Request {
                error,
                ask,
                ..request(response.kind, &response.nonce)
            }));
        }
        out
    }
}

fn request(kind: TypeUrl, nonce: &str) -> Request {
    Request {
        node: Some(NodeInfo { id: NODE.to_owned(), ..NodeInfo::default() }),
        type_url: kind.to_string(),
        nonce: nonce.to_owned(),
        ..Request::default()
    }
}

fn version(name: &str, content: u32) -> String {
    Resource::new(name, &content).version.to_string()
}

/// A response as text: `cds a=1 b=2 -c`.
fn text(response: &Response) -> String {
    let kind = match response.kind {
        Cluster => "cds",
        Endpoints => "eds",
        Listener => "lds",
        Route => "rds",
        Runtime => "rtds",
    };
    let mut text = kind.to_owned();
    for resource in &response.resources {
        let empty = Resource::empty(response.kind, &resource.name);
        let content = match u32::decode(resource.body.clone()) {
            _ if empty.is_some_and(|empty| empty.version == resource.version) => "none".to_owned(),
            Ok(content) => content.to_string(),
            Err(error) => panic!("{error}"),
        };
        text.push_str(&format!(" {}={content}", resource.name));
    }
    for name in &response.removed {
        text.push_str(&format!(" -{name}"));
    }
    text
}

#[track_caller]
fn told(responses: &[Response], expected: &[&str]) {
    assert_eq!(responses.iter().map(text).collect::<Vec<_>>(), expected);
}
