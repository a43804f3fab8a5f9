//! Stock Envoy as a client's proxy in a mesh that somebody else configures.
//!
//! It is given the address of its discovery stream, so whatever stands between it and the control
//! plane is put there by naming another address.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use weir_testbed::envoy::{self, Envoy, Options};

use super::{Cluster, SOON, soon};
use crate::weir::run;

/// The cluster of the control plane, which the proxy knows from the start.
const CONTROL: &str = "control-plane";

/// The cluster of a Weir that it reports to.
const WEIR: &str = "weir";

/// What a proxy is told at its start.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// A word for its folder.
    pub name: &'a str,
    /// How it names itself: `id`, `cluster`, `metadata`, `locality`.
    pub node: Value,
    /// Where its discovery stream goes.
    pub ads: SocketAddr,
    /// The transport socket of that stream; plain text where there is none.
    pub transport: Option<Value>,
    /// The token that it shows there.
    pub token: Option<&'a str>,
    /// Which of the protocol's variants it speaks.
    pub variant: Variant,
    /// Where its listeners come from.
    pub listeners: Listeners<'a>,
}

/// The variants of aggregated discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Only what has changed.
    Delta,
    /// The state of the world.
    World,
}

/// Where listeners come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listeners<'a> {
    /// One of its own, which asks for the named routes and sends all requests to one host:
    /// Istio's own listeners have filters that stock Envoy lacks.
    Own {
        /// The route configuration.
        route: &'a str,
        /// The host that requests are for.
        host: &'a str,
    },
    /// The control plane.
    Discovered,
}

/// A running proxy; killed when dropped.
#[derive(Debug)]
pub struct Sidecar {
    /// The process and its admin interface.
    pub envoy: Envoy,
    /// Where requests go.
    pub listener: SocketAddr,
}

/// An endpoint as Envoy has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its address.
    pub address: SocketAddr,
    /// Its weight.
    pub weight: u64,
    /// Whether discovery calls it healthy.
    pub healthy: bool,
}

impl Sidecar {
    /// Starts it and waits until it has a listener with routes.
    ///
    /// # Panics
    ///
    /// When that does not happen in time.
    pub async fn start(cluster: &Cluster, plan: &Plan<'_>) -> Self {
        Self::start_reporting(cluster, plan, None).await
    }

    /// As [`Sidecar::start`], and it reports its load there.
    ///
    /// # Panics
    ///
    /// As [`Sidecar::start`].
    pub async fn start_reporting(
        cluster: &Cluster,
        plan: &Plan<'_>,
        reports: Option<SocketAddr>,
    ) -> Self {
        Self::on(cluster, plan.name, bootstrap(plan, reports)).await
    }

    /// Starts one on this bootstrap.
    ///
    /// # Panics
    ///
    /// As [`Sidecar::start`].
    pub async fn on(cluster: &Cluster, name: &str, bootstrap: Value) -> Self {
        let room = cluster.room(name);
        let options = Options { directory: &room, concurrency: 1 };
        let started = Envoy::start(&envoy::find().unwrap(), bootstrap, options).await;
        let mut envoy = started.unwrap_or_else(|error| panic!("{error}"));
        envoy.serving(SOON).await.unwrap_or_else(|error| panic!("{error}"));
        let mut listener = None;
        soon("the proxy has a listener", async || {
            let listeners = envoy.admin.listeners().await.unwrap_or_default();
            listener = listeners.into_values().next();
            listener.is_some()
        })
        .await;
        let mut listener = listener.unwrap();
        if listener.ip().is_unspecified() {
            listener.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        Self { envoy, listener }
    }

    /// Starts one that Weir itself configures, as its generated bootstrap says: it sends to the
    /// cluster `shop`, and waits until it has it.
    ///
    /// # Panics
    ///
    /// When that does not happen in time.
    pub async fn of_weir(cluster: &Cluster, name: &str, xds: SocketAddr) -> Self {
        let node = ["--node", name, "--node-cluster", "clients"];
        let ends = ["--weir", &xds.to_string(), "--listen", "127.0.0.1:0=shop"];
        let words = ["envoy", "bootstrap", "--telemetry", "push"].into_iter();
        let printed = run(words.chain(node).chain(ends));
        assert_eq!(printed.code, Some(0), "{}", printed.stderr);
        let bootstrap: Value = serde_saphyr::from_str(&printed.stdout).unwrap();
        Self::on(cluster, name, bootstrap).await
    }

    /// The endpoints of a cluster, by address; none where there is no such cluster.
    pub async fn endpoints(&self, cluster: &str) -> Vec<Endpoint> {
        let clusters = self.envoy.admin.clusters().await.unwrap();
        let clusters = clusters["cluster_statuses"].as_array().cloned().unwrap_or_default();
        let own = clusters.into_iter().find(|status| status["name"] == cluster);
        let hosts = own.and_then(|own| own["host_statuses"].as_array().cloned());
        let mut endpoints: Vec<_> = hosts.iter().flatten().filter_map(endpoint).collect();
        endpoints.sort();
        endpoints
    }
}

fn endpoint(host: &Value) -> Option<Endpoint> {
    let socket = &host["address"]["socket_address"];
    let address = socket["address"].as_str()?.parse().ok()?;
    let port = u16::try_from(socket["port_value"].as_u64()?).ok()?;
    let healthy = host["health_status"]["eds_health_status"] == "HEALTHY";
    let weight = host["weight"].as_u64()?;
    Some(Endpoint { address: SocketAddr::new(address, port), weight, healthy })
}

fn bootstrap(plan: &Plan<'_>, reports: Option<SocketAddr>) -> Value {
    let api = match plan.variant {
        Variant::Delta => "DELTA_GRPC",
        Variant::World => "GRPC",
    };
    let own = json!({"resource_api_version": "V3", "ads": {}});
    let mut dynamic = json!({
        "ads_config": {
            "api_type": api,
            "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": CONTROL}}],
        },
        "cds_config": own,
    });
    if let Some(token) = plan.token {
        dynamic["ads_config"]["grpc_services"][0]["initial_metadata"] =
            json!([{"key": "authorization", "value": format!("Bearer {token}")}]);
    }
    let listeners = match plan.listeners {
        Listeners::Own { route, host } => vec![listener(route, host)],
        Listeners::Discovered => {
            dynamic["lds_config"] = own;
            Vec::new()
        }
    };
    let mut clusters = vec![control(plan)];
    let mut manager = json!({});
    if let Some(at) = reports {
        let mut weir = control(&Plan { ads: at, transport: None, ..plan.clone() });
        weir["name"] = json!(WEIR);
        weir["load_assignment"]["cluster_name"] = json!(WEIR);
        clusters.push(weir);
        manager["load_stats_config"] = json!({
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": WEIR}}],
        });
    }
    json!({
        "node": plan.node,
        "dynamic_resources": dynamic,
        "static_resources": {"clusters": clusters, "listeners": listeners},
        "cluster_manager": manager,
    })
}

fn control(plan: &Plan<'_>) -> Value {
    let at = json!({"address": plan.ads.ip().to_string(), "port_value": plan.ads.port()});
    let endpoint = json!({"endpoint": {"address": {"socket_address": at}}});
    let options = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    });
    let mut control = json!({
        "name": CONTROL,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options,
        },
        "load_assignment": {
            "cluster_name": CONTROL,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    });
    if let Some(transport) = &plan.transport {
        control["transport_socket"] = transport.clone();
    }
    control
}

/// The load asks for one fixed host; the mesh knows its own.
fn listener(route: &str, host: &str) -> Value {
    let script =
        format!("function envoy_on_request(h) h:headers():replace(':authority', '{host}') end");
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network\
                  .http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "out",
        "rds": {
            "route_config_name": route,
            "config_source": {"resource_api_version": "V3", "ads": {}},
        },
        "http_filters": [
            {"name": "host", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code": {"inline_string": script},
            }},
            {"name": "envoy.filters.http.router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            }},
        ],
    });
    let filter = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    });
    json!({
        "name": "out",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [filter]}],
    })
}
