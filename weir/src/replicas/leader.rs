//! The leader's side: mounted on the port of proxies, whom followers are told about.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use weir_proxy_adapter::raw::Raw;

use super::{Heard, MESSAGE_MAX, PATH, Published, Served};
use crate::clock::Clock;
use crate::store::last_good;

/// Followers at once: a few replicas, and streams of theirs that have not ended yet.
const FOLLOWERS_MAX: usize = 32;

/// What a follower's message may have: the reports of some hundred proxies.
const HEARD_BYTES_MAX: usize = 4 << 20;

/// The service that followers call.
#[derive(Clone, Debug)]
pub struct Leader {
    /// What this replica serves, if it leads.
    pub published: watch::Receiver<Published>,
    /// What followers heard.
    pub heard: mpsc::Sender<Heard>,
    /// The clock.
    pub clock: Clock,
    /// Ends all streams.
    pub stop: CancellationToken,
    places: Arc<Semaphore>,
}

impl Leader {
    /// The service.
    pub fn new(
        (published, heard): (watch::Receiver<Published>, mpsc::Sender<Heard>),
        clock: Clock,
        stop: CancellationToken,
    ) -> Self {
        let places = Arc::new(Semaphore::new(FOLLOWERS_MAX));
        Self { published, heard, clock, stop, places }
    }

    fn take(&self, message: &[u8]) {
        match last_good::decode::<Heard>(message) {
            // A loop that is behind misses some: nothing waits for it.
            Ok(heard) => drop(self.heard.try_send(heard.checked(self.clock.now()))),
            Err(why) => tracing::debug!(why, "a follower's reports are not understood"),
        }
    }

    /// What is told, and beside it what is heard: as long as one is read, the other is.
    fn converse(
        &self,
        requests: Streaming<Bytes>,
    ) -> Result<BoxStream<'static, Result<Bytes, Status>>, Status> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Status::resource_exhausted("too many followers"))?;
        let own = self.clone();
        let hearing = requests.filter_map(move |message| {
            if let Ok(message) = message {
                own.take(&message);
            }
            std::future::ready(None)
        });
        let told = told(self.published.clone()).map(Ok);
        let both = stream::select(told, hearing).take_until(self.stop.clone().cancelled_owned());
        Ok(both.inspect(move |_| _ = &place).boxed())
    }
}

/// What this replica serves, whenever it is something else, and an empty message for each step
/// that leaves it as it is.
fn told(mut published: watch::Receiver<Published>) -> impl Stream<Item = Bytes> {
    published.mark_changed();
    stream::unfold((published, None), |(mut published, last)| async move {
        loop {
            published.changed().await.ok()?;
            let Some(served) = published.borrow_and_update().served.clone() else { continue };
            let same = last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &served));
            let message = if same { Bytes::new() } else { last_good::encode(&*served).into() };
            return Some((message, (published, Some::<Arc<Served>>(served))));
        }
    })
}

impl StreamingService<Bytes> for Leader {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        std::future::ready(self.converse(request.into_inner()).map(Response::new))
    }
}

impl NamedService for Leader {
    const NAME: &'static str = "weir.v1.Replicas";
}

impl Service<http::Request<Body>> for Leader {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != PATH {
            let unknown = Status::unimplemented("replicas know one method: Follow").into_http();
            return Box::pin(std::future::ready(Ok(unknown)));
        }
        let leader = self.clone();
        let mut grpc = Grpc::new(Raw)
            .max_decoding_message_size(HEARD_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_MAX);
        Box::pin(async move { Ok(grpc.streaming(leader, request).await) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::pin::pin;

    use weir_engine::state::State;

    use super::*;

    #[tokio::test]
    async fn what_is_served_is_told_once_and_each_step_says_that_it_holds() {
        let served = |sequence| {
            let state = State { sequence, ..State::default() };
            Some(Arc::new(Served { epoch: 1, services: BTreeSet::new(), state }))
        };
        let (publishes, published) = watch::channel(Published::default());
        let mut told = pin!(told(published));
        publishes.send_replace(Published { served: served(7), steps: 1 });
        let first = told.next().await.unwrap();
        assert_eq!(last_good::decode(&first), Ok((*served(7).unwrap()).clone()));
        publishes.send_modify(|published| published.steps += 1);
        assert!(told.next().await.unwrap().is_empty());
        publishes.send_replace(Published { served: served(9), steps: 3 });
        let next = last_good::decode::<Served>(&told.next().await.unwrap()).unwrap();
        assert_eq!(next.number(), (1, 9));
    }
}
