//! Which of Envoy's series are worth keeping, and what each one counts.

use crate::exposition::line::Sample;

/// What a series says of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfEndpoint {
    /// Requests begun.
    Total,
    /// Requests ended well.
    Success,
    /// Requests ended badly.
    Error,
    /// Requests that timed out: part of the errors.
    Timeout,
    /// Connections that failed.
    ConnectFail,
    /// Gauge: requests in flight.
    Active,
    /// Gauge: 1 while the proxy holds it for healthy.
    Healthy,
}

/// What a series says of a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum OfCluster {
    /// Requests ended.
    Completed,
    /// Requests ended with a status of this class, 1 to 5.
    Class(u8),
    /// Requests that ran into the route's timeout.
    Timeout,
    /// Attempts that ran into their own timeout.
    TryTimeout,
    /// Requests refused by a circuit breaker.
    Overflow,
    /// Requests whose connection failed.
    ConnectFail,
    /// Times that no endpoint was left.
    NoneHealthy,
    /// Gauge: endpoints that outlier detection has out.
    Ejected,
    /// Latency: requests up to so many milliseconds.
    Within(f64),
    /// Latency: sum in milliseconds.
    Sum,
    /// Latency: requests.
    Count,
}

/// A series that is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Metric<'a> {
    /// Of one endpoint of a cluster.
    Endpoint { cluster: &'a str, endpoint: &'a str, what: OfEndpoint },
    /// Of a cluster by its name.
    Cluster { cluster: &'a str, what: OfCluster },
    /// Of a cluster with a dot in its name: Envoy keeps what stands before the first dot as the
    /// name and moves the rest into the metric's, mangled.
    Torn { head: &'a str, rest: &'a str, what: OfCluster },
}

const CLUSTER: &str = "envoy_cluster_name";
const ENDPOINT: &str = "envoy_endpoint_address";
const CLASS: &str = "envoy_response_code_class";

/// What a series says, if it is worth keeping.
pub(super) fn of<'a>(sample: &'a Sample<'_>) -> Option<Metric<'a>> {
    let name = sample.name.strip_prefix("envoy_cluster_")?;
    let cluster = sample.label(CLUSTER)?;
    if let Some(endpoint) = sample.label(ENDPOINT) {
        let what = of_endpoint(name.strip_prefix("endpoint_")?)?;
        return Some(Metric::Endpoint { cluster, endpoint, what });
    }
    let (metric, class) = kinds().find(|(metric, _)| name.ends_with(metric))?;
    let what = class.what(sample)?;
    match name.strip_suffix(metric)? {
        "" => Some(Metric::Cluster { cluster, what }),
        rest => Some(Metric::Torn { head: cluster, rest: rest.strip_suffix('_')?, what }),
    }
}

fn of_endpoint(name: &str) -> Option<OfEndpoint> {
    Some(match name {
        "rq_total" => OfEndpoint::Total,
        "rq_success" => OfEndpoint::Success,
        "rq_error" => OfEndpoint::Error,
        "rq_timeout" => OfEndpoint::Timeout,
        "cx_connect_fail" => OfEndpoint::ConnectFail,
        "rq_active" => OfEndpoint::Active,
        "healthy" => OfEndpoint::Healthy,
        _ => return None,
    })
}

/// A metric whose meaning may hang on a label.
#[derive(Clone, Copy)]
enum Kind {
    Plain(OfCluster),
    ByClass,
    ByBound,
}

impl Kind {
    fn what(self, sample: &Sample<'_>) -> Option<OfCluster> {
        match self {
            Self::Plain(what) => Some(what),
            Self::ByClass => match sample.label(CLASS)?.as_bytes() {
                [class @ b'1'..=b'5'] => Some(OfCluster::Class(class - b'0')),
                _ => None,
            },
            Self::ByBound => {
                let bound: f64 = sample.label("le")?.parse().ok()?;
                (!bound.is_nan()).then_some(OfCluster::Within(bound))
            }
        }
    }
}

fn kinds() -> impl Iterator<Item = (&'static str, Kind)> {
    [
        ("upstream_rq_completed", Kind::Plain(OfCluster::Completed)),
        ("upstream_rq_xx", Kind::ByClass),
        ("upstream_rq_time_bucket", Kind::ByBound),
        ("upstream_rq_time_sum", Kind::Plain(OfCluster::Sum)),
        ("upstream_rq_time_count", Kind::Plain(OfCluster::Count)),
        ("upstream_rq_timeout", Kind::Plain(OfCluster::Timeout)),
        ("upstream_rq_per_try_timeout", Kind::Plain(OfCluster::TryTimeout)),
        ("upstream_rq_pending_overflow", Kind::Plain(OfCluster::Overflow)),
        ("upstream_rq_pending_failure_eject", Kind::Plain(OfCluster::ConnectFail)),
        ("upstream_cx_none_healthy", Kind::Plain(OfCluster::NoneHealthy)),
        ("outlier_detection_ejections_active", Kind::Plain(OfCluster::Ejected)),
    ]
    .into_iter()
}

/// A name as Envoy writes it into a metric's.
pub(super) fn mangled(name: &str) -> String {
    name.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect()
}
