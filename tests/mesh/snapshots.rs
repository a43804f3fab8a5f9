//! A control plane on go-control-plane's snapshot cache configures a stock Envoy, in both variants
//! of the protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use weir_testbed::backends::Backend;
use weir_tests::cluster::sidecar::{Listeners, Plan, Sidecar, Variant};
use weir_tests::cluster::snapshots::Snapshots;
use weir_tests::cluster::{Cluster, soon};
use weir_tests::traffic::Traffic;
use weir_tests::world::backends;

use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    let needs = &["go-control-plane", "envoy"];
    vec![
        Test::new("snapshots::weights_move_requests_by_delta", needs, by_delta),
        Test::new("snapshots::weights_move_requests_by_state_of_the_world", needs, by_world),
    ]
}

async fn by_delta(cluster: Arc<Cluster>) {
    weights_move_requests(&cluster, Variant::Delta, "delta").await;
}

async fn by_world(cluster: Arc<Cluster>) {
    weights_move_requests(&cluster, Variant::World, "world").await;
}

/// A cluster of endpoints with these weights, and a route to it.
pub(crate) fn resources(addresses: &[SocketAddr], weights: &[u32]) -> Value {
    let ads = json!({"resource_api_version": "V3", "ads": {}});
    let endpoint = |(address, weight): (&SocketAddr, &u32)| {
        let at = json!({"address": address.ip().to_string(), "port_value": address.port()});
        json!({"endpoint": {"address": {"socket_address": at}}, "load_balancing_weight": weight})
    };
    let endpoints: Vec<_> = addresses.iter().zip(weights).map(endpoint).collect();
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "shop"}});
    json!({
        "clusters": [{
            "name": "shop",
            "type": "EDS",
            "connect_timeout": "1s",
            "lb_policy": "ROUND_ROBIN",
            "eds_cluster_config": {"eds_config": ads},
        }],
        "endpoints": [{"cluster_name": "shop", "endpoints": [{"lb_endpoints": endpoints}]}],
        "routes": [{
            "name": "shop",
            "virtual_hosts": [{"name": "shop", "domains": ["*"], "routes": [route]}],
        }],
    })
}

async fn weights_move_requests(cluster: &Cluster, variant: Variant, word: &str) {
    let backends = backends(2);
    let addresses: Vec<_> = backends.iter().map(Backend::address).collect();
    let name = format!("go-control-plane-{word}");
    let snapshots = Snapshots::start(cluster, &name, &resources(&addresses, &[1, 1])).await;
    let plan = Plan {
        name: &format!("client-{word}"),
        node: json!({"id": "client", "cluster": "clients"}),
        ads: snapshots.ads,
        transport: None,
        token: None,
        variant,
        listeners: Listeners::Own { route: "shop", host: "shop.demo" },
    };
    let client = Sidecar::start(cluster, &plan).await;
    let traffic = Traffic::start(client.listener, 300.0);
    let taking = async || {
        let before: Vec<_> = backends.iter().map(|backend| backend.counts().taken).collect();
        traffic.more(500).await;
        let after = backends.iter().map(|backend| backend.counts().taken);
        let taken: Vec<_> = after.zip(before).map(|(after, before)| after - before).collect();
        taken[1] as f64 / (taken[0] + taken[1]) as f64
    };
    let before = taking().await;
    assert!((0.45..0.55).contains(&before), "{before} went to the second, not a half");
    snapshots.write(&resources(&addresses, &[1, 4]));
    soon("the proxy has the weights", async || {
        let endpoints = client.endpoints("shop").await;
        endpoints.iter().any(|endpoint| endpoint.weight == 4)
    })
    .await;
    let after = taking().await;
    assert!((0.75..0.85).contains(&after), "{after} went to the second, not four fifths");
    traffic.stop_without_loss().await;
}
