//! The configuration of the demo's one Envoy: Weir's part, if any, with the listeners of both
//! sides and the clusters of the plain one added.

use super::TIMEOUT;
use crate::listener::Listener;
use crate::membership::Membership;
use serde_json::{Value, json};

/// What a proxy's listener is called.
pub(super) fn listener_name(side: &str, proxy: usize) -> String {
    format!("{side}-{proxy:02}")
}

/// What a proxy's cluster is called; Weir serves those of the governed side by these names.
pub fn cluster_name(side: &str, proxy: usize) -> String {
    format!("demo-{side}-{proxy:02}")
}

/// What is added to Weir's part.
pub(super) struct Sides<'a> {
    /// Listeners per side.
    pub(super) proxies: usize,
    /// What the routers of the governed side log to.
    pub(super) upstream_log: &'a [Value],
    /// The endpoints of the governed side, where Weir does not serve them.
    pub(super) governed: Option<&'a Membership>,
    /// The endpoints of the plain side.
    pub(super) plain: &'a Membership,
}

impl Sides<'_> {
    pub(super) fn add_to(&self, mut weir: Value) -> Value {
        let proxies = || 0..self.proxies;
        let listeners = proxies()
            .map(|proxy| listener("governed", proxy, self.upstream_log))
            .chain(proxies().map(|proxy| listener("plain", proxy, &[])));
        let of_nobody = self.governed.into_iter().map(|list| ("governed", list));
        let clusters = of_nobody
            .chain([("plain", self.plain)])
            .flat_map(|(side, list)| proxies().map(move |proxy| cluster(side, proxy, list)));
        // Envoy wants a name of its own before it reads endpoints from anywhere.
        for field in ["id", "cluster"] {
            if weir["node"][field].is_null() {
                weir["node"][field] = json!("demo");
            }
        }
        extend(&mut weir["static_resources"]["listeners"], listeners);
        extend(&mut weir["static_resources"]["clusters"], clusters);
        weir
    }
}

fn extend(list: &mut Value, with: impl Iterator<Item = Value>) {
    let mut all = list.take().as_array().cloned().unwrap_or_default();
    all.extend(with);
    *list = Value::Array(all);
}

fn listener(side: &str, proxy: usize, upstream_log: &[Value]) -> Value {
    let (name, cluster) = (&listener_name(side, proxy), &cluster_name(side, proxy));
    Listener { name, cluster, timeout: TIMEOUT, filters: &[], upstream_log }.configuration()
}

/// What a careful operator has without Weir: least request, outlier detection at its defaults.
fn cluster(side: &str, proxy: usize, list: &Membership) -> Value {
    json!({
        "name": cluster_name(side, proxy),
        "type": "EDS",
        "lb_policy": "LEAST_REQUEST",
        "outlier_detection": {},
        "eds_cluster_config": list.eds(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const PROXIES: usize = 40;

    fn names(list: &Value) -> Vec<&str> {
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn weirs_part_stays_and_its_clusters_are_its_own() {
        let weir = json!({
            "node": {"id": "proxies"},
            "static_resources": {"clusters": [{"name": "weir"}]},
        });
        let plain = Membership::assignment(Path::new("/demo"), "plain");
        let upstream_log = &[json!({"name": "log"})];
        let sides = Sides { proxies: PROXIES, upstream_log, governed: None, plain: &plain };
        let whole = sides.add_to(weir);
        assert_eq!(whole["node"]["id"], "proxies");
        let clusters = names(&whole["static_resources"]["clusters"]);
        assert_eq!(clusters.len(), 1 + PROXIES);
        assert_eq!(clusters[..2], ["weir", "demo-plain-00"]);
        let listeners = &whole["static_resources"]["listeners"];
        assert_eq!(names(listeners).len(), 2 * PROXIES);
        let logged = listeners.to_string().matches("upstream_log").count();
        assert_eq!(logged, PROXIES);
        assert!(listeners.to_string().contains("\"demo-governed-39\""));
    }

    #[test]
    fn without_weir_both_sides_are_alike() {
        let list = |side| Membership::assignment(Path::new("/demo"), side);
        let (governed, plain) = (list("governed"), list("plain"));
        let sides =
            Sides { proxies: 3, upstream_log: &[], governed: Some(&governed), plain: &plain };
        let whole = sides.add_to(json!({}));
        let text = whole.to_string();
        assert_eq!(text.matches("governed").count(), text.matches("plain").count());
    }
}
