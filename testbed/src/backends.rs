//! HTTP/1.1 backends inside this process, whose faults are set while they run.
//!
//! Each has a fixed number of workers and one first-come queue; a worker only waits, so that
//! twenty backends cost hardly any processor time and can share a machine with the proxy that
//! they are there to try. How heavy a request is, and whether an injected error hits it, is
//! read off the request ([`crate::draws`]), so two sets of backends treat one request alike.
//!
//! A request whose client has gone leaves at once, from the queue as from a worker, as in a
//! server whose handlers can be cancelled (hyper's, Go's). A server that works on for nobody
//! fares worse when overloaded; ours is the milder case, and the same for both sides.

mod behaviour;
mod counts;

pub use behaviour::Behaviour;
pub use counts::{Counts, Taken};

use crate::draws::Draw;
use crate::ports::Reserved;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// The response header that names the backend which answered.
pub const ANSWERED_BY: HeaderName = HeaderName::from_static("weir-backend");

/// How long an injected error takes: it needs no worker, as where a dependency is down.
pub(crate) const ERROR_AFTER: Duration = Duration::from_millis(1);

/// Requests a backend holds, waiting or worked on. A generator that gives up after 2 s at
/// 1,200 requests a second leaves at most 2,400 with one backend; beyond, it answers 503.
const PRESENT_MAX: u64 = 4096;

/// Connections a backend holds; as many as requests, since HTTP/1.1 needs one for each.
const CONNECTIONS_MAX: usize = 4096;

/// The pause after a failed accept (no descriptors left): long enough not to spin.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// What a backend can do.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Requests worked on at once.
    pub workers: usize,
    /// The mean time that a request takes a worker.
    pub mean: Duration,
    /// The deviation of the logarithm of that time (which is lognormal).
    pub sigma: f64,
}

impl Service {
    /// The demo's shop: 200 requests a second at most, with a tail as real handlers have.
    pub const SHOP: Service = Service { workers: 8, mean: Duration::from_millis(40), sigma: 0.8 };
}

/// One backend. Dropping it closes its listener and its connections.
#[derive(Debug)]
pub struct Backend {
    port: Reserved,
    room: Arc<Room>,
    listening: JoinSet<()>,
}

impl Backend {
    /// A backend listening on a free loopback port. Within a tokio runtime only.
    pub fn start(name: &str, service: Service) -> io::Result<Backend> {
        Backend::start_on(Reserved::any()?, name, service)
    }

    /// A backend listening on a port of the caller's.
    pub fn start_on(port: Reserved, name: &str, service: Service) -> io::Result<Backend> {
        let room = Arc::new(Room::new(name, service));
        let mut backend = Backend { port, room, listening: JoinSet::new() };
        backend.join()?;
        Ok(backend)
    }

    /// Where it listens; the address stays its own while it does not.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Sets how it behaves from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.room.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        self.room.counts()
    }

    /// The requests taken from `since` until now, in bins of `width` counted from `since`.
    /// A backend remembers its last 65,536 requests: minutes, at what it can serve.
    pub fn taken(&self, since: Instant, width: Duration) -> Taken {
        let log = self.room.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.taken(since, Instant::now(), width)
    }

    /// Stops listening and drops every connection, whatever is under way on it.
    pub async fn leave(&mut self) {
        self.listening.shutdown().await;
    }

    /// Listens again (does nothing where it does already). Counts and behaviour stay.
    pub fn join(&mut self) -> io::Result<()> {
        if self.listening.is_empty() {
            self.listening.spawn(accept(self.port.listen()?, Arc::clone(&self.room)));
        }
        Ok(())
    }
}

/// Where a backend's requests wait and are worked on.
#[derive(Debug)]
struct Room {
    name: HeaderValue,
    service: Service,
    workers: Semaphore,
    behaviour: Mutex<Behaviour>,
    log: Mutex<counts::Log>,
    present: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    unnumbered: AtomicU64,
}

impl Room {
    fn new(name: &str, service: Service) -> Room {
        Room {
            name: HeaderValue::from_str(name).expect("a backend's name is a plain word"),
            service,
            workers: Semaphore::new(service.workers),
            behaviour: Mutex::new(Behaviour::HEALTHY),
            log: Mutex::new(counts::Log::new(Instant::now())),
            present: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unnumbered: AtomicU64::new(0),
        }
    }

    fn behaviour(&self) -> Behaviour {
        *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> Counts {
        let taken = self.log.lock().unwrap_or_else(PoisonError::into_inner).total();
        Counts {
            taken,
            answered: self.answered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            present: self.present.load(Ordering::Relaxed),
            in_service: self.service.workers - self.workers.available_permits(),
        }
    }

    /// One request from arrival to answer. Dropping the future is the client's leaving: it
    /// gives up the place in the queue (tokio's semaphore is first come, first served) or the
    /// worker.
    async fn serve(&self, draw: Draw) -> StatusCode {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        let place = Place::take(&self.present);
        if draw.fails(self.behaviour().errors()) {
            sleep(ERROR_AFTER).await;
            self.failed.fetch_add(1, Ordering::Relaxed);
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        if place.before >= PRESENT_MAX {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let _worker = self.workers.acquire().await.expect("the semaphore is never closed");
        let slow = self.behaviour().slow(Instant::now());
        sleep(self.service.mean.mul_f64(draw.weight(self.service.sigma) * slow)).await;
        self.answered.fetch_add(1, Ordering::Relaxed);
        StatusCode::OK
    }
}

impl Answering for Room {
    async fn answer(self: Arc<Room>, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let draw = Draw::read(request.headers())
            .unwrap_or_else(|| Draw::first(0, self.unnumbered.fetch_add(1, Ordering::Relaxed)));
        let mut response = Response::new(Empty::new());
        *response.status_mut() = self.serve(draw).await;
        response.headers_mut().insert(ANSWERED_BY, self.name.clone());
        response
    }
}

/// A request's being there, ended by its drop however it ends.
struct Place<'a> {
    present: &'a AtomicU64,
    before: u64,
}

impl Place<'_> {
    fn take(present: &AtomicU64) -> Place<'_> {
        Place { present, before: present.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.present.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What answers a backend's requests.
pub(crate) trait Answering: Send + Sync + 'static {
    /// The answer. Dropped when the client has gone.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Empty<Bytes>>> + Send;
}

/// Accepts connections for as long as it lives.
pub(crate) async fn accept<A: Answering>(listener: TcpListener, room: Arc<A>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(converse(stream, Arc::clone(&room)));
                    }
                    Err(_) => sleep(ACCEPT_AGAIN).await,
                }
            }
        }
    }
}

/// One connection until either end closes it. A connection that breaks is the client's
/// business, which sees and counts it.
async fn converse<A: Answering>(stream: TcpStream, room: Arc<A>) {
    // Without it small answers wait for acknowledgements; where it is refused they do.
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request| {
        let answer = Arc::clone(&room).answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut server = http1::Builder::new();
    server.auto_date_header(false).serve_connection(TokioIo::new(stream), service).await.ok();
}

#[cfg(test)]
mod tests;
