//! `/api/v1/events`: one stream of everything that happens, which a client may leave and resume.
//!
//! There is no queue per client: every stream keeps a place in the board's ring of events and
//! reads on from there. A client that is slower than the ring loses its place and is told so,
//! rather than costing memory.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use prometheus_client::metrics::gauge::Gauge;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::IntoParams;

use super::checked;
use crate::board::Snapshot;
use crate::view::health::{GoneEvent, Topic};
use crate::web::Shared;
use crate::web::problem::{Problem, Wrong};

/// How long a browser waits before it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// How often a quiet stream says that it is alive: well inside proxies' usual idle minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The header by which a client says where it left.
const LAST_EVENT_ID: &str = "last-event-id";

/// Which events are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Topics with commas between them: `step`, `decision`, `proxies`, `policies`, `sources`,
    /// `health`. All by default.
    topics: Option<String>,
    /// Where to go on, for clients that cannot set `Last-Event-ID`.
    last_event_id: Option<String>,
}

/// What happens, as it happens. Every event has an `id`; a client that comes back with it in
/// `Last-Event-ID` gets what it missed, or one `gone` event if that is no longer kept.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(EventsQuery, ("Last-Event-ID" = Option<String>, Header)),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn events(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<EventsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = checked(query)?;
    let topics = query.topics.as_deref().map_or_else(|| Ok(Topic::ALL.to_vec()), topics)?;
    let place = Arc::clone(&shared.streams).try_acquire_owned().map_err(|_| {
        Wrong::TooManyStreams.because("close another page of Weir, or ask again in a while")
    })?;
    let left = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let left = left.map(str::to_owned).or(query.last_event_id);
    let reader = Reader::begin(&shared, topics, left, place);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(reader.stream()).keep_alive(keep_alive).into_response())
}

fn topics(text: &str) -> Result<Vec<Topic>, Problem> {
    text.split(',')
        .map(|name| {
            Topic::ALL.into_iter().find(|topic| topic.name() == name.trim()).ok_or_else(|| {
                let known = Topic::ALL.map(Topic::name).join(", ");
                Wrong::Query.because(format!("{name:?} is no topic; there are {known}"))
            })
        })
        .collect()
}

/// One client's place in the ring.
struct Reader {
    board: watch::Receiver<Arc<Snapshot>>,
    topics: Vec<Topic>,
    /// The number of the next event to send.
    next: u64,
    /// What to say before the first event.
    greeting: Vec<Event>,
    _place: OwnedSemaphorePermit,
    _open: Open,
}

/// Counts a stream as open while it lives.
struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The data of the `open` event.
#[derive(Serialize)]
struct Opened {
    topics: Vec<&'static str>,
}

impl Reader {
    fn begin(
        shared: &Shared,
        topics: Vec<Topic>,
        left: Option<String>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let mut board = shared.web.board.watch();
        board.mark_changed();
        let snapshot = shared.web.board.read();
        let newest = snapshot.events.next();
        let names = topics.iter().map(|topic| topic.name()).collect();
        let (next, mut greeting) = match left {
            None => (newest, Vec::new()),
            Some(left) => match resume(&snapshot, &left) {
                Some(next) => (next, Vec::new()),
                None => (newest, vec![gone(&snapshot, &left)]),
            },
        };
        let open = named(&snapshot, next, "open", &Opened { topics: names }).retry(RETRY);
        greeting.push(open);
        let gauge = shared.web.board.metrics().streams().clone();
        gauge.inc();
        Self { board, topics, next, greeting, _place: place, _open: Open(gauge) }
    }

    fn stream(self) -> impl Stream<Item = Result<Event, axum::Error>> {
        let batches = stream::unfold(self, |mut reader| async move {
            let batch = reader.batch().await?;
            Some((stream::iter(batch.into_iter().map(Ok)), reader))
        });
        batches.flatten()
    }

    /// The next events; none once the board is gone.
    async fn batch(&mut self) -> Option<Vec<Event>> {
        if !self.greeting.is_empty() {
            return Some(std::mem::take(&mut self.greeting));
        }
        loop {
            self.board.changed().await.ok()?;
            let snapshot = Arc::clone(&self.board.borrow_and_update());
            let mut batch = Vec::new();
            if self.next < snapshot.events.first() {
                batch.push(gone(&snapshot, &id(&snapshot, self.next.saturating_sub(1))));
            }
            let newer = snapshot.events.since(self.next);
            let asked = newer.filter(|(_, event)| self.topics.contains(&event.topic));
            batch.extend(asked.map(|(number, event)| {
                let id = id(&snapshot, number);
                Event::default().event(event.topic.name()).id(id).data(&event.data)
            }));
            self.next = snapshot.events.next();
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }
}

/// Events of two processes never share an id.
fn id(snapshot: &Snapshot, number: u64) -> String {
    format!("{}-{number}", snapshot.started.millis())
}

/// The number after the one that a client left at, if it is of this process and all since is kept.
fn resume(snapshot: &Snapshot, left: &str) -> Option<u64> {
    let (process, number) = left.split_once('-')?;
    let next = number.parse::<u64>().ok()?.checked_add(1)?;
    let here = process == snapshot.started.millis().to_string();
    let kept = (snapshot.events.first()..=snapshot.events.next()).contains(&next);
    (here && kept).then_some(next)
}

fn gone(snapshot: &Snapshot, asked: &str) -> Event {
    let first = snapshot.events.first();
    let oldest = (first < snapshot.events.next()).then(|| id(snapshot, first));
    let data = GoneEvent {
        asked: asked.to_owned(),
        oldest,
        text: "what happened since is no longer kept; read everything anew".to_owned(),
    };
    named(snapshot, snapshot.events.next(), "gone", &data)
}

/// An event that is not in the ring: its id is that of the last one before `next`.
fn named(snapshot: &Snapshot, next: u64, name: &str, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).expect("views have string keys");
    let event = Event::default().event(name).data(data);
    match next.checked_sub(1) {
        Some(last) => event.id(id(snapshot, last)),
        None => event,
    }
}
