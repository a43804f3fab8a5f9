//! The follower's side: calls whoever leads, hears what is served there, and tells what its own
//! proxies said.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};
use weir_collectors::status::{Kind, Publisher, Status};
use weir_proxy_adapter::raw::Raw;

use super::{Heard, MESSAGE_MAX, PATH, Served, Told};
use crate::clock::Clock;
use crate::kubernetes::leading::Standing;
use crate::kubernetes::lease::Leader;
use crate::store::last_good;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);

/// A leader says something with each of its steps, of which none takes more than a minute: who is
/// silent for longer is called anew.
const SILENT_MAX: Duration = Duration::from_secs(90);

/// Time between two calls.
const RETRY: Duration = Duration::from_millis(500);

/// Bytes on their way at once: a large mesh's state comes in a few round trips.
const WINDOW: u32 = 4 << 20;

/// Messages that wait for a leader that does not read; more are left out.
const WAITING_MAX: usize = 4;

/// Why a leader is followed no more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The lease says an address that is none.
    #[error("the leader's address in the lease is none: {0:?}")]
    Address(String),
    /// It cannot be reached.
    #[error(
        "the leader cannot be reached at {0}: let replicas connect to one another's port of proxies"
    )]
    Unreachable(String, #[source] tonic::transport::Error),
    /// It refused or broke off.
    #[error("the leader does not say what it serves: {0}")]
    Broken(Box<tonic::Status>),
    /// It ended the stream, or has said nothing for long.
    #[error("the leader says no more what it serves")]
    Silent,
    /// What it says is not understood.
    #[error("what the leader serves is not understood, so what was served last stays: {0}")]
    Foreign(String),
    /// It is not the leader that the lease names.
    #[error("at the leader's address another one answers, of epoch {0}")]
    Other(u64),
}

/// One replica's following.
#[derive(Debug)]
pub struct Following {
    standing: watch::Receiver<Standing>,
    told: watch::Sender<Told>,
    telling: mpsc::Receiver<Heard>,
    publisher: Publisher,
    clock: Clock,
}

impl Following {
    /// The follower's side, and how it fares.
    pub fn new(
        standing: watch::Receiver<Standing>,
        (told, telling): (watch::Sender<Told>, mpsc::Receiver<Heard>),
        clock: Clock,
    ) -> (Self, watch::Receiver<Status>) {
        let (publisher, status) = Publisher::new("leader", Kind::Kubernetes, "leader");
        (Self { standing, told, telling, publisher, clock }, status)
    }

    /// Follows whoever leads until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow()).await;
        stop.cancelled().await;
    }

    async fn follow(&mut self) {
        let mut standing = self.standing.clone();
        let mut lost = false;
        loop {
            let led = standing.borrow_and_update().leader.clone();
            let Some(leader) = led else {
                if standing.changed().await.is_err() {
                    // The lease is no longer asked for: Weir ends.
                    return;
                }
                continue;
            };
            let changed = async {
                drop(standing.wait_for(|now| now.leader.as_ref() != Some(&leader)).await);
            };
            tokio::select! {
                Err(why) = self.attach(&leader) => {
                    self.publisher.failed(self.clock.now(), &why);
                    lost = true;
                    sleep(RETRY).await;
                }
                () = changed => if std::mem::take(&mut lost) {
                    // Who was lost does not lead any more, so nothing is wrong.
                    self.publisher.succeeded(self.clock.now());
                },
            }
        }
    }

    async fn attach(&mut self, leader: &Leader) -> Result<Infallible, Lost> {
        let (telling, told) = mpsc::channel(WAITING_MAX);
        let mut stream = call(leader, told).await?;
        tracing::info!(
            at = leader.serves_at,
            epoch = leader.epoch,
            "this replica follows the leader"
        );
        loop {
            tokio::select! {
                said = timeout(SILENT_MAX, stream.message()) => {
                    let said = said.map_err(|_| Lost::Silent)?;
                    let said = said.map_err(|status| Lost::Broken(Box::new(status)))?;
                    self.hear(&said.ok_or(Lost::Silent)?, leader)?;
                    self.publisher.succeeded(self.clock.now());
                }
                Some(heard) = self.telling.recv() => {
                    // Who does not read misses it.
                    drop(telling.try_send(Bytes::from(last_good::encode(&heard))));
                }
            }
        }
    }

    fn hear(&self, said: &[u8], leader: &Leader) -> Result<(), Lost> {
        let mut served = None;
        if !said.is_empty() {
            let new: Served = last_good::decode(said).map_err(Lost::Foreign)?;
            if new.epoch != leader.epoch {
                return Err(Lost::Other(new.epoch));
            }
            served = Some(Arc::new(new));
        }
        self.told.send_modify(|told| {
            told.words += 1;
            told.served = served.or_else(|| told.served.take());
        });
        Ok(())
    }
}

async fn call(leader: &Leader, told: mpsc::Receiver<Bytes>) -> Result<Streaming<Bytes>, Lost> {
    let at = &leader.serves_at;
    let endpoint = Endpoint::from_shared(format!("http://{at}"));
    let endpoint = endpoint.map_err(|_| Lost::Address(at.clone()))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let unreachable = |error| Lost::Unreachable(at.clone(), error);
    let channel = endpoint.connect().await.map_err(unreachable)?;
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MESSAGE_MAX);
    client.ready().await.map_err(unreachable)?;
    let request = Request::new(ReceiverStream::new(told));
    let called = client.streaming(request, PathAndQuery::from_static(PATH), Raw).await;
    Ok(called.map_err(|status| Lost::Broken(Box::new(status)))?.into_inner())
}

#[cfg(test)]
mod tests {
    use weir_engine::state::State;

    use super::*;

    #[test]
    fn only_the_leader_of_the_lease_is_heard() {
        let (_stands, standing) = watch::channel(Standing::default());
        let (tells, told) = watch::channel(Told::default());
        let (_telling, heard) = mpsc::channel(1);
        let (following, _) = Following::new(standing, (tells, heard), Clock::start(None));
        let leader =
            Leader { epoch: 3, serves_at: "10.0.0.1:18010".to_owned(), pages_at: String::new() };
        let said = |epoch| {
            let state = State { sequence: 5, ..State::default() };
            last_good::encode(&Served { epoch, services: [].into(), state })
        };
        for epoch in [2, 4, u64::MAX] {
            let lost = following.hear(&said(epoch), &leader);
            assert!(matches!(lost, Err(Lost::Other(other)) if other == epoch));
        }
        assert!(matches!(following.hear(b"what?", &leader), Err(Lost::Foreign(_))));
        assert!(told.borrow().served.is_none());
        following.hear(&said(3), &leader).unwrap();
        following.hear(&[], &leader).unwrap();
        let told = told.borrow();
        assert_eq!((told.served.as_ref().map(|it| it.number()), told.words), (Some((3, 5)), 2));
    }
}
