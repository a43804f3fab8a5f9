//! A backend of a scenario: workers, one queue, and how slow and sick it is just now.
//!
//! It differs from the demo's ([`crate::backends`]) in that work goes on when its client has hung
//! up: only who still waits in the queue leaves it. And a worker that overslept, as timers do by a
//! millisecond, works so much shorter next time, lest a backend have a few per cent less capacity
//! than the scenario says.

use super::errand::Errand;
use super::report::{self, Books};
use crate::backends::{Answering, ERROR_AFTER, accept};
use crate::ports::Reserved;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// Sleep that a worker makes up for, at most: more than timers are late by on a machine that keeps
/// up, less than what would hide that one does not.
const DEBT_MAX: Duration = Duration::from_millis(5);

/// What a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Requests worked on at once.
    pub workers: usize,
    /// The zone that it stands in, by number.
    pub zone: usize,
    /// What a request from another zone takes longer, there and back.
    pub cross_zone: Duration,
}

/// One backend. Dropping it closes its listener and its connections.
#[derive(Debug)]
pub struct Backend {
    port: Reserved,
    room: Arc<Room>,
    _listening: JoinSet<()>,
}

impl Backend {
    /// A backend listening on a free loopback port. Within a tokio runtime only.
    pub fn start(kind: Kind) -> io::Result<Backend> {
        let port = Reserved::any()?;
        let room = Arc::new(Room::new(kind));
        let mut listening = JoinSet::new();
        listening.spawn(accept(port.listen()?, Arc::clone(&room)));
        Ok(Backend { port, room, _listening: listening })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// How slow it is from now on (1 is usual), and which part of requests it fails.
    pub fn behave(&self, slowness: f64, errors: f64) {
        let mut state = self.room.state();
        (state.slowness, state.errors) = (slowness, errors);
    }

    /// Requests in its queue and on its workers.
    pub fn inside(&self) -> u32 {
        self.room.inside.load(Ordering::Relaxed)
    }

    /// Counted requests from other zones that it took.
    pub fn far(&self) -> u64 {
        self.room.far.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    /// Work that is under way holds the room that holds it.
    fn drop(&mut self) {
        self.room.works.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

#[derive(Debug)]
struct Room {
    kind: Kind,
    workers: Arc<Semaphore>,
    state: Mutex<State>,
    /// Work that is under way, whoever still waits for it; no more than there are workers.
    works: Mutex<JoinSet<()>>,
    inside: AtomicU32,
    far: AtomicU64,
}

#[derive(Debug)]
struct State {
    slowness: f64,
    errors: f64,
    /// What workers overslept and have not made up for.
    debt: Duration,
    books: Books,
}

impl Room {
    fn new(kind: Kind) -> Room {
        let books = Books::new(kind.workers, Instant::now());
        let state = State { slowness: 1.0, errors: 0.0, debt: Duration::ZERO, books };
        Room {
            kind,
            workers: Arc::new(Semaphore::new(kind.workers)),
            state: Mutex::new(state),
            works: Mutex::new(JoinSet::new()),
            inside: AtomicU32::new(0),
            far: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request from arrival to answer.
    async fn serve(self: &Arc<Room>, errand: Errand) -> StatusCode {
        let far = errand.zone != self.kind.zone;
        self.far.fetch_add(u64::from(far && errand.counted), Ordering::Relaxed);
        let way = if far { self.kind.cross_zone / 2 } else { Duration::ZERO };
        pause(way).await;
        let status = self.work(errand).await;
        pause(way).await;
        status
    }

    async fn work(self: &Arc<Room>, errand: Errand) -> StatusCode {
        if errand.luck < self.state().errors {
            sleep(ERROR_AFTER).await;
            self.state().books.fail(Instant::now());
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let place = Place::take(Arc::clone(self));
        let waiting = Arc::clone(&self.workers).acquire_owned();
        let worker = waiting.await.expect("the semaphore is never closed");
        // An error means that the work ended with the backend, and nobody is answered.
        self.begin(errand.work, worker, place).await.ok();
        StatusCode::OK
    }

    /// Begins work that ends whether or not anybody waits for it.
    fn begin(
        self: &Arc<Room>,
        work: Duration,
        worker: OwnedSemaphorePermit,
        place: Place,
    ) -> oneshot::Receiver<()> {
        let now = Instant::now();
        let mut state = self.state();
        state.books.begin(now);
        let length = work.mul_f64(state.slowness);
        let made_up = state.debt.min(length);
        state.debt -= made_up;
        drop(state);
        let (done, ends) = oneshot::channel();
        let (until, room) = (now + length - made_up, Arc::clone(self));
        let mut works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        while works.try_join_next().is_some() {}
        works.spawn(async move {
            sleep_until(until).await;
            room.end(until);
            drop((worker, place));
            done.send(()).ok(); // The client may have gone.
        });
        ends
    }

    fn end(&self, due: Instant) {
        let now = Instant::now();
        let mut state = self.state();
        state.books.end(now);
        state.debt = (state.debt + now.saturating_duration_since(due)).min(DEBT_MAX);
    }
}

async fn pause(length: Duration) {
    if length > Duration::ZERO {
        sleep(length).await;
    }
}

impl Answering for Room {
    async fn answer(self: Arc<Room>, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = match Errand::read(request.headers()) {
            Some(errand) => self.serve(errand).await,
            None => StatusCode::BAD_REQUEST,
        };
        let report = self.state().books.report(Instant::now());
        response.headers_mut().insert(report::HEADER, report);
        response
    }
}

/// A request's being inside, ended by its drop however it ends.
struct Place(Arc<Room>);

impl Place {
    fn take(room: Arc<Room>) -> Place {
        room.inside.fetch_add(1, Ordering::Relaxed);
        Place(room)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
