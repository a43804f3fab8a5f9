//! Proxies that only talk: discovery, load reports and access log of an Envoy, without its traffic.

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, Extension, Locality, Node, SocketAddress, address,
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterStats, UpstreamEndpointStats, UpstreamLocalityStats,
};
use envoy_types::pb::envoy::data::accesslog::v3::{
    AccessLogCommon, AccessLogType, HttpAccessLogEntry, HttpResponseProperties,
};
use envoy_types::pb::envoy::service::accesslog::v3::StreamAccessLogsMessage;
use envoy_types::pb::envoy::service::accesslog::v3::access_log_service_client::AccessLogServiceClient;
use envoy_types::pb::envoy::service::accesslog::v3::stream_access_logs_message::{
    HttpAccessLogEntries, Identifier, LogEntries,
};
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::load_stats::v3::LoadStatsRequest;
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;
use envoy_types::pb::google::protobuf::{Duration as Length, UInt32Value};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

const TYPE: &str = "type.googleapis.com/envoy";

/// Envoy names about so many extensions, with every message that carries its node: 60 kB.
const EXTENSIONS: usize = 800;

/// Messages that wait for the wire.
const QUEUE: usize = 16;

/// How often Envoy flushes its access log here, and how many entries it has by then.
const FLUSH: Duration = Duration::from_millis(200);

/// How soon and how often a proxy asks again.
const TRY_AFTER: Duration = Duration::from_millis(250);
const TRIES: usize = 40;

/// What a proxy talks about.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    /// Where to.
    pub(crate) xds: SocketAddr,
    /// Clusters with their endpoints.
    pub(crate) clusters: Vec<(String, Vec<SocketAddr>)>,
    /// Requests a second at each endpoint.
    pub(crate) requests: u64,
    /// Access log entries a second.
    pub(crate) entries: usize,
}

/// The proxy of that number, until one of its streams ends (and says why).
pub(crate) async fn proxy(number: usize, talk: Talk) -> tonic::Status {
    let node = node(number);
    let channel = Endpoint::from_shared(format!("http://{}", talk.xds)).unwrap().connect().await;
    let channel = match channel {
        Ok(channel) => channel,
        Err(error) => return tonic::Status::unavailable(error.to_string()),
    };
    tokio::select! {
        ended = discover(channel.clone(), &node, &talk) => ended,
        ended = report(channel.clone(), &node, &talk) => ended,
        ended = log(channel, &node, &talk, number) => ended,
    }
}

fn node(number: usize) -> Node {
    let extension = |at: usize| Extension {
        name: format!("envoy.filters.http.number_{at}"),
        category: "envoy.filters.http".to_owned(),
        type_urls: vec![format!("{TYPE}.extensions.filters.http.number_{at}.v3.Config")],
        ..Extension::default()
    };
    Node {
        id: format!("proxy-{number:02}"),
        cluster: "bench".to_owned(),
        user_agent_name: "envoy".to_owned(),
        extensions: (0..EXTENSIONS).map(extension).collect(),
        ..Node::default()
    }
}

/// Subscribes, and again a moment later where Weir is not ready yet, as Envoy does.
async fn discover(channel: Channel, node: &Node, talk: &Talk) -> tonic::Status {
    for _ in 0..TRIES {
        let ended = subscribe(channel.clone(), node, talk).await;
        if ended.code() != tonic::Code::Unavailable {
            return ended;
        }
        sleep(TRY_AFTER).await;
    }
    tonic::Status::unavailable("Weir has nothing to serve")
}

/// Subscribes to everything, in the state of the world, and takes whatever comes.
async fn subscribe(channel: Channel, node: &Node, talk: &Talk) -> tonic::Status {
    let (requests, out) = mpsc::channel(QUEUE);
    let names = talk.clusters.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let first = |kind: &str, resource_names| DiscoveryRequest {
        node: Some(node.clone()),
        type_url: format!("{TYPE}.{kind}"),
        resource_names,
        ..DiscoveryRequest::default()
    };
    let all = [
        first("config.cluster.v3.Cluster", vec![]),
        first("config.endpoint.v3.ClusterLoadAssignment", names),
        first("service.runtime.v3.Runtime", vec!["weir".to_owned()]),
    ];
    let asked = all.clone();
    for request in all {
        requests.send(request).await.unwrap();
    }
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let mut responses = match client.stream_aggregated_resources(ReceiverStream::new(out)).await {
        Ok(responses) => responses.into_inner(),
        Err(status) => return status,
    };
    loop {
        match responses.message().await {
            Ok(Some(response)) => {
                let subscribed = asked.iter().find(|one| one.type_url == response.type_url);
                let answer = DiscoveryRequest {
                    version_info: response.version_info,
                    response_nonce: response.nonce,
                    resource_names: subscribed.unwrap().resource_names.clone(),
                    type_url: response.type_url,
                    ..DiscoveryRequest::default()
                };
                requests.send(answer).await.unwrap();
            }
            Ok(None) => return tonic::Status::unavailable("discovery ended"),
            Err(status) => return status,
        }
    }
}

/// Reports every endpoint of every cluster, once a second.
async fn report(channel: Channel, node: &Node, talk: &Talk) -> tonic::Status {
    let (messages, out) = mpsc::channel(QUEUE);
    let first = LoadStatsRequest { node: Some(node.clone()), ..LoadStatsRequest::default() };
    messages.send(first.clone()).await.unwrap();
    let mut client = LoadReportingServiceClient::new(channel);
    let mut asked = match client.stream_load_stats(ReceiverStream::new(out)).await {
        Ok(asked) => asked.into_inner(),
        Err(status) => return status,
    };
    let stats: Vec<ClusterStats> = talk.clusters.iter().map(|one| stats(one, talk)).collect();
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let message = LoadStatsRequest { cluster_stats: stats.clone(), ..first.clone() };
                messages.send(message).await.unwrap();
            }
            asked = asked.message() => match asked {
                Ok(Some(_)) => {}
                Ok(None) => return tonic::Status::unavailable("load reports ended"),
                Err(status) => return status,
            },
        }
    }
}

fn stats((name, endpoints): &(String, Vec<SocketAddr>), talk: &Talk) -> ClusterStats {
    let endpoint = |address: &SocketAddr| UpstreamEndpointStats {
        address: Some(socket(address)),
        total_successful_requests: talk.requests,
        total_issued_requests: talk.requests,
        ..UpstreamEndpointStats::default()
    };
    ClusterStats {
        cluster_name: name.clone(),
        upstream_locality_stats: vec![UpstreamLocalityStats {
            locality: Some(Locality::default()),
            total_successful_requests: talk.requests * endpoints.len() as u64,
            total_issued_requests: talk.requests * endpoints.len() as u64,
            upstream_endpoint_stats: endpoints.iter().map(endpoint).collect(),
            ..UpstreamLocalityStats::default()
        }],
        load_report_interval: Some(Length { seconds: 1, nanos: 0 }),
        ..ClusterStats::default()
    }
}

/// Sends access log entries, each about the next endpoint.
async fn log(channel: Channel, node: &Node, talk: &Talk, number: usize) -> tonic::Status {
    let (messages, out) = mpsc::channel(QUEUE);
    let mut client = AccessLogServiceClient::new(channel);
    let sending = async {
        let identifier = Identifier { node: Some(node.clone()), log_name: "weir".to_owned() };
        let mut identifier = Some(identifier);
        let mut ticks = interval(FLUSH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turn = number * 37;
        loop {
            ticks.tick().await;
            let count = talk.entries / 5;
            let log_entry = (turn..turn + count).map(|turn| entry(turn, talk)).collect();
            turn += count;
            let message = StreamAccessLogsMessage {
                identifier: identifier.take(),
                log_entries: Some(LogEntries::HttpLogs(HttpAccessLogEntries { log_entry })),
            };
            if messages.send(message).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        ended = client.stream_access_logs(ReceiverStream::new(out)) => match ended {
            Ok(_) => tonic::Status::unavailable("the access log ended"),
            Err(status) => status,
        },
        () = sending => unreachable!("it never ends"),
    }
}

fn entry(turn: usize, talk: &Talk) -> HttpAccessLogEntry {
    let (cluster, endpoints) = &talk.clusters[turn % talk.clusters.len()];
    let address = &endpoints[turn / talk.clusters.len() % endpoints.len()];
    let length = |millis: usize| {
        let nanos = i32::try_from(millis * 1_000_000).unwrap();
        Some(Length { seconds: 0, nanos })
    };
    let took = 20 + turn * 7 % 60;
    HttpAccessLogEntry {
        common_properties: Some(AccessLogCommon {
            upstream_cluster: cluster.clone(),
            upstream_remote_address: Some(socket(address)),
            time_to_first_upstream_tx_byte: length(1),
            time_to_last_upstream_rx_byte: length(1 + took),
            duration: length(2 + took),
            access_log_type: AccessLogType::UpstreamEnd.into(),
            ..AccessLogCommon::default()
        }),
        response: Some(HttpResponseProperties {
            response_code: Some(UInt32Value { value: 200 }),
            ..HttpResponseProperties::default()
        }),
        ..HttpAccessLogEntry::default()
    }
}

fn socket(at: &SocketAddr) -> Address {
    let socket = SocketAddress {
        address: at.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(at.port().into())),
        ..SocketAddress::default()
    };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}
