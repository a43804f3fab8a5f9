//! One proxy's load reports, without a socket: messages in, [`Report`]s out.
//!
//! What Envoy 1.40 counts (measured): a request that the route's timeout ends, a reset, a refused
//! connection and a 5xx are each one error at the endpoint; a refused connection is an error
//! without having been issued. A request that the client gives up is neither success nor error. A
//! response that breaks off after its headers counts by its status. Requests refused by a circuit
//! breaker appear at no endpoint, only as the cluster's dropped requests. Clusters without
//! traffic are reported without localities, so that an endpoint which is not listed was idle.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterStats, UpstreamEndpointStats, UpstreamLocalityStats,
};
use envoy_types::pb::envoy::service::load_stats::v3::LoadStatsRequest;
use weir_engine::names::{Address, ClusterName};
use weir_engine::observation::{Report, Sample, Source};
use weir_engine::units::Moment;

use super::levels::Levels;
use super::peer::{self, Malformed, Peer, address_of};

/// Clusters in one message: four times what Istio advises for one sidecar.
const CLUSTERS_MAX: usize = 4_096;

/// Endpoints in one message: twice the 10,000 that one process is built for.
const ENDPOINTS_MAX: usize = 20_000;

/// Requests in one interval: far above what a proxy can do in a second, far below where sums over
/// all proxies overflow.
const REQUESTS_MAX: u64 = 1_000_000_000;

/// Longest interval that still says something about now. After a break the first report covers
/// the whole gap; what is mostly older than the engine looks back is no evidence.
const WINDOW_MAX: Duration = Duration::from_secs(30);

/// What is known of a reporting proxy.
#[derive(Clone, Debug)]
pub struct Session {
    peer: Peer,
    own_cluster: String,
    levels: BTreeMap<ClusterName, Levels>,
}

impl Session {
    /// Starts with the first message of a stream. `own_cluster` is the cluster through which the
    /// proxy reaches Weir: it carries no traffic of users and is left out.
    pub fn open(first: &LoadStatsRequest, own_cluster: &str) -> Result<Self, Malformed> {
        Ok(Self {
            peer: Peer::of(first.node.as_ref())?,
            own_cluster: own_cluster.to_owned(),
            levels: BTreeMap::new(),
        })
    }

    /// The reporting node's id.
    pub fn node(&self) -> &str {
        self.peer.node.as_str()
    }

    /// Turns a message into one report per cluster. A malformed message yields none.
    pub fn absorb(
        &mut self,
        message: &LoadStatsRequest,
        at: Moment,
    ) -> Result<Vec<Report>, Malformed> {
        check_size(message)?;
        let mut reports = Vec::new();
        for stats in &message.cluster_stats {
            let Some(window) = window_of(stats)? else { continue };
            let tally = Tally::of(stats)?;
            if stats.cluster_name != self.own_cluster && !stats.cluster_name.is_empty() {
                reports.push((stats, window, tally));
            }
        }
        let reports: Vec<Report> = reports
            .into_iter()
            .map(|(stats, window, tally)| self.report(stats, tally, (at, window)))
            .collect();
        let present: BTreeSet<&ClusterName> =
            reports.iter().map(|report| &report.cluster).collect();
        self.levels.retain(|cluster, _| present.contains(cluster));
        Ok(reports)
    }

    fn report(
        &mut self,
        stats: &ClusterStats,
        mut tally: Tally,
        (at, window): (Moment, Duration),
    ) -> Report {
        let cluster = ClusterName::from(stats.cluster_name.as_str());
        if tally.complete {
            let levels = self.levels.entry(cluster.clone()).or_default();
            levels.absorb(
                tally.endpoints.iter().map(|(address, counts)| (address, counts.in_progress)),
            );
            for (address, _) in levels.busy() {
                tally.endpoints.entry(address.clone()).or_default();
            }
        }
        let levels = self.levels.get(&cluster);
        Report {
            reporter: self.peer.node.clone(),
            cluster,
            zone: self.peer.zone.clone(),
            source: Source::LoadReport,
            at,
            window,
            complete: tally.complete,
            samples: tally
                .endpoints
                .into_iter()
                .map(|(endpoint, counts)| Sample {
                    in_flight: levels.and_then(|levels| levels.mean(&endpoint)),
                    endpoint,
                    requests: Some(counts.requests),
                    errors: Some(counts.errors),
                    ..Sample::default()
                })
                .collect(),
            totals: Some(Sample {
                requests: Some(tally.whole.requests + tally.dropped),
                errors: Some(tally.whole.errors + tally.dropped),
                local_failures: Some(tally.dropped),
                ..Sample::default()
            }),
        }
    }
}

fn check_size(message: &LoadStatsRequest) -> Result<(), Malformed> {
    let clusters = message.cluster_stats.len();
    if clusters > CLUSTERS_MAX {
        return Err(Malformed::TooMany { what: "clusters", count: clusters, limit: CLUSTERS_MAX });
    }
    let localities = message.cluster_stats.iter().flat_map(|stats| &stats.upstream_locality_stats);
    let count = localities.map(|locality| locality.upstream_endpoint_stats.len()).sum();
    if count > ENDPOINTS_MAX {
        return Err(Malformed::TooMany { what: "endpoints", count, limit: ENDPOINTS_MAX });
    }
    Ok(())
}

/// The interval that a cluster's counts cover; nothing where it is missing, empty or mostly past.
fn window_of(stats: &ClusterStats) -> Result<Option<Duration>, Malformed> {
    let Some(interval) = stats.load_report_interval.as_ref() else { return Ok(None) };
    let window = u64::try_from(interval.seconds)
        .ok()
        .zip(u32::try_from(interval.nanos).ok().filter(|&nanos| nanos < 1_000_000_000))
        .map(|(seconds, nanos)| Duration::new(seconds, nanos))
        .ok_or_else(|| Malformed::BadInterval(shown(&stats.cluster_name)))?;
    Ok(Some(window).filter(|window| !window.is_zero() && *window <= WINDOW_MAX))
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    errors: u64,
    in_progress: u64,
}

impl Counts {
    /// Checked by [`plausible`] before, so that the sums cannot overflow.
    fn add(&mut self, successes: u64, errors: u64, in_progress: u64) {
        self.requests += successes + errors;
        self.errors += errors;
        self.in_progress = self.in_progress.saturating_add(in_progress);
    }
}

/// One cluster's counts, summed over localities and priorities.
#[derive(Debug)]
struct Tally {
    endpoints: BTreeMap<Address, Counts>,
    whole: Counts,
    dropped: u64,
    complete: bool,
}

impl Tally {
    fn of(stats: &ClusterStats) -> Result<Self, Malformed> {
        peer::checked("a cluster's name", &stats.cluster_name)?;
        let mut tally = Self {
            endpoints: BTreeMap::new(),
            whole: Counts::default(),
            dropped: plausible(stats, stats.total_dropped_requests)?,
            complete: true,
        };
        for locality in &stats.upstream_locality_stats {
            tally.add_locality(stats, locality)?;
        }
        plausible(stats, tally.whole.requests)?;
        Ok(tally)
    }

    fn add_locality(
        &mut self,
        stats: &ClusterStats,
        locality: &UpstreamLocalityStats,
    ) -> Result<(), Malformed> {
        let successes = plausible(stats, locality.total_successful_requests)?;
        let errors = plausible(stats, locality.total_error_requests)?;
        self.whole.add(successes, errors, 0);
        if locality.upstream_endpoint_stats.is_empty() {
            self.add_as_endpoint(locality, (successes, errors));
        }
        for endpoint in &locality.upstream_endpoint_stats {
            self.add_endpoint(stats, endpoint)?;
        }
        Ok(())
    }

    /// Clients that know no endpoint granularity (gRPC) count by locality. Weir gives them one per
    /// endpoint, whose sub-zone is the endpoint's address; other localities say nothing of endpoints.
    fn add_as_endpoint(
        &mut self,
        locality: &UpstreamLocalityStats,
        (successes, errors): (u64, u64),
    ) {
        let sub_zone = locality.locality.as_ref().map_or("", |place| place.sub_zone.as_str());
        if let Ok(address) = sub_zone.parse::<SocketAddr>() {
            let counts = self.endpoints.entry(Address::from(address.to_string())).or_default();
            counts.add(successes, errors, locality.total_requests_in_progress);
        } else if successes + errors > 0 {
            self.complete = false;
        }
    }

    fn add_endpoint(
        &mut self,
        stats: &ClusterStats,
        endpoint: &UpstreamEndpointStats,
    ) -> Result<(), Malformed> {
        let successes = plausible(stats, endpoint.total_successful_requests)?;
        let errors = plausible(stats, endpoint.total_error_requests)?;
        if let Some(address) = address_of(endpoint.address.as_ref()) {
            let counts = self.endpoints.entry(address).or_default();
            counts.add(successes, errors, endpoint.total_requests_in_progress);
        }
        Ok(())
    }
}

fn plausible(stats: &ClusterStats, count: u64) -> Result<u64, Malformed> {
    if count > REQUESTS_MAX {
        return Err(Malformed::ImplausibleCount(shown(&stats.cluster_name), count));
    }
    Ok(count)
}

/// A name for an error's text: the peer sent it, so it is cut.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
