//! Many client proxies in one Envoy: a listener and a cluster each, so that each has its own
//! balancer, its own requests in flight and its own connections.

use crate::listener::Listener;
use serde_json::{Value, json};
use std::time::Duration;

/// What a proxy's listener is called.
pub fn listener_name(proxy: usize) -> String {
    format!("proxy-{proxy:02}")
}

/// What a proxy's cluster is called.
pub fn cluster_name(proxy: usize) -> String {
    format!("shop-{proxy:02}")
}

/// The proxies of one Envoy.
#[derive(Clone, Debug)]
pub struct Proxies<'a> {
    /// How many.
    pub count: usize,
    /// The clients' patience, which is the routes' timeout.
    pub timeout: Duration,
    /// HTTP filters before the router.
    pub filters: &'a [Value],
    /// What routers log attempts to.
    pub upstream_log: &'a [Value],
    /// What all their clusters are like but for their names; none where others write them.
    pub cluster: Option<Value>,
}

impl Proxies<'_> {
    /// Adds them to what an Envoy's configuration has already.
    pub fn add_to(&self, mut bootstrap: Value) -> Value {
        for proxy in 0..self.count {
            let (name, cluster) = (&listener_name(proxy), &cluster_name(proxy));
            let Proxies { timeout, filters, upstream_log, .. } = *self;
            let listener = Listener { name, cluster, timeout, filters, upstream_log };
            push(&mut bootstrap["static_resources"]["listeners"], listener.configuration());
            if let Some(mut written) = self.cluster.clone() {
                written["name"] = json!(cluster);
                push(&mut bootstrap["static_resources"]["clusters"], written);
            }
        }
        bootstrap
    }
}

fn push(list: &mut Value, one: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(one),
        None => *list = json!([one]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_proxy_has_a_listener_and_a_cluster_of_its_own() {
        let proxies = Proxies {
            count: 3,
            timeout: Duration::from_millis(1_500),
            filters: &[json!({"name": "limit"})],
            upstream_log: &[],
            cluster: Some(json!({"lb_policy": "RANDOM"})),
        };
        let whole = proxies.add_to(json!({"static_resources": {"clusters": [{"name": "weir"}]}}));
        let clusters = whole["static_resources"]["clusters"].as_array().unwrap();
        let names: Vec<_> = clusters.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["weir", "shop-00", "shop-01", "shop-02"]);
        assert_eq!(clusters[2]["lb_policy"], "RANDOM");
        let listeners = whole["static_resources"]["listeners"].as_array().unwrap();
        assert_eq!(listeners.len(), 3);
        let text = listeners[1].to_string();
        for part in ["\"proxy-01\"", "\"cluster\":\"shop-01\"", "\"1.5s\"", "\"limit\""] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
