//! The relay as a server: streams of proxies, each with a stream of its own to the control plane.
//!
//! [`Relay::run`] owns every task. Opinions are published before it listens, so that no proxy that comes
//! back sees weights go and come again.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::{Grpc, StreamingService};
use tonic::transport::{Endpoint, Identity, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use weir_engine::units::Moment;

use super::opinions::Opinions;
use super::session::{CLUSTERS, ENDPOINTS, Event, ROUTES};
use crate::raw::Raw;
use crate::server::{Connections, Now, configure};
use crate::session::Dialect;

mod stream;
mod upstream;

use stream::{Around, Arrival, carry};
pub use upstream::Upstream;

/// Streams at a time; beyond, proxies are told to try elsewhere.
const STREAMS_MAX: usize = 4_096;

/// Connections at a time: a proxy has one.
const CONNECTIONS_MAX: usize = 4_096;

/// Streams that may wait to be taken up.
const ARRIVALS: usize = 1_024;

/// Events that may wait to be fetched.
const TOLD: usize = 4_096;

/// The largest request: a proxy that names ten thousand clusters.
const REQUEST_MAX: usize = 4 << 20;

/// How often opinions are looked at whether they have grown old.
const AGING: Duration = Duration::from_secs(10);

/// How to relay.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server that decides.
    pub upstream: Upstream,
    /// The relay's own certificate and key for proxies, in PEM; none: plain text.
    pub certificate: Option<Certificate>,
    /// Whether proxies have to send a token. A certificate of theirs cannot be handed on.
    pub token: Token,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate, with those that vouch for it.
    pub chain: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

/// Whether proxies have to send a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Token {
    /// They may, and it is handed on.
    #[default]
    Optional,
    /// A stream without one is refused.
    Required,
}

/// Something about a proxy that is worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The proxy's node.
    pub node: Arc<str>,
    /// What.
    pub event: Event,
}

/// What has happened, counted.
#[derive(Debug, Default)]
pub struct Tally {
    streams: AtomicU64,
    taken: AtomicU64,
    refused: AtomicU64,
    withheld: AtomicU64,
    blind: AtomicU64,
    repaired: AtomicU64,
    dropped: AtomicU64,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Streams that stand now.
    pub streams: u64,
    /// Changed resources that proxies took.
    pub taken: u64,
    /// Changed resources that proxies refused.
    pub refused: u64,
    /// Opinions that were not applied.
    pub withheld: u64,
    /// Opinions about resources that the server had not sent.
    pub blind: u64,
    /// Endpoints sent for a cluster that the server sent none for.
    pub repaired: u64,
    /// Events that nobody fetched in time.
    pub dropped: u64,
}

impl Tally {
    fn opened(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    fn closed(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, event: &Event) {
        let (counter, by) = match event {
            Event::Taken(_, names) => (&self.taken, names.len() as u64),
            Event::Refused(_, names, _) => (&self.refused, names.len() as u64),
            Event::Withheld(..) => (&self.withheld, 1),
            Event::Blind(_) => (&self.blind, 1),
            Event::Repaired(_) => (&self.repaired, 1),
        };
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// All counts.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            streams: read(&self.streams),
            taken: read(&self.taken),
            refused: read(&self.refused),
            withheld: read(&self.withheld),
            blind: read(&self.blind),
            repaired: read(&self.repaired),
            dropped: read(&self.dropped),
        }
    }
}

/// Why the relay cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Certificates or keys that are none, or a socket that fails.
    #[error("the relay cannot serve; check its certificates and keys")]
    Transport(#[from] tonic::transport::Error),
}

/// The shell's side.
#[derive(Debug)]
pub struct Handle {
    opinions: watch::Sender<(Arc<Opinions>, Moment)>,
    /// What proxies said.
    pub told: mpsc::Receiver<Told>,
    /// What has happened so far.
    pub tally: Arc<Tally>,
}

impl Handle {
    /// Publishes opinions, or renews them.
    pub fn opine(&self, opinions: Arc<Opinions>, now: Moment) {
        self.opinions.send_replace((opinions, now));
    }

    /// When they were published or renewed last.
    pub fn renewed(&self) -> Moment {
        self.opinions.borrow().1
    }
}

/// A relay that is ready to run.
pub struct Relay {
    config: Config,
    now: Now,
    opinions: watch::Receiver<(Arc<Opinions>, Moment)>,
    told: mpsc::Sender<Told>,
    tally: Arc<Tally>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Relay {
    /// A relay, and the shell's side of it.
    pub fn new(config: Config, now: Now) -> (Self, Handle) {
        let (opinions, published) = watch::channel((Arc::default(), now()));
        let (told, fetched) = mpsc::channel(TOLD);
        let tally: Arc<Tally> = Arc::default();
        let handle = Handle { opinions, told: fetched, tally: Arc::clone(&tally) };
        (Self { config, now, opinions: published, told, tally }, handle)
    }

    /// Relays until `stop`.
    ///
    /// # Errors
    ///
    /// If certificates are none.
    pub async fn run(
        mut self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> Result<(), RelayError> {
        let endpoint = self.config.upstream.endpoint()?;
        let (effective, opinions) = watch::channel(self.aged());
        let (arrivals, mut arriving) = mpsc::channel(ARRIVALS);
        let door = Door {
            arrivals,
            slots: Arc::new(Semaphore::new(STREAMS_MAX)),
            token: self.config.token,
        };
        let around = self.around(endpoint, opinions, &stop);
        let mut tonic = configure(tonic::transport::Server::builder());
        if let Some(Certificate { chain, key }) = &self.config.certificate {
            let identity = Identity::from_pem(chain, key);
            tonic = tonic.tls_config(ServerTlsConfig::new().identity(identity))?;
        }
        let connections = Connections::new(listener, CONNECTIONS_MAX);
        let ended = stop.clone().cancelled_owned();
        let mut serving =
            std::pin::pin!(tonic.serve_with_incoming_shutdown(door, connections, ended));
        let mut streams = JoinSet::new();
        let mut aging = tokio::time::interval(AGING);
        loop {
            tokio::select! {
                served = &mut serving => {
                    served?;
                    break;
                }
                Some(arrival) = arriving.recv() => {
                    streams.spawn(carry(arrival, around.clone()));
                }
                Some(ended) = streams.join_next() => panicked(ended),
                Ok(()) = self.opinions.changed() => self.publish(&effective),
                _ = aging.tick() => self.publish(&effective),
            }
        }
        while let Some(ended) = streams.join_next().await {
            panicked(ended);
        }
        Ok(())
    }

    fn around(
        &self,
        endpoint: Endpoint,
        opinions: watch::Receiver<Arc<Opinions>>,
        stop: &CancellationToken,
    ) -> Around {
        Around {
            endpoint,
            opinions,
            store: Arc::default(),
            told: self.told.clone(),
            tally: Arc::clone(&self.tally),
            now: Arc::clone(&self.now),
            stop: stop.clone(),
        }
    }

    /// What is left of the opinions that were published last.
    fn aged(&mut self) -> Arc<Opinions> {
        let (opinions, renewed) = self.opinions.borrow_and_update().clone();
        let age = (self.now)().since(renewed);
        if age > super::HELD { Arc::new(opinions.aged(age)) } else { opinions }
    }

    fn publish(&mut self, effective: &watch::Sender<Arc<Opinions>>) {
        let aged = self.aged();
        effective.send_if_modified(|shown| {
            let differs = **shown != *aged;
            if differs {
                *shown = aged;
            }
            differs
        });
    }
}

/// A panic is a bug: the process ends, and proxies keep what they have.
fn panicked(ended: Result<(), tokio::task::JoinError>) {
    match ended {
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => tracing::debug!(%error, "stream aborted"),
        Ok(()) => {}
    }
}

/// Where streams come in.
#[derive(Clone, Debug)]
struct Door {
    arrivals: mpsc::Sender<Arrival>,
    slots: Arc<Semaphore>,
    token: Token,
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrival").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A discovery method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Method {
    dialect: Dialect,
    /// The type that all of its messages are about, unless they say it themselves.
    only: Option<&'static str>,
}

impl Method {
    /// The method with that path; none if it is no discovery.
    fn of(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix("/envoy.service.")?.split_once('/')?;
        let kind = service.strip_suffix("DiscoveryService")?;
        let dialect = match method {
            method if method.starts_with("Stream") => Dialect::StateOfTheWorld,
            method if method.starts_with("Delta") => Dialect::Incremental,
            _ => return None,
        };
        let only = match kind {
            "endpoint.v3.Endpoint" => Some(ENDPOINTS),
            "route.v3.Route" => Some(ROUTES),
            "cluster.v3.Cluster" => Some(CLUSTERS),
            _ => None,
        };
        Some(Self { dialect, only })
    }
}

/// Why a call is not relayed.
fn refusal(path: &str) -> Status {
    let signing = path.starts_with("/istio.v1.auth.IstioCertificateService/");
    Status::unimplemented(if signing {
        "the relay signs no certificates: set CA_ADDR of the proxies' agent to the mesh's own, for \
         example istiod.istio-system.svc:15012"
    } else {
        "the relay carries streams of discovery services (xDS) only"
    })
}

type Responding = ReceiverStream<Result<Bytes, Status>>;

impl Door {
    fn enter(
        &self,
        request: Request<Streaming<Bytes>>,
        path: PathAndQuery,
        method: Method,
    ) -> Result<Response<Responding>, Status> {
        if self.token == Token::Required && !request.metadata().contains_key("authorization") {
            return Err(Status::unauthenticated(
                "the relay hands tokens on, not certificates: let the proxy authenticate by a token \
                 (Istio: a sidecar with a projected service account token), or connect it to the \
                 control plane itself",
            ));
        }
        let slot = self.slots.clone().try_acquire_owned();
        let slot = slot.map_err(|_| Status::resource_exhausted("too many streams"))?;
        let (responses, out) = mpsc::channel(1);
        let (metadata, _, requests) = request.into_parts();
        let arrival = Arrival { path, method, metadata, requests, responses, slot };
        let sent = self.arrivals.try_send(arrival);
        sent.map_err(|_| Status::unavailable("too many streams at once; try again"))?;
        Ok(Response::new(ReceiverStream::new(out)))
    }
}

/// One call of a discovery method.
struct Call {
    door: Door,
    path: PathAndQuery,
    method: Method,
}

impl StreamingService<Bytes> for Call {
    type Response = Bytes;
    type ResponseStream = Responding;
    type Future = std::future::Ready<Result<Response<Responding>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        std::future::ready(self.door.enter(request, self.path.clone(), self.method))
    }
}

impl tonic::codegen::Service<http::Request<Body>> for Door {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = Method::of(request.uri().path());
        let path = request.uri().path_and_query().cloned();
        let (Some(method), Some(path)) = (method, path) else {
            let refused = refusal(request.uri().path()).into_http();
            return Box::pin(std::future::ready(Ok(refused)));
        };
        let call = Call { door: self.clone(), path, method };
        let mut grpc = Grpc::new(Raw).max_decoding_message_size(REQUEST_MAX);
        Box::pin(async move { Ok(grpc.streaming(call, request).await) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_is_carried_and_all_else_says_where_to_go() {
        let aggregated = "/envoy.service.discovery.v3.AggregatedDiscoveryService/";
        let of = |dialect, only| Some(Method { dialect, only });
        for (path, expected) in [
            (format!("{aggregated}StreamAggregatedResources"), of(Dialect::StateOfTheWorld, None)),
            (format!("{aggregated}DeltaAggregatedResources"), of(Dialect::Incremental, None)),
            (format!("{aggregated}FetchResources"), None),
            (
                "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints".to_owned(),
                of(Dialect::Incremental, Some(ENDPOINTS)),
            ),
            ("/grpc.health.v1.Health/Check".to_owned(), None),
            ("/".to_owned(), None),
        ] {
            assert_eq!(Method::of(&path), expected, "{path}");
        }
        let signing = refusal("/istio.v1.auth.IstioCertificateService/CreateCertificate");
        assert!(signing.message().contains("CA_ADDR"));
    }
}
