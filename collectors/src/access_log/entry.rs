//! What one access log entry says of one attempt at one endpoint.
//!
//! The logger stands in the router's `upstream_log`, so that an entry is one attempt, retries
//! included, and its times count from that attempt's start. What Envoy 1.40 puts into such an
//! entry (measured):
//!
//! | the attempt | code | flags | first tx | last rx | address |
//! |---|---|---|---|---|---|
//! | is answered, also with a 5xx | yes | none | yes | yes | yes |
//! | gets a 5xx which is retried | 5xx | none | yes | **none** | yes |
//! | breaks off after the headers | yes | `upstream_protocol_error` | yes | none | yes |
//! | is reset before an answer | none | `upstream_connection_termination` | yes | none | yes |
//! | passes `per_try_timeout` | none | `upstream_request_timeout` | yes | none | yes |
//! | passes the route's timeout (504) | none | **none** | yes | none | yes |
//! | is given up by the client | none | **none** | yes | none | yes |
//! | cannot connect | none | `upstream_connection_failure` | none | none | yes |
//! | meets a circuit breaker | none | `upstream_overflow` | none | none | **none** |
//!
//! Where no endpoint is healthy there is no entry at all. `upstream_cluster` is empty wherever the
//! address is missing, and `sample_rate` is always 0. `response_code_details` is empty.
//!
//! So of the common properties these are used: `upstream_cluster`, `upstream_remote_address`,
//! `response_flags`, `time_to_first_upstream_tx_byte`, `time_to_last_upstream_rx_byte`,
//! `duration` and `access_log_type`; and the response's code. A latency runs from the first byte
//! sent upstream to the last byte received, or to the entry's end where that is missing: the time
//! so far. Waiting for a connection is the proxy's own time and not in it.
//!
//! An attempt without code and flags is taken for a timeout. A client's giving up looks the same,
//! but taking a hung endpoint's requests for the clients' whims would hide it altogether, while
//! clients that give up do so at all endpoints alike, and health is judged among peers.

use std::time::Duration;

use envoy_types::pb::envoy::data::accesslog::v3 as log;
use envoy_types::pb::google::protobuf;
use weir_engine::names::{Address, ClusterName};
use weir_engine::observation::Sample;
use weir_engine::units::Millis;

use crate::load_reports::peer;

/// What takes longer is a stream or a tunnel, not a request: its length says nothing of how fast
/// the endpoint works. One hour-long stream would outweigh a million requests in a sum.
const LATENCY_MAX: Duration = Duration::from_secs(300);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With an answer that is no 5xx.
    Success,
    /// With a 5xx, a reset or half an answer.
    Error,
    /// Without an answer in time.
    Timeout,
    /// Before it reached the endpoint.
    LocalFailure,
}

/// One attempt at one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attempt {
    pub(crate) cluster: ClusterName,
    pub(crate) endpoint: Address,
    pub(crate) outcome: Outcome,
    /// Nothing where it never reached the endpoint or was no request.
    pub(crate) latency: Option<Millis>,
}

impl Attempt {
    /// Reads an entry; nothing where it is not the end of an attempt at a known endpoint.
    pub(crate) fn read(entry: &log::HttpAccessLogEntry) -> Option<Self> {
        let common = entry.common_properties.as_ref()?;
        if !ends_an_attempt(common) || common.upstream_cluster.is_empty() {
            return None;
        }
        let cluster = peer::checked("upstream_cluster", &common.upstream_cluster).ok()?;
        let endpoint = peer::address_of(common.upstream_remote_address.as_ref())?;
        let code = entry.response.as_ref().and_then(|response| response.response_code);
        let code = code.map(|code| code.value);
        let outcome = outcome_of(common.response_flags.unwrap_or_default(), code)?;
        // An upgraded connection (101) is a tunnel.
        let timed = outcome != Outcome::LocalFailure && code != Some(101);
        let latency = timed.then(|| latency_of(common)).flatten();
        Some(Self { cluster: cluster.into(), endpoint, outcome, latency })
    }

    /// Adds the attempt to its endpoint's counts.
    pub(crate) fn count_into(&self, sample: &mut Sample) {
        let add = |count: &mut Option<u64>, counts: bool| {
            *count = Some(count.unwrap_or(0) + u64::from(counts));
        };
        add(&mut sample.requests, true);
        add(&mut sample.errors, self.outcome != Outcome::Success);
        add(&mut sample.timeouts, self.outcome == Outcome::Timeout);
        add(&mut sample.local_failures, self.outcome == Outcome::LocalFailure);
        if let Some(latency) = self.latency {
            sample.latency.get_or_insert_default().record(latency);
        }
    }
}

/// Periodic entries and those of a start tell of attempts that are still under way.
fn ends_an_attempt(common: &log::AccessLogCommon) -> bool {
    use log::AccessLogType as Type;
    let kind = Type::try_from(common.access_log_type).unwrap_or(Type::NotSet);
    kind == Type::UpstreamEnd || kind == Type::DownstreamEnd || kind == Type::NotSet
}

/// Nothing where the client ended it, which is no word on the endpoint.
fn outcome_of(flags: log::ResponseFlags, code: Option<u32>) -> Option<Outcome> {
    if never_left(&flags) {
        return Some(Outcome::LocalFailure);
    }
    if timed_out(&flags) {
        return Some(Outcome::Timeout);
    }
    if flags.upstream_remote_reset
        || flags.upstream_connection_termination
        || flags.upstream_protocol_error
        || flags.local_reset
    {
        return Some(Outcome::Error);
    }
    if flags.downstream_connection_termination
        || flags.downstream_remote_reset
        || flags.downstream_protocol_error
    {
        return None;
    }
    Some(match code {
        None | Some(0) => Outcome::Timeout,
        Some(code) if code >= 500 => Outcome::Error,
        Some(_) => Outcome::Success,
    })
}

fn never_left(flags: &log::ResponseFlags) -> bool {
    flags.upstream_connection_failure
        || flags.upstream_overflow
        || flags.no_healthy_upstream
        || flags.no_route_found
        || flags.no_cluster_found
        || flags.fault_injected
        || flags.rate_limited
        || flags.rate_limit_service_error
        || flags.unauthorized_details.is_some()
        || flags.overload_manager
        || flags.dns_resolution_failure
        || flags.failed_local_healthcheck
}

fn timed_out(flags: &log::ResponseFlags) -> bool {
    flags.upstream_request_timeout
        || flags.upstream_max_stream_duration_reached
        || flags.stream_idle_timeout
}

fn latency_of(common: &log::AccessLogCommon) -> Option<Millis> {
    let sent = length(common.time_to_first_upstream_tx_byte.as_ref())?;
    let end = length(common.time_to_last_upstream_rx_byte.as_ref())
        .or_else(|| length(common.duration.as_ref()))?;
    let latency = end.checked_sub(sent).filter(|latency| *latency <= LATENCY_MAX)?;
    Millis::new(latency.as_secs_f64() * 1e3)
}

fn length(duration: Option<&protobuf::Duration>) -> Option<Duration> {
    let duration = duration?;
    let nanos = u32::try_from(duration.nanos).ok().filter(|&nanos| nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(duration.seconds).ok()?, nanos))
}

#[cfg(test)]
pub(crate) mod tests;
