//! The xDS server: streams around sessions, one hub between them.
//!
//! [`Server::run`] owns every task. Streams read the latest view and never wait for one another;
//! the hub hears their answers. Nothing is answered before [`Publisher::open`]: a server that
//! starts with an empty world would take everything away from every proxy.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use weir_proxy_adapter::server::{Config, Connections, Server, configure};
//! # use tokio_util::sync::CancellationToken;
//! # async fn example(now: weir_proxy_adapter::server::Now, stop: CancellationToken) {
//! let (server, publisher) = Server::new(Config::new(1), now);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:18000").await.expect("a free port");
//! let mut tonic = configure(tonic::transport::Server::builder());
//! let router = tonic.add_routes(server.routes()); // and `.add_service(..)` what else there is
//! let connections = Connections::new(listener, 1024);
//! let serving =
//!     router.serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
//! let (served, ()) = tokio::join!(serving, server.run(stop));
//! # served.expect("no error"); drop(publisher);
//! # }
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Status, Streaming};
use weir_engine::observation::Receipt;
use weir_engine::units::Moment;

use crate::resource::{Snapshot, TypeUrl};
use crate::session::{Dialect, Request, Response};
use crate::view::View;

mod connection;
mod discovery;
mod hub;
mod refusals;
mod stream;

pub use connection::{Connection, Connections, Peer};
pub use discovery::{Aggregated, Discovery, Offer, OnlyEndpoints, OnlyRoutes, OnlyRuntime};
pub use hub::{Confirmation, ProxyView, Standing, Urgency};
pub use refusals::{Frozen, Subject};

use hub::Hub;
use stream::{Arrival, Report, Surroundings};

/// The clock.
pub type Now = Arc<dyn Fn() -> Moment + Send + Sync>;

type ProxyAddress = Option<SocketAddr>;

/// Streams that may wait to be taken up; as many come at once when a fleet reconnects.
const ARRIVALS: usize = 1024;
/// Answers of clients that may wait for the hub.
const REPORTS: usize = 4096;
/// Receipts that may wait for the next step: two hundred proxies with a hundred services each.
const RECEIPTS: usize = 32_768;
/// Responses that wait for the connection of a stream. One: the state of a session is what
/// waits, so that a slow client gets the latest.
const RESPONSES: usize = 1;
/// How often people's view of the proxies is renewed at most.
const PROXIES_EVERY: Duration = Duration::from_millis(200);
/// Time for streams to end when the server stops.
const DRAIN: Duration = Duration::from_secs(5);

/// What the server is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Raised by each change of leader; the first part of every version.
    pub epoch: u64,
    /// Streams at a time. Beyond, clients are told to go elsewhere.
    pub streams_max: usize,
}

impl Config {
    /// This epoch and room for 4,096 streams, a few kilobytes each.
    pub const fn new(epoch: u64) -> Self {
        Self { epoch, streams_max: 4096 }
    }
}

/// What was published last.
#[derive(Clone, Debug, Default)]
struct Publication {
    snapshot: Option<Arc<Snapshot>>,
    /// How many urgent ones there were, and how many confirmed: one that is overwritten before
    /// the hub reads it must not lose that.
    urgent: u64,
    confirmed: u64,
    /// The leader whose decision it is.
    epoch: u64,
    open: bool,
}

/// The shell's side of the server.
#[derive(Debug)]
pub struct Publisher {
    publication: watch::Sender<Publication>,
    /// What proxies said of decisions.
    pub receipts: mpsc::Receiver<Receipt>,
    /// Every stream; renewed five times a second at most.
    pub proxies: watch::Receiver<Arc<Vec<ProxyView>>>,
    /// What of the last snapshot is not in force, and why.
    pub standing: watch::Receiver<Arc<Standing>>,
}

impl Publisher {
    /// Publishes the whole desired state. A later one replaces it, even before it went out.
    pub fn publish(&self, snapshot: Arc<Snapshot>, urgency: Urgency) {
        self.publish_confirmed(snapshot, urgency, Confirmation::Unconfirmed);
    }

    /// What is published from now on is the decision of the leader of this epoch. Whether it is:
    /// a former leader's is refused, however late it comes.
    #[must_use]
    pub fn lead(&self, epoch: u64) -> bool {
        let mut leads = false;
        self.publication.send_modify(|publication| {
            leads = epoch >= publication.epoch;
            publication.epoch = publication.epoch.max(epoch);
        });
        leads
    }

    /// Publishes, and says whether a large loss is meant.
    pub fn publish_confirmed(
        &self,
        snapshot: Arc<Snapshot>,
        urgency: Urgency,
        confirmation: Confirmation,
    ) {
        self.publication.send_modify(|publication| {
            publication.snapshot = Some(snapshot);
            publication.urgent += u64::from(urgency == Urgency::Now);
            publication.confirmed += u64::from(confirmation == Confirmation::Confirmed);
        });
    }

    /// Lets clients be answered, once something is published too. Call it when the last known
    /// good state is loaded, or when there is none and a first decision was made.
    pub fn open(&self) {
        self.publication.send_modify(|publication| publication.open = true);
    }
}

/// The server.
pub struct Server {
    door: Door,
    arrivals: mpsc::Receiver<Arrival>,
    hub: Hub,
    now: Now,
    publications: watch::Receiver<Publication>,
    views: watch::Sender<Option<Arc<View>>>,
    receipts: mpsc::Sender<Receipt>,
    proxies: watch::Sender<Arc<Vec<ProxyView>>>,
    standing: watch::Sender<Arc<Standing>>,
}

impl Server {
    /// A server that answers nobody yet, and the side of it that the shell holds.
    pub fn new(config: Config, now: Now) -> (Self, Publisher) {
        let (publication, publications) = watch::channel(Publication::default());
        let (receipts, receipts_out) = mpsc::channel(RECEIPTS);
        let (proxies, proxies_out) = watch::channel(Arc::default());
        let (standing, standing_out) = watch::channel(Arc::default());
        let (views, ready) = watch::channel(None);
        let (arrivals_in, arrivals) = mpsc::channel(ARRIVALS);
        let slots = Arc::new(Semaphore::new(config.streams_max));
        let door = Door { ready, arrivals: arrivals_in, slots };
        let hub = Hub::new(config.epoch);
        let server =
            Self { door, arrivals, hub, now, publications, views, receipts, proxies, standing };
        let publisher = Publisher {
            publication,
            receipts: receipts_out,
            proxies: proxies_out,
            standing: standing_out,
        };
        (server, publisher)
    }

    /// The discovery services: ADS, EDS, RDS, RTDS.
    pub fn routes(&self) -> Routes {
        Routes::new(self.service::<Aggregated>())
            .add_service(self.service::<OnlyEndpoints>())
            .add_service(self.service::<OnlyRoutes>())
            .add_service(self.service::<OnlyRuntime>())
    }

    /// One discovery service.
    pub fn service<S: Offer>(&self) -> Discovery<S> {
        Discovery::new(self.door.clone())
    }

    /// Serves until `stop`; then ends every stream with UNAVAILABLE and returns.
    pub async fn run(self, stop: CancellationToken) {
        let Self { door, arrivals, hub, now, publications, views, receipts, proxies, standing } =
            self;
        let (reports_in, reports) = mpsc::channel(REPORTS);
        let around = Surroundings {
            views: views.subscribe(),
            reports: reports_in,
            now: now.clone(),
            stop: stop.clone(),
        };
        drop(door);
        let mut desk = Desk {
            hub,
            now,
            views,
            receipts,
            proxies,
            standing,
            seen: Publication::default(),
            dropped: 0,
            changed: false,
        };
        let mut inbox = Inbox { arrivals, publications, reports };
        desk.run(&mut inbox, &around, &stop).await;
    }
}

/// What comes in from outside the server's own loop.
struct Inbox {
    arrivals: mpsc::Receiver<Arrival>,
    publications: watch::Receiver<Publication>,
    reports: mpsc::Receiver<Report>,
}

/// The loop around the hub: moves messages, and decides nothing.
struct Desk {
    hub: Hub,
    now: Now,
    views: watch::Sender<Option<Arc<View>>>,
    receipts: mpsc::Sender<Receipt>,
    proxies: watch::Sender<Arc<Vec<ProxyView>>>,
    standing: watch::Sender<Arc<Standing>>,
    seen: Publication,
    /// Receipts that nobody fetched in time.
    dropped: u64,
    /// Whether people's view of the proxies is behind.
    changed: bool,
}

impl Desk {
    async fn run(&mut self, inbox: &mut Inbox, around: &Surroundings, stop: &CancellationToken) {
        let mut streams = JoinSet::new();
        let mut ids = 0;
        let mut publisher_is_there = true;
        loop {
            let now = (self.now)();
            let wake = self.hub.wake(now).map(|at| at.since(now));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = inbox.publications.changed(), if publisher_is_there => {
                    publisher_is_there = changed.is_ok();
                    self.publish(&inbox.publications.borrow_and_update().clone());
                }
                Some(report) = inbox.reports.recv() => self.hear(report),
                Some(arrival) = inbox.arrivals.recv() => {
                    ids += 1;
                    streams.spawn(stream::serve(ids, arrival, around.clone()));
                }
                Some(ended) = streams.join_next() => self.ended(ended),
                () = sleep(PROXIES_EVERY), if self.changed => self.show(),
                () = sleep(wake.unwrap_or_default()), if wake.is_some() => {
                    let now = (self.now)();
                    let changed = self.hub.tick(now);
                    self.settle(changed);
                }
            }
        }
        self.drain(&mut streams, &mut inbox.reports).await;
    }

    fn publish(&mut self, publication: &Publication) {
        let now = (self.now)();
        self.hub.lead(publication.epoch);
        let urgent = publication.urgent > self.seen.urgent;
        let confirmed = publication.confirmed > self.seen.confirmed;
        let changed = match &publication.snapshot {
            Some(snapshot) => self.hub.publish(
                snapshot.clone(),
                if urgent { Urgency::Now } else { Urgency::Settled },
                if confirmed { Confirmation::Confirmed } else { Confirmation::Unconfirmed },
                now,
            ),
            None => false,
        };
        let opened = publication.open && !self.seen.open;
        self.seen = publication.clone();
        self.settle(changed || opened);
    }

    fn hear(&mut self, report: Report) {
        let now = (self.now)();
        match report {
            Report::Status(proxy) => {
                self.hub.see(*proxy);
                self.changed = true;
            }
            Report::Answer(node, event) => {
                let (receipts, changed) = self.hub.hear(&node, event, now);
                for receipt in receipts {
                    if self.receipts.try_send(receipt).is_err() {
                        self.dropped += 1;
                    }
                }
                if changed {
                    self.settle(true);
                }
            }
        }
    }

    /// Shows streams the view in force, once they may see one.
    fn settle(&mut self, changed: bool) {
        let ready = self.seen.open && self.seen.snapshot.is_some();
        if changed && ready {
            self.views.send_replace(Some(self.hub.view().clone()));
        }
        let standing = Arc::new(self.hub.standing((self.now)()));
        self.standing.send_if_modified(|shown| {
            let differs = *shown != standing;
            if differs {
                *shown = standing;
            }
            differs
        });
    }

    fn ended(&mut self, ended: Result<u64, tokio::task::JoinError>) {
        match ended {
            Ok(stream) => {
                self.hub.forget(stream);
                self.changed = true;
            }
            // A panic is a bug: the process ends, and proxies keep what they have.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => tracing::debug!(%error, "stream aborted"),
        }
    }

    fn show(&mut self) {
        self.changed = false;
        self.proxies.send_replace(Arc::new(self.hub.proxies()));
        if self.dropped > 0 {
            tracing::warn!(
                dropped = self.dropped,
                "receipts dropped: the loop does not fetch them"
            );
            self.dropped = 0;
        }
    }

    /// Lets streams say goodbye. Their reports are read until then, so that none is stuck.
    async fn drain(&mut self, streams: &mut JoinSet<u64>, reports: &mut mpsc::Receiver<Report>) {
        let ending = async {
            loop {
                tokio::select! {
                    ended = streams.join_next() => match ended {
                        Some(ended) => self.ended(ended),
                        None => break,
                    },
                    Some(report) = reports.recv() => self.hear(report),
                }
            }
        };
        if timeout(DRAIN, ending).await.is_err() {
            streams.shutdown().await;
        }
        self.show();
    }
}

/// Where streams come in.
#[derive(Clone, Debug)]
struct Door {
    ready: watch::Receiver<Option<Arc<View>>>,
    arrivals: mpsc::Sender<Arrival>,
    slots: Arc<Semaphore>,
}

impl Door {
    /// Lets a stream in, or says why not.
    fn enter(
        &self,
        request: tonic::Request<Streaming<Request>>,
        dialect: Dialect,
        only: Option<TypeUrl>,
    ) -> Result<mpsc::Receiver<Result<Response, Status>>, Status> {
        if self.ready.borrow().is_none() {
            return Err(stream::not_ready());
        }
        let slot = self.slots.clone().try_acquire_owned();
        let slot = slot.map_err(|_| Status::resource_exhausted("too many streams"))?;
        let (responses, out) = mpsc::channel(RESPONSES);
        let peer = request.extensions().get::<Peer>().cloned();
        let address = peer.as_ref().map_or(request.remote_addr(), |peer| peer.address);
        let requests = request.into_inner();
        let arrival = Arrival { requests, responses, dialect, only, address, peer, slot };
        let sent = self.arrivals.try_send(arrival);
        sent.map_err(|_| Status::unavailable("too many streams at once; try again"))?;
        Ok(out)
    }
}

/// Sets the limits of connections on the tonic server that the services are mounted on.
pub fn configure(server: tonic::transport::Server) -> tonic::transport::Server {
    /// Streams of one connection: a proxy needs three.
    const STREAMS: u32 = 64;
    /// A dead peer is noticed after both.
    const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
    /// Streams that a peer may reset before they are taken up, and errors that it may cause
    /// (h2's own defaults, written down because a change of them once opened a hole).
    const RESETS: (usize, usize) = (20, 1024);
    /// Bytes of headers: a token fits.
    const HEADERS: u32 = 16 << 10;
    server
        .tcp_nodelay(true)
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .http2_max_pending_accept_reset_streams(Some(RESETS.0))
        .http2_max_local_error_reset_streams(Some(RESETS.1))
        .http2_max_header_list_size(HEADERS)
}

#[cfg(test)]
mod tests;
