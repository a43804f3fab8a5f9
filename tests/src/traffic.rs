//! Load that runs while something is done to the world.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use weir_testbed::load::{Live, Load, Segment, Summary, Tally};

use crate::until;

/// When a request has failed for being late. Long: a busy machine is no failure.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than any test.
const LENGTH: Duration = Duration::from_secs(600);

/// Requests under way; they end when this is dropped.
#[derive(Debug)]
pub struct Traffic {
    tasks: JoinSet<Vec<Vec<Tally>>>,
    live: watch::Receiver<Live>,
    stop: CancellationToken,
}

impl Traffic {
    /// Begins to send so many requests a second.
    pub fn start(to: SocketAddr, rate: f64) -> Self {
        let segments = vec![Segment { length: LENGTH, rate }];
        let load = Load { seed: 1, segments, sides: vec![vec![to]], timeout: TIMEOUT };
        let (sender, live) = watch::channel(Live::default());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let stopped = stop.clone();
        tasks.spawn(async move { load.run(&sender, &stopped).await });
        Self { tasks, live, stop }
    }

    /// Requests that have ended so far, as last told.
    pub fn ended(&self) -> u64 {
        self.live.borrow().sides.first().map_or(0, |side| side.so_far.requests)
    }

    /// Of these, how many failed, as last told.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    pub fn failed(&self) -> u64 {
        let live = self.live.borrow();
        let failed = |so_far: Summary| (so_far.error_ratio * so_far.requests as f64).round() as u64;
        live.sides.first().map_or(0, |side| failed(side.so_far))
    }

    /// Waits until so many more requests have ended.
    pub async fn more(&self, count: u64) {
        let before = self.ended();
        until("more requests", async || self.ended() >= before + count).await;
    }

    /// Ends it; what became of all requests.
    pub async fn stop(mut self) -> Tally {
        self.stop.cancel();
        let tallies = self.tasks.join_next().await.unwrap().unwrap();
        tallies.into_iter().flatten().next().unwrap()
    }

    /// Ends it; none of its requests may have failed.
    ///
    /// # Panics
    ///
    /// When one has.
    pub async fn stop_without_loss(self) {
        let tally = self.stop().await;
        assert!(tally.requests > 0, "nothing was sent");
        assert_eq!(tally.errors(), 0, "of {} requests: {tally:?}", tally.requests);
    }
}
