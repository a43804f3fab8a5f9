//! Two scrapes of one proxy side by side, and what happened between them.
//!
//! Values stand in two flat columns, the last scrape's and this one's; a [`Key`] is a place in
//! them. Only a scrape that was read to its end becomes the last one: after a broken one the next
//! spans both intervals.

use std::collections::HashMap;
use std::time::Duration;

use weir_engine::names::{Address, ClusterName};
use weir_engine::observation::{Report, Sample as Seen, Source};
use weir_engine::units::Moment;

use super::metric::{self, Metric, OfCluster, OfEndpoint};
use super::node::Who;
use crate::exposition::line::Sample;
use crate::exposition::{Key, Sink};

mod sample;

use sample::Activity;

/// More departed endpoints than present ones and so many on top: then the table starts afresh,
/// which costs one interval's counts, rather than grow with every deployment.
const DEPARTED_MAX: usize = 1_000;

/// An endpoint's counters, then its gauges, in this order.
const ENDPOINT_COUNTERS: usize = 5;
const ENDPOINT_SLOTS: usize = 7;
/// A cluster's counters, then its gauge, in this order; its latency bounds follow as they appear.
const CLUSTER_COUNTERS: usize = 13;
const CLUSTER_SLOTS: usize = 14;

/// Everything known of one proxy.
#[derive(Debug, Default)]
pub(super) struct Table {
    wanted: Vec<ClusterName>,
    /// Names with a dot, by what Envoy makes of them.
    torn: HashMap<(String, String), String>,
    clusters: Vec<Cluster>,
    by_name: HashMap<String, usize>,
    columns: Columns,
    before_at: Option<Moment>,
    learnt: bool,
    departed: usize,
    present: usize,
}

#[derive(Debug, Default)]
struct Columns {
    before: Vec<f64>,
    now: Vec<f64>,
}

impl Columns {
    fn add(&mut self, slots: usize) -> usize {
        let first = self.now.len();
        self.now.resize(first + slots, f64::NAN);
        self.before.resize(first + slots, f64::NAN);
        first
    }
}

#[derive(Debug)]
struct Cluster {
    name: ClusterName,
    first: usize,
    /// Upper bounds of latency and the slots of their counts.
    bounds: Vec<(f64, usize)>,
    endpoints: Vec<Endpoint>,
    by_address: HashMap<String, usize>,
}

#[derive(Debug)]
struct Endpoint {
    address: Address,
    first: usize,
    activity: Activity,
}

impl Table {
    /// A table of these clusters; of all if there are none.
    pub(super) fn new(wanted: &[ClusterName]) -> Self {
        let mut table = Self { wanted: wanted.to_vec(), ..Self::default() };
        for name in wanted {
            table.remember_torn(name.as_str());
        }
        table
    }

    /// Before a scrape: what an unfinished one left is wiped out.
    pub(super) fn begin(&mut self) {
        self.columns.now.fill(f64::NAN);
        self.learnt = false;
    }

    /// Whether a name has come up that makes sense of series passed over before.
    pub(super) fn has_learnt_names(&self) -> bool {
        self.learnt
    }

    /// Whether it is mostly about endpoints that are gone.
    pub(super) fn is_due_for_a_fresh_start(&self) -> bool {
        self.departed > self.present + DEPARTED_MAX
    }

    /// Starts afresh.
    pub(super) fn forget(&mut self) {
        *self = Self::new(&std::mem::take(&mut self.wanted));
    }

    /// After a scrape that was read to its end: what happened since the last one.
    pub(super) fn settle(&mut self, at: Moment, gap_max: Duration, who: &Who) -> Vec<Report> {
        let window = self.before_at.map(|before| at.since(before));
        if window.is_some_and(|window| window.is_zero()) {
            return Vec::new();
        }
        let window = window.filter(|window| *window <= gap_max);
        (self.present, self.departed) = (0, 0);
        let mut reports = Vec::new();
        for cluster in &mut self.clusters {
            let samples = cluster.samples(&self.columns);
            self.present += samples.len();
            self.departed += cluster.endpoints.len() - samples.len();
            let totals = cluster.totals(&self.columns);
            let known = totals.is_some() || samples.iter().any(|seen| seen.requests.is_some());
            if let Some(window) = window.filter(|_| known) {
                reports.push(Report {
                    reporter: who.node.clone(),
                    cluster: cluster.name.clone(),
                    zone: who.zone.clone(),
                    source: Source::Scrape,
                    at,
                    window,
                    // Without statistics per endpoint nothing at all is said of endpoints.
                    complete: !samples.is_empty(),
                    samples,
                    totals,
                });
            }
        }
        std::mem::swap(&mut self.columns.before, &mut self.columns.now);
        self.before_at = Some(at);
        reports
    }

    fn cluster(&mut self, name: &str) -> Option<&mut Cluster> {
        if !self.wanted.is_empty() && !self.wanted.iter().any(|wanted| wanted.as_str() == name) {
            return None;
        }
        let at = match self.by_name.get(name) {
            Some(&at) => at,
            None => self.add_cluster(name),
        };
        self.clusters.get_mut(at)
    }

    fn add_cluster(&mut self, name: &str) -> usize {
        self.learnt |= self.remember_torn(name);
        self.clusters.push(Cluster {
            name: ClusterName::from(name),
            first: self.columns.add(CLUSTER_SLOTS),
            bounds: Vec::new(),
            endpoints: Vec::new(),
            by_address: HashMap::new(),
        });
        let at = self.clusters.len() - 1;
        self.by_name.insert(name.to_owned(), at);
        at
    }

    /// Says whether it is a name that Envoy tears apart, and one not known before.
    fn remember_torn(&mut self, name: &str) -> bool {
        let Some((head, rest)) = name.split_once('.') else { return false };
        let key = (head.to_owned(), metric::mangled(rest));
        self.torn.insert(key, name.to_owned()).is_none()
    }

    fn endpoint_slot(&mut self, cluster: &str, address: &str, what: OfEndpoint) -> Option<usize> {
        let at = self.cluster(cluster).map(|cluster| cluster.by_address.get(address).copied())?;
        let first = if let Some(at) = at {
            self.cluster(cluster)?.endpoints.get(at)?.first
        } else {
            let first = self.columns.add(ENDPOINT_SLOTS);
            self.cluster(cluster)?.add_endpoint(address, first);
            first
        };
        Some(first + endpoint_offset(what))
    }

    fn cluster_slot(&mut self, cluster: &str, what: OfCluster) -> Option<usize> {
        let OfCluster::Within(bound) = what else {
            return Some(self.cluster(cluster)?.first + cluster_offset(what));
        };
        let known =
            self.cluster(cluster)?.bounds.iter().find(|(other, _)| other.total_cmp(&bound).is_eq());
        if let Some(&(_, slot)) = known {
            return Some(slot);
        }
        let slot = self.columns.add(1);
        let bounds = &mut self.cluster(cluster)?.bounds;
        bounds.push((bound, slot));
        bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        Some(slot)
    }
}

impl Cluster {
    fn add_endpoint(&mut self, address: &str, first: usize) {
        self.by_address.insert(address.to_owned(), self.endpoints.len());
        self.endpoints.push(Endpoint {
            address: Address::from(address),
            first,
            activity: Activity::default(),
        });
    }

    /// What happened to each endpoint that is there.
    fn samples(&mut self, columns: &Columns) -> Vec<Seen> {
        let first = self.first;
        let ejected = columns.now[first + cluster_offset(OfCluster::Ejected)];
        let healthy = endpoint_offset(OfEndpoint::Healthy);
        let slots = |endpoint: &Endpoint| endpoint.first..endpoint.first + ENDPOINT_SLOTS;
        let unhealthy =
            self.endpoints.iter().filter(|e| columns.now[e.first + healthy] == 0.0).count();
        let mut samples = Vec::new();
        for endpoint in &mut self.endpoints {
            let now = &columns.now[slots(endpoint)];
            let active = now[endpoint_offset(OfEndpoint::Active)];
            let in_flight = endpoint.activity.mean_with(active);
            if now.iter().all(|value| value.is_nan()) {
                continue;
            }
            let mut seen = sample::of_endpoint(&columns.before[slots(endpoint)], now);
            seen.endpoint = endpoint.address.clone();
            seen.in_flight = in_flight;
            seen.verdict = sample::verdict(now[healthy], ejected, unhealthy);
            samples.push(seen);
        }
        samples
    }

    /// What happened to the cluster as a whole.
    fn totals(&self, columns: &Columns) -> Option<Seen> {
        let slots = || {
            (self.first..self.first + CLUSTER_COUNTERS)
                .chain(self.bounds.iter().map(|bound| bound.1))
        };
        let before: Vec<f64> = slots().map(|slot| columns.before[slot]).collect();
        let now: Vec<f64> = slots().map(|slot| columns.now[slot]).collect();
        let bounds: Vec<f64> = self.bounds.iter().map(|bound| bound.0).collect();
        sample::of_cluster(&before, &now, &bounds)
    }
}

impl Sink for Table {
    fn resolve(&mut self, sample: &Sample<'_>) -> Key {
        let slot = match metric::of(sample) {
            Some(Metric::Endpoint { cluster, endpoint, what }) => {
                self.endpoint_slot(cluster, endpoint, what)
            }
            Some(Metric::Cluster { cluster, what }) => self.cluster_slot(cluster, what),
            Some(Metric::Torn { head, rest, what }) => {
                let name = self.torn.get(&(head.to_owned(), rest.to_owned())).cloned();
                name.and_then(|name| self.cluster_slot(&name, what))
            }
            None => None,
        };
        slot.map_or(Key::IGNORED, Key::of)
    }

    fn value(&mut self, key: Key, value: f64, _timestamp: Option<i64>) {
        // The first of duplicates counts, as with Prometheus.
        if let Some(slot) = self.columns.now.get_mut(key.index())
            && slot.is_nan()
        {
            *slot = value;
        }
    }
}

const fn endpoint_offset(what: OfEndpoint) -> usize {
    match what {
        OfEndpoint::Total => 0,
        OfEndpoint::Success => 1,
        OfEndpoint::Error => 2,
        OfEndpoint::Timeout => 3,
        OfEndpoint::ConnectFail => 4,
        OfEndpoint::Active => ENDPOINT_COUNTERS,
        OfEndpoint::Healthy => ENDPOINT_COUNTERS + 1,
    }
}

/// Bounds of latency have slots of their own.
const fn cluster_offset(what: OfCluster) -> usize {
    match what {
        OfCluster::Completed | OfCluster::Within(_) => 0,
        OfCluster::Class(class) => class as usize,
        OfCluster::Timeout => 6,
        OfCluster::TryTimeout => 7,
        OfCluster::Overflow => 8,
        OfCluster::ConnectFail => 9,
        OfCluster::NoneHealthy => 10,
        OfCluster::Sum => 11,
        OfCluster::Count => 12,
        OfCluster::Ejected => CLUSTER_COUNTERS,
    }
}

#[cfg(test)]
mod tests;
