//! Which series to ask for, and what each one counts: presets for Envoy's and Istio's metrics,
//! and the user's own templates.

use std::time::Duration;

use weir_engine::names::ClusterName;

use super::answer::Labels;
use super::query::{Query, QueryError, Values, escaped, regex_literal};

/// How to get samples from one query.
///
/// A preset asks for all its metrics in one query: so all are of the same moment, which two
/// queries around a scrape are not.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What people call it, in errors.
    pub name: String,
    /// What is asked.
    pub query: Query,
    /// What the found series count.
    pub rules: Vec<Rule>,
    /// Who reports.
    pub reporter: Naming,
    /// Which client cluster it is about.
    pub cluster: Naming,
    /// Which endpoint; none: the cluster as a whole.
    pub endpoint: Option<Naming>,
}

/// Where a name comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Always the same.
    Fixed(String),
    /// A label's value.
    Label(String),
    /// The host of a label's `host:port`, with another port: metrics are often served on one of
    /// their own.
    HostOf {
        /// The label.
        label: String,
        /// The port under which proxies know the endpoint.
        port: u16,
    },
    /// The values of two labels, `first/second`.
    Pair(&'static str, &'static str),
}

impl Naming {
    /// The name that these labels give; nothing without the label.
    pub(super) fn of(&self, labels: &Labels) -> Option<String> {
        match self {
            Self::Fixed(name) => Some(name.clone()),
            Self::Label(label) => labels.get(label).filter(|value| !value.is_empty()).cloned(),
            Self::HostOf { label, port } => {
                let (host, _) = labels.get(label)?.rsplit_once(':')?;
                Some(format!("{host}:{port}"))
            }
            Self::Pair(first, second) => {
                let of = |label: &str| labels.get(label).filter(|value| !value.is_empty());
                Some(format!("{}/{}", of(first)?, of(second)?))
            }
        }
    }
}

/// What a metric counts. A series of the metric for which the condition does not hold counts
/// nothing of it, which is known then: a service without 5xx responses has zero errors.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The metric's name; none: whatever the query finds.
    pub metric: Option<String>,
    /// Which of its series.
    pub when: When,
    /// What they count.
    pub what: What,
}

/// A condition on a series' labels.
#[derive(Clone, Debug)]
pub enum When {
    /// None.
    Always,
    /// A label's value begins so.
    StartsWith(&'static str, &'static str),
    /// A label's value has one of these words, separated by commas.
    HasWord(&'static str, &'static [&'static str]),
}

impl When {
    pub(super) fn holds(&self, labels: &Labels) -> bool {
        let of = |label: &str| labels.get(label).map_or("", String::as_str);
        match self {
            Self::Always => true,
            Self::StartsWith(label, start) => of(label).starts_with(start),
            Self::HasWord(label, words) => of(label).split(',').any(|word| words.contains(&word)),
        }
    }
}

/// What a series counts.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum What {
    /// Requests that ended.
    Requests,
    /// Of these, failed.
    Errors,
    /// Of the errors, timeouts.
    Timeouts,
    /// Of the errors, those that never reached the endpoint.
    LocalFailures,
    /// Requests up to the latency in label `le`, given in units of so many milliseconds.
    LatencyWithin(f64),
    /// Sum of latencies in units of so many milliseconds.
    LatencySum(f64),
}

pub(super) fn rule(metric: &str, when: When, what: What) -> Rule {
    Rule { metric: Some(metric.to_owned()), when, what }
}

/// The user's own query for one kind of count. A plain selector is best: its raw samples show
/// restarts and their own times; of a computed value neither can be known, so a fall is unknown.
pub fn template(query: Query, what: What) -> Recipe {
    Recipe {
        name: format!("query {:?}", query.as_str()),
        query,
        rules: vec![Rule { metric: None, when: When::Always, what }],
        reporter: Naming::Label("instance".to_owned()),
        cluster: Naming::Label("envoy_cluster_name".to_owned()),
        endpoint: None,
    }
}

/// Envoy's own metrics of these client clusters, per endpoint (where `per_endpoint_stats` is on)
/// and as a whole. Of clusters with a dot in their name Envoy tears the latter's names apart; for
/// those take a template.
pub fn envoy(clusters: &[ClusterName]) -> Result<Vec<Recipe>, QueryError> {
    let names: Vec<String> = clusters.iter().map(|name| regex_literal(name.as_str())).collect();
    let names = escaped(&names.join("|"), '"');
    let of_clusters = if clusters.is_empty() {
        r#"envoy_cluster_name!="""#.to_owned()
    } else {
        format!(r#"envoy_cluster_name=~"{names}""#)
    };
    let query = |metrics: &str| {
        Query::render(&format!(r#"{{__name__=~"{metrics}",{of_clusters}}}"#), &Values::new())
    };
    let recipe = |name: &str, query: Query, rules: Vec<Rule>, endpoint: Option<Naming>| Recipe {
        name: name.to_owned(),
        query,
        rules,
        reporter: Naming::Label("instance".to_owned()),
        cluster: Naming::Label("envoy_cluster_name".to_owned()),
        endpoint,
    };
    Ok(vec![
        recipe(
            "envoy endpoints",
            query("envoy_cluster_endpoint_(rq_(success|error|timeout)|cx_connect_fail)")?,
            envoy_endpoint_rules(),
            Some(Naming::Label("envoy_endpoint_address".to_owned())),
        ),
        recipe(
            "envoy clusters",
            query(concat!(
                "envoy_cluster_upstream_(rq_(completed|xx|timeout|per_try_timeout",
                "|pending_overflow|pending_failure_eject|time_bucket|time_sum)|cx_none_healthy)"
            ))?,
            envoy_cluster_rules(),
            None,
        ),
    ])
}

fn envoy_endpoint_rules() -> Vec<Rule> {
    vec![
        rule("envoy_cluster_endpoint_rq_success", When::Always, What::Requests),
        rule("envoy_cluster_endpoint_rq_error", When::Always, What::Requests),
        rule("envoy_cluster_endpoint_rq_error", When::Always, What::Errors),
        rule("envoy_cluster_endpoint_rq_timeout", When::Always, What::Timeouts),
        rule("envoy_cluster_endpoint_cx_connect_fail", When::Always, What::LocalFailures),
    ]
}

fn envoy_cluster_rules() -> Vec<Rule> {
    let failed = When::StartsWith("envoy_response_code_class", "5");
    vec![
        rule("envoy_cluster_upstream_rq_completed", When::Always, What::Requests),
        rule("envoy_cluster_upstream_rq_xx", failed, What::Errors),
        rule("envoy_cluster_upstream_rq_timeout", When::Always, What::Timeouts),
        rule("envoy_cluster_upstream_rq_per_try_timeout", When::Always, What::Timeouts),
        rule("envoy_cluster_upstream_rq_pending_overflow", When::Always, What::LocalFailures),
        rule("envoy_cluster_upstream_rq_pending_failure_eject", When::Always, What::LocalFailures),
        rule("envoy_cluster_upstream_cx_none_healthy", When::Always, What::LocalFailures),
        rule("envoy_cluster_upstream_rq_time_bucket", When::Always, What::LatencyWithin(1.0)),
        rule("envoy_cluster_upstream_rq_time_sum", When::Always, What::LatencySum(1.0)),
    ]
}

/// A service as Istio's standard metrics know it.
#[derive(Clone, Debug)]
pub struct Istio {
    /// Label `destination_service_namespace`.
    pub namespace: String,
    /// Label `destination_service_name`.
    pub name: String,
    /// The client cluster to report it as.
    pub cluster: ClusterName,
    /// Which endpoint a series is about: the label `pod` or `instance` of the destination's own
    /// sidecar, which is who reports.
    pub endpoint: Naming,
}

/// Istio's standard metrics of a service, as its endpoints' own sidecars report them.
pub fn istio(service: &Istio) -> Result<Vec<Recipe>, QueryError> {
    let query = concat!(
        r#"{__name__=~"istio_requests_total|istio_request_duration_milliseconds_(bucket|sum)","#,
        r#"reporter="destination",destination_service_namespace="{{namespace}}","#,
        r#"destination_service_name="{{name}}"}"#
    );
    let values = Values::from([("namespace", &*service.namespace), ("name", &*service.name)]);
    Ok(vec![Recipe {
        name: format!("istio {}/{}", service.namespace, service.name),
        query: Query::render(query, &values)?,
        rules: istio_rules(),
        reporter: service.endpoint.clone(),
        cluster: Naming::Fixed(service.cluster.as_str().to_owned()),
        endpoint: Some(service.endpoint.clone()),
    }])
}

pub(super) fn istio_rules() -> Vec<Rule> {
    let requests = "istio_requests_total";
    let flags = "response_flags";
    let latency = "istio_request_duration_milliseconds";
    vec![
        rule(requests, When::Always, What::Requests),
        rule(requests, When::StartsWith("response_code", "5"), What::Errors),
        rule(requests, When::HasWord(flags, &["UT", "SI"]), What::Timeouts),
        rule(requests, When::HasWord(flags, &["UF", "UH", "UO"]), What::LocalFailures),
        rule(&format!("{latency}_bucket"), When::Always, What::LatencyWithin(1.0)),
        rule(&format!("{latency}_sum"), When::Always, What::LatencySum(1.0)),
    ]
}

impl Recipe {
    /// Asks for raw samples where that is possible.
    #[must_use]
    pub(super) fn over(mut self, lookback: Duration) -> Self {
        self.query = self.query.over(lookback);
        self
    }
}
