#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::super::answer;
use super::super::query::Query;
use super::super::recipe::{self, Istio, Naming};
use super::*;

const NOW: i64 = 1_700_000_100_000;
const OURS: u64 = 5_000_000;

/// A recipe's memory and what answers make of it.
struct Asked {
    recipe: Recipe,
    tracks: Tracks,
    now: i64,
}

impl Asked {
    fn endpoints() -> Self {
        Self::of(recipe::envoy(&[ClusterName::from("shop")]).unwrap().remove(0))
    }

    fn of(recipe: Recipe) -> Self {
        Self { recipe, tracks: Tracks::default(), now: NOW }
    }

    fn answer(&mut self, body: &str) -> Result<Vec<Report>, String> {
        let clocks = Clocks {
            ours: Moment::from_millis(OURS + u64::try_from(self.now - NOW).unwrap()),
            theirs: self.now,
            stale_after: Duration::from_secs(60),
            gap_max: Duration::from_secs(120),
        };
        let answer = answer::decode(body.as_bytes()).map_err(|error| error.to_string())?;
        Ok(self.tracks.absorb(&self.recipe, answer, clocks))
    }
}

/// Seconds relative to [`NOW`], and a value as the answer writes it.
type Points<'a> = &'a [(f64, &'a str)];

fn series(metric: &str, labels: &str, points: Points<'_>) -> String {
    let values: Vec<String> = points
        .iter()
        .map(|(at, value)| format!("[{},\"{value}\"]", 1_700_000_100.0 + at))
        .collect();
    format!(
        r#"{{"metric":{{"__name__":"{metric}","instance":"i:1"{labels}}},"values":[{}]}}"#,
        values.join(",")
    )
}

fn matrix(series: &[String]) -> String {
    format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#,
        series.join(",")
    )
}

const SHOP: &str = r#","envoy_cluster_name":"shop","envoy_endpoint_address":"a:1""#;

fn success(points: Points<'_>) -> String {
    series("envoy_cluster_endpoint_rq_success", SHOP, points)
}

fn error(points: Points<'_>) -> String {
    series("envoy_cluster_endpoint_rq_error", SHOP, points)
}

const GOOD: Points<'_> = &[(-20.0, "100"), (-5.0, "130")];
const FLAWLESS: Points<'_> = &[(-20.0, "4"), (-5.0, "4")];

/// (requests, errors) of the first endpoint that an answer says anything of.
type Counted = Option<(Option<u64>, Option<u64>)>;

#[track_caller]
fn check(body: &str, expected: Result<Counted, &str>) {
    let seen = Asked::endpoints().answer(body).map(|reports| {
        let sample = reports.into_iter().next().map(|report| report.samples[0].clone());
        sample.map(|sample| (sample.requests, sample.errors))
    });
    match (seen, expected) {
        (Ok(seen), Ok(expected)) => assert_eq!(seen, expected, "{body}"),
        (Err(error), Err(text)) => assert!(error.contains(text), "{error}"),
        (seen, expected) => panic!("{seen:?}, not {expected:?}: {body}"),
    }
}

#[test]
fn only_what_can_be_believed_becomes_a_count() {
    let both = |errors: Points<'_>| matrix(&[success(GOOD), error(errors)]);
    let unknown = Ok(None);
    // Whole answers.
    check(&both(FLAWLESS), Ok(Some((Some(30), Some(0)))));
    check(&both(&[(-20.0, "4"), (-5.0, "10")]), Ok(Some((Some(36), Some(6)))));
    check(r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#, unknown);
    check(r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#, unknown);
    check(
        r#"{"status":"success","data":{"resultType":"string","result":[1,"x"]}}"#,
        Err("without data"),
    );
    check(r#"{"status":"success"}"#, Err("without data"));
    check(r#"{"status":"success","data":null}"#, Err("without data"));
    check(r#"{"status":"success","data":{"resultType":"matrix","result":null}}"#, Err("malformed"));
    check(r#"{"status":"success","data":{"resultType":"new","result":[]}}"#, Err("malformed"));
    check(
        r#"{"status":"error","errorType":"timeout","error":"too slow"}"#,
        Err("refused (timeout): too slow"),
    );
    check(r#"{"status":"error"}"#, Err("refused (error)"));
    check(r#"{"status":"sucess","data":{"resultType":"matrix","result":[]}}"#, Err("refused"));
    check("", Err("malformed"));
    check("null", Err("malformed"));
    check("<html><body>502</body></html>", Err("malformed"));
    let whole = both(FLAWLESS);
    check(&whole[..whole.len() / 2], Err("malformed"));
    check(&format!("{whole}{whole}"), Err("malformed"));
    let warned = whole.replacen("\"data\"", "\"warnings\":[\"store down\"],\"data\"", 1);
    check(&warned, Err("maybe not all of it: store down"));
    let informed =
        whole.replacen("\"data\"", "\"warnings\":[],\"infos\":[\"no suffix\"],\"data\"", 1);
    check(&informed, Ok(Some((Some(30), Some(0)))));
    // Values. Requests are successes and errors, so an unknown error makes them unknown.
    for bad in ["NaN", "+Inf", "-Inf", "-1", "1e308", "1e999", "", "four", "0x4"] {
        check(&both(&[(-20.0, "4"), (-5.0, bad)]), Ok(None));
    }
    check(&matrix(&[error(FLAWLESS)]), Ok(Some((Some(0), Some(0)))));
    check(&whole.replace("\"130\"", "130"), Err("malformed"));
    // A NaN that good samples follow is history.
    check(
        &both(&[(-35.0, "1"), (-28.0, "NaN"), (-20.0, "4"), (-5.0, "4")]),
        Ok(Some((Some(30), Some(0)))),
    );
    // Series.
    check(&matrix(&[success(&[]), error(&[])]), Ok(None));
    check(&matrix(&[success(GOOD), success(GOOD)]), Ok(None));
    check(&matrix(&[success(GOOD)]), Ok(Some((Some(30), None))));
    check(&matrix(&[success(GOOD).replace("a:1", "")]), Ok(None));
    check(&matrix(&[success(GOOD).replace("instance", "pod")]), Ok(None));
    check(&whole.replace("\"values\"", "\"histograms\""), Ok(None));
    // Times.
    check(&matrix(&[success(&[(-200.0, "1"), (-61.0, "9")])]), Ok(None));
    check(&matrix(&[success(&[(-20.0, "1"), (6.0, "9")])]), Ok(None));
    check(&matrix(&[success(&[(-20.0, "1"), (4.0, "9")])]), Ok(Some((Some(8), None))));
    check(&matrix(&[success(&[(-5.0, "9")])]), Ok(None));
    check(&matrix(&[success(&[(-5.0, "9"), (-20.0, "1")])]), Ok(Some((Some(8), None))));
    check(&matrix(&[success(&[(1e300, "9"), (-1e300, "1")])]), Ok(None));
    // A restart: what was counted since.
    check(&matrix(&[success(&[(-20.0, "900"), (-5.0, "7")])]), Ok(Some((Some(7), None))));
}

#[test]
fn counts_and_windows_go_from_sample_to_sample() {
    let mut asked = Asked::endpoints();
    let reports = asked.answer(&matrix(&[success(GOOD), error(FLAWLESS)])).unwrap();
    let [report] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(report.window, Duration::from_secs(15));
    // Five seconds old by the server's clock: five seconds ago by ours.
    assert_eq!(report.at, Moment::from_millis(OURS - 5_000));
    assert_eq!((report.reporter.as_str(), report.cluster.as_str()), ("i:1", "shop"));
    assert!(!report.complete);
    // Nothing new was scraped: nothing is said twice.
    assert_eq!(asked.answer(&matrix(&[success(GOOD), error(FLAWLESS)])).unwrap(), []);
    // Two scrapes later, with a restart between them.
    asked.now += 30_000;
    let points =
        |values: [&'static str; 3]| [(-5.0, values[0]), (10.0, values[1]), (25.0, values[2])];
    let body = matrix(&[success(&points(["130", "150", "6"])), error(&points(["4", "4", "1"]))]);
    let reports = asked.answer(&body).unwrap();
    assert_eq!(reports[0].samples[0].requests, Some(20 + 6 + 1));
    assert_eq!(reports[0].samples[0].errors, Some(1));
    assert_eq!(reports[0].window, Duration::from_secs(30));
}

#[test]
fn a_missed_answer_loses_nothing_but_a_long_gap_is_no_news() {
    for (gap, requests) in [(60, Some(70)), (119, Some(70)), (300, None)] {
        let mut asked = Asked::endpoints();
        asked.answer(&matrix(&[success(GOOD)])).unwrap();
        asked.now += gap * 1000;
        let body = matrix(&[success(&[(gap as f64 - 5.0, "200")])]);
        let reports = asked.answer(&body).unwrap();
        let seen = reports.first().and_then(|report| report.samples[0].requests);
        assert_eq!(seen, requests, "{gap} s");
    }
}

#[test]
fn a_series_that_its_target_did_not_have_began_at_zero() {
    let service = Istio {
        namespace: "demo".to_owned(),
        name: "shop".to_owned(),
        cluster: ClusterName::from("shop"),
        endpoint: Naming::HostOf { label: "instance".to_owned(), port: 8080 },
    };
    let mut asked = Asked::of(recipe::istio(&service).unwrap().remove(0));
    let by_code = |code: &str, flags: &str, points: Points<'_>| {
        let labels = format!(r#","response_code":"{code}","response_flags":"{flags}""#);
        series("istio_requests_total", &labels, points)
    };
    let reports = asked.answer(&matrix(&[by_code("200", "-", GOOD)])).unwrap();
    let sample = &reports[0].samples[0];
    assert_eq!((sample.requests, sample.errors, sample.timeouts), (Some(30), Some(0), Some(0)));
    assert_eq!(sample.endpoint.as_str(), "i:8080");
    asked.now += 15_000;
    let body = matrix(&[
        by_code("200", "-", &[(-5.0, "130"), (10.0, "140")]),
        by_code("503", "UF,URX", &[(10.0, "3")]),
        by_code("504", "UT", &[(10.0, "2")]),
    ]);
    let sample = asked.answer(&body).unwrap()[0].samples[0].clone();
    assert_eq!((sample.requests, sample.errors), (Some(15), Some(5)));
    assert_eq!((sample.timeouts, sample.local_failures), (Some(2), Some(3)));
    // A series that its target no longer has is gone, and casts no doubt on the others.
    asked.now += 65_000;
    let body = matrix(&[
        by_code("200", "-", &[(10.0, "140"), (75.0, "150")]),
        by_code("504", "UT", &[(10.0, "2")]),
    ]);
    let sample = asked.answer(&body).unwrap()[0].samples[0].clone();
    assert_eq!((sample.requests, sample.errors), (Some(10), Some(0)));
}

#[test]
fn computed_values_may_fall_without_a_restart() {
    let query = Query::render("sum by (instance, envoy_cluster_name) (x)", &BTreeMap::default());
    let mut asked = Asked::of(recipe::template(query.unwrap(), What::Requests));
    let mut vector = |now: i64, value: &str| {
        asked.now = NOW + now * 1000;
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[
            {{"metric":{{"instance":"i:1","envoy_cluster_name":"c"}},"value":[{},"{value}"]}}]}}}}"#,
            1_700_000_100 + now
        );
        let reports = asked.answer(&body).unwrap();
        reports.first().and_then(|report| report.totals.as_ref()).and_then(|seen| seen.requests)
    };
    assert_eq!(vector(0, "1000"), None);
    assert_eq!(vector(5, "1010"), Some(10));
    assert_eq!(vector(10, "900"), None);
    assert_eq!(vector(15, "905"), Some(5));
}

#[test]
fn latency_of_a_cluster_is_split_from_its_buckets() {
    let recipe = recipe::envoy(&[]).unwrap().remove(1);
    let of = |metric: &str, labels: &str, points: Points<'_>| {
        let labels = format!(r#","envoy_cluster_name":"shop"{labels}"#);
        series(&format!("envoy_cluster_upstream_{metric}"), &labels, points)
    };
    let body = matrix(&[
        of("rq_completed", "", GOOD),
        of("rq_xx", r#","envoy_response_code_class":"2""#, GOOD),
        of("rq_time_bucket", r#","le":"+Inf""#, GOOD),
        of("rq_time_bucket", r#","le":"100""#, GOOD),
        of("rq_time_bucket", r#","le":"10""#, &[(-20.0, "90"), (-5.0, "110")]),
        of("rq_time_sum", "", &[(-20.0, "500"), (-5.0, "1100.5")]),
    ]);
    let reports = Asked::of(recipe).answer(&body).unwrap();
    let totals = reports[0].totals.clone().unwrap();
    assert_eq!((totals.requests, totals.errors), (Some(30), Some(0)));
    let latency = totals.latency.unwrap();
    assert!((latency.count - 30.0).abs() < 1e-9 && (latency.sum_ms - 600.5).abs() < 1e-9);
}

#[test]
fn what_is_gone_is_forgotten_in_time() {
    let mut asked = Asked::endpoints();
    for generation in 0..40 {
        asked.now = NOW + generation * 15_000;
        let at = 15.0 * generation as f64;
        let body = matrix(&[success(&[(at, "5")]).replace("a:1", &format!("{generation}:1"))]);
        asked.answer(&body).unwrap();
        assert!(asked.tracks.series.len() <= 10);
    }
}
