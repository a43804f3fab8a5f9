//! What Envoy's admin pages say, as far as Weir reads them.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use weir_engine::names::{Address, ClusterName, Node, Place};
use weir_engine::observation::{Report, Sample, Source, Verdict};
use weir_engine::units::Moment;

use crate::{endpoints, http};

/// Endpoints on one page over all its clusters: what its largest size could hold of real ones.
const ENDPOINTS_MAX: usize = 20_000;

/// Why a proxy's page says nothing.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// There was no usable answer.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The answer is not the page that was asked for.
    #[error("not the page of an Envoy's admin interface")]
    Json(#[from] serde_json::Error),
    /// The proxy has no name.
    #[error("the proxy has no node.id; set it in its bootstrap or give the target a node")]
    NoNode,
    /// More endpoints than are read.
    #[error("{0} endpoints on one page; at most {ENDPOINTS_MAX} are read")]
    TooMany(usize),
}

/// Whose pages these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    node: Node,
    zone: Place,
    configured: bool,
}

impl Origin {
    /// The node that the configuration names.
    pub(super) fn named(node: Node) -> Self {
        Self { node, zone: Place::default(), configured: true }
    }

    /// Whether the configuration says who it is, rather than the proxy itself.
    pub(super) fn is_configured(&self) -> bool {
        self.configured
    }
}

/// A page's address below the admin interface's own.
pub(super) fn address(base: &Url, page: &str, query: Option<&str>) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{page}", base.path().trim_end_matches('/')));
    url.set_query(query);
    url
}

#[derive(Deserialize)]
struct ServerInfo {
    node: NodeInfo,
}

#[derive(Deserialize)]
struct NodeInfo {
    #[serde(default)]
    id: String,
    #[serde(default)]
    locality: LocalityInfo,
}

#[derive(Default, Deserialize)]
struct LocalityInfo {
    #[serde(default)]
    zone: String,
}

/// Reads `/server_info`: who the proxy is.
pub(super) fn origin(page: &[u8]) -> Result<Origin, PageError> {
    let info: ServerInfo = serde_json::from_slice(page)?;
    if info.node.id.is_empty() {
        return Err(PageError::NoNode);
    }
    Ok(Origin {
        node: info.node.id.into(),
        zone: info.node.locality.zone.into(),
        configured: false,
    })
}

#[derive(Deserialize)]
struct Clusters {
    #[serde(default)]
    cluster_statuses: Vec<ClusterStatus>,
}

#[derive(Deserialize)]
struct ClusterStatus {
    name: String,
    #[serde(default)]
    host_statuses: Vec<HostStatus>,
}

#[derive(Deserialize)]
struct HostStatus {
    #[serde(default)]
    address: HostAddress,
    #[serde(default)]
    health_status: HealthStatus,
}

/// Envoy leaves out flags that are not set.
#[derive(Default, Deserialize)]
struct HealthStatus {
    #[serde(default)]
    failed_active_health_check: bool,
    #[serde(default)]
    failed_outlier_check: bool,
}

#[derive(Default, Deserialize)]
struct HostAddress {
    socket_address: Option<SocketAddress>,
}

#[derive(Deserialize)]
struct SocketAddress {
    #[serde(default)]
    address: String,
    #[serde(default)]
    port_value: u16,
}

/// Reads `/clusters?format=json`: one report per cluster that has endpoints.
pub(super) fn reports(
    page: &[u8],
    origin: &Origin,
    (at, window): (Moment, Duration),
) -> Result<Vec<Report>, PageError> {
    let clusters: Clusters = serde_json::from_slice(page)?;
    let count = clusters.cluster_statuses.iter().map(|cluster| cluster.host_statuses.len()).sum();
    if count > ENDPOINTS_MAX {
        return Err(PageError::TooMany(count));
    }
    let clusters = clusters.cluster_statuses.into_iter();
    let reports = clusters.map(|cluster| Report {
        reporter: origin.node.clone(),
        cluster: ClusterName::from(cluster.name.as_str()),
        zone: origin.zone.clone(),
        source: Source::Admin,
        at,
        window,
        complete: false,
        samples: samples(&cluster.host_statuses),
        totals: None,
    });
    Ok(reports.filter(|report| !report.samples.is_empty()).collect())
}

/// Each endpoint once; one that stands in several priorities is as bad as its worst entry.
fn samples(hosts: &[HostStatus]) -> Vec<Sample> {
    let mut verdicts: BTreeMap<Address, Verdict> = BTreeMap::new();
    for host in hosts {
        let Some(socket) = &host.address.socket_address else { continue };
        let Ok(ip) = socket.address.parse() else { continue };
        let address = std::net::SocketAddr::new(ip, socket.port_value);
        let Some(address) = endpoints::reachable(address) else { continue };
        let address = Address::from(address.to_string());
        let verdict = verdict(&host.health_status);
        let worst = verdicts.entry(address).or_insert(verdict);
        if *worst == Verdict::Healthy {
            *worst = verdict;
        }
    }
    let samples = verdicts.into_iter();
    samples
        .map(|(endpoint, verdict)| Sample { endpoint, verdict: Some(verdict), ..Sample::default() })
        .collect()
}

fn verdict(health: &HealthStatus) -> Verdict {
    if health.failed_active_health_check {
        Verdict::Unhealthy
    } else if health.failed_outlier_check {
        Verdict::Ejected
    } else {
        Verdict::Healthy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn me() -> Origin {
        Origin::named("n1".into())
    }

    fn read(page: &str) -> Result<Vec<String>, PageError> {
        let reports =
            reports(page.as_bytes(), &me(), (Moment::from_millis(9), Duration::from_secs(5)))?;
        let line = |report: Report| {
            let words = report.samples.iter().map(|sample| {
                let verdict = sample.verdict.expect("a report of health says something of it");
                assert_eq!((sample.requests, sample.errors), (None, None));
                format!("{} {verdict:?}", sample.endpoint)
            });
            format!("{}: {}", report.cluster, words.collect::<Vec<_>>().join(", "))
        };
        Ok(reports.into_iter().map(line).collect())
    }

    fn host(address: &str, port: u16, health: &str) -> String {
        format!(
            r#"{{"address": {{"socket_address": {{"address": "{address}", "port_value": {port}}}}},
                "stats": [{{"name": "rq_error", "value": "3"}}], "weight": 1, "health_status": {health}}}"#
        )
    }

    fn cluster(hosts: &[String]) -> String {
        format!(
            r#"{{"cluster_statuses": [{{"name": "shop", "observability_name": "shop", "host_statuses": [{}]}}]}}"#,
            hosts.join(",")
        )
    }

    #[track_caller]
    fn check(hosts: &[String], expected: &[&str]) {
        assert_eq!(read(&cluster(hosts)).expect("a page"), expected);
    }

    #[test]
    fn flags_become_verdicts() {
        check(
            &[
                host("10.0.0.1", 80, r#"{"eds_health_status": "HEALTHY"}"#),
                host("10.0.0.2", 80, r#"{"failed_outlier_check": true}"#),
                host(
                    "10.0.0.3",
                    80,
                    r#"{"failed_active_health_check": true, "failed_outlier_check": true}"#,
                ),
                host("::1", 80, "{}"),
            ],
            &[
                "shop: 10.0.0.1:80 Healthy, 10.0.0.2:80 Ejected, 10.0.0.3:80 Unhealthy, [::1]:80 Healthy",
            ],
        );
    }

    #[test]
    fn what_a_management_server_said_is_no_opinion_of_the_proxy() {
        check(
            &[host("10.0.0.1", 80, r#"{"eds_health_status": "UNHEALTHY"}"#)],
            &["shop: 10.0.0.1:80 Healthy"],
        );
    }

    #[test]
    fn an_endpoint_in_two_priorities_is_reported_once_with_its_worst_flag() {
        let (good, bad) = ("{}", r#"{"failed_outlier_check": true}"#);
        check(
            &[host("10.0.0.1", 80, good), host("10.0.0.1", 80, bad)],
            &["shop: 10.0.0.1:80 Ejected"],
        );
        check(
            &[host("10.0.0.1", 80, bad), host("10.0.0.1", 80, good)],
            &["shop: 10.0.0.1:80 Ejected"],
        );
    }

    #[test]
    fn what_has_no_address_is_left_out() {
        let pipe = r#"{"address": {"pipe": {"path": "/run/x"}}, "health_status": {}}"#.to_owned();
        check(&[pipe, host("shop.local", 80, "{}"), host("10.0.0.1", 0, "{}")], &[]);
        assert!(read("{}").expect("an Envoy without clusters").is_empty());
    }

    #[test]
    fn other_pages_are_refused() {
        for page in
            ["", "[]x", "<html>", r#"{"cluster_statuses": 3}"#, r#"{"cluster_statuses": [{}]}"#]
        {
            assert!(matches!(read(page), Err(PageError::Json(_))), "{page}");
        }
        let many = vec![host("10.0.0.1", 80, "{}"); ENDPOINTS_MAX + 1];
        assert!(matches!(read(&cluster(&many)), Err(PageError::TooMany(_))));
        assert!(read(&cluster(&many[1..])).is_ok());
    }

    #[test]
    fn a_proxy_says_who_it_is() {
        let page = r#"{"version": "x", "state": "LIVE", "node": {"id": "edge-1", "cluster": "edge",
            "locality": {"region": "eu", "zone": "eu-1"}, "extensions": []}}"#;
        let origin = origin(page.as_bytes()).expect("a page");
        assert_eq!((origin.node.as_str(), origin.zone.as_str()), ("edge-1", "eu-1"));
        assert!(!origin.is_configured());
        assert!(matches!(super::origin(br#"{"node": {"id": ""}}"#), Err(PageError::NoNode)));
        assert!(matches!(super::origin(b"{}"), Err(PageError::Json(_))));
    }

    #[test]
    fn pages_stand_below_the_interfaces_address() {
        for (base, expected) in [
            ("http://127.0.0.1:9901", "http://127.0.0.1:9901/clusters?format=json"),
            ("http://127.0.0.1:9901/", "http://127.0.0.1:9901/clusters?format=json"),
            ("https://gate/envoy/a?x=y", "https://gate/envoy/a/clusters?format=json"),
        ] {
            let base = Url::parse(base).expect("a URL");
            assert_eq!(address(&base, "clusters", Some("format=json")).as_str(), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_sound(page in r#"\{"cluster_statuses": ?[\[\]{}:,"a-z0-9_ ]{0,40}\}?"#) {
            if let Ok(reports) = read(&page) {
                prop_assert!(reports.len() < 10);
            }
        }
    }
}
