//! Load reports (LRS): proxies push, per endpoint, how many requests succeeded and failed.
//!
//! Weir answers a proxy's first message with the clusters that it wants to hear of and gets one
//! message per interval from then on. Chosen over scraping as the first source of counts because
//! it needs no open port at the proxy and is a second old at most. A stream that breaks is no
//! alarm: Envoy 1.40 comes back 5 s later whatever back-off it is configured with, its first report
//! then covers the whole gap and says so, and until then the engine holds (measured: killed and
//! restarted 2 s later, the next report came 5.9 s after the last and covered 5.9 s).
//!
//! A proxy that reports load cannot have `per_endpoint_stats` as well: Envoy refuses both at once.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_server::{
    LoadReportingService, LoadReportingServiceServer,
};
use envoy_types::pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use envoy_types::pb::google::protobuf;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::status::{self, Kind, Publisher};
use crate::{Intake, Now};

mod levels;
pub(crate) mod peer;
mod session;
pub use peer::Malformed;
pub use session::Session;

/// Shortest interval that is asked for: Envoy knows no lower limit and would send its whole node,
/// some 60 kB, with each of a hundred reports a second; gRPC clients clamp to the same second.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Longest interval that is asked for: past it a report says more of the past than of now.
pub const INTERVAL_MAX: Duration = Duration::from_secs(15);

/// Streams at once over all proxies: five times the 200 proxies that one process is built for.
pub const STREAMS_MAX: usize = 1_024;

/// Largest message: the counts of 10,000 busy endpoints and the node take 0.6 MB.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A proxy sends its first message with the stream; who does not is holding a place.
const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(5);

/// What load reports are asked for, and when they end.
#[derive(Clone, Debug)]
pub struct Config {
    /// How often proxies report; held within [`INTERVAL_MIN`] and [`INTERVAL_MAX`].
    pub interval: Duration,
    /// The clusters to report, by name; none means all that a proxy knows. A change reaches
    /// proxies on their open streams.
    pub clusters: watch::Receiver<Arc<Vec<String>>>,
    /// The cluster through which proxies reach Weir itself, which is left out.
    pub own_cluster: String,
    /// Ends all streams.
    pub stop: CancellationToken,
}

/// The load reporting service: mount the server that [`Service::server`] gives.
#[derive(Clone, Debug)]
pub struct Service {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    intake: Intake,
    now: Now,
    publisher: Publisher,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Service {
    /// A service that hands reports to `intake`, and how it fares.
    pub fn new(
        config: Config,
        intake: Intake,
        now: Now,
    ) -> (Self, watch::Receiver<status::Status>) {
        let (publisher, status) =
            Publisher::new("load-reports", Kind::LoadReports, "envoy.service.load_stats.v3");
        let places = Arc::new(Semaphore::new(STREAMS_MAX));
        (Self { shared: Arc::new(Shared { config, intake, now, publisher, places }) }, status)
    }

    /// The service as tonic mounts it, with its message limit.
    pub fn server(&self) -> LoadReportingServiceServer<Self> {
        LoadReportingServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// How many proxies report at the moment.
    pub fn streams(&self) -> usize {
        STREAMS_MAX - self.shared.places.available_permits()
    }

    fn accept<S: Messages>(&self, inbound: S) -> Result<Answers, Status> {
        if self.shared.config.stop.is_cancelled() {
            return Err(Status::unavailable("weir is shutting down"));
        }
        let place = Arc::clone(&self.shared.places).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("at most {STREAMS_MAX} load report streams"))
        })?;
        let conversation = Conversation {
            inbound,
            session: None,
            clusters: self.shared.config.clusters.clone(),
            asked: None,
            shared: Arc::clone(&self.shared),
            _place: place,
        };
        Ok(stream::unfold(Some(conversation), |conversation| async {
            let mut conversation = conversation?;
            match conversation.next().await {
                Step::Ask(response) => Some((Ok(response), Some(conversation))),
                Step::Refuse(status) => Some((Err(status), None)),
                Step::End => None,
            }
        })
        .boxed())
    }
}

/// What Weir says on a stream.
type Answers = BoxStream<'static, Result<LoadStatsResponse, Status>>;

/// What a proxy says on a stream.
trait Messages: Stream<Item = Result<LoadStatsRequest, Status>> + Send + Unpin + 'static {}
impl<S: Stream<Item = Result<LoadStatsRequest, Status>> + Send + Unpin + 'static> Messages for S {}

#[tonic::async_trait]
impl LoadReportingService for Service {
    type StreamLoadStatsStream = Answers;

    async fn stream_load_stats(
        &self,
        request: Request<Streaming<LoadStatsRequest>>,
    ) -> Result<Response<Answers>, Status> {
        self.accept(request.into_inner()).map(Response::new)
    }
}

/// One proxy's stream.
struct Conversation<S> {
    inbound: S,
    session: Option<Session>,
    clusters: watch::Receiver<Arc<Vec<String>>>,
    asked: Option<Arc<Vec<String>>>,
    shared: Arc<Shared>,
    _place: OwnedSemaphorePermit,
}

enum Step {
    Ask(LoadStatsResponse),
    Refuse(Status),
    End,
}

#[expect(clippy::large_enum_variant, reason = "one at a time, for one turn of a loop")]
enum Event {
    Stop,
    ClustersChanged,
    Message(Option<Result<LoadStatsRequest, Status>>),
}

impl<S: Messages> Conversation<S> {
    /// Moves messages until there is something to say.
    async fn next(&mut self) -> Step {
        loop {
            match self.event().await {
                Event::Stop | Event::Message(None) => return Step::End,
                Event::ClustersChanged => {
                    if let Some(response) = self.ask() {
                        return Step::Ask(response);
                    }
                }
                Event::Message(Some(Ok(message))) => match self.absorb(&message) {
                    Ok(Some(response)) => return Step::Ask(response),
                    Ok(None) => {}
                    Err(error) => {
                        self.shared.publisher.failed((self.shared.now)(), &error);
                        return Step::Refuse(Status::invalid_argument(error.to_string()));
                    }
                },
                Event::Message(Some(Err(error))) => {
                    tracing::debug!(node = self.node(), %error, "load report stream broke");
                    return Step::End;
                }
            }
        }
    }

    async fn event(&mut self) -> Event {
        let Self { inbound, session, clusters, shared, .. } = self;
        let stop = shared.config.stop.cancelled();
        if session.is_none() {
            return tokio::select! {
                biased;
                () = stop => Event::Stop,
                first = timeout(FIRST_MESSAGE_WITHIN, inbound.next()) => {
                    Event::Message(first.unwrap_or_else(|_| {
                        Some(Err(Status::deadline_exceeded("no first message")))
                    }))
                }
            };
        }
        tokio::select! {
            biased;
            () = stop => Event::Stop,
            () = changed(clusters) => Event::ClustersChanged,
            message = inbound.next() => Event::Message(message),
        }
    }

    fn absorb(
        &mut self,
        message: &LoadStatsRequest,
    ) -> Result<Option<LoadStatsResponse>, Malformed> {
        let shared = &self.shared;
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::open(message, &shared.config.own_cluster)?),
        };
        let at = (shared.now)();
        for report in session.absorb(message, at)? {
            shared.publisher.deliver(&shared.intake, report);
        }
        shared.publisher.succeeded(at);
        Ok(if self.asked.is_none() { self.ask() } else { None })
    }

    /// What to ask for, if that is not what was asked for already.
    fn ask(&mut self) -> Option<LoadStatsResponse> {
        let wanted = Arc::clone(&self.clusters.borrow_and_update());
        if self.asked.as_ref() == Some(&wanted) {
            return None;
        }
        let response = response(&wanted, self.shared.config.interval);
        self.asked = Some(wanted);
        Some(response)
    }

    fn node(&self) -> &str {
        self.session.as_ref().map_or("", Session::node)
    }
}

/// Waits for another list; for ever once there can be none.
async fn changed(clusters: &mut watch::Receiver<Arc<Vec<String>>>) {
    if clusters.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The request for reports. A client which does not advertise that it can send all clusters
/// ignores that flag and has to be asked by name.
fn response(clusters: &[String], interval: Duration) -> LoadStatsResponse {
    let interval = interval.clamp(INTERVAL_MIN, INTERVAL_MAX);
    LoadStatsResponse {
        clusters: clusters.to_vec(),
        send_all_clusters: clusters.is_empty(),
        load_reporting_interval: Some(protobuf::Duration {
            seconds: i64::try_from(interval.as_secs()).unwrap_or(1),
            nanos: i32::try_from(interval.subsec_nanos()).unwrap_or(0),
        }),
        report_endpoint_granularity: true,
    }
}

#[cfg(test)]
mod tests;
