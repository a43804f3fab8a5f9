#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use super::*;
use crate::load_reports::peer::tests::{node, socket_address};
use envoy_types::pb::envoy::config::core::v3::Locality;
use envoy_types::pb::google::protobuf;
use proptest::prelude::*;
use prost::Message;

const NOW: Moment = Moment::from_millis(50_000);

/// (port, successes, errors, in progress)
type Row = (u32, u64, u64, u64);

fn endpoint(&(port, successes, errors, in_progress): &Row) -> UpstreamEndpointStats {
    UpstreamEndpointStats {
        address: Some(socket_address("10.0.0.1", port)),
        total_successful_requests: successes,
        total_error_requests: errors,
        total_requests_in_progress: in_progress,
        ..UpstreamEndpointStats::default()
    }
}

fn locality(rows: &[Row]) -> UpstreamLocalityStats {
    UpstreamLocalityStats {
        total_successful_requests: rows.iter().map(|row| row.1).fold(0, u64::saturating_add),
        total_error_requests: rows.iter().map(|row| row.2).fold(0, u64::saturating_add),
        upstream_endpoint_stats: rows.iter().map(endpoint).collect(),
        ..UpstreamLocalityStats::default()
    }
}

fn cluster(name: &str, localities: Vec<UpstreamLocalityStats>) -> ClusterStats {
    ClusterStats {
        cluster_name: name.to_owned(),
        upstream_locality_stats: localities,
        load_report_interval: Some(protobuf::Duration { seconds: 1, nanos: 6_000_000 }),
        ..ClusterStats::default()
    }
}

fn message(clusters: Vec<ClusterStats>) -> LoadStatsRequest {
    LoadStatsRequest { node: Some(node("n1", "z1")), cluster_stats: clusters }
}

fn session() -> Session {
    Session::open(&message(Vec::new()), "weir").unwrap()
}

fn absorb(clusters: Vec<ClusterStats>) -> Result<Vec<Report>, Malformed> {
    session().absorb(&message(clusters), NOW)
}

/// Reads one cluster's report as `address requests/errors`, then the totals.
#[track_caller]
fn check(stats: ClusterStats, expected: &[&str], totals: (u64, u64, u64)) {
    let reports = absorb(vec![stats]).unwrap();
    assert_eq!(reports.len(), 1);
    let samples: Vec<String> = reports[0]
        .samples
        .iter()
        .map(|s| format!("{} {}/{}", s.endpoint, s.requests.unwrap(), s.errors.unwrap()))
        .collect();
    assert_eq!(samples, expected);
    let whole = reports[0].totals.as_ref().unwrap();
    let found = (whole.requests.unwrap(), whole.errors.unwrap(), whole.local_failures.unwrap());
    assert_eq!(found, totals);
}

#[test]
fn a_report_carries_counts_per_endpoint_and_who_says_so() {
    let reports = absorb(vec![cluster("shop", vec![locality(&[(1, 9, 1, 2)])])]).unwrap();
    let report = &reports[0];
    assert_eq!((report.reporter.as_str(), report.zone.as_str()), ("n1", "z1"));
    assert_eq!((report.cluster.as_str(), report.source), ("shop", Source::LoadReport));
    assert_eq!((report.at, report.window), (NOW, Duration::from_millis(1_006)));
    assert!(report.complete);
    assert_eq!(report.samples[0].in_flight, None);
}

#[test]
fn counts_are_summed_over_localities_and_priorities() {
    let twice = vec![locality(&[(1, 9, 1, 0), (2, 5, 0, 0)]), locality(&[(1, 1, 1, 0)])];
    check(cluster("shop", twice), &["10.0.0.1:1 12/2", "10.0.0.1:2 5/0"], (17, 2, 0));
}

#[test]
fn dropped_requests_are_failures_of_no_endpoint() {
    let mut stats = cluster("shop", vec![locality(&[(1, 3, 0, 0)])]);
    stats.total_dropped_requests = 2;
    check(stats, &["10.0.0.1:1 3/0"], (5, 2, 2));
}

#[test]
fn an_idle_cluster_is_known_to_be_idle() {
    check(cluster("shop", Vec::new()), &[], (0, 0, 0));
    assert!(absorb(vec![cluster("shop", Vec::new())]).unwrap()[0].complete);
}

#[test]
fn localities_without_endpoints_leave_endpoints_unknown() {
    let mut grpc = locality(&[(1, 3, 1, 0)]);
    grpc.upstream_endpoint_stats.clear();
    let report = absorb(vec![cluster("shop", vec![grpc])]).unwrap().remove(0);
    assert!(!report.complete && report.samples.is_empty());
    assert_eq!(report.totals.unwrap().requests, Some(4));
}

/// As gRPC counts: the locality's own sums, in a locality of this sub-zone.
fn of_grpc(sub_zone: &str, successes: u64, errors: u64) -> UpstreamLocalityStats {
    let place =
        Locality { zone: "z1".to_owned(), sub_zone: sub_zone.to_owned(), ..Locality::default() };
    UpstreamLocalityStats {
        locality: Some(place),
        total_successful_requests: successes,
        total_error_requests: errors,
        ..UpstreamLocalityStats::default()
    }
}

#[test]
fn a_locality_that_is_named_by_an_endpoint_counts_for_it() {
    let each = vec![of_grpc("10.0.0.1:1", 3, 1), of_grpc("[::1]:2", 5, 0)];
    check(cluster("shop", each.clone()), &["10.0.0.1:1 4/1", "[::1]:2 5/0"], (9, 1, 0));
    assert!(absorb(vec![cluster("shop", each)]).unwrap()[0].complete);
    let other = vec![of_grpc("10.0.0.1:1", 3, 1), of_grpc("rack-7", 5, 0)];
    let report = absorb(vec![cluster("shop", other)]).unwrap().remove(0);
    assert!(!report.complete && report.samples.len() == 1);
}

#[test]
fn the_cluster_that_leads_to_weir_is_left_out() {
    let both = vec![cluster("weir", Vec::new()), cluster("shop", Vec::new())];
    let names: Vec<String> =
        absorb(both).unwrap().iter().map(|report| report.cluster.to_string()).collect();
    assert_eq!(names, ["shop"]);
}

#[track_caller]
fn check_interval(interval: Option<(i64, i32)>, expected: &Result<usize, Malformed>) {
    let mut stats = cluster("shop", vec![locality(&[(1, 3, 0, 0)])]);
    stats.load_report_interval =
        interval.map(|(seconds, nanos)| protobuf::Duration { seconds, nanos });
    assert_eq!(&absorb(vec![stats]).map(|reports| reports.len()), expected);
}

#[test]
fn an_interval_that_says_nothing_of_now_is_no_report() {
    check_interval(Some((1, 0)), &Ok(1));
    check_interval(Some((30, 0)), &Ok(1));
    check_interval(Some((30, 1)), &Ok(0));
    check_interval(Some((i64::MAX, 0)), &Ok(0));
    check_interval(Some((0, 0)), &Ok(0));
    check_interval(None, &Ok(0));
    let bad = || Err(Malformed::BadInterval("shop".to_owned()));
    check_interval(Some((-1, 0)), &bad());
    check_interval(Some((1, -1)), &bad());
    check_interval(Some((0, i32::MAX)), &bad());
}

#[test]
fn counts_that_no_proxy_reaches_are_refused() {
    let with = |row: Row| absorb(vec![cluster("shop", vec![locality(&[row])])]);
    assert!(with((1, REQUESTS_MAX, 0, u64::MAX)).is_ok());
    let refused = |count| Err(Malformed::ImplausibleCount("shop".to_owned(), count));
    assert_eq!(with((1, REQUESTS_MAX + 1, 0, 0)), refused(REQUESTS_MAX + 1));
    assert_eq!(with((1, 0, u64::MAX, 0)), refused(u64::MAX));
    assert_eq!(with((1, REQUESTS_MAX, 1, 0)), refused(REQUESTS_MAX + 1));
}

#[test]
fn more_than_one_proxy_can_mean_is_refused() {
    let rows = |count: usize| -> Vec<Row> { vec![(1, 1, 0, 0); count] };
    let with = |count| absorb(vec![cluster("shop", vec![locality(&rows(count))])]);
    assert!(with(ENDPOINTS_MAX).is_ok());
    assert!(matches!(with(ENDPOINTS_MAX + 1), Err(Malformed::TooMany { what: "endpoints", .. })));
    let clusters = |count| absorb(vec![cluster("shop", Vec::new()); count]);
    assert!(clusters(CLUSTERS_MAX).is_ok());
    assert!(matches!(clusters(CLUSTERS_MAX + 1), Err(Malformed::TooMany { what: "clusters", .. })));
}

#[test]
fn in_flight_is_a_mean_over_ten_reports_also_of_endpoints_that_fell_idle() {
    let mut session = session();
    let busy = message(vec![cluster("shop", vec![locality(&[(1, 3, 0, 4)])])]);
    for _ in 0..9 {
        assert_eq!(session.absorb(&busy, NOW).unwrap()[0].samples[0].in_flight, None);
    }
    assert_eq!(session.absorb(&busy, NOW).unwrap()[0].samples[0].in_flight, Some(4.0));
    let idle = message(vec![cluster("shop", Vec::new())]);
    let sample = session.absorb(&idle, NOW).unwrap()[0].samples[0].clone();
    assert_eq!((sample.requests, sample.errors), (Some(0), Some(0)));
    assert_eq!(sample.in_flight, Some(3.6));
}

#[test]
fn what_is_no_longer_reported_is_forgotten() {
    let mut session = session();
    session
        .absorb(&message(vec![cluster("a", Vec::new()), cluster("b", Vec::new())]), NOW)
        .unwrap();
    assert_eq!(session.levels.len(), 2);
    session.absorb(&message(vec![cluster("b", Vec::new())]), NOW).unwrap();
    assert_eq!(session.levels.len(), 1);
}

#[test]
fn a_stream_without_a_node_is_refused() {
    let anonymous = LoadStatsRequest::default();
    assert_eq!(Session::open(&anonymous, "weir").map(|_| ()), Err(Malformed::NoNode));
}

#[test]
fn ten_thousand_busy_endpoints_fit_into_a_message() {
    let rows: Vec<Row> = (1..=10_000).map(|port| (port, 100_000, 1_000, 300)).collect();
    let mut stats = locality(&rows);
    for row in &mut stats.upstream_endpoint_stats {
        row.total_issued_requests = 100_000;
        row.address = Some(socket_address("100.100.100.100", 65_000));
    }
    // Beside the 61 kB that a real Envoy's node takes.
    let bytes = message(vec![cluster("shop", vec![stats])]).encoded_len() + 61_000;
    assert!(bytes < crate::load_reports::MESSAGE_BYTES_MAX, "{bytes}");
}

fn any_count() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..1_000_u64, 1 => any::<u64>()]
}

fn any_endpoint() -> impl Strategy<Value = UpstreamEndpointStats> {
    let address = prop_oneof![
        3 => (1..4_u32).prop_map(|port| Some(socket_address("10.0.0.1", port))),
        1 => (".{0,8}", any::<u32>()).prop_map(|(ip, port)| Some(socket_address(&ip, port))),
        1 => Just(None),
    ];
    (address, any_count(), any_count(), any_count()).prop_map(|(address, ok, bad, open)| {
        UpstreamEndpointStats {
            address,
            total_successful_requests: ok,
            total_error_requests: bad,
            total_requests_in_progress: open,
            ..UpstreamEndpointStats::default()
        }
    })
}

fn any_message() -> impl Strategy<Value = LoadStatsRequest> {
    let localities = (any_count(), any_count(), prop::collection::vec(any_endpoint(), 0..4))
        .prop_map(|(ok, bad, endpoints)| UpstreamLocalityStats {
            total_successful_requests: ok,
            total_error_requests: bad,
            upstream_endpoint_stats: endpoints,
            ..UpstreamLocalityStats::default()
        });
    let interval = prop::option::of((-2..40_i64, any::<i32>()));
    let clusters = (
        prop_oneof!["[abw]", ".{0,6}"],
        prop::collection::vec(localities, 0..3),
        any_count(),
        interval,
    )
        .prop_map(|(name, localities, dropped, interval)| ClusterStats {
            total_dropped_requests: dropped,
            load_report_interval: interval.map(|(seconds, nanos)| protobuf::Duration {
                seconds,
                nanos: nanos % 1_000_000_001,
            }),
            ..cluster(&name, localities)
        });
    prop::collection::vec(clusters, 0..4).prop_map(message)
}

proptest! {
    /// Whatever a peer sends: no panic, and what passes keeps the promises of a report.
    #[test]
    fn any_message_is_refused_or_sound(messages in prop::collection::vec(any_message(), 1..14)) {
        let mut session = session();
        for message in &messages {
            let Ok(reports) = session.absorb(message, NOW) else { continue };
            for report in reports {
                prop_assert!(!report.window.is_zero() && report.window <= WINDOW_MAX);
                prop_assert!(report.samples.is_sorted_by(|a, b| a.endpoint < b.endpoint));
                for sample in report.samples.iter().chain(&report.totals) {
                    prop_assert!(sample.errors.unwrap() <= sample.requests.unwrap());
                    prop_assert!(sample.requests.unwrap() <= 4 * REQUESTS_MAX * 4);
                    prop_assert!(sample.in_flight.is_none_or(|level| level.is_finite() && level >= 0.0));
                }
            }
        }
    }

    /// Arbitrary bytes never get further than an error.
    #[test]
    fn any_bytes_are_refused_or_sound(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = LoadStatsRequest::decode(bytes.as_slice())
            && let Ok(mut session) = Session::open(&message, "weir")
        {
            let _outcome = session.absorb(&message, NOW);
        }
    }
}
