//! A service's listener (LDS) as proxyless gRPC clients ask for it: no socket, only the way to the
//! service's route.

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{AggregatedConfigSource, ApiVersion, ConfigSource};
use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Listener};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds,
};
use weir_engine::names::ServiceId;
use weir_engine::rollout::RolloutDecision;
use weir_engine::topology::{ClientKind, Topology};

use super::{find, route};
use crate::native::any;

/// What gRPC looks for at the end of the filters.
const ROUTER: &str = "envoy.filters.http.router";

/// Whether proxyless gRPC clients call a service: by its own clusters, or by those of its versions.
pub(super) fn is_wanted(
    service: &ServiceId,
    rollout: Option<&RolloutDecision>,
    topology: &Topology,
) -> bool {
    let versions = rollout.into_iter().flat_map(|rollout| [&rollout.stable, &rollout.canary]);
    let declared = versions.chain([service]).filter_map(|id| find(topology, id));
    let mut clusters = declared.flat_map(|declared| &declared.clusters);
    clusters.any(|cluster| cluster.form.client == ClientKind::Grpc)
}

/// The listener of a service, which has the name of its route.
pub(super) fn build(service: &ServiceId) -> Listener {
    let routes = Rds {
        route_config_name: route::name(service),
        config_source: Some(ConfigSource {
            resource_api_version: ApiVersion::V3.into(),
            config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
            ..Default::default()
        }),
    };
    let router = HttpFilter {
        name: ROUTER.to_owned(),
        config_type: Some(ConfigType::TypedConfig(any(&Router::default()))),
        ..Default::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: route::name(service),
        route_specifier: Some(RouteSpecifier::Rds(routes)),
        http_filters: vec![router],
        ..Default::default()
    };
    Listener {
        name: route::name(service),
        api_listener: Some(ApiListener { api_listener: Some(any(&manager)) }),
        ..Default::default()
    }
}
