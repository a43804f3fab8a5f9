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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_engine::units::Moment;

    use super::super::answer;
    use super::super::track::{Clocks, Tracks};
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    /// (cluster, endpoint, requests, errors, timeouts) of series that grew by so much.
    #[track_caller]
    fn check(mesh: Mesh, series: &[(&str, &str, u64)], expected: (&str, &str, u64, u64, u64)) {
        let series: Vec<String> = series
            .iter()
            .map(|(name, labels, by)| {
                format!(
                    r#"{{"metric":{{"__name__":"{name}","instance":"10.0.0.9:4191",{labels}}},"values":[[1699999985,"5"],[1700000000,"{}"]]}}"#,
                    5 + by
                )
            })
            .collect();
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#,
            series.join(",")
        );
        let clocks = Clocks {
            ours: Moment::from_millis(NOW.cast_unsigned()),
            theirs: NOW,
            stale_after: Duration::from_secs(60),
            gap_max: Duration::from_secs(120),
        };
        let recipe = mesh.recipes().unwrap().remove(0);
        let answer = answer::decode(body.as_bytes()).unwrap();
        let reports = Tracks::default().absorb(&recipe, answer, clocks);
        let [report] = &reports[..] else { panic!("{reports:?}") };
        let sample = &report.samples[0];
        let counts = [sample.requests, sample.errors, sample.timeouts].map(Option::unwrap);
        let [requests, errors, timeouts] = counts;
        let seen = (report.cluster.as_str(), sample.endpoint.as_str(), requests, errors, timeouts);
        assert_eq!(seen, expected);
    }

    #[test]
    fn linkerds_clients_tell_of_endpoints() {
        let labels = |more: &str| {
            format!(
                r#""direction":"outbound","dst_namespace":"demo","dst_service":"shop","target_addr":"10.0.0.1:8080",{more}"#
            )
        };
        let good = labels(r#""classification":"success","status_code":"200""#);
        let bad = labels(r#""classification":"failure","status_code":"500""#);
        let late = labels(r#""classification":"failure","status_code":"504""#);
        check(
            Mesh::Linkerd,
            &[
                ("response_total", &good, 90),
                ("response_total", &bad, 7),
                ("response_total", &late, 3),
            ],
            ("demo/shop", "10.0.0.1:8080", 100, 10, 3),
        );
    }

    #[test]
    fn istios_sidecars_tell_of_themselves() {
        let labels = |more: &str| {
            format!(
                r#""reporter":"destination","destination_service_namespace":"demo","destination_service_name":"shop",{more}"#
            )
        };
        let good = labels(r#""response_code":"200","response_flags":"-""#);
        let late = labels(r#""response_code":"504","response_flags":"UT""#);
        check(
            Mesh::Istio,
            &[("istio_requests_total", &good, 8), ("istio_requests_total", &late, 2)],
            ("demo/shop", "10.0.0.9:4191", 10, 2, 2),
        );
    }

    #[test]
    fn what_is_essential_can_be_asked_for() {
        for mesh in Mesh::ALL {
            Query::render(mesh.essential(), &Values::new()).unwrap();
            assert!(!mesh.recipes().unwrap().is_empty());
        }
    }
}
