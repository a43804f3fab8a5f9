//! The server over connections in memory, in time that passes at once.
#![allow(clippy::unwrap_used, reason = "tests")]

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient as Client;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::time::{Instant, advance};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use weir_engine::names::ServiceId;
use weir_engine::observation::Outcome;

use super::*;
use crate::resource::Resource;

/// Bytes that a connection in memory takes before its reader reads.
const PIPE: usize = 64 << 10;

/// A running server.
struct Site {
    publisher: Publisher,
    stop: CancellationToken,
    connections: mpsc::Sender<std::io::Result<DuplexStream>>,
    tasks: JoinSet<()>,
}

impl Site {
    fn new(config: Config) -> Self {
        let start = Instant::now();
        let now: Now = Arc::new(move || Moment::from_millis(1_000_000).plus(start.elapsed()));
        let (server, publisher) = Server::new(config, now);
        let stop = CancellationToken::new();
        let (connections, incoming) = mpsc::channel(8);
        let routes = server.routes();
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(stop.clone()));
        tasks.spawn(async move {
            let mut server = configure(tonic::transport::Server::builder());
            let incoming = ReceiverStream::new(incoming);
            server.add_routes(routes).serve_with_incoming(incoming).await.unwrap();
        });
        Self { publisher, stop, connections, tasks }
    }

    fn open() -> Self {
        let site = Self::new(Config::new(1));
        site.publish(1, 10);
        site.publisher.open();
        site
    }

    /// Endpoints of `a` in this version and size.
    fn publish(&self, version: u32, bytes: usize) {
        let mut snapshot = Snapshot::default();
        let content = format!("{}:{version}", "x".repeat(bytes));
        let resource = Resource::new("a", &content);
        let resource = resource.deciding(version.into(), ServiceId::new("demo", "shop"));
        snapshot.insert(TypeUrl::Endpoints, resource);
        self.publisher.publish(Arc::new(snapshot), Urgency::Now);
    }

    async fn channel(&self) -> Channel {
        let (client, server) = tokio::io::duplex(PIPE);
        self.connections.send(Ok(server)).await.unwrap();
        let mut client = Some(TokioIo::new(client));
        let connector = tower::service_fn(move |_| {
            let client = client.take().ok_or(std::io::ErrorKind::NotConnected);
            async move { client.map_err(std::io::Error::from) }
        });
        Endpoint::from_static("http://server").connect_with_connector(connector).await.unwrap()
    }

    /// A stream that has sent its first request, or why it could not.
    async fn subscribe(&self, node: &str) -> Result<Subscriber, Status> {
        let (requests, out) = mpsc::channel(8);
        requests.send(request(node, "")).await.unwrap();
        let mut client = Client::new(self.channel().await);
        let responses = client.stream_aggregated_resources(ReceiverStream::new(out)).await?;
        Ok(Subscriber { requests, responses: responses.into_inner(), _client: client })
    }
}

struct Subscriber {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    _client: Client<Channel>,
}

impl Subscriber {
    /// The version of the next response's endpoints; taken.
    async fn take(&mut self) -> String {
        let response = self.responses.message().await.unwrap().unwrap();
        self.requests.send(request("any", &response.nonce)).await.unwrap();
        let content = String::from_utf8_lossy(&response.resources[0].value);
        content.rsplit(':').next().unwrap().to_owned()
    }

    async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.responses.message().await {
                return status;
            }
        }
    }
}

fn request(node: &str, nonce: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        node: Some(Node { id: node.to_owned(), ..Node::default() }),
        type_url: TypeUrl::Endpoints.to_string(),
        resource_names: vec!["a".to_owned()],
        response_nonce: nonce.to_owned(),
        ..DiscoveryRequest::default()
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_answered_before_something_is_published_and_the_gate_is_open() {
    let code = |result: Result<Subscriber, Status>| result.err().map(|status| status.code());
    let site = Site::new(Config::new(1));
    assert_eq!(code(site.subscribe("n").await), Some(Code::Unavailable));
    site.publish(1, 10);
    advance(Duration::from_secs(60)).await;
    assert_eq!(code(site.subscribe("n").await), Some(Code::Unavailable), "not open");
    let site = Site::new(Config::new(1));
    site.publisher.open();
    advance(Duration::from_secs(60)).await;
    assert_eq!(code(site.subscribe("n").await), Some(Code::Unavailable), "nothing published");
    site.publish(1, 10);
    advance(Duration::from_millis(1)).await;
    assert_eq!(site.subscribe("n").await.unwrap().take().await, "1");
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_unavailable_when_the_server_stops() {
    let mut site = Site::open();
    advance(Duration::from_millis(1)).await;
    let mut subscriber = site.subscribe("n").await.unwrap();
    subscriber.take().await;
    site.stop.cancel();
    assert_eq!(subscriber.end().await.code(), Code::Unavailable);
    site.tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_let_go() {
    let site = Site::open();
    advance(Duration::from_millis(1)).await;
    let (_requests, out) = mpsc::channel::<DiscoveryRequest>(1);
    let mut client = Client::new(site.channel().await);
    let before = Instant::now();
    let responses = client.stream_aggregated_resources(ReceiverStream::new(out)).await.unwrap();
    let status = responses.into_inner().message().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(before.elapsed() < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_breaks_a_limit_is_told_which() {
    let site = Site::open();
    advance(Duration::from_millis(1)).await;
    let mut subscriber = site.subscribe("").await.unwrap();
    let status = subscriber.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("node.id"), "{status}");

    let mut subscriber = site.subscribe("n").await.unwrap();
    let mut large = request("n", "");
    large.resource_names = vec!["x".repeat(1 << 20)];
    subscriber.requests.send(large).await.unwrap();
    assert_eq!(subscriber.end().await.code(), Code::OutOfRange);
}

#[tokio::test(start_paused = true)]
async fn streams_beyond_the_limit_are_told_to_go_elsewhere() {
    let site = Site::new(Config { epoch: 1, streams_max: 1 });
    site.publish(1, 10);
    site.publisher.open();
    advance(Duration::from_millis(1)).await;
    let first = site.subscribe("n").await.unwrap();
    let status = site.subscribe("n").await.err().unwrap();
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(first);
    advance(Duration::from_secs(1)).await;
    assert!(site.subscribe("n").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn answers_become_receipts_and_people_see_the_proxy() {
    let mut site = Site::open();
    advance(Duration::from_millis(1)).await;
    let mut subscriber = site.subscribe("n").await.unwrap();
    subscriber.take().await;
    let receipt = site.publisher.receipts.recv().await.unwrap();
    assert_eq!((receipt.node.as_str(), receipt.decision), ("n", 1));
    assert_eq!(receipt.outcome, Outcome::Taken);
    let proxies = &mut site.publisher.proxies;
    let seen = proxies.wait_for(|all| all.iter().any(|proxy| !proxy.types[0].pending)).await;
    let proxy = seen.unwrap()[0].clone();
    assert_eq!(proxy.node.as_str(), "n");
    assert_eq!(proxy.types[0].acked.unwrap().to_string(), "1.1");
    drop(subscriber);
    proxies.wait_for(|all| all.is_empty()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_delays_nobody_and_loses_its_stream() {
    let mut site = Site::open();
    advance(Duration::from_millis(1)).await;
    let mut healthy = site.subscribe("healthy").await.unwrap();
    healthy.take().await;
    let _stalled = site.subscribe("stalled").await.unwrap();
    for version in 2..12 {
        // Too much for what the connection and its client take unread.
        site.publish(version, 3 << 20);
        let before = Instant::now();
        assert_eq!(healthy.take().await, version.to_string());
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
        advance(Duration::from_secs(5)).await;
    }
    let gone = |all: &Arc<Vec<ProxyView>>| all.iter().all(|one| one.node.as_str() == "healthy");
    let gone = timeout(Duration::from_secs(30), site.publisher.proxies.wait_for(gone)).await;
    assert!(gone.unwrap().is_ok());
}
