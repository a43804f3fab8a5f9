//! What Weir needs, added to a bootstrap that somebody else wrote.
//!
//! Additions only. Where the file says something else already, that is an error at its path and
//! not a choice made here: a proxy's bootstrap is its owner's.

use std::time::Duration;

use serde_json::{Value, json};

use super::document::{self, Format};
use super::{Destination, Options, Problem, Telemetry, check, generate, parts};

/// How long a proxy that starts waits for a route of Weir's: no longer, since its other listeners
/// wait with it.
const WAIT_FOR_ROUTE: Duration = Duration::from_secs(5);

mod access;
mod logger;

use access::{absent, append, list, mapping, named, put, within};

/// A bootstrap with Weir's part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The file: YAML, or JSON if it was JSON.
    pub yaml: String,
    /// What its owner should know, or still has to do.
    pub notes: Vec<String>,
}

/// Adds to a bootstrap what can stand in one: Weir's address, the runtime layer, load reports or
/// statistics per endpoint, and the access logger of its own listeners.
///
/// The file's fields stay as they are, and what is there twice stays once: merging again changes
/// nothing.
pub fn merge(text: &str, options: &Options) -> Result<Merged, Vec<Problem>> {
    let mut problems = check(options);
    let (root, format) = match document::parse(text) {
        Ok(parsed) => parsed,
        Err(problem) => {
            problems.push(problem);
            return Err(problems);
        }
    };
    let mut merge = Merge { root, options, problems, notes: Vec::new() };
    merge.all();
    if !merge.problems.is_empty() {
        return Err(merge.problems);
    }
    if format == Format::Yaml && has_comments(text) {
        merge.notes.push("the file's comments are not in the result: keep the original".to_owned());
    }
    Ok(Merged { yaml: document::print(&merge.root, format), notes: merge.notes })
}

/// Whether there seem to be comments.
fn has_comments(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with('#') || line.contains(" #"))
}

struct Merge<'a> {
    root: Value,
    options: &'a Options,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl Merge<'_> {
    fn all(&mut self) {
        if !absent(&self.root, &["apiVersion"]) {
            let what = "this is a Kubernetes object";
            let mend = "name the file of Envoy's bootstrap";
            self.problems.push(Problem::new("apiVersion", what, mend));
        }
        self.attempt(Self::node);
        self.attempt(Self::admin);
        self.attempt(Self::xds_cluster);
        self.attempt(Self::runtime);
        match self.options.telemetry {
            Telemetry::Push => self.attempt(Self::load_reports),
            Telemetry::Scrape => self.attempt(Self::endpoint_statistics),
        }
        self.attempt(Self::logger);
        // After it: these have their logger already.
        self.attempt(Self::routed_listeners);
    }

    fn attempt(&mut self, step: fn(&mut Self) -> Result<(), Vec<Problem>>) {
        for problem in step(self).err().unwrap_or_default() {
            // Two steps may trip over the same field: it is one problem.
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }

    fn node(&mut self) -> Result<(), Vec<Problem>> {
        let Value::Object(wanted) = generate::node(self.options) else { return Ok(()) };
        let mend = "leave the option out: the file's own value is used";
        for (key, value) in wanted {
            let inner = mapping(&mut self.root, &["node"])?;
            match value {
                Value::Object(places) => {
                    let locality = mapping(&mut self.root, &["node", "locality"])?;
                    for (place, value) in places {
                        put(locality, &format!("node.locality.{place}"), value, mend)?;
                    }
                }
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_) => {
                    put(inner, &format!("node.{key}"), value, mend)?;
                }
            }
        }
        for key in ["id", "cluster"] {
            if absent(&self.root, &["node", key]) {
                self.notes.push(format!(
                    "node.{key} is not set: start envoy with --service-{}, or give it here",
                    if key == "id" { "node" } else { "cluster" }
                ));
            }
        }
        Ok(())
    }

    fn admin(&mut self) -> Result<(), Vec<Problem>> {
        if !absent(&self.root, &["admin"]) {
            return Ok(());
        }
        match &self.options.admin {
            Some(at) => {
                let admin = mapping(&mut self.root, &["admin"])?;
                let address = parts::socket_address(&at.host, at.port);
                put(admin, "admin.address", address, "")?;
            }
            None => self.notes.push(
                "the proxy has no admin interface: weir sees neither what it ejects nor its \
                 statistics"
                    .to_owned(),
            ),
        }
        Ok(())
    }

    fn xds_cluster(&mut self) -> Result<(), Vec<Problem>> {
        let at = "static_resources.clusters";
        let clusters = list(&mut self.root, &["static_resources", "clusters"])?;
        let mend = "rename it: weir's own address goes by this name";
        append(clusters, at, parts::xds_cluster(&self.options.weir), mend)?;
        Ok(())
    }

    /// The runtime layer; over the proxy's ADS if that is Weir's or nobody's.
    fn runtime(&mut self) -> Result<(), Vec<Problem>> {
        let source = if self.ads_is_anothers() {
            let source = parts::own_stream(self.options.protocol);
            self.notes.push(format!(
                "the proxy's ADS is another server's and stays so. A cluster of type EDS whose \
                 endpoints weir shall give needs this as its eds_config:\n{}",
                document::print(&source, Format::Yaml)
            ));
            source
        } else {
            let config = parts::ads_config(self.options.protocol, 0);
            if absent(&self.root, &["dynamic_resources", "ads_config"]) {
                let dynamic = mapping(&mut self.root, &["dynamic_resources"])?;
                put(dynamic, "dynamic_resources.ads_config", config, "")?;
            }
            self.notes.push(format!(
                "a cluster of type EDS whose endpoints weir shall give needs this as its \
                 eds_config:\n{}",
                document::print(&parts::over_ads(), Format::Yaml)
            ));
            if absent(&self.root, &["dynamic_resources", "cds_config"]) {
                self.notes.push(format!(
                    "clusters that weir writes (write_clusters) come only with this as \
                     dynamic_resources.cds_config:\n{}",
                    document::print(&parts::over_ads(), Format::Yaml)
                ));
            }
            parts::over_ads()
        };
        let at = "layered_runtime.layers";
        let layers = list(&mut self.root, &["layered_runtime", "layers"])?;
        let mend = "rename it: weir's own layer goes by this name";
        if append(layers, at, parts::runtime_layer(source), mend)? {
            admin_last(layers);
        }
        Ok(())
    }

    fn ads_is_anothers(&self) -> bool {
        let config = access::find(&self.root, &["dynamic_resources", "ads_config"]);
        config.is_some_and(|config| {
            let services = access::find(config, &["grpc_services"]);
            let mut services = services.and_then(Value::as_array).into_iter().flatten();
            !services.any(|service| {
                let name = access::find(service, &["envoy_grpc", "cluster_name"]);
                name.and_then(Value::as_str) == Some(parts::XDS_CLUSTER)
            })
        })
    }

    fn load_reports(&mut self) -> Result<(), Vec<Problem>> {
        let manager = mapping(&mut self.root, &["cluster_manager"])?;
        let at = "cluster_manager.load_stats_config";
        let mend =
            "load reports go to one server only: let them go to weir, or use the scrape profile";
        let mut problems =
            put(manager, at, parts::load_stats_config(), mend).err().unwrap_or_default();
        let clusters = list(&mut self.root, &["static_resources", "clusters"])?;
        for (number, cluster) in clusters.iter().enumerate() {
            let counting = access::find(cluster, &["track_cluster_stats", "per_endpoint_stats"]);
            if counting == Some(&Value::Bool(true)) {
                let at = format!(
                    "static_resources.clusters[{number}].track_cluster_stats.per_endpoint_stats"
                );
                let what = format!(
                    "{} counts per endpoint, which envoy refuses next to load reports",
                    named(cluster)
                );
                problems.push(Problem::new(&at, what, "leave it out, or use the scrape profile"));
            }
        }
        if !absent(&self.root, &["dynamic_resources", "cds_config"]) {
            self.notes.push(
                "clusters that come by CDS must not have per_endpoint_stats: envoy refuses these \
                 next to load reports"
                    .to_owned(),
            );
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn endpoint_statistics(&mut self) -> Result<(), Vec<Problem>> {
        if !absent(&self.root, &["cluster_manager", "load_stats_config"]) {
            let what =
                "load reports are on, and envoy refuses statistics per endpoint next to them";
            let mend = "leave it out, or use the push profile";
            return Err(vec![Problem::new("cluster_manager.load_stats_config", what, mend)]);
        }
        let clusters = list(&mut self.root, &["static_resources", "clusters"])?;
        for (number, cluster) in clusters.iter_mut().enumerate() {
            if cluster["name"] == parts::XDS_CLUSTER {
                continue;
            }
            if absent(cluster, &["track_cluster_stats", "per_endpoint_stats"]) {
                let at = format!("static_resources.clusters[{number}]");
                let stats = mapping(cluster, &["track_cluster_stats"]).map_err(within(&at))?;
                put(stats, "track_cluster_stats.per_endpoint_stats", json!(true), "")?;
            } else if access::find(cluster, &["track_cluster_stats", "per_endpoint_stats"])
                == Some(&Value::Bool(false))
            {
                self.notes.push(format!(
                    "static_resources.clusters[{number}]: {} keeps per_endpoint_stats off, so weir \
                     sees none of its endpoints",
                    named(cluster)
                ));
            }
        }
        if !absent(&self.root, &["dynamic_resources", "cds_config"]) {
            self.notes.push(
                "clusters that come by CDS need track_cluster_stats: {per_endpoint_stats: true} \
                 from there: without it weir sees none of their endpoints"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Listeners that the user asked for by name: those that take their route from Weir.
    fn routed_listeners(&mut self) -> Result<(), Vec<Problem>> {
        let source = if self.ads_is_anothers() {
            parts::own_stream(self.options.protocol)
        } else {
            parts::over_ads()
        };
        let logs = if self.options.access_log { vec![parts::upstream_log()] } else { vec![] };
        for listener in &self.options.listeners {
            let Destination::Route(service) = &listener.to else { continue };
            let name = format!("weir {service} {}", listener.at);
            let source = (source.clone(), WAIT_FOR_ROUTE);
            let written = parts::routed_listener(&name, &listener.at, service, source, &logs);
            let listeners = list(&mut self.root, &["static_resources", "listeners"])?;
            let mend = "remove it, or let weir's listen elsewhere";
            append(listeners, "static_resources.listeners", written, mend)?;
            self.notes.push(format!(
                "the route of {service} leads to the clusters of its versions: the proxy refuses \
                 it while it does not know them"
            ));
        }
        Ok(())
    }

    fn logger(&mut self) -> Result<(), Vec<Problem>> {
        let snippet =
            document::print(&json!({ "upstream_log": [parts::upstream_log()] }), Format::Yaml);
        if !self.options.access_log {
            return Ok(());
        }
        let added = logger::add(&mut self.root)?;
        let elsewhere = !absent(&self.root, &["dynamic_resources", "lds_config"]);
        if added == 0 || elsewhere {
            self.notes.push(format!(
                "listeners that come from elsewhere need this logger in their router \
                 (envoy.filters.http.router). Until it is there, latency is missing for them, and \
                 weir judges by errors alone:\n{snippet}"
            ));
        }
        Ok(())
    }
}

/// Puts an admin layer that stood last behind what was added: what a person sets by hand wins.
fn admin_last(layers: &mut [Value]) {
    let is_admin = |layer: &Value| !absent(layer, &["admin_layer"]);
    if let Some(before) = layers.len().checked_sub(2)
        && layers.get(before).is_some_and(is_admin)
        && !layers.last().is_some_and(is_admin)
    {
        layers.swap(before, before + 1);
    }
}

#[cfg(test)]
mod tests;
