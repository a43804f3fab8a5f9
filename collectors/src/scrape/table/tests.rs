#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::*;
use crate::exposition::Reader;
use weir_engine::observation::Verdict;

const GAP_MAX: Duration = Duration::from_secs(15);

struct Proxy {
    reader: Reader,
    table: Table,
    at: Moment,
}

impl Proxy {
    fn new(wanted: &[&str]) -> Self {
        let wanted: Vec<ClusterName> = wanted.iter().map(|name| ClusterName::from(*name)).collect();
        Self { reader: Reader::default(), table: Table::new(&wanted), at: Moment::from_millis(0) }
    }

    fn scrape_after(&mut self, seconds: u64, text: &str) -> Vec<Report> {
        self.at = self.at.plus(Duration::from_secs(seconds));
        self.reader.begin();
        self.table.begin();
        self.reader.push(text.as_bytes(), &mut self.table).unwrap();
        assert_eq!(self.reader.finish(&mut self.table).unwrap().faults, 0);
        let who = Who { node: "edge-1".into(), zone: "a".into() };
        let reports = self.table.settle(self.at, GAP_MAX, &who);
        if self.table.has_learnt_names() {
            self.reader.forget();
        }
        reports
    }

    fn scrape(&mut self, text: &str) -> Vec<Report> {
        self.scrape_after(1, text)
    }
}

fn endpoint(address: &str, success: u32, error: u32) -> String {
    let labels = format!("{{envoy_cluster_name=\"shop\",envoy_endpoint_address=\"{address}\"}}");
    format!(
        "envoy_cluster_endpoint_rq_success{labels} {success}\n\
         envoy_cluster_endpoint_rq_error{labels} {error}\n\
         envoy_cluster_endpoint_rq_timeout{labels} 0\n\
         envoy_cluster_endpoint_healthy{labels} 1\n\
         envoy_cluster_endpoint_rq_active{labels} 4\n"
    )
}

fn totals(completed: u32, classes: &[(u32, u32)]) -> String {
    let mut text =
        format!("envoy_cluster_upstream_rq_completed{{envoy_cluster_name=\"shop\"}} {completed}\n");
    for (class, count) in classes {
        text += &format!(
            "envoy_cluster_upstream_rq_xx{{envoy_response_code_class=\"{class}\",\
             envoy_cluster_name=\"shop\"}} {count}\n"
        );
    }
    text
}

fn counts(report: &Report) -> Vec<(&str, Option<u64>, Option<u64>)> {
    report.samples.iter().map(|s| (s.endpoint.as_str(), s.requests, s.errors)).collect()
}

#[test]
fn the_first_scrape_says_nothing_the_second_what_happened() {
    let mut proxy = Proxy::new(&[]);
    assert_eq!(proxy.scrape(&endpoint("a:1", 100, 7)), []);
    let reports = proxy.scrape(&endpoint("a:1", 110, 9));
    let [report] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(counts(report), [("a:1", Some(12), Some(2))]);
    assert_eq!((report.reporter.as_str(), report.zone.as_str()), ("edge-1", "a"));
    assert_eq!(report.window, Duration::from_secs(1));
    assert!(report.complete);
    assert_eq!(report.totals, None);
    assert_eq!(report.samples[0].timeouts, Some(0));
    assert_eq!(report.samples[0].verdict, Some(Verdict::Healthy));
}

#[test]
fn restarts_newcomers_and_departures() {
    let mut proxy = Proxy::new(&[]);
    proxy.scrape(&(endpoint("a:1", 100, 7) + &endpoint("b:1", 5, 0)));
    // a restarted, b left, c is new: its history has no known length.
    let reports = proxy.scrape(&(endpoint("a:1", 3, 1) + &endpoint("c:1", 50, 0)));
    assert_eq!(counts(&reports[0]), [("a:1", Some(4), Some(1)), ("c:1", None, None)]);
    // b comes back: first sight again.
    let reports = proxy.scrape(&(endpoint("a:1", 3, 1) + &endpoint("b:1", 9, 0)));
    assert_eq!(counts(&reports[0]), [("a:1", Some(0), Some(0)), ("b:1", None, None)]);
}

#[test]
fn a_cluster_without_endpoint_statistics_says_nothing_of_endpoints() {
    let mut proxy = Proxy::new(&[]);
    proxy.scrape(&totals(100, &[(2, 100)]));
    let reports = proxy.scrape(&totals(150, &[(2, 140), (5, 10)]));
    let [report] = &reports[..] else { panic!("{reports:?}") };
    assert!(!report.complete && report.samples.is_empty());
    let seen = report.totals.as_ref().unwrap();
    assert_eq!((seen.requests, seen.errors), (Some(50), Some(10)));
    assert_eq!((seen.timeouts, seen.local_failures, &seen.latency), (None, None, &None));
}

#[test]
fn no_error_class_is_zero_errors_but_no_class_at_all_is_unknown() {
    for (classes, errors) in [(&[(2, 150)][..], Some(0)), (&[], None)] {
        let mut proxy = Proxy::new(&[]);
        proxy.scrape(&totals(100, &classes.iter().map(|c| (c.0, 100)).collect::<Vec<_>>()));
        let reports = proxy.scrape(&totals(150, classes));
        assert_eq!(reports[0].totals.as_ref().unwrap().errors, errors);
    }
}

#[test]
fn latency_is_what_the_histogram_grew_by() {
    let text = |fast: u32, slow: u32, sum: u32| {
        let total = fast + slow;
        totals(total, &[(2, total)])
            + &format!(
                "envoy_cluster_upstream_rq_time_bucket{{envoy_cluster_name=\"shop\",le=\"5\"}} {fast}\n\
                 envoy_cluster_upstream_rq_time_bucket{{envoy_cluster_name=\"shop\",le=\"100\"}} {total}\n\
                 envoy_cluster_upstream_rq_time_bucket{{envoy_cluster_name=\"shop\",le=\"+Inf\"}} {total}\n\
                 envoy_cluster_upstream_rq_time_sum{{envoy_cluster_name=\"shop\"}} {sum}.5\n\
                 envoy_cluster_upstream_rq_time_count{{envoy_cluster_name=\"shop\"}} {total}\n"
            )
    };
    let mut proxy = Proxy::new(&[]);
    proxy.scrape(&text(1000, 0, 2000));
    let reports = proxy.scrape(&text(1010, 5, 2300));
    let latency = reports[0].totals.as_ref().unwrap().latency.clone().unwrap();
    assert!((latency.count - 15.0).abs() < 1e-9);
    assert!((latency.sum_ms - 300.0).abs() < 1e-9);
    let within = latency.count_within(weir_engine::latency::Threshold::at(
        weir_engine::units::Millis::clamped(5.7),
    ));
    assert!((10.0..11.0).contains(&within), "{within}");
}

#[test]
fn a_gap_that_is_too_long_is_no_news() {
    let mut proxy = Proxy::new(&[]);
    proxy.scrape(&endpoint("a:1", 1, 0));
    assert_eq!(proxy.scrape_after(16, &endpoint("a:1", 9, 0)), []);
    let reports = proxy.scrape_after(15, &endpoint("a:1", 10, 0));
    assert_eq!(counts(&reports[0]), [("a:1", Some(1), Some(0))]);
    assert_eq!(reports[0].window, Duration::from_secs(15));
}

#[test]
fn a_broken_scrape_is_bridged_by_the_next() {
    let mut proxy = Proxy::new(&[]);
    proxy.scrape(&endpoint("a:1", 10, 0));
    proxy.table.begin();
    proxy.reader.begin();
    proxy.reader.push(endpoint("a:1", 15, 0).as_bytes(), &mut proxy.table).unwrap();
    let reports = proxy.scrape_after(2, &endpoint("a:1", 30, 0));
    assert_eq!(counts(&reports[0]), [("a:1", Some(20), Some(0))]);
    assert_eq!(reports[0].window, Duration::from_secs(2));
}

#[test]
fn in_flight_needs_ten_moments() {
    let mut proxy = Proxy::new(&[]);
    for at in 1..=12_u32 {
        let reports = proxy.scrape(&endpoint("a:1", at, 0));
        let in_flight = reports.first().and_then(|report| report.samples[0].in_flight);
        assert_eq!(in_flight, (at >= 10).then_some(4.0), "scrape {at}");
    }
}

#[test]
fn dotted_names_are_put_together_again() {
    let torn = |count: u32| {
        format!("envoy_cluster_a_b_upstream_rq_completed{{envoy_cluster_name=\"shop\"}} {count}\n")
    };
    let mut proxy = Proxy::new(&["shop.a-b"]);
    proxy.scrape(&torn(1));
    let reports = proxy.scrape(&torn(5));
    assert_eq!(reports[0].cluster.as_str(), "shop.a-b");
    assert_eq!(reports[0].totals.as_ref().unwrap().requests, Some(4));
    // Unknown beforehand: learnt from the endpoints' series, used from the next scrape on.
    let mut proxy = Proxy::new(&[]);
    let text =
        |count: u32| torn(count) + &endpoint("a:1", 1, 0).replace("\"shop\"", "\"shop.a-b\"");
    for count in 1..=2 {
        proxy.scrape(&text(count));
    }
    assert_eq!(proxy.scrape(&text(9))[0].totals.as_ref().unwrap().requests, Some(7));
}

#[test]
fn only_wanted_clusters_are_reported_and_nonsense_is_unknown() {
    let mut proxy = Proxy::new(&["other"]);
    proxy.scrape(&endpoint("a:1", 1, 0));
    assert_eq!(proxy.scrape(&endpoint("a:1", 2, 0)), []);
    for bad in ["NaN", "-3", "+Inf", "1e300"] {
        let mut proxy = Proxy::new(&[]);
        let text = |errors: &str| {
            endpoint("a:1", 1, 77).replace(" 77\n", &format!(" {errors}\n"))
                + &endpoint("b:1", 1, 0)
        };
        proxy.scrape(&text("7"));
        let reports = proxy.scrape(&text(bad));
        assert_eq!(reports[0].samples[0].errors, None, "{bad}");
        assert_eq!(reports[0].samples[1].errors, Some(0));
    }
}

#[test]
fn outlier_ejection_is_told_apart_where_it_can_be() {
    let text = |down: &[&str], ejected: u32| {
        let mut text = endpoint("a:1", 1, 0) + &endpoint("b:1", 1, 0);
        for address in down {
            let line = format!(
                "envoy_cluster_endpoint_healthy{{envoy_cluster_name=\"shop\",envoy_endpoint_address=\"{address}\"}}"
            );
            text = text.replace(&format!("{line} 1"), &format!("{line} 0"));
        }
        text + &format!(
            "envoy_cluster_outlier_detection_ejections_active{{envoy_cluster_name=\"shop\"}} {ejected}\n"
        )
    };
    let verdicts = |down: &[&str], ejected: u32| {
        let mut proxy = Proxy::new(&[]);
        proxy.scrape(&text(down, ejected));
        let reports = proxy.scrape(&text(down, ejected));
        reports[0].samples.iter().map(|sample| sample.verdict).collect::<Vec<_>>()
    };
    let (healthy, ejected) = (Some(Verdict::Healthy), Some(Verdict::Ejected));
    assert_eq!(verdicts(&["b:1"], 1), [healthy, ejected]);
    assert_eq!(verdicts(&["b:1"], 0), [healthy, Some(Verdict::Unhealthy)]);
    assert_eq!(verdicts(&["a:1", "b:1"], 1), [None, None]);
}

#[test]
fn departed_endpoints_do_not_pile_up() {
    let mut proxy = Proxy::new(&[]);
    for generation in 0..30 {
        let text: String =
            (0..100).map(|at| endpoint(&format!("{generation}.{at}:1"), 1, 0)).collect();
        proxy.scrape(&text);
        if proxy.table.is_due_for_a_fresh_start() {
            proxy.table.forget();
            proxy.reader.forget();
        }
        assert!(proxy.table.columns.now.len() <= (1_300) * ENDPOINT_SLOTS + CLUSTER_SLOTS);
    }
}
