//! What proxies do with requests beside choosing: retries, connections, kinds of requests.

use core::time::Duration;

/// Retries as Envoy does them: a retry is sent after a back-off of a random part of 25 ms, doubled
/// with each one up to 250 ms, and is balanced anew. At any moment no more of a proxy's requests
/// are retried than its budget allows: a part of those in flight, and always a few.
///
/// Source: envoyproxy/envoy, source/common/router/retry_state_impl.cc and
/// source/common/upstream/resource_manager_impl.h (`RetryBudgetImpl::max`).
#[derive(Clone, Debug, PartialEq)]
pub struct Retries {
    /// Retries of one request at most.
    pub max: u32,
    /// Whether errors are retried. What a proxy itself refuses never is, as in Envoy.
    pub on_errors: bool,
    /// How long one try may take; then it is given up and tried again (`per_try_timeout`).
    pub per_try: Option<Duration>,
    /// Percentage of a proxy's requests in flight that may be retries (`budget_percent`).
    pub budget_percent: f64,
    /// Retries that are always allowed at once (`min_retry_concurrency`).
    pub concurrency_min: u32,
    /// Whether backends that were tried are picked again only after three other picks failed to
    /// avoid them (the `previous_hosts` predicate).
    pub avoids_previous: bool,
}

impl Retries {
    /// Retries of one proxy that may be under way while so many requests are in flight.
    pub(crate) fn allowed(&self, in_flight: u32) -> u32 {
        let part = libm::floor(self.budget_percent / 100.0 * f64::from(in_flight));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a count"
        )]
        let part = part.max(0.0) as u32;
        part.max(self.concurrency_min)
    }
}

/// HTTP/1.1 connections of a proxy to its backends, and Envoy's circuit breakers over all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Connections of one proxy. A backend to which there is none yet always gets one.
    pub max_connections: u32,
    /// Requests of one proxy that wait for a connection. More are refused.
    pub max_pending_requests: u32,
    /// Requests of one proxy under way. More are refused.
    pub max_requests: u32,
}

/// A kind of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// How many are of it, relative to the others'.
    pub share: f64,
    /// By how much it takes longer to serve than the scenario's service time.
    pub cost: f64,
}
