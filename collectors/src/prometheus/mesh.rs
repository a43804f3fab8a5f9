//! Queries for all services of a mesh at once, for whoever has no list of them: the past of a
//! server is asked so.
//!
//! A service is the client cluster `namespace/name` where the mesh's metrics say both, and else
//! the Envoy cluster. An endpoint is whatever address the metrics have.

use super::query::{Query, QueryError, Values};
use super::recipe::{self, Naming, Recipe, What, When, rule};

/// Whose metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mesh {
    /// Istio's standard metrics, as the destinations' sidecars report them.
    Istio,
    /// Linkerd's, as the clients' proxies report them: these know the endpoint's address.
    Linkerd,
    /// Envoy's own, per endpoint and per cluster.
    Envoy,
}

impl Mesh {
    /// All of them, the most telling first: where Istio counts, Envoy's clusters often do too.
    pub const ALL: [Self; 3] = [Self::Istio, Self::Linkerd, Self::Envoy];

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Istio => "istio",
            Self::Linkerd => "linkerd",
            Self::Envoy => "envoy",
        }
    }

    /// A selector of the one metric without which nothing can be counted per endpoint.
    pub fn essential(self) -> &'static str {
        match self {
            Self::Istio => r#"istio_requests_total{reporter="destination"}"#,
            Self::Linkerd => r#"response_total{direction="outbound",dst_service!=""}"#,
            Self::Envoy => "envoy_cluster_endpoint_rq_success",
        }
    }

    /// What to ask.
    pub fn recipes(self) -> Result<Vec<Recipe>, QueryError> {
        match self {
            Self::Istio => istio(),
            Self::Linkerd => linkerd(),
            Self::Envoy => recipe::envoy(&[]),
        }
    }
}

fn istio() -> Result<Vec<Recipe>, QueryError> {
    let query = concat!(
        r#"{__name__=~"istio_requests_total|istio_request_duration_milliseconds_(bucket|sum)","#,
        r#"reporter="destination",destination_service_name!=""}"#
    );
    let endpoint = Naming::Label("instance".to_owned());
    Ok(vec![Recipe {
        name: "istio".to_owned(),
        query: Query::render(query, &Values::new())?,
        rules: recipe::istio_rules(),
        reporter: endpoint.clone(),
        cluster: Naming::Pair("destination_service_namespace", "destination_service_name"),
        endpoint: Some(endpoint),
    }])
}

fn linkerd() -> Result<Vec<Recipe>, QueryError> {
    let query = concat!(
        r#"{__name__=~"response_total|response_latency_ms_(bucket|sum)","#,
        r#"direction="outbound",dst_service!="",target_addr!=""}"#
    );
    let responses = "response_total";
    Ok(vec![Recipe {
        name: "linkerd".to_owned(),
        query: Query::render(query, &Values::new())?,
        rules: vec![
            rule(responses, When::Always, What::Requests),
            rule(responses, When::StartsWith("classification", "failure"), What::Errors),
            rule(responses, When::StartsWith("status_code", "504"), What::Timeouts),
            rule("response_latency_ms_bucket", When::Always, What::LatencyWithin(1.0)),
            rule("response_latency_ms_sum", When::Always, What::LatencySum(1.0)),
        ],
        reporter: Naming::Label("instance".to_owned()),
        cluster: Naming::Pair("dst_namespace", "dst_service"),
        endpoint: Some(Naming::Label("target_addr".to_owned())),
    }])
}
