//! What the configuration says of clusters that others write.

use weir_engine::topology::{BalancerPolicy, ClientKind, ClusterForm};
use weir_engine::units::Ratio;
use weir_policies::source::Span;

use super::check::Check;
use super::file;

impl file::Balancer {
    /// Whether it says no more than who the clients are, as it may of clusters that Weir writes.
    pub(super) fn is_only_of_a_client(&self) -> bool {
        self.policy.is_none()
            && self.healthy_panic_threshold.is_none()
            && ![self.locality_weighted, self.zone_aware, self.slow_start].contains(&true)
    }
}

/// What such a cluster's proxies make of endpoint sets.
pub(super) fn form(balancer: &file::Balancer, field: &str, check: &mut Check<'_>) -> ClusterForm {
    let policy = match balancer.policy.as_ref().map(|policy| policy.value.as_str()) {
        None | Some("LEAST_REQUEST") => BalancerPolicy::LeastRequest,
        Some("ROUND_ROBIN") => BalancerPolicy::RoundRobin,
        Some("RANDOM") => BalancerPolicy::Random,
        Some(other) => {
            let what = format!("{other:?} is no policy whose shares Weir knows");
            let span = balancer.policy.as_ref().map_or(Span { start: 0, end: 0 }, |p| p.span);
            check.wrong(span, field, what, "use LEAST_REQUEST, ROUND_ROBIN or RANDOM");
            BalancerPolicy::LeastRequest
        }
    };
    let client = match balancer.client.as_ref().map(|client| client.value.as_str()) {
        None | Some("envoy") => ClientKind::Envoy,
        Some("grpc") => ClientKind::Grpc,
        Some(other) => {
            let what = format!("{other:?} is no client that Weir knows");
            let span = balancer.client.as_ref().map_or(Span { start: 0, end: 0 }, |c| c.span);
            check.wrong(span, field, what, "use envoy or grpc");
            ClientKind::Envoy
        }
    };
    let panic_threshold = balancer
        .healthy_panic_threshold
        .as_ref()
        .map_or(Some(Ratio::clamped(0.5)), |percent| Ratio::percent(percent.value));
    if let (None, Some(percent)) = (panic_threshold, &balancer.healthy_panic_threshold) {
        let what = format!("{} is no percentage", percent.value);
        check.wrong(percent.span, field, what, "write a number from 0 to 100");
    }
    ClusterForm {
        client,
        policy,
        locality_weighted: balancer.locality_weighted,
        zone_aware: balancer.zone_aware,
        slow_start: balancer.slow_start,
        panic_threshold: panic_threshold.unwrap_or(Ratio::clamped(0.5)),
    }
}
