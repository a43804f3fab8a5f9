//! From two rows of counters to what the engine reads.

use weir_engine::latency::Latency;
use weir_engine::observation::{Sample, Verdict};

use super::super::metric::{OfCluster, OfEndpoint};
use super::{CLUSTER_COUNTERS, ENDPOINT_COUNTERS, cluster_offset, endpoint_offset};
use crate::counters::{events, growth};
use crate::histogram;

/// Requests in flight at so many moments make a mean worth the name; one moment says little.
const ACTIVITY_MIN: usize = 10;

/// Requests in flight at the last scrapes.
#[derive(Debug, Default)]
pub(super) struct Activity {
    seen: std::collections::VecDeque<f64>,
}

impl Activity {
    /// Notes one more, and gives the mean once enough are there. A gap starts the count anew.
    pub(super) fn mean_with(&mut self, active: f64) -> Option<f64> {
        if !active.is_finite() || active < 0.0 {
            self.seen.clear();
            return None;
        }
        if self.seen.len() == ACTIVITY_MIN {
            self.seen.pop_front();
        }
        self.seen.push_back(active);
        let enough = self.seen.len() == ACTIVITY_MIN;
        enough.then(|| self.seen.iter().sum::<f64>() / ACTIVITY_MIN as f64)
    }
}

/// What one endpoint's counters say.
pub(super) fn of_endpoint(before: &[f64], now: &[f64]) -> Sample {
    let grown = growth(&before[..ENDPOINT_COUNTERS], &now[..ENDPOINT_COUNTERS]);
    let grown = |what: OfEndpoint| events(grown[endpoint_offset(what)]);
    let ended = grown(OfEndpoint::Success).zip(grown(OfEndpoint::Error)).map(|(s, e)| s + e);
    let requests = ended.or(grown(OfEndpoint::Total));
    let errors = at_most(grown(OfEndpoint::Error), requests);
    Sample {
        requests,
        errors,
        timeouts: at_most(grown(OfEndpoint::Timeout), errors),
        // Of requests that wait for a connection to an endpoint, one at least fails with it.
        local_failures: at_most(grown(OfEndpoint::ConnectFail), errors),
        ..Sample::default()
    }
}

/// What a cluster's counters say; nothing if not even its requests are known. Behind the
/// counters stand the counts of the latency bounds.
pub(super) fn of_cluster(before: &[f64], now: &[f64], bounds: &[f64]) -> Option<Sample> {
    let all = growth(before, now);
    let grown = |what: OfCluster| events(all[cluster_offset(what)]);
    let requests = grown(OfCluster::Completed)?;
    let mut classes = (1..=5).map(|class| grown(OfCluster::Class(class)));
    // The classes divide the requests: if some are there, one that is not has had none.
    let errors = grown(OfCluster::Class(5)).or(classes.any(|class| class.is_some()).then_some(0));
    let errors = at_most(errors, Some(requests));
    let timeouts = sum([OfCluster::Timeout, OfCluster::TryTimeout].map(grown));
    let kept_home = [OfCluster::Overflow, OfCluster::ConnectFail, OfCluster::NoneHealthy];
    Some(Sample {
        requests: Some(requests),
        errors,
        timeouts: at_most(timeouts, errors),
        local_failures: at_most(sum(kept_home.map(grown)), errors),
        latency: latency(&all, bounds),
        ..Sample::default()
    })
}

fn latency(grown: &[f64], bounds: &[f64]) -> Option<Latency> {
    let counts = grown.get(CLUSTER_COUNTERS..)?;
    let cumulative: Vec<(f64, f64)> = bounds.iter().copied().zip(counts.iter().copied()).collect();
    histogram::split(&cumulative, grown[cluster_offset(OfCluster::Sum)])
}

/// The proxy's opinion. It says of an endpoint only whether it is in use; that outlier detection
/// is why can be told only where all or none of those out are out for that reason.
pub(super) fn verdict(healthy: f64, ejected: f64, unhealthy: usize) -> Option<Verdict> {
    match healthy {
        1.0 => Some(Verdict::Healthy),
        0.0 if ejected >= unhealthy as f64 => Some(Verdict::Ejected),
        0.0 if ejected > 0.0 => None,
        0.0 => Some(Verdict::Unhealthy),
        _ => None,
    }
}

/// A part is never more than the whole, even where both were read a moment apart.
fn at_most(part: Option<u64>, whole: Option<u64>) -> Option<u64> {
    part.zip(whole).map(|(part, whole)| part.min(whole))
}

/// The sum of those that are known, if any is.
fn sum<const N: usize>(parts: [Option<u64>; N]) -> Option<u64> {
    parts.into_iter().flatten().reduce(|a, b| a + b)
}
