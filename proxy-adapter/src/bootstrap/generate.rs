//! A whole bootstrap, for a proxy that has none yet.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Destination, Listener, Options, Problem, Telemetry, check, document, parts};

/// How long a proxy that starts waits for a route. Long: without Weir it has no cluster either, so
/// that nothing of it could serve, and a 404 reads as an answer where a proxy that is not ready
/// makes others go elsewhere. Not for ever: a name that Weir does not know must not keep the other
/// listeners closed.
const WAIT_FOR_ROUTE: Duration = Duration::from_secs(60);

/// Writes a complete bootstrap: Envoy starts with it as it is.
pub fn generate(options: &Options) -> Result<String, Vec<Problem>> {
    let mut problems = check(options);
    let identity = [("id", &options.node.id), ("cluster", &options.node.cluster)];
    for (key, _) in identity.iter().filter(|(_, value)| value.is_none()) {
        let what = format!("the proxy's node has no {key}, without which it asks for nothing");
        problems.push(Problem::new("", what, "give each proxy an id, and a name to what it is of"));
    }
    if options.admin.is_none() {
        let mend = "say where it listens; weir reads ejections there, and statistics";
        problems.push(Problem::new("", "the proxy has no admin interface", mend));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let body = document::print(&bootstrap(options), document::Format::Yaml);
    Ok(format!("{}{body}", head(options)))
}

/// What people should know who open the file.
fn head(options: &Options) -> String {
    let telemetry = match options.telemetry {
        Telemetry::Push => {
            "Telemetry: pushed. Load reports go to Weir each second. No cluster may have\n\
             # per_endpoint_stats: Envoy refuses it next to load reports."
        }
        Telemetry::Scrape => {
            "Telemetry: scraped. Statistics per endpoint at /stats/prometheus of the admin\n\
             # address. No load reports: Envoy refuses them next to per_endpoint_stats."
        }
    };
    format!(
        "# Envoy's bootstrap for Weir, written by `weir envoy bootstrap`.\n\
         #\n\
         # {telemetry}\n\
         # Without Weir the proxy goes on with the endpoints that it has.\n"
    )
}

fn bootstrap(options: &Options) -> Value {
    let mut bootstrap = json!({ "node": node(options) });
    if let Some(admin) = &options.admin {
        bootstrap["admin"] = json!({ "address": parts::socket_address(&admin.host, admin.port) });
    }
    // Counts as of the moment they are read: Weir reads every second, Envoy's own pace is five.
    bootstrap["stats_flush_on_admin"] = json!(true);
    bootstrap["dynamic_resources"] = json!({
        "ads_config": parts::ads_config(options.protocol, options.clusters_min),
        "cds_config": parts::over_ads(),
    });
    if options.telemetry == Telemetry::Push {
        bootstrap["cluster_manager"] = json!({ "load_stats_config": parts::load_stats_config() });
    }
    bootstrap["layered_runtime"] = json!({
        "layers": [
            parts::runtime_layer(parts::over_ads()),
            { "name": "admin", "admin_layer": {} },
        ],
    });
    bootstrap["static_resources"] = json!({
        "listeners": listeners(options),
        "clusters": [parts::xds_cluster(&options.weir)],
    });
    bootstrap
}

/// The proxy's node, with what is known of it.
pub(super) fn node(options: &Options) -> Value {
    let mut node = Map::new();
    let identity = &options.node;
    for (key, value) in [("id", &identity.id), ("cluster", &identity.cluster)] {
        if let Some(value) = value {
            node.insert(key.to_owned(), Value::from(value.as_str()));
        }
    }
    let places = &identity.locality;
    let mut locality = Map::new();
    for (key, place) in
        [("region", &places.region), ("zone", &places.zone), ("sub_zone", &places.sub_zone)]
    {
        if !place.as_str().is_empty() {
            locality.insert(key.to_owned(), Value::from(place.as_str()));
        }
    }
    if !locality.is_empty() {
        node.insert("locality".to_owned(), Value::Object(locality));
    }
    Value::Object(node)
}

fn listeners(options: &Options) -> Vec<Value> {
    let logs = if options.access_log { vec![parts::upstream_log()] } else { vec![] };
    let named = |(number, listener): (usize, &Listener)| {
        let name = format!("listener_{number}");
        match &listener.to {
            Destination::Cluster(cluster) => parts::listener(&name, &listener.at, cluster, &logs),
            Destination::Route(service) => {
                let source = (parts::over_ads(), WAIT_FOR_ROUTE);
                parts::routed_listener(&name, &listener.at, service, source, &logs)
            }
        }
    };
    options.listeners.iter().enumerate().map(named).collect()
}

#[cfg(test)]
mod tests;
