#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use super::*;
use crate::load_reports::peer::tests::socket_address;
use log::{AccessLogType, ResponseFlags};
use proptest::prelude::*;
use prost::Message;

fn millis(ms: f64) -> protobuf::Duration {
    let length = Duration::from_secs_f64(ms / 1e3);
    protobuf::Duration {
        seconds: i64::try_from(length.as_secs()).unwrap(),
        nanos: i32::try_from(length.subsec_nanos()).unwrap(),
    }
}

/// An entry of an attempt which was answered: first tx after 0.4 ms, last rx after 10.4 ms.
pub(crate) fn answered(cluster: &str, port: u32, code: u32) -> log::HttpAccessLogEntry {
    log::HttpAccessLogEntry {
        common_properties: Some(log::AccessLogCommon {
            upstream_cluster: cluster.to_owned(),
            upstream_remote_address: Some(socket_address("10.0.0.1", port)),
            time_to_first_upstream_tx_byte: Some(millis(0.4)),
            time_to_last_upstream_rx_byte: Some(millis(10.4)),
            duration: Some(millis(11.0)),
            access_log_type: AccessLogType::UpstreamEnd.into(),
            ..log::AccessLogCommon::default()
        }),
        response: Some(log::HttpResponseProperties {
            response_code: Some(protobuf::UInt32Value { value: code }),
            ..log::HttpResponseProperties::default()
        }),
        ..log::HttpAccessLogEntry::default()
    }
}

/// The same without an answer: no code, nothing received.
fn unanswered(flags: ResponseFlags, reached: bool) -> log::HttpAccessLogEntry {
    let mut entry = answered("shop", 1, 200);
    entry.response = Some(log::HttpResponseProperties::default());
    let common = entry.common_properties.as_mut().unwrap();
    common.time_to_last_upstream_rx_byte = None;
    common.response_flags = Some(flags).filter(|flags| *flags != ResponseFlags::default());
    if !reached {
        common.time_to_first_upstream_tx_byte = None;
    }
    entry
}

#[track_caller]
fn check(entry: &log::HttpAccessLogEntry, outcome: Outcome, latency_ms: Option<f64>) {
    let attempt = Attempt::read(entry).expect("the entry is of an attempt");
    assert_eq!(attempt.cluster.as_str(), "shop");
    assert_eq!(attempt.endpoint.as_str(), "10.0.0.1:1");
    assert_eq!(attempt.outcome, outcome);
    let found = attempt.latency.map(|latency| (latency.value() * 1e3).round() / 1e3);
    assert_eq!(found, latency_ms);
}

#[test]
fn answers_are_timed_from_first_byte_out_to_last_byte_in() {
    check(&answered("shop", 1, 200), Outcome::Success, Some(10.0));
    check(&answered("shop", 1, 404), Outcome::Success, Some(10.0));
    check(&answered("shop", 1, 500), Outcome::Error, Some(10.0));
    check(&answered("shop", 1, 503), Outcome::Error, Some(10.0));
}

#[test]
fn attempts_without_an_end_are_timed_to_their_entry() {
    let mut retried = answered("shop", 1, 500);
    retried.common_properties.as_mut().unwrap().time_to_last_upstream_rx_byte = None;
    check(&retried, Outcome::Error, Some(10.6));
    let no_flags = ResponseFlags::default();
    check(&unanswered(no_flags, true), Outcome::Timeout, Some(10.6));
    let per_try = ResponseFlags { upstream_request_timeout: true, ..no_flags };
    check(&unanswered(per_try, true), Outcome::Timeout, Some(10.6));
    let reset = ResponseFlags { upstream_connection_termination: true, ..no_flags };
    check(&unanswered(reset, true), Outcome::Error, Some(10.6));
    let mut half = answered("shop", 1, 200);
    let common = half.common_properties.as_mut().unwrap();
    common.response_flags = Some(ResponseFlags { upstream_protocol_error: true, ..no_flags });
    common.time_to_last_upstream_rx_byte = None;
    check(&half, Outcome::Error, Some(10.6));
}

#[test]
fn what_never_reached_the_endpoint_is_not_timed() {
    let refused = ResponseFlags { upstream_connection_failure: true, ..ResponseFlags::default() };
    check(&unanswered(refused, false), Outcome::LocalFailure, None);
    check(&unanswered(refused, true), Outcome::LocalFailure, None);
}

#[track_caller]
fn check_flag(raise: impl Fn(&mut ResponseFlags), code: Option<u32>, expected: Option<Outcome>) {
    let mut flags = ResponseFlags::default();
    raise(&mut flags);
    assert_eq!(outcome_of(flags, code), expected);
}

#[test]
fn each_flag_says_where_the_attempt_failed() {
    let local = Some(Outcome::LocalFailure);
    check_flag(|flags| flags.upstream_connection_failure = true, Some(503), local);
    check_flag(|flags| flags.upstream_overflow = true, Some(503), local);
    check_flag(|flags| flags.no_healthy_upstream = true, Some(503), local);
    check_flag(|flags| flags.fault_injected = true, Some(500), local);
    check_flag(|flags| flags.rate_limited = true, Some(429), local);
    check_flag(|flags| flags.overload_manager = true, Some(503), local);
    check_flag(|flags| flags.dns_resolution_failure = true, Some(503), local);
    let timeout = Some(Outcome::Timeout);
    check_flag(|flags| flags.upstream_request_timeout = true, Some(504), timeout);
    check_flag(|flags| flags.upstream_max_stream_duration_reached = true, None, timeout);
    check_flag(|flags| flags.stream_idle_timeout = true, Some(408), timeout);
    let error = Some(Outcome::Error);
    check_flag(|flags| flags.upstream_remote_reset = true, None, error);
    check_flag(|flags| flags.upstream_connection_termination = true, Some(503), error);
    check_flag(|flags| flags.upstream_protocol_error = true, Some(200), error);
    check_flag(|flags| flags.local_reset = true, None, error);
    check_flag(|flags| flags.downstream_connection_termination = true, None, None);
    check_flag(|flags| flags.downstream_remote_reset = true, Some(200), None);
    // Of no weight by themselves: the code decides.
    check_flag(|flags| flags.upstream_retry_limit_exceeded = true, Some(500), error);
    check_flag(|flags| flags.delay_injected = true, Some(200), Some(Outcome::Success));
}

#[test]
fn tunnels_and_streams_are_not_timed() {
    check(&answered("shop", 1, 101), Outcome::Success, None);
    let mut stream = answered("shop", 1, 200);
    stream.common_properties.as_mut().unwrap().time_to_last_upstream_rx_byte =
        Some(millis(300_000.5));
    check(&stream, Outcome::Success, None);
}

#[track_caller]
fn check_left_out(change: impl Fn(&mut log::AccessLogCommon)) {
    let mut entry = answered("shop", 1, 200);
    assert!(Attempt::read(&entry).is_some());
    change(entry.common_properties.as_mut().unwrap());
    assert_eq!(Attempt::read(&entry), None);
}

#[test]
fn entries_of_no_endpoint_are_left_out() {
    check_left_out(|common| common.upstream_cluster.clear());
    check_left_out(|common| common.upstream_cluster = "x".repeat(2_000));
    check_left_out(|common| common.upstream_remote_address = None);
    check_left_out(|common| common.access_log_type = AccessLogType::DownstreamPeriodic.into());
    check_left_out(|common| common.access_log_type = AccessLogType::DownstreamStart.into());
    check_left_out(|common| {
        common.response_flags = Some(ResponseFlags {
            downstream_connection_termination: true,
            ..ResponseFlags::default()
        });
    });
    assert_eq!(Attempt::read(&log::HttpAccessLogEntry::default()), None);
}

#[test]
fn times_that_run_backwards_are_not_times() {
    for (first, last) in [(12.0, 10.0), (12.0, 0.0)] {
        let mut entry = answered("shop", 1, 200);
        let common = entry.common_properties.as_mut().unwrap();
        common.time_to_first_upstream_tx_byte = Some(millis(first));
        common.time_to_last_upstream_rx_byte = Some(millis(last));
        check(&entry, Outcome::Success, None);
    }
}

#[test]
fn counts_tell_errors_timeouts_and_local_failures_apart() {
    let mut sample = Sample::default();
    let refused = ResponseFlags { upstream_connection_failure: true, ..ResponseFlags::default() };
    for entry in [
        answered("shop", 1, 200),
        answered("shop", 1, 500),
        unanswered(ResponseFlags::default(), true),
        unanswered(refused, false),
    ] {
        Attempt::read(&entry).unwrap().count_into(&mut sample);
    }
    assert_eq!((sample.requests, sample.errors), (Some(4), Some(3)));
    assert_eq!((sample.timeouts, sample.local_failures), (Some(1), Some(1)));
    let latency = sample.latency.unwrap();
    assert!((latency.count - 3.0).abs() < 1e-9 && (latency.sum_ms - 30.6).abs() < 1e-6);
}

proptest! {
    /// Arbitrary bytes never get further than absence, and a latency is a finite length.
    #[test]
    fn any_bytes_are_left_out_or_sound(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(entry) = log::HttpAccessLogEntry::decode(bytes.as_slice()) {
            let _attempt = Attempt::read(&entry);
        }
    }

    #[test]
    fn any_times_give_a_bounded_latency_or_none(
        times in prop::array::uniform3((any::<i64>(), any::<i32>())),
        flags in any::<u16>(),
        code in prop::option::of(any::<u32>()),
    ) {
        let mut entry = answered("shop", 1, 200);
        let time = |(seconds, nanos)| Some(protobuf::Duration { seconds, nanos });
        let common = entry.common_properties.as_mut().unwrap();
        common.time_to_first_upstream_tx_byte = time(times[0]);
        common.time_to_last_upstream_rx_byte = time(times[1]);
        common.duration = time(times[2]);
        common.response_flags = Some(ResponseFlags {
            upstream_request_timeout: flags & 1 > 0,
            upstream_overflow: flags & 2 > 0,
            upstream_remote_reset: flags & 4 > 0,
            downstream_connection_termination: flags & 8 > 0,
            ..ResponseFlags::default()
        });
        entry.response.as_mut().unwrap().response_code =
            code.map(|value| protobuf::UInt32Value { value });
        if let Some(attempt) = Attempt::read(&entry) {
            prop_assert!(attempt.latency.is_none_or(|latency| latency.value() <= 300_000.0));
            prop_assert!(attempt.outcome != Outcome::LocalFailure || attempt.latency.is_none());
        }
    }
}
