//! What telemetry names: the endpoints that reports speak of.
//!
//! Enough to observe and to recommend, or to stand between proxies and a control plane that knows
//! the endpoints. Not enough to serve a service's endpoints: an endpoint that gets no traffic is
//! in no report, so that a list made of reports would lose whom it starves.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_engine::names::{Address, ClusterName};
use weir_engine::observation::Report;
use weir_engine::topology::Endpoint;
use weir_engine::units::Moment;

use super::{ENDPOINTS_MAX, address, plain};

/// How long an endpoint that no report names any more is remembered: the longest that the engine
/// ejects for, so that an ejected one is not forgotten.
pub const FORGET_AFTER: Duration = Duration::from_secs(300);

/// Client clusters and endpoints that are remembered: ten client clusters of all endpoints that
/// one process is built for, at about 100 bytes each.
const NAMED_MAX: usize = 10 * ENDPOINTS_MAX;

/// The endpoints that reports named, by client cluster.
#[derive(Clone, Debug, Default)]
pub struct Named {
    last_seen: BTreeMap<ClusterName, BTreeMap<Address, Moment>>,
    remembered: usize,
    overflow: u64,
}

impl Named {
    /// Takes in what reports name, and forgets what none has named for a while.
    pub fn absorb(&mut self, reports: &[Report], now: Moment) {
        self.last_seen.retain(|_, endpoints| {
            endpoints.retain(|_, seen| now.since(*seen) < FORGET_AFTER);
            !endpoints.is_empty()
        });
        self.remembered = self.last_seen.values().map(BTreeMap::len).sum();
        for report in reports {
            for sample in &report.samples {
                self.see(&report.cluster, &sample.endpoint, now);
            }
        }
    }

    fn see(&mut self, cluster: &ClusterName, endpoint: &Address, now: Moment) {
        let known = self.last_seen.get_mut(cluster).and_then(|seen| seen.get_mut(endpoint));
        if let Some(seen) = known {
            *seen = now;
        } else if address(endpoint.as_str()).is_ok() {
            if self.remembered >= NAMED_MAX {
                self.overflow += 1;
                return;
            }
            self.remembered += 1;
            self.last_seen.entry(cluster.clone()).or_default().insert(endpoint.clone(), now);
        }
    }

    /// The endpoints that the given client clusters reach, in ascending order of address.
    pub fn endpoints<'a>(
        &self,
        clusters: impl IntoIterator<Item = &'a ClusterName>,
    ) -> Vec<Endpoint> {
        let named = clusters.into_iter().filter_map(|cluster| self.last_seen.get(cluster));
        let addresses = named.flat_map(BTreeMap::keys);
        let endpoints = addresses.filter_map(|text| address(text.as_str()).ok()).map(plain);
        let mut endpoints = super::distinct(endpoints.collect());
        endpoints.truncate(ENDPOINTS_MAX);
        endpoints
    }

    /// The client clusters that reports named, in ascending order.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterName> {
        self.last_seen.keys()
    }

    /// How often an endpoint was not remembered because there were too many.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::observation::{Sample, Source};

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    fn report(cluster: &str, endpoints: &[&str]) -> Report {
        Report {
            reporter: "n1".into(),
            cluster: cluster.into(),
            zone: "".into(),
            source: Source::LoadReport,
            at: at(0),
            window: Duration::from_secs(1),
            complete: true,
            samples: endpoints
                .iter()
                .map(|&endpoint| Sample { endpoint: endpoint.into(), ..Sample::default() })
                .collect(),
            totals: None,
        }
    }

    /// Feeds (second, endpoints named) of one client cluster; says what is known after the last.
    #[track_caller]
    fn check(steps: &[(u64, &[&str])], expected: &[&str]) {
        let mut named = Named::default();
        for &(second, endpoints) in steps {
            named.absorb(&[report("shop", endpoints)], at(second));
        }
        let known = named.endpoints(&["shop".into()]);
        let known: Vec<&str> = known.iter().map(|endpoint| endpoint.address.as_str()).collect();
        assert_eq!(known, expected);
    }

    #[test]
    fn what_was_named_lately_is_known() {
        check(&[(0, &["10.0.0.2:80", "10.0.0.1:80"])], &["10.0.0.1:80", "10.0.0.2:80"]);
        check(&[(0, &["10.0.0.1:80"]), (299, &[])], &["10.0.0.1:80"]);
        check(&[(0, &["10.0.0.1:80"]), (300, &[])], &[]);
        check(&[(0, &["10.0.0.1:80"]), (200, &["10.0.0.1:80"]), (400, &[])], &["10.0.0.1:80"]);
    }

    #[test]
    fn what_is_no_address_is_not_an_endpoint() {
        check(&[(0, &["pod-7", "", "10.0.0.1:0", "10.0.0.1:80"])], &["10.0.0.1:80"]);
    }

    #[test]
    fn a_services_clusters_are_pooled_and_others_left_out() {
        let mut named = Named::default();
        let reports = [
            report("a", &["10.0.0.1:80"]),
            report("b", &["10.0.0.1:80", "10.0.0.2:80"]),
            report("c", &["10.0.0.3:80"]),
        ];
        named.absorb(&reports, at(0));
        assert_eq!(named.endpoints(&["a".into(), "b".into(), "missing".into()]).len(), 2);
        assert_eq!(named.clusters().count(), 3);
    }

    #[test]
    fn memory_has_a_bound() {
        let endpoints: Vec<String> =
            (0..10_001_u32).map(|i| format!("10.0.{}.{}:80", i / 250, i % 250 + 1)).collect();
        let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        let mut named = Named::default();
        for cluster in 0..10 {
            named.absorb(&[report(&format!("c{cluster}"), &endpoints)], at(0));
        }
        assert_eq!((named.remembered, named.overflow()), (NAMED_MAX, 10));
        assert_eq!(named.endpoints(&["c0".into()]).len(), ENDPOINTS_MAX);
        named.absorb(&[report("late", &["10.9.9.9:80"])], at(300));
        assert_eq!((named.remembered, named.overflow()), (1, 10));
    }
}
