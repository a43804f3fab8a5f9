//! Clusters that Weir itself writes (CDS): what a user wants of them, and the resource.
//!
//! They are written once and then left alone: a changed cluster makes Envoy rebuild every
//! connection pool, while new endpoints and weights cost no connection. So they are made for all
//! that a decision may need later (least request for equal shares, locality weights for classes),
//! and nothing in them depends on a decision.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::{
    LocalityConfigSpecifier, LocalityWeightedLbConfig,
};
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, OutlierDetection, TrackClusterStats,
};
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, Http2ProtocolOptions, SelfConfigSource,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
};
use envoy_types::pb::google::protobuf::{self as proto, Any, UInt32Value};
use prost::{Message, Name};
use weir_engine::names::ClusterName;
use weir_engine::topology::ClientKind;

/// The key under which Envoy looks for a cluster's HTTP options.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The clusters that Weir writes. Empty where others write all clusters and Weir only their
/// endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Native {
    /// Settings by the cluster's name.
    pub clusters: BTreeMap<ClusterName, ClusterSettings>,
}

/// What may be chosen of a cluster that Weir writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Who picks endpoints by it.
    pub client: ClientKind,
    /// How long opening a connection may take. Not zero.
    pub connect_timeout: Duration,
    /// What endpoints speak.
    pub protocol: UpstreamProtocol,
    /// Envoy's own ejection, at its defaults: it acts within a request or two where Weir needs a
    /// tick, and never beyond a tenth of the endpoints.
    pub outlier_detection: bool,
    /// Limits on what is in flight; none: Envoy's defaults (1,024 each, 3 retries).
    pub circuit_breakers: Option<Breakers>,
    /// Statistics per endpoint. Only for proxies without load reports: Envoy refuses a cluster
    /// that wants these next to load reports.
    pub per_endpoint_stats: bool,
}

/// What endpoints speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without negotiation (gRPC).
    Http2,
}

/// A cluster's limits, per proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breakers {
    /// Connections.
    pub connections_max: u32,
    /// Requests that wait for a connection.
    pub pending_max: u32,
    /// Requests in flight.
    pub requests_max: u32,
    /// Retries in flight.
    pub retries_max: u32,
}

impl Default for ClusterSettings {
    /// One second to connect, HTTP/1.1, and all else as Envoy has it by default, with its outlier
    /// detection on.
    fn default() -> Self {
        Self {
            client: ClientKind::Envoy,
            connect_timeout: Duration::from_secs(1),
            protocol: UpstreamProtocol::Http1,
            outlier_detection: true,
            circuit_breakers: None,
            per_endpoint_stats: false,
        }
    }
}

/// The cluster resource of this name.
pub fn cluster(name: &ClusterName, settings: &ClusterSettings) -> Cluster {
    match settings.client {
        ClientKind::Envoy => of_envoy(name, settings),
        ClientKind::Grpc => of_grpc(name, settings),
    }
}

/// What a proxyless gRPC client takes: it knows no least request by default (gRFC A48), shares by
/// localities under round robin (gRFC A27), and reports load only where the cluster says whom to.
/// Ejecting is left to Weir: gRPC's own (gRFC A50) knows no failures in a row, and the two would
/// add up where nobody sees the other's.
fn of_grpc(name: &ClusterName, settings: &ClusterSettings) -> Cluster {
    let reports = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Self_(SelfConfigSource::default())),
        ..Default::default()
    };
    Cluster {
        lb_policy: LbPolicy::RoundRobin.into(),
        lrs_server: Some(reports),
        ..discovered(name, settings)
    }
}

fn of_envoy(name: &ClusterName, settings: &ClusterSettings) -> Cluster {
    Cluster {
        lb_policy: LbPolicy::LeastRequest.into(),
        common_lb_config: Some(CommonLbConfig {
            locality_config_specifier: Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(
                LocalityWeightedLbConfig {},
            )),
            ..Default::default()
        }),
        outlier_detection: settings.outlier_detection.then(OutlierDetection::default),
        track_cluster_stats: settings
            .per_endpoint_stats
            .then(|| TrackClusterStats { per_endpoint_stats: true, ..Default::default() }),
        typed_extension_protocol_options: match settings.protocol {
            UpstreamProtocol::Http1 => HashMap::new(),
            UpstreamProtocol::Http2 => [(HTTP_OPTIONS.to_owned(), any(&http2()))].into(),
        },
        ..discovered(name, settings)
    }
}

/// What is the same for all clients: endpoints come by the same stream as the cluster.
fn discovered(name: &ClusterName, settings: &ClusterSettings) -> Cluster {
    Cluster {
        name: name.to_string(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(over_ads()),
            ..Default::default()
        }),
        connect_timeout: Some(duration(settings.connect_timeout)),
        circuit_breakers: settings.circuit_breakers.map(circuit_breakers),
        ..Default::default()
    }
}

/// "From the same stream that this came by."
fn over_ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..Default::default()
    }
}

fn circuit_breakers(limits: Breakers) -> CircuitBreakers {
    let limit = |value| Some(UInt32Value { value });
    CircuitBreakers {
        thresholds: vec![Thresholds {
            max_connections: limit(limits.connections_max),
            max_pending_requests: limit(limits.pending_max),
            max_requests: limit(limits.requests_max),
            max_retries: limit(limits.retries_max),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn http2() -> HttpProtocolOptions {
    let options = ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default());
    HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(
            ExplicitHttpConfig { protocol_config: Some(options) },
        )),
        ..Default::default()
    }
}

/// A message in its envelope.
pub(crate) fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: format!("type.googleapis.com/{}", M::full_name()),
        value: message.encode_to_vec(),
    }
}

fn duration(value: Duration) -> proto::Duration {
    proto::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos())
            .expect("nanoseconds within a second are fewer than 2^31"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(settings: &ClusterSettings) -> Cluster {
        cluster(&ClusterName::from("shop"), settings)
    }

    #[test]
    fn is_made_for_all_that_a_decision_may_need() {
        let cluster = written(&ClusterSettings::default());
        assert_eq!(cluster.lb_policy(), LbPolicy::LeastRequest);
        let weighted = cluster.common_lb_config.unwrap().locality_config_specifier.unwrap();
        assert!(matches!(weighted, LocalityConfigSpecifier::LocalityWeightedLbConfig(_)));
        let source = cluster.eds_cluster_config.unwrap().eds_config.unwrap();
        assert!(matches!(source.config_source_specifier, Some(ConfigSourceSpecifier::Ads(_))));
        assert_eq!(cluster.outlier_detection, Some(OutlierDetection::default()));
        assert_eq!(cluster.circuit_breakers, None, "Envoy's defaults hold");
    }

    #[test]
    fn of_grpc_has_round_robin_and_reports_load_to_where_it_came_from() {
        let cluster = written(&ClusterSettings { client: ClientKind::Grpc, ..Default::default() });
        assert_eq!(cluster.lb_policy(), LbPolicy::RoundRobin);
        let reports = cluster.lrs_server.unwrap().config_source_specifier;
        assert!(matches!(reports, Some(ConfigSourceSpecifier::Self_(_))));
        assert_eq!(cluster.outlier_detection, None);
    }

    #[test]
    fn counts_per_endpoint_only_where_asked() {
        assert_eq!(written(&ClusterSettings::default()).track_cluster_stats, None);
        let scraped = ClusterSettings { per_endpoint_stats: true, ..Default::default() };
        assert!(written(&scraped).track_cluster_stats.unwrap().per_endpoint_stats);
    }

    #[test]
    fn speaks_http2_where_asked() {
        let grpc = ClusterSettings { protocol: UpstreamProtocol::Http2, ..Default::default() };
        let options = written(&grpc).typed_extension_protocol_options;
        let url = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        assert_eq!(options[HTTP_OPTIONS].type_url, url);
        assert!(written(&ClusterSettings::default()).typed_extension_protocol_options.is_empty());
    }

    #[test]
    fn raises_the_limits_it_is_given() {
        let limits =
            Breakers { connections_max: 1, pending_max: 2, requests_max: 3, retries_max: 4 };
        let settings = ClusterSettings { circuit_breakers: Some(limits), ..Default::default() };
        let thresholds = &written(&settings).circuit_breakers.unwrap().thresholds[0];
        assert_eq!(thresholds.max_connections.as_ref().unwrap().value, 1);
        assert_eq!(thresholds.max_retries.as_ref().unwrap().value, 4);
    }
}
