//! The pieces that a bootstrap is made of: also for whoever composes a configuration of their own.

use std::time::Duration;

use serde_json::{Value, json};
use weir_engine::names::{ClusterName, ServiceId};

use super::{HostPort, Protocol};
use crate::translate::{ACCESS_LOG_PERCENT, RUNTIME_LAYER, route_name};

/// The cluster that leads to Weir: its xDS, load reports and access log are one port. Load
/// reports name it too; whoever reads them leaves it out.
pub const XDS_CLUSTER: &str = "weir";

/// The access log's name: it comes with every message of the stream.
pub const LOG_NAME: &str = "weir";

const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.\
    http_connection_manager.v3.HttpConnectionManager";
const GRPC_LOG: &str =
    "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig";
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const MINIMUM_CLUSTERS: &str = "envoy.extensions.config.validators.minimum_clusters.v3\
    .MinimumClustersValidator";

/// The cluster that leads to Weir, at one or more addresses.
///
/// A dead connection is noticed by its keepalives: without them a proxy would wait for minutes
/// on a Weir whose machine is gone.
pub fn xds_cluster(weir: &[HostPort]) -> Value {
    let addressed =
        |at: &HostPort| json!({ "endpoint": { "address": socket_address(&at.host, at.port) } });
    let by_number = weir.iter().all(|at| at.host.parse::<std::net::IpAddr>().is_ok());
    let endpoints: Vec<Value> = weir.iter().map(addressed).collect();
    json!({
        "name": XDS_CLUSTER,
        "type": if by_number { "STATIC" } else { "STRICT_DNS" },
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{ "lb_endpoints": endpoints }],
        },
        "typed_extension_protocol_options": {
            (HTTP_OPTIONS): {
                "@type": format!("type.googleapis.com/{HTTP_OPTIONS}"),
                "explicit_http_config": {
                    "http2_protocol_options": {
                        "connection_keepalive": { "interval": "10s", "timeout": "5s" },
                    },
                },
            },
        },
        "upstream_connection_options": {
            "tcp_keepalive": {
                "keepalive_time": 10, "keepalive_interval": 5, "keepalive_probes": 3,
            },
        },
    })
}

/// A gRPC service at Weir, with the back-off that finds a restarted Weir within two seconds
/// (Envoy's own default waits for up to thirty).
pub fn grpc_service() -> Value {
    json!({
        "envoy_grpc": {
            "cluster_name": XDS_CLUSTER,
            "retry_policy": {
                "retry_back_off": { "base_interval": "0.25s", "max_interval": "2s" },
            },
        },
    })
}

/// Weir as the server of everything that a proxy asks for "over ADS".
///
/// `clusters_min`: an update that leaves fewer clusters is refused by the proxy itself, whatever
/// Weir believes; 0 where Weir writes no cluster.
pub fn ads_config(protocol: Protocol, clusters_min: u32) -> Value {
    let mut source = stream(protocol);
    source["set_node_on_first_message_only"] = json!(true);
    if clusters_min > 0 {
        source["config_validators"] = json!([{
            "name": "envoy.config.validators.minimum_clusters",
            "typed_config": {
                "@type": format!("type.googleapis.com/{MINIMUM_CLUSTERS}"),
                "min_clusters_num": clusters_min,
            },
        }]);
    }
    source
}

/// Weir as the server of one kind of resource, by a stream of its own: for proxies whose ADS is
/// somebody else's. Goes where a `ConfigSource` stands.
pub fn own_stream(protocol: Protocol) -> Value {
    let mut source = stream(protocol);
    source["set_node_on_first_message_only"] = json!(true);
    json!({ "resource_api_version": "V3", "api_config_source": source })
}

/// "Over the proxy's ADS". Goes where a `ConfigSource` stands.
pub fn over_ads() -> Value {
    json!({ "resource_api_version": "V3", "ads": {} })
}

fn stream(protocol: Protocol) -> Value {
    let kind = match protocol {
        Protocol::Delta => "DELTA_GRPC",
        Protocol::StateOfTheWorld => "GRPC",
    };
    json!({ "api_type": kind, "transport_api_version": "V3", "grpc_services": [grpc_service()] })
}

/// The runtime layer through which Weir sets the access log's rate. `source`: [`over_ads`] or
/// [`own_stream`].
///
/// A proxy that starts while Weir is away waits one second for it, not Envoy's fifteen: the layer
/// only says how much to log.
pub fn runtime_layer(source: Value) -> Value {
    let mut source = source;
    source["initial_fetch_timeout"] = json!("1s");
    json!({ "name": RUNTIME_LAYER, "rtds_layer": { "name": RUNTIME_LAYER, "rtds_config": source } })
}

/// Where load reports go. How often, and of which clusters, Weir says on the stream.
pub fn load_stats_config() -> Value {
    json!({
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [grpc_service()],
    })
}

/// The access logger for the router's `upstream_log`: one entry per attempt, so that a retry's
/// first try is seen too. It logs nothing until Weir sets a rate.
pub fn upstream_log() -> Value {
    json!({
        "name": "envoy.access_loggers.http_grpc",
        "filter": {
            "runtime_filter": {
                "runtime_key": ACCESS_LOG_PERCENT,
                "percent_sampled": { "numerator": 0, "denominator": "HUNDRED" },
                "use_independent_randomness": true,
            },
        },
        "typed_config": {
            "@type": GRPC_LOG,
            "common_config": {
                "log_name": LOG_NAME,
                "transport_api_version": "V3",
                "grpc_service": { "envoy_grpc": { "cluster_name": XDS_CLUSTER } },
                "buffer_flush_interval": "0.2s",
            },
        },
    })
}

/// A listener with one route to one cluster. `logs`: loggers for the router's `upstream_log`.
///
/// The route may name a cluster that comes later, from Weir: Envoy would refuse to start if it
/// were told to check.
pub fn listener(name: &str, at: &HostPort, cluster: &ClusterName, logs: &[Value]) -> Value {
    let route = json!({
        "name": name,
        "validate_clusters": false,
        "virtual_hosts": [{
            "name": name,
            "domains": ["*"],
            "routes": [{
                "match": { "prefix": "/" },
                "route": { "cluster": cluster.as_str() },
            }],
        }],
    });
    listening(name, at, ("route_config", route), logs)
}

/// A listener that takes its route from Weir, as rollouts need it. `source`: [`over_ads`] or
/// [`own_stream`]; `wait`: how long a proxy that starts waits for the route before it listens all
/// the same, and answers 404 until it comes.
///
/// The route itself says that clusters are to be checked.
pub fn routed_listener(
    name: &str,
    at: &HostPort,
    service: &ServiceId,
    (source, wait): (Value, Duration),
    logs: &[Value],
) -> Value {
    let mut source = source;
    source["initial_fetch_timeout"] = json!(format!("{}s", wait.as_secs()));
    let route = json!({ "route_config_name": route_name(service), "config_source": source });
    listening(name, at, ("rds", route), logs)
}

fn listening(name: &str, at: &HostPort, (field, route): (&str, Value), logs: &[Value]) -> Value {
    let mut router = json!({ "@type": ROUTER });
    if !logs.is_empty() {
        router["upstream_log"] = Value::from(logs);
    }
    json!({
        "name": name,
        "address": socket_address(&at.host, at.port),
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": MANAGER,
                    "stat_prefix": name,
                    (field): route,
                    "http_filters": [
                        { "name": "envoy.filters.http.router", "typed_config": router },
                    ],
                },
            }],
        }],
    })
}

/// An `Address` on the wire.
pub fn socket_address(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": host, "port_value": port } })
}

/// Whether a `typed_config` is an HTTP router's.
pub(super) fn is_router(config: &Value) -> bool {
    config["@type"] == ROUTER
}
