#![allow(clippy::unwrap_used, reason = "test helpers")]

use super::*;
use crate::backends::{Backend, Behaviour, Service};
use tokio::net::TcpListener;

const TIMEOUT: Duration = Duration::from_secs(2);

fn plan(milliseconds: u64, rate: f64) -> Vec<Segment> {
    vec![Segment { length: Duration::from_millis(milliseconds), rate }]
}

fn expected(load: &Load) -> u64 {
    Arrivals::new(load.seed, &load.segments).count() as u64
}

async fn run(load: Load) -> Vec<Vec<Tally>> {
    load.run(&watch::Sender::default(), &CancellationToken::new()).await
}

fn shop(name: &str) -> Backend {
    Backend::start(name, Service { mean: Duration::from_millis(2), ..Service::SHOP }).unwrap()
}

#[tokio::test]
async fn every_arrival_reaches_every_side() {
    let (here, there) = (shop("here"), shop("there"));
    let mut segments = plan(200, 500.0);
    segments.extend(plan(200, 250.0));
    let sides = vec![vec![here.address()], vec![there.address()]];
    let load = Load { seed: 5, segments, sides, timeout: TIMEOUT };
    let all = expected(&load);
    let tallies = run(load).await;
    for (side, backend) in [&here, &there].iter().enumerate() {
        let sent = tallies.iter().map(|segment| segment[side].requests).sum::<u64>();
        assert_eq!((sent, backend.counts().taken), (all, all));
    }
    assert_eq!(tallies[0][0].requests, tallies[0][1].requests);
}

#[tokio::test]
async fn injected_errors_are_the_same_requests_on_both_sides() {
    let (here, there) = (shop("here"), shop("there"));
    for backend in [&here, &there] {
        backend.behave(Behaviour::failing(0.3));
    }
    let sides = vec![vec![here.address()], vec![there.address()]];
    let tallies = run(Load { seed: 6, segments: plan(300, 500.0), sides, timeout: TIMEOUT }).await;
    assert_eq!(tallies[0][0].refused, tallies[0][1].refused);
    assert!(tallies[0][0].refused > 20, "{:?}", tallies[0][0].refused);
}

#[tokio::test]
async fn requests_spread_over_the_listeners() {
    let backends = [shop("a"), shop("b"), shop("c")];
    let sides = vec![backends.iter().map(Backend::address).collect()];
    run(Load { seed: 7, segments: plan(200, 1000.0), sides, timeout: TIMEOUT }).await;
    assert!(backends.iter().all(|backend| backend.counts().taken > 30));
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sides = vec![vec![silent.local_addr().unwrap()]];
    let timeout = Duration::from_millis(50);
    let load = Load { seed: 8, segments: plan(100, 100.0), sides, timeout };
    let all = expected(&load);
    let tally = &run(load).await[0][0];
    assert_eq!((tally.timeouts, tally.errors(), tally.requests), (all, all, all));
    assert!((tally.summary().p99_ms - 50.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_a_reset() {
    let port = crate::ports::Reserved::any().unwrap();
    let sides = vec![vec![port.address()]];
    let load = Load { seed: 9, segments: plan(100, 100.0), sides, timeout: TIMEOUT };
    let all = expected(&load);
    assert_eq!(run(load).await[0][0].resets, all);
}

#[tokio::test]
async fn stopping_ends_the_sending_and_awaits_the_answers() {
    let backend = shop("a");
    let sides = vec![vec![backend.address()]];
    let load = Load { seed: 11, segments: plan(3_600_000, 500.0), sides, timeout: TIMEOUT };
    let (live, stop) = (watch::Sender::default(), CancellationToken::new());
    let enough = async {
        while backend.counts().taken < 20 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (tallies, ()) = tokio::join!(load.run(&live, &stop), enough);
    assert_eq!(tallies[0][0].requests, backend.counts().answered);
    assert_eq!(live.borrow().sides[0].so_far.requests, tallies[0][0].requests);
}
