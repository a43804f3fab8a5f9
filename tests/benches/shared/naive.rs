//! The management server that one writes in an afternoon, as a rival: it keeps clusters and
//! endpoints as messages, and builds and encodes a response for every stream and every change.
//! It says whatever it has as soon as it is asked, even nothing.

use std::pin::Pin;
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::Any;
use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt};
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

const KINDS: [&str; 2] = [
    "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
];
const ENDPOINTS: usize = 1;

/// Acknowledgements that wait for the benchmark; it takes one a push.
const ACKS: usize = 64;

/// Everything that there is, with the number of the last change of each kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) endpoints: Vec<ClusterLoadAssignment>,
    pub(crate) versions: [u64; 2],
}

/// A running server. When it is dropped it is gone with all its connections, as if killed.
pub(crate) struct Naive {
    world: watch::Sender<Arc<World>>,
    /// Versions of endpoints that proxies took.
    #[allow(dead_code, reason = "not every benchmark waits for them")]
    pub(crate) acks: mpsc::Receiver<u64>,
    runtime: Option<Runtime>,
}

impl Naive {
    pub(crate) fn start(listener: TcpListener, world: World) -> Self {
        let (world, seen) = watch::channel(Arc::new(world));
        let (acked, acks) = mpsc::channel(ACKS);
        let server = AggregatedDiscoveryServiceServer::new(Desk { world: seen, acked });
        let listener = listener.into_std().unwrap();
        // A runtime of its own, since tonic's connections outlive the server that took them.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let incoming = TcpListenerStream::new(listener).map(|accepted| {
                // Without it each larger push would wait 40 ms for an acknowledgement.
                accepted.and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            });
            let router = tonic::transport::Server::builder().add_service(server);
            router.serve_with_incoming(incoming).await.unwrap();
        });
        Self { world, acks, runtime: Some(runtime) }
    }

    pub(crate) fn publish(&self, change: impl FnOnce(&mut World)) {
        let mut world = World::clone(&self.world.borrow());
        change(&mut world);
        self.world.send_replace(Arc::new(world));
    }
}

impl Drop for Naive {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone)]
struct Desk {
    world: watch::Receiver<Arc<World>>,
    acked: mpsc::Sender<u64>,
}

type Said<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Desk {
    type StreamAggregatedResourcesStream = Said<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Said<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Said<DiscoveryResponse>>, Status> {
        Ok(Response::new(Talk::<Whole>::held(self, request.into_inner())))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Said<DeltaDiscoveryResponse>>, Status> {
        Ok(Response::new(Talk::<Delta>::held(self, request.into_inner())))
    }
}

/// What a request asks, in either dialect.
struct Ask {
    kind: String,
    names: Vec<String>,
    nonce: String,
    refused: bool,
}

trait Dialect: Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;
    fn ask(request: Self::Request) -> Ask;
    fn say(kind: usize, number: u64, resources: Vec<(String, Any)>) -> Self::Response;
}

struct Whole;
struct Delta;

impl Dialect for Whole {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn ask(request: DiscoveryRequest) -> Ask {
        Ask {
            kind: request.type_url,
            names: request.resource_names,
            nonce: request.response_nonce,
            refused: request.error_detail.is_some(),
        }
    }

    fn say(kind: usize, number: u64, resources: Vec<(String, Any)>) -> DiscoveryResponse {
        DiscoveryResponse {
            version_info: number.to_string(),
            resources: resources.into_iter().map(|(_, body)| body).collect(),
            type_url: KINDS[kind].to_owned(),
            nonce: number.to_string(),
            ..DiscoveryResponse::default()
        }
    }
}

impl Dialect for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn ask(request: DeltaDiscoveryRequest) -> Ask {
        Ask {
            kind: request.type_url,
            names: request.resource_names_subscribe,
            nonce: request.response_nonce,
            refused: request.error_detail.is_some(),
        }
    }

    fn say(kind: usize, number: u64, resources: Vec<(String, Any)>) -> DeltaDiscoveryResponse {
        let resource = |(name, body)| Resource {
            name,
            version: number.to_string(),
            resource: Some(body),
            ..Resource::default()
        };
        DeltaDiscoveryResponse {
            resources: resources.into_iter().map(resource).collect(),
            type_url: KINDS[kind].to_owned(),
            nonce: number.to_string(),
            ..DeltaDiscoveryResponse::default()
        }
    }
}

/// One stream.
struct Talk<D: Dialect> {
    requests: Streaming<D::Request>,
    world: watch::Receiver<Arc<World>>,
    acked: mpsc::Sender<u64>,
    /// By kind: what is subscribed to, and the version and number of the last response.
    names: [Option<Vec<String>>; 2],
    sent: [(u64, u64); 2],
    number: u64,
}

impl<D: Dialect> Talk<D> {
    fn held(desk: &Desk, requests: Streaming<D::Request>) -> Said<D::Response> {
        let talk = Self {
            requests,
            world: desk.world.clone(),
            acked: desk.acked.clone(),
            names: [None, None],
            sent: [(0, 0); 2],
            number: 0,
        };
        Box::pin(unfold(talk, |mut talk| async {
            let said = talk.next().await?;
            Some((Ok(said), talk))
        }))
    }

    async fn next(&mut self) -> Option<D::Response> {
        loop {
            let world = self.world.borrow_and_update().clone();
            let behind = (0..KINDS.len()).find(|&kind| {
                self.names[kind].is_some() && self.sent[kind].0 != world.versions[kind]
            });
            if let Some(kind) = behind {
                return Some(self.answer(kind, &world));
            }
            tokio::select! {
                request = self.requests.message() => {
                    let ask = D::ask(request.ok().flatten()?);
                    if let Some(kind) = self.hear(ask) {
                        return Some(self.answer(kind, &world));
                    }
                }
                changed = self.world.changed() => changed.ok()?,
            }
        }
    }

    /// The kind that has to be answered, if the request is no mere answer itself.
    fn hear(&mut self, ask: Ask) -> Option<usize> {
        let kind = KINDS.iter().position(|kind| *kind == ask.kind)?;
        let (version, number) = self.sent[kind];
        if kind == ENDPOINTS && !ask.refused && ask.nonce == number.to_string() {
            // One that nobody waits for is no loss.
            self.acked.try_send(version).ok();
        }
        let known = self.names[kind].as_ref();
        let other = known.is_none_or(|known| !ask.names.is_empty() && *known != ask.names);
        other.then(|| {
            self.names[kind] = Some(ask.names);
            kind
        })
    }

    fn answer(&mut self, kind: usize, world: &World) -> D::Response {
        self.number += 1;
        self.sent[kind] = (world.versions[kind], self.number);
        let any = |value| Any { type_url: KINDS[kind].to_owned(), value };
        let resources = if kind == ENDPOINTS {
            let all = world.endpoints.iter();
            all.map(|one| (one.cluster_name.clone(), any(one.encode_to_vec()))).collect()
        } else {
            let all = world.clusters.iter();
            all.map(|one| (one.name.clone(), any(one.encode_to_vec()))).collect()
        };
        D::say(kind, self.number, resources)
    }
}
