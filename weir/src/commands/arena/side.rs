//! What a rival is in Envoy's words.

use serde_json::{Value, json};
use weir_simulator::rivals::Rival;
use weir_simulator::rivals::outliers::Settings;

/// How a rival is played.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) rival: Rival,
    pub(super) via: Via,
}

/// What picks endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// Envoy, governed by Weir.
    Weir,
    /// Envoy by itself.
    Envoy,
    /// A proxy in this process: the simulator's balancer, over real sockets to the backends.
    Own,
}

impl Via {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir+envoy",
            Self::Envoy => "envoy",
            Self::Own => "own-proxy",
        }
    }
}

const WEIGHTED: &str = "envoy.load_balancing_policies.client_side_weighted_round_robin";
const WEIGHTED_TYPE: &str = "type.googleapis.com/envoy.extensions.load_balancing_policies\
                             .client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin";
const ADAPTIVE: &str = "envoy.filters.http.adaptive_concurrency";
const ADAPTIVE_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http\
                             .adaptive_concurrency.v3.AdaptiveConcurrency";

impl Side {
    /// The side of a rival, or why it cannot be played.
    pub(super) fn of(rival: Rival) -> Result<Self, String> {
        let via = match rival {
            Rival::Weir => Via::Weir,
            Rival::RoundRobin
            | Rival::Random
            | Rival::LeastRequest
            | Rival::LeastRequestOd
            | Rival::LeastRequestOdTuned
            | Rival::OrcaWrr
            | Rival::LeastRequestAdaptive => Via::Envoy,
            Rival::PeakEwma
            | Rival::PeakEwmaOd
            | Rival::Linkerd
            | Rival::Prequal
            | Rival::LeastRequestGradient2
            | Rival::Omniscient => Via::Own,
            Rival::L3 => {
                return Err("the arena cannot play l3: Envoy has no such balancer, and its \
                            controller needs reports that only the simulator makes; \
                            `weir simulate` can"
                    .to_owned());
            }
        };
        Ok(Self { rival, via })
    }

    /// What its clusters are like, which find their endpoints by `eds`, where it is Envoy's to
    /// have some: Weir writes its own.
    pub(super) fn cluster(self, eds: &Value) -> Option<Value> {
        let policy = match (self.via, self.rival) {
            (Via::Weir | Via::Own, _) => return None,
            (Via::Envoy, Rival::RoundRobin) => "ROUND_ROBIN",
            (Via::Envoy, Rival::Random) => "RANDOM",
            (Via::Envoy, _) => "LEAST_REQUEST",
        };
        let mut cluster = json!({
            "type": "EDS",
            "connect_timeout": "1s",
            "lb_policy": policy,
            "eds_cluster_config": eds,
        });
        if self.rival == Rival::OrcaWrr {
            let extension = json!({"name": WEIGHTED, "typed_config": {"@type": WEIGHTED_TYPE}});
            cluster["load_balancing_policy"] =
                json!({"policies": [{"typed_extension_config": extension}]});
        }
        if let Some(settings) = self.rival.detection() {
            cluster["outlier_detection"] = detection(&settings);
        }
        Some(cluster)
    }

    /// HTTP filters of its listeners.
    pub(super) fn filters(self) -> Vec<Value> {
        if self.rival != Rival::LeastRequestAdaptive {
            return Vec::new();
        }
        // As in the simulator: the filter's defaults, and the documentation's example for the
        // two intervals, which have none.
        let controller = json!({
            "concurrency_limit_params": {"concurrency_update_interval": "0.1s"},
            "min_rtt_calc_params": {"interval": "60s"},
        });
        let config = json!({"@type": ADAPTIVE_TYPE, "gradient_controller_config": controller});
        vec![json!({"name": ADAPTIVE, "typed_config": config})]
    }
}

/// Outlier detection as the simulator has it, said in full: no default of an Envoy's version
/// comes in between.
fn detection(settings: &Settings) -> Value {
    let seconds = |micros: u64| format!("{}s", micros as f64 / 1e6);
    let certain = |rule: bool| if rule { 100 } else { 0 };
    let mut detection = json!({
        "interval": seconds(settings.interval),
        "base_ejection_time": seconds(settings.base_ejection),
        "max_ejection_time": seconds(settings.max_ejection),
        "max_ejection_percent": settings.max_ejection_percent,
        "always_eject_one_host": settings.always_eject_one,
        "consecutive_5xx": settings.consecutive_5xx,
        "enforcing_success_rate": certain(settings.success_rate.is_some()),
        "enforcing_failure_percentage": certain(settings.failure_percentage.is_some()),
    });
    if let Some(rule) = &settings.success_rate {
        detection["success_rate_minimum_hosts"] = json!(rule.hosts_min);
        detection["success_rate_request_volume"] = json!(rule.requests_min);
        detection["success_rate_stdev_factor"] = json!((rule.deviations * 1_000.0).round());
    }
    if let Some(rule) = &settings.failure_percentage {
        detection["failure_percentage_minimum_hosts"] = json!(rule.hosts_min);
        detection["failure_percentage_request_volume"] = json!(rule.requests_min);
        detection["failure_percentage_threshold"] = json!(rule.threshold);
    }
    detection
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(rival: Rival) -> String {
        let side = Side::of(rival).unwrap();
        side.cluster(&json!({})).map_or(String::new(), |cluster| cluster.to_string())
    }

    #[track_caller]
    fn check(rival: Rival, parts: &[&str], absent: &[&str]) {
        let text = cluster(rival);
        for part in parts {
            assert!(text.contains(part), "{part} in {text}");
        }
        for part in absent {
            assert!(!text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn each_rival_is_what_it_is_called() {
        check(Rival::Weir, &[], &["lb_policy"]);
        check(Rival::RoundRobin, &["ROUND_ROBIN"], &["outlier"]);
        check(Rival::Random, &["RANDOM"], &["outlier"]);
        check(Rival::LeastRequest, &["LEAST_REQUEST"], &["outlier"]);
        let defaults = ["\"interval\":\"10s\"", "\"consecutive_5xx\":5", "stdev_factor\":1900.0"];
        check(Rival::LeastRequestOd, &defaults, &["failure_percentage_threshold"]);
        let tuned = ["\"interval\":\"1s\"", "\"max_ejection_percent\":50.0", "threshold\":20.0"];
        check(Rival::LeastRequestOdTuned, &tuned, &[]);
        check(Rival::OrcaWrr, &[WEIGHTED_TYPE], &["outlier"]);
        let adaptive = Side::of(Rival::LeastRequestAdaptive).unwrap();
        assert!(adaptive.filters()[0].to_string().contains(ADAPTIVE_TYPE));
    }

    #[test]
    fn who_cannot_be_played_is_told_why() {
        let why = Side::of(Rival::L3).unwrap_err();
        assert!(why.contains("l3") && why.contains("no such balancer"), "{why}");
        let played = Rival::ALL.into_iter().filter(|rival| Side::of(*rival).is_ok()).count();
        assert_eq!(played, Rival::ALL.len() - 1);
    }
}
