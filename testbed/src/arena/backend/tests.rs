#![allow(clippy::unwrap_used, reason = "test helpers")]

use super::*;
use futures_util::FutureExt;
use std::pin::Pin;

const KIND: Kind = Kind { workers: 2, zone: 0, cross_zone: Duration::from_millis(40) };

fn errand(milliseconds: u64) -> Errand {
    Errand { work: Duration::from_millis(milliseconds), luck: 0.5, zone: 0, counted: true }
}

fn begun<'a>(
    room: &'a Arc<Room>,
    errand: Errand,
) -> Pin<Box<dyn Future<Output = StatusCode> + 'a>> {
    let mut request: Pin<Box<dyn Future<Output = _>>> = Box::pin(room.serve(errand));
    assert!(request.as_mut().now_or_never().is_none());
    request
}

#[track_caller]
fn check(since: Instant, milliseconds: u64) {
    let apart = since.elapsed().abs_diff(Duration::from_millis(milliseconds));
    assert!(apart <= Duration::from_millis(2), "{:?}, not {milliseconds} ms", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn workers_serve_in_order_and_slowness_counts_when_they_begin() {
    let room = Arc::new(Room::new(KIND));
    let start = Instant::now();
    let (first, second) = (begun(&room, errand(100)), begun(&room, errand(60)));
    let third = begun(&room, errand(20));
    assert_eq!(room.inside.load(Ordering::Relaxed), 3);
    room.state().slowness = 3.0;
    assert_eq!(second.await, StatusCode::OK);
    check(start, 60);
    third.await;
    check(start, 120);
    first.await;
    check(start, 120);
    assert_eq!(room.inside.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn work_goes_on_for_a_client_that_hung_up_but_nobody_begins_for_one() {
    let room = Arc::new(Room::new(KIND));
    let start = Instant::now();
    drop((begun(&room, errand(100)), begun(&room, errand(80))));
    let waits = begun(&room, errand(1_000));
    let last = begun(&room, errand(10));
    drop(waits);
    last.await;
    check(start, 90);
}

#[tokio::test(start_paused = true)]
async fn an_unlucky_request_fails_and_needs_no_worker() {
    let room = Arc::new(Room::new(KIND));
    let _busy = (begun(&room, errand(1_000)), begun(&room, errand(1_000)));
    room.state().errors = 0.6;
    let start = Instant::now();
    assert_eq!(room.serve(errand(10)).await, StatusCode::SERVICE_UNAVAILABLE);
    check(start, 1);
}

#[tokio::test(start_paused = true)]
async fn another_zone_is_further_away_and_is_counted() {
    let room = Arc::new(Room::new(KIND));
    let start = Instant::now();
    room.serve(Errand { zone: 1, ..errand(10) }).await;
    check(start, 50);
    room.serve(Errand { zone: 1, counted: false, ..errand(10) }).await;
    room.serve(errand(10)).await;
    assert_eq!(room.far.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_overslept_it_makes_up_for() {
    let room = Arc::new(Room::new(KIND));
    let start = Instant::now();
    room.state().debt = Duration::from_millis(4);
    room.serve(errand(10)).await;
    check(start, 6);
    room.end(Instant::now() - Duration::from_secs(1));
    assert_eq!(room.state().debt, DEBT_MAX);
}
