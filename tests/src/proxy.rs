//! A proxy that answers as it is told: the odd one that real proxies seldom are.

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::core::v3::address;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::rpc::Status as Verdict;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;
use weir_proxy_adapter::resource::TypeUrl;

use crate::WITHIN;
use crate::world::CLUSTER;

/// INVALID_ARGUMENT: what proxies refuse with.
const INVALID: i32 = 3;

/// A stream of one node (state of the world, all types on one) that subscribes to the cluster's
/// endpoints.
#[derive(Debug)]
pub struct Proxy {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    /// The version that it took last.
    taken: String,
}

impl Proxy {
    /// Connects and subscribes; what the server says if it does not want to.
    pub async fn subscribe(to: SocketAddr, node: &str) -> Result<Self, tonic::Status> {
        let channel = Endpoint::from_shared(format!("http://{to}")).unwrap().connect().await;
        let channel = channel.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let (requests, out) = mpsc::channel(8);
        let first = DiscoveryRequest {
            node: Some(Node { id: node.to_owned(), ..Node::default() }),
            ..request()
        };
        requests.send(first).await.unwrap();
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let responses = client.stream_aggregated_resources(ReceiverStream::new(out)).await?;
        Ok(Self { requests, responses: responses.into_inner(), taken: String::new() })
    }

    /// The next response.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    pub async fn next(&mut self) -> Result<DiscoveryResponse, tonic::Status> {
        let next = timeout(WITHIN, self.responses.message()).await;
        let next = next.expect("a response within the time");
        next?.ok_or_else(|| tonic::Status::unavailable("the stream ended"))
    }

    /// Takes a response.
    pub async fn take(&mut self, response: &DiscoveryResponse) {
        self.taken.clone_from(&response.version_info);
        self.answer(response, None).await;
    }

    /// Refuses a response.
    pub async fn refuse(&mut self, response: &DiscoveryResponse, words: &str) {
        let verdict = Verdict { code: INVALID, message: words.to_owned(), details: vec![] };
        self.answer(response, Some(verdict)).await;
    }

    async fn answer(&mut self, response: &DiscoveryResponse, verdict: Option<Verdict>) {
        let answer = DiscoveryRequest {
            version_info: self.taken.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: verdict,
            ..request()
        };
        self.requests.send(answer).await.unwrap();
    }
}

fn request() -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: TypeUrl::Endpoints.as_str().to_owned(),
        resource_names: vec![CLUSTER.to_owned()],
        ..DiscoveryRequest::default()
    }
}

/// The ports of the endpoints in a response, in ascending order.
pub fn ports(response: &DiscoveryResponse) -> Vec<u16> {
    let assignments = response
        .resources
        .iter()
        .map(|resource| ClusterLoadAssignment::decode(&resource.value[..]).unwrap());
    let localities = assignments.flat_map(|assignment| assignment.endpoints);
    let endpoints = localities.flat_map(|locality| locality.lb_endpoints);
    let mut ports: Vec<u16> = endpoints
        .map(|endpoint| {
            let Some(HostIdentifier::Endpoint(endpoint)) = endpoint.host_identifier else {
                panic!("an endpoint without an address")
            };
            match endpoint.address.unwrap().address.unwrap() {
                address::Address::SocketAddress(socket) => match socket.port_specifier {
                    Some(PortSpecifier::PortValue(port)) => u16::try_from(port).unwrap(),
                    other => panic!("no port: {other:?}"),
                },
                other @ (address::Address::Pipe(_) | address::Address::EnvoyInternalAddress(_)) => {
                    panic!("no socket address: {other:?}")
                }
            }
        })
        .collect();
    ports.sort_unstable();
    ports
}
