//! The loop around one session: moves messages, and decides nothing.
//!
//! The proxy is always read: two sides that each wait for the other to read would wait for ever. The
//! server is read only while nothing waits for the proxy, so that a proxy that does not read holds its
//! server up and not the relay's memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

use super::Method;
use super::upstream::Stream as Server;
use super::{Now, Tally, Told};
use crate::relay::session::{Out, Session};
use crate::relay::{Opinions, Store};

/// How long a proxy may take to say who it is.
const FIRST_REQUEST: Duration = Duration::from_secs(5);

/// How long a proxy may take to answer what it was sent last, once the relay stops.
const DRAIN: Duration = Duration::from_secs(2);

/// A proxy's stream that was let in.
pub(super) struct Arrival {
    pub(super) path: PathAndQuery,
    pub(super) method: Method,
    pub(super) metadata: MetadataMap,
    pub(super) requests: Streaming<Bytes>,
    pub(super) responses: mpsc::Sender<Result<Bytes, Status>>,
    pub(super) slot: OwnedSemaphorePermit,
}

/// What all streams share.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) endpoint: Endpoint,
    pub(super) opinions: watch::Receiver<Arc<Opinions>>,
    pub(super) store: Arc<Store>,
    pub(super) told: mpsc::Sender<Told>,
    pub(super) tally: Arc<Tally>,
    pub(super) now: Now,
    pub(super) stop: CancellationToken,
}

/// Carries one stream to its end.
pub(super) async fn carry(arrival: Arrival, around: Around) {
    let Arrival { path, method, metadata, requests, responses, slot } = arrival;
    let opinions = around.opinions.borrow().clone();
    let session = Session::new(method.dialect, opinions, Arc::clone(&around.store));
    let session = session.about(method.only);
    let mut stream = Stream {
        session,
        requests,
        responses,
        waiting: VecDeque::new(),
        around,
        node: Arc::from(""),
    };
    stream.around.tally.opened();
    let status = match stream.first().await {
        Ok(first) => {
            let server = Server::open(&stream.around.endpoint, path, &metadata);
            drop(metadata); // A token is in it.
            stream.run(first, server).await
        }
        Err(status) => status,
    };
    tracing::info!(
        node = %stream.node,
        code = ?status.code(),
        reason = status.message(),
        "relayed stream ended"
    );
    stream.around.tally.closed();
    // Whoever does not read is not told.
    let told = timeout(DRAIN, stream.responses.send(Err(status))).await;
    drop((told, slot));
}

/// What happened.
enum Happening {
    /// The proxy was sent something.
    Sent,
    Request(Bytes),
    Response(Bytes),
    Opinions,
    Due,
}

struct Stream {
    session: Session,
    requests: Streaming<Bytes>,
    responses: mpsc::Sender<Result<Bytes, Status>>,
    /// What goes to the proxy next.
    waiting: VecDeque<Bytes>,
    around: Around,
    node: Arc<str>,
}

impl Stream {
    /// The first request: nothing is dialled for a proxy that does not say who it is.
    async fn first(&mut self) -> Result<Bytes, Status> {
        tokio::select! {
            biased;
            () = self.around.stop.cancelled() => Err(stopping()),
            first = timeout(FIRST_REQUEST, self.requests.message()) => match first {
                Ok(first) => first?.ok_or_else(gone),
                Err(_) => Err(Status::deadline_exceeded("no request in the first 5 s")),
            },
        }
    }

    async fn run(&mut self, first: Bytes, mut server: Server) -> Status {
        if let Err(status) = self.request(&first, &server) {
            return status;
        }
        loop {
            match self.step(&mut server).await {
                Ok(()) => {}
                Err(status) => return status,
            }
        }
    }

    /// Waits for one thing and does what follows from it.
    async fn step(&mut self, server: &mut Server) -> Result<(), Status> {
        let happening = self.next(server).await?;
        let now = (self.around.now)();
        let out = match happening {
            Happening::Sent => return Ok(()),
            Happening::Request(request) => return self.request(&request, server),
            Happening::Response(response) => self.session.response(&response, now),
            Happening::Opinions => {
                let opinions = self.around.opinions.borrow_and_update().clone();
                self.session.opine(opinions, now)
            }
            Happening::Due => self.session.wake(now),
        };
        self.act(out, server)
    }

    async fn next(&mut self, server: &mut Server) -> Result<Happening, Status> {
        let due = self.session.due().map(|due| due.since((self.around.now)()));
        tokio::select! {
            biased;
            () = self.around.stop.cancelled() => Err(stopping()),
            room = self.responses.reserve(), if !self.waiting.is_empty() => {
                let room = room.map_err(|_| gone())?;
                if let Some(next) = self.waiting.pop_front() {
                    room.send(Ok(next));
                }
                Ok(Happening::Sent)
            }
            request = self.requests.message() => {
                Ok(Happening::Request(request?.ok_or_else(gone)?))
            }
            response = server.next(), if self.waiting.is_empty() => {
                Ok(Happening::Response(response?))
            }
            changed = self.around.opinions.changed() => {
                changed.map_err(|_| stopping())?;
                Ok(Happening::Opinions)
            }
            () = sleep(due.unwrap_or_default()), if due.is_some() => Ok(Happening::Due),
        }
    }

    fn request(&mut self, request: &Bytes, server: &Server) -> Result<(), Status> {
        let out = self.session.request(request, (self.around.now)());
        let out = out.map_err(|ending| Status::invalid_argument(ending.to_string()))?;
        if self.node.is_empty() {
            let client = self.session.client();
            self.node = client.map_or_else(|| Arc::from(""), |client| client.id.as_str().into());
        }
        self.act(out, server)
    }

    fn act(&mut self, out: Vec<Out>, server: &Server) -> Result<(), Status> {
        for out in out {
            match out {
                Out::Server(request) => server.send(request)?,
                Out::Client(response) => self.waiting.push_back(response),
                Out::Told(event) => {
                    self.around.tally.count(&event);
                    let told = Told { node: Arc::clone(&self.node), event };
                    if self.around.told.try_send(told).is_err() {
                        self.around.tally.dropped();
                    }
                }
            }
        }
        Ok(())
    }
}

fn stopping() -> Status {
    Status::unavailable("the relay is stopping; connect again")
}

fn gone() -> Status {
    Status::cancelled("the proxy has ended the stream")
}
