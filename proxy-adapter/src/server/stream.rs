//! The loop around one session: moves messages, and decides nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use weir_engine::names::Node;
use weir_engine::units::Moment;

use super::connection::{Peer, STALLED};
use super::hub::ProxyView;
use super::{Now, ProxyAddress};
use crate::resource::TypeUrl;
use crate::session::{Dialect, Event, Request, Response, Session};
use crate::view::View;

/// Time that a client may take to say who it is.
const FIRST_REQUEST: Duration = Duration::from_secs(5);

/// A stream that was let in.
pub(super) struct Arrival {
    pub(super) requests: Streaming<Request>,
    pub(super) responses: mpsc::Sender<Result<Response, Status>>,
    pub(super) dialect: Dialect,
    pub(super) only: Option<TypeUrl>,
    pub(super) address: ProxyAddress,
    pub(super) peer: Option<Peer>,
    /// Held as long as the stream stands.
    pub(super) slot: OwnedSemaphorePermit,
}

/// What a stream tells the hub.
pub(super) enum Report {
    /// What a client said of a response.
    Answer(Node, Event),
    /// How the stream stands.
    Status(Box<ProxyView>),
}

/// What every stream shares.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) views: watch::Receiver<Option<Arc<View>>>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) now: Now,
    pub(super) stop: CancellationToken,
}

/// Why a stream ends.
enum End {
    /// The client ended it, or is gone.
    Gone,
    /// The client is told why.
    Status(Status),
    /// The client does not read, not even this.
    Stalled,
}

/// Serves one stream to its end.
pub(super) async fn serve(id: u64, arrival: Arrival, around: Surroundings) -> u64 {
    let Arrival { requests, responses, dialect, only, address, peer, slot } = arrival;
    let now = (around.now)();
    let session = Session::new(dialect, id, only, now);
    let mut stream = Stream { id, session, requests, responses, around, address, opened: now };
    match stream.run().await {
        End::Gone => {}
        End::Status(status) => {
            tracing::info!(
                stream = id,
                node = %stream.session.node().cloned().unwrap_or_default(),
                code = ?status.code(),
                reason = status.message(),
                "stream ended"
            );
            // A full queue means that the client does not read; the stream ends all the same.
            let _told = stream.responses.try_send(Err(status)).is_ok();
        }
        End::Stalled => {
            tracing::warn!(stream = id, "client does not read, connection closed");
            if let Some(peer) = peer {
                peer.disconnect();
            }
        }
    }
    drop(slot);
    id
}

struct Stream {
    id: u64,
    session: Session,
    requests: Streaming<Request>,
    responses: mpsc::Sender<Result<Response, Status>>,
    around: Surroundings,
    address: ProxyAddress,
    opened: Moment,
}

/// What happened.
enum Happening {
    Stop,
    View,
    Request(Box<Request>),
    /// No request any more, or none that can be read.
    End(Option<Status>),
    Wake,
}

impl Happening {
    fn of(next: Option<Result<Request, Status>>) -> Self {
        match next.transpose() {
            Ok(Some(request)) => Self::Request(Box::new(request)),
            Ok(None) => Self::End(None),
            Err(status) => Self::End(Some(status)),
        }
    }
}

impl Stream {
    async fn run(&mut self) -> End {
        let first = tokio::select! {
            biased;
            () = self.around.stop.cancelled() => return End::Status(stopping()),
            first = timeout(FIRST_REQUEST, self.requests.next()) => first,
        };
        let Ok(first) = first else {
            return End::Status(Status::deadline_exceeded("no request in the first 5 s"));
        };
        let mut happening = Happening::of(first);
        loop {
            let responses = match self.react(happening) {
                Ok(responses) => responses,
                Err(end) => return end,
            };
            if let Err(end) = self.send(responses).await {
                return end;
            }
            self.report().await;
            happening = self.next().await;
        }
    }

    fn react(&mut self, happening: Happening) -> Result<Vec<Response>, End> {
        let now = (self.around.now)();
        let view = self.around.views.borrow_and_update().clone();
        let Some(view) = view else { return Err(End::Status(not_ready())) };
        match happening {
            Happening::Stop => Err(End::Status(stopping())),
            Happening::View | Happening::Wake => Ok(self.session.update(&view, now)),
            Happening::Request(request) => {
                let handled = self.session.handle(*request, &view, now);
                handled.map_err(|error| End::Status(Status::invalid_argument(error.to_string())))
            }
            // What it sent cannot be read, or is too much; anything else is a broken connection.
            Happening::End(Some(status)) => {
                Err(if is_fault(&status) { End::Status(status) } else { End::Gone })
            }
            Happening::End(None) => Err(End::Gone),
        }
    }

    async fn next(&mut self) -> Happening {
        let wake = self.session.wake().map(|at| at.since((self.around.now)()));
        tokio::select! {
            biased;
            () = self.around.stop.cancelled() => Happening::Stop,
            request = self.requests.next() => Happening::of(request),
            _ = self.around.views.changed() => Happening::View,
            () = sleep(wake.unwrap_or_default()), if wake.is_some() => Happening::Wake,
        }
    }

    async fn send(&mut self, responses: Vec<Response>) -> Result<(), End> {
        for response in responses {
            let sent = tokio::select! {
                biased;
                () = self.around.stop.cancelled() => return Err(End::Status(stopping())),
                sent = timeout(STALLED, self.responses.send(Ok(response))) => sent,
            };
            match sent {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(End::Gone),
                Err(_) => return Err(End::Stalled),
            }
        }
        Ok(())
    }

    /// The hub always reads, and never waits for a stream, so this does not wait for long.
    async fn report(&mut self) {
        let Some(node) = self.session.node().cloned() else { return };
        let status = ProxyView {
            stream: self.id,
            node: node.clone(),
            address: self.address,
            agent: self.session.agent().to_owned(),
            connected: self.opened,
            types: self.session.status(),
            unserved: self.session.unserved().map(ToOwned::to_owned).collect(),
        };
        let answers = self.session.take_events().into_iter();
        let answers = answers.map(|event| Report::Answer(node.clone(), event));
        for report in std::iter::once(Report::Status(Box::new(status))).chain(answers) {
            if self.around.reports.send(report).await.is_err() {
                tracing::debug!(stream = self.id, "the server has stopped");
            }
        }
    }
}

fn is_fault(status: &Status) -> bool {
    matches!(status.code(), tonic::Code::InvalidArgument | tonic::Code::OutOfRange)
}

/// The answer before anything may be said.
pub(super) fn not_ready() -> Status {
    Status::unavailable("weir is starting and has nothing to serve yet; try again")
}

fn stopping() -> Status {
    Status::unavailable("weir is shutting down; connect to another replica or try again")
}
