//! A listener of Envoy's as a client's proxy has it: one route to one cluster.

use serde_json::{Value, json};
use std::time::Duration;

/// What varies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener<'a> {
    /// Its name, by which its address can be asked for.
    pub(crate) name: &'a str,
    /// The cluster that it leads to.
    pub(crate) cluster: &'a str,
    /// The route's timeout.
    pub(crate) timeout: Duration,
    /// HTTP filters before the router.
    pub(crate) filters: &'a [Value],
    /// What the router logs attempts to.
    pub(crate) upstream_log: &'a [Value],
}

impl Listener<'_> {
    /// As Envoy wants it. Port 0: the kernel chooses, and Envoy is asked. `validate_clusters` is
    /// off since a cluster may come later, from Weir.
    pub(crate) fn configuration(&self) -> Value {
        let timeout = format!("{}s", self.timeout.as_secs_f64());
        let action = json!({"cluster": self.cluster, "timeout": timeout});
        let routes = json!([{"match": {"prefix": "/"}, "route": action}]);
        let mut router = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        });
        if !self.upstream_log.is_empty() {
            router["upstream_log"] = json!(self.upstream_log);
        }
        let mut filters = self.filters.to_vec();
        filters.push(json!({"name": "envoy.filters.http.router", "typed_config": router}));
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network\
                      .http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": self.name,
            "generate_request_id": false,
            "route_config": {
                "name": self.name,
                "validate_clusters": false,
                "virtual_hosts": [{"name": self.name, "domains": ["*"], "routes": routes}],
            },
            "http_filters": filters,
        });
        let filter = json!({
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        });
        json!({
            "name": self.name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [filter]}],
        })
    }
}
