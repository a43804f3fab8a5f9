//! The access log (ALS): proxies push one entry per sampled attempt.
//!
//! The only source of latency per endpoint as clients see it that Envoy has. Proxies sample (Weir
//! steers the rate through a runtime key); entries do not carry the rate, so that counts from
//! here are of the sampled attempts only, and a report is never complete.
//!
//! Streams count into one shared tally under a lock that is held for microseconds a batch, and
//! the shell takes the tally with [`Handle::drain`] at each step. A queue to the loop was the
//! alternative: it would have to be as long as the worst second's entries, or lose some.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use envoy_types::pb::envoy::service::accesslog::v3::access_log_service_server::{
    AccessLogService, AccessLogServiceServer,
};
use envoy_types::pb::envoy::service::accesslog::v3::stream_access_logs_message::LogEntries;
use envoy_types::pb::envoy::service::accesslog::v3::{
    StreamAccessLogsMessage, StreamAccessLogsResponse,
};
use futures_util::stream::{Stream, StreamExt};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use weir_engine::units::Moment;

use crate::Now;
use crate::load_reports::Malformed;
use crate::load_reports::peer::Peer;
use crate::status::{self, Kind, Publisher};

mod entry;
mod tally;
use entry::Attempt;
use tally::{Batch, Tally};
pub use tally::{Drained, LeftOut};

/// Streams at once over all proxies: an Envoy opens one per worker thread and logger; this is room
/// for 200 proxies of ten workers.
pub const STREAMS_MAX: usize = 2_048;

/// Largest message: Envoy flushes at 16 KiB, and the last entry may carry a path as long as the
/// 60 KiB that its headers may have.
pub const MESSAGE_BYTES_MAX: usize = 128 << 10;

/// Envoy opens a stream when it has something to send; who does not send is holding a place.
const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(5);

/// When the access log service ends.
#[derive(Clone, Debug)]
pub struct Config {
    /// Ends all streams.
    pub stop: CancellationToken,
}

/// The access log service: mount the server that [`Service::server`] gives.
#[derive(Clone, Debug)]
pub struct Service {
    shared: Arc<Shared>,
}

/// The loop's end of the access log.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    now: Now,
    publisher: Publisher,
    places: Semaphore,
    tally: Mutex<Tally>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shared {
    /// The tally; a panic elsewhere leaves it usable, for it is never left half changed.
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Everything that was logged since the last call.
    pub fn drain(&self, now: Moment) -> Drained {
        self.shared.tally().drain(now)
    }
}

impl Service {
    /// A service, the loop's end of it, and how it fares.
    pub fn new(config: Config, now: Now) -> (Self, Handle, watch::Receiver<status::Status>) {
        let (publisher, status) =
            Publisher::new("access-log", Kind::AccessLog, "envoy.service.accesslog.v3");
        let tally = Mutex::new(Tally::new(now()));
        let places = Semaphore::new(STREAMS_MAX);
        let shared = Arc::new(Shared { config, now, publisher, places, tally });
        (Self { shared: Arc::clone(&shared) }, Handle { shared }, status)
    }

    /// The service as tonic mounts it, with its message limit.
    pub fn server(&self) -> AccessLogServiceServer<Self> {
        AccessLogServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// How many streams are open at the moment.
    pub fn streams(&self) -> usize {
        STREAMS_MAX - self.shared.places.available_permits()
    }

    async fn serve(&self, mut inbound: impl Messages) -> Result<StreamAccessLogsResponse, Status> {
        let _place = self.shared.places.try_acquire().map_err(|_| {
            Status::resource_exhausted(format!("at most {STREAMS_MAX} access log streams"))
        })?;
        let stop = &self.shared.config.stop;
        let Some(first) = stop.run_until_cancelled(first(&mut inbound)).await else {
            return Ok(StreamAccessLogsResponse {});
        };
        let mut next = Some(first?);
        let present = match next.as_ref().map(peer_of) {
            Some(Ok(peer)) => Present::enter(&self.shared, peer),
            Some(Err(error)) => {
                self.shared.publisher.failed((self.shared.now)(), &error);
                return Err(Status::invalid_argument(error.to_string()));
            }
            None => return Ok(StreamAccessLogsResponse {}),
        };
        while let Some(message) = next {
            present.absorb(message);
            next = match stop.run_until_cancelled(inbound.next()).await.flatten() {
                Some(Ok(message)) => Some(message),
                Some(Err(error)) => {
                    tracing::debug!(node = %present.peer.node, %error, "access log stream broke");
                    None
                }
                None => None,
            };
        }
        Ok(StreamAccessLogsResponse {})
    }
}

/// What a proxy says on a stream.
trait Messages: Stream<Item = Result<StreamAccessLogsMessage, Status>> + Send + Unpin {}
impl<S: Stream<Item = Result<StreamAccessLogsMessage, Status>> + Send + Unpin> Messages for S {}

#[tonic::async_trait]
impl AccessLogService for Service {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        self.serve(request.into_inner()).await.map(Response::new)
    }
}

async fn first(inbound: &mut impl Messages) -> Result<StreamAccessLogsMessage, Status> {
    match timeout(FIRST_MESSAGE_WITHIN, inbound.next()).await {
        Ok(Some(message)) => message,
        Ok(None) => Err(Status::cancelled("the stream ended before its first message")),
        Err(_) => Err(Status::deadline_exceeded("no first message")),
    }
}

fn peer_of(first: &StreamAccessLogsMessage) -> Result<Peer, Malformed> {
    Peer::of(first.identifier.as_ref().and_then(|identifier| identifier.node.as_ref()))
}

/// A node's open stream, as long as it lives.
struct Present<'a> {
    shared: &'a Shared,
    peer: Peer,
}

impl<'a> Present<'a> {
    fn enter(shared: &'a Shared, peer: Peer) -> Self {
        shared.tally().enter(&peer.node);
        Self { shared, peer }
    }

    fn absorb(&self, message: StreamAccessLogsMessage) {
        let Some(entries) = message.log_entries else { return };
        // Read before the lock is taken: reading takes longer than counting.
        let batch = read(&entries);
        self.shared.tally().absorb(&self.peer, batch);
        self.shared.publisher.succeeded((self.shared.now)());
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.shared.tally().leave(&self.peer.node);
    }
}

fn read(entries: &LogEntries) -> Batch {
    match entries {
        LogEntries::HttpLogs(http) => {
            let attempts: Vec<Attempt> = http.log_entry.iter().filter_map(Attempt::read).collect();
            let unattributed = (http.log_entry.len() - attempts.len()) as u64;
            Batch { attempts, unattributed, tcp: 0 }
        }
        LogEntries::TcpLogs(tcp) => Batch { tcp: tcp.log_entry.len() as u64, ..Batch::default() },
    }
}

#[cfg(test)]
mod tests;
