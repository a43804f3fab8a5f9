#![allow(clippy::unwrap_used, reason = "test helpers")]

use super::*;
use futures_util::FutureExt;
use futures_util::future::{join_all, select_all};
use std::pin::Pin;

fn room() -> Room {
    Room::new("shop-0", Service::SHOP)
}

fn draw(number: u64) -> Draw {
    Draw::first(1, number)
}

/// What a request of that number takes a worker of a healthy backend, as slept: in whole
/// milliseconds, since tokio's clock has no finer ones.
fn alone(number: u64) -> Duration {
    Service::SHOP.mean.mul_f64(draw(number).weight(0.8))
}

/// Requests 0 to 7, one with each worker.
fn all_busy(room: &Room) -> Vec<Pin<Box<dyn Future<Output = StatusCode> + '_>>> {
    let mut busy = Vec::new();
    for number in 0..8 {
        let mut request = Box::pin(room.serve(draw(number)));
        assert!(request.as_mut().now_or_never().is_none());
        busy.push(request as Pin<Box<dyn Future<Output = StatusCode>>>);
    }
    busy
}

#[track_caller]
fn check(actual: Duration, expected: Duration) {
    let apart = actual.abs_diff(expected);
    assert!(apart <= Duration::from_millis(2), "took {actual:?} instead of {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_what_it_weighs() {
    let start = Instant::now();
    assert_eq!(room().serve(draw(0)).await, StatusCode::OK);
    check(start.elapsed(), alone(0));
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend_takes_longer() {
    let room = room();
    *room.behaviour.lock().unwrap() = Behaviour::slowed(10.0);
    let start = Instant::now();
    room.serve(draw(0)).await;
    check(start.elapsed(), alone(0) * 10);
}

#[tokio::test(start_paused = true)]
async fn eight_are_worked_on_and_the_ninth_waits() {
    let room = room();
    let start = Instant::now();
    let first = all_busy(&room);
    assert_eq!((room.counts().present, room.counts().in_service), (8, 8));
    let ninth = room.serve(draw(8)).map(|_| start.elapsed());
    let (took, _) = tokio::join!(ninth, join_all(first));
    let soonest = (0..8).map(alone).min().unwrap();
    check(took, soonest + alone(8));
    let (taken, answered) = (room.counts().taken, room.counts().answered);
    assert_eq!((taken, answered, room.counts().present), (9, 9, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_the_queue_takes_no_worker() {
    let room = room();
    let first = all_busy(&room);
    let mut gone = Box::pin(room.serve(draw(8)));
    assert!(gone.as_mut().now_or_never().is_none());
    let mut last = Box::pin(room.serve(draw(9)));
    assert!(last.as_mut().now_or_never().is_none());
    drop(gone);
    assert_eq!(room.counts().present, 9);
    let start = Instant::now();
    let (took, _) = tokio::join!(last.map(|_| start.elapsed()), join_all(first));
    check(took, (0..8).map(alone).min().unwrap() + alone(9));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_a_worker_frees_it() {
    let room = room();
    select_all(all_busy(&room)).await; // dropping the other seven
    assert_eq!((room.counts().in_service, room.counts().present), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_injected_error_needs_no_worker() {
    let room = room();
    let _busy = all_busy(&room);
    *room.behaviour.lock().unwrap() = Behaviour::failing(1.0);
    let start = Instant::now();
    assert_eq!(room.serve(draw(8)).await, StatusCode::SERVICE_UNAVAILABLE);
    check(start.elapsed(), ERROR_AFTER);
    assert_eq!(room.counts().failed, 1);
}

#[tokio::test]
async fn which_requests_fail_is_the_same_everywhere() {
    let (here, there) = (room(), room());
    for room in [&here, &there] {
        *room.behaviour.lock().unwrap() = Behaviour::failing(0.5);
    }
    tokio::time::pause();
    for number in 0..50 {
        assert_eq!(here.serve(draw(number)).await, there.serve(draw(number)).await);
    }
    assert!(here.counts().failed > 10 && here.counts().answered > 10);
}

#[tokio::test]
async fn a_backend_leaves_and_joins_at_its_address() {
    let mut backend = Backend::start("shop-0", Service::SHOP).unwrap();
    let address = backend.address();
    TcpStream::connect(address).await.unwrap();
    backend.leave().await;
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    backend.join().unwrap();
    TcpStream::connect(address).await.unwrap();
}
