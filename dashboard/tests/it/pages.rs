//! What people see: snapshots of whole pages, and what must hold of every page.

use std::time::Instant;

use axum::http::StatusCode;
use proptest::prelude::*;
use weir_dashboard::view::Time;
use weir_dashboard::view::health::{CheckView, HealthView};
use weir_dashboard::view::mesh::{
    PolicyView, ProblemView, ProxyView, SourceView, SubscriptionView,
};
use weir_engine::goal::Mode;
use weir_engine::names::ServiceId;

use crate::ask::{get, site};
use crate::story::{self, Cast, STEPS, Story, at};

/// A page without its blank lines, so that a snapshot shows what there is.
async fn page(story: &Story, path: &str) -> String {
    let answer = get(&site(&story.board, at(story.step)), path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    let lines = answer.text().lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

fn many(count: usize) -> Story {
    let endpoints = (0..count).map(|index| format!("10.1.{}.{}:8080", index / 250, index % 250));
    let mut endpoints: Vec<_> = endpoints.collect();
    endpoints.sort();
    Story::of(vec![Cast {
        id: ServiceId::new("demo", "shop"),
        endpoints,
        mode: Mode::Enforce,
        rps: 20_000.0,
    }])
}

#[tokio::test]
async fn an_empty_fleet_says_what_to_do_next() {
    let story = Story::of(Vec::new());
    insta::assert_snapshot!("fleet_empty", page(&story, "/").await);
    for (path, text) in [
        ("/policies", "weir policy check"),
        ("/proxies", "weir envoy bootstrap"),
        ("/", "No telemetry source"),
    ] {
        assert!(page(&story, path).await.contains(text), "{path}");
    }
}

#[tokio::test]
async fn a_healthy_service_is_calm() {
    let mut story = Story::new();
    story.surround();
    story.tell(60);
    insta::assert_snapshot!("service_healthy", page(&story, "/services/demo/shop").await);
    assert!(!page(&story, "/services/demo/shop").await.contains("class=\"alarm"));
}

#[tokio::test]
async fn an_ejected_endpoint_comes_first_with_its_reason() {
    let story = Story::whole();
    let text = page(&story, "/services/demo/shop").await;
    let row = text.split("<tbody>").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(row.contains("10.0.0.4:8080") && row.contains("9 of 33 requests failed"), "{row}");
    insta::assert_snapshot!("service_ejected", text);
    insta::assert_snapshot!("decision_ejected", page(&story, "/decisions/1234-1").await);
}

#[tokio::test]
async fn a_rollout_is_shown_with_its_evidence_wherever_it_has_a_part() {
    let mut story = Story::of_a_rollout();
    story.tell(75);
    insta::assert_snapshot!("rollout_stepping", page(&story, "/services/shop/search").await);
    story.tell(75);
    let text = page(&story, "/services/shop/search").await;
    let row = text.split("<tbody>").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(row.contains("5.08 % (61 of 1200)") && row.contains("worse"), "{row}");
    insta::assert_snapshot!("rollout_given_up", text);
    for version in ["search-v6", "search-v7"] {
        let text = page(&story, &format!("/services/shop/{version}")).await;
        assert!(text.contains("the new version is worse"), "{version}");
    }
    insta::assert_snapshot!("decision_rollout", page(&story, "/decisions/1090-0").await);
}

#[tokio::test]
async fn stale_telemetry_is_said_where_it_matters() {
    let story = Story::whole();
    insta::assert_snapshot!("fleet_stale", page(&story, "/").await);
    let alarm = "No fresh telemetry for 60 s";
    assert!(page(&story, "/services/pay/ledger").await.contains(alarm));
    assert!(!page(&story, "/services/demo/shop").await.contains(alarm));
}

#[tokio::test]
async fn a_service_of_many_endpoints_stays_readable() {
    let mut story = many(200);
    story.tell(STEPS);
    let text = page(&story, "/services/demo/shop").await;
    assert!(text.contains("Show 100 more"));
    insta::assert_snapshot!("service_200", text);
    let all = page(&story, "/services/demo/shop?endpoints=all").await;
    assert_eq!(all.matches("<span class=\"badge state-").count(), 200);
}

#[tokio::test]
async fn refusals_and_wrong_policies_are_shown_at_their_lines() {
    let story = Story::whole();
    let mut policies = story::surroundings::policies();
    policies.push(story::surroundings::wrong_policy());
    story.board.set_policies(policies);
    story.board.set_proxies(vec![story::surroundings::refusing_proxy()]);
    let policies = page(&story, "/policies").await;
    assert!(policies.contains("policies/ledger.yaml:14:5"));
    assert!(policies.contains("did you mean `maxEjectionPercent`?"));
    let proxies = page(&story, "/proxies").await;
    assert!(proxies.contains("ClusterValidationError.LbPolicy") && proxies.contains("7 (sent 8)"));
    let fleet = page(&story, "/").await;
    assert!(fleet.contains("1 policy not in force as written"));
    assert!(fleet.contains("1 proxy refuses the last push"));
}

#[tokio::test]
async fn a_loop_that_stands_still_is_an_alarm() {
    let mut story = Story::new();
    story.tell(5);
    let later = site(&story.board, at(5 + 25));
    assert!(get(&later, "/").await.text().contains("No step for 25 s"));
}

#[tokio::test]
async fn readiness_is_said_with_its_reason() {
    let story = Story::new();
    assert!(page(&story, "/").await.contains("Starting"));
    let text = "nothing scraped yet; is http://127.0.0.1:9901 right?".to_owned();
    let checks = vec![CheckView { name: "telemetry".into(), passes: false, text }];
    story.board.set_health(HealthView { ready: false, checks });
    let page = page(&story, "/").await;
    assert!(page.contains("Not ready: telemetry") && page.contains("nothing scraped yet"));
}

#[tokio::test]
async fn no_page_needs_anything_from_elsewhere_or_any_inline_style_or_script() {
    let story = Story::whole();
    for path in ["/", "/services/demo/shop", "/decisions/1234-1", "/policies", "/proxies"] {
        let text = page(&story, path).await;
        for tag in text.split('<').skip(1) {
            let tag = tag.split('>').next().unwrap();
            let outward = ["src=\"http", "href=\"http", "src=\"//", "href=\"//"];
            assert!(!outward.iter().any(|outward| tag.contains(outward)), "{path}: {tag}");
            // Without what stands in quotes only the names of attributes are left.
            let names: String = tag.split('"').step_by(2).collect();
            assert!(!names.contains(" style=") && !names.contains(" on"), "{path}: {tag}");
        }
        assert_eq!(text.matches("<script").count(), 1, "{path}");
    }
}

#[tokio::test]
async fn every_page_has_its_landmarks_and_headed_tables() {
    let story = Story::whole();
    for path in ["/", "/services/demo/shop", "/decisions/1234-1", "/policies", "/proxies"] {
        let text = page(&story, path).await;
        for landmark in
            ["<html lang=\"en\">", "<main id=\"main\"", "<header", "<nav aria-label", "<h1>"]
        {
            assert!(text.contains(landmark), "{path} lacks {landmark}");
        }
        assert_eq!(
            text.matches("<table").count(),
            text.matches("<thead><tr><th scope=\"col\"").count()
        );
        assert!(
            text.matches("<th").count()
                == text.matches(" scope=\"").count() + text.matches("<thead").count()
        );
    }
}

#[tokio::test]
async fn names_with_any_characters_can_be_opened() {
    let story = {
        let mut story = Story::of(vec![Cast {
            id: ServiceId::new("a b", "c?d#e%"),
            endpoints: vec!["x".into()],
            mode: Mode::Enforce,
            rps: 10.0,
        }]);
        story.tell(2);
        story
    };
    let fleet = page(&story, "/").await;
    let link = fleet.split("href=\"/services/").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(link, "a%20b/c%3Fd%23e%25");
    assert!(page(&story, &format!("/services/{link}")).await.contains("<h1>c?d#e%</h1>"));
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("<script>alert(1)</script>".to_owned()),
        Just("\"><img src=x onerror=alert(1)>".to_owned()),
        Just("'-alert(1)-'</title></svg></style>".to_owned()),
        Just("{{ 7*7 }}{% raw %}&lt;".to_owned()),
        "[\\x00-\\x7f]{0,24}",
        "\\PC{0,24}",
    ]
}

/// Everything that comes from outside, in every place that a page shows it.
fn poisoned(text: &str) -> Story {
    let name = if text.contains('/') { "x" } else { text };
    let mut story = Story::of(vec![Cast {
        id: ServiceId::new(name, name),
        endpoints: vec![text.to_owned()],
        mode: Mode::Enforce,
        rps: 10.0,
    }]);
    let text = || text.to_owned();
    story.tell(3);
    story.board.set_sources(vec![SourceView {
        name: text(),
        kind: text(),
        target: text(),
        error: Some(text()),
        ..SourceView::default()
    }]);
    story.board.set_proxies(vec![ProxyView {
        node: text(),
        cluster: text(),
        version: text(),
        last_seen: Some(Time(at(1))),
        types: vec![SubscriptionView {
            kind: text(),
            sent_version: text(),
            error: Some(text()),
            ..SubscriptionView::default()
        }],
        ..ProxyView::default()
    }]);
    story.board.set_policies(vec![PolicyView {
        name: text(),
        path: text(),
        targets: vec![text()],
        objectives: vec![text()],
        problems: vec![ProblemView {
            what: text(),
            mend: text(),
            path: text(),
            text: text(),
            ..ProblemView::default()
        }],
        ..PolicyView::default()
    }]);
    let checks = vec![CheckView { name: text(), passes: false, text: text() }];
    story.board.set_health(HealthView { ready: false, checks });
    story
}

/// The tags of a page, in order, without what they say.
fn skeleton(page: &str) -> Vec<String> {
    let tags = page.split('<').skip(1).map(|tag| {
        let name: String = tag.chars().take_while(|c| !c.is_whitespace() && *c != '>').collect();
        name
    });
    tags.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Text from outside changes what a page says and never what it is made of: the tags are
    /// those of the same page with a harmless name.
    #[test]
    fn arbitrary_text_never_becomes_markup(text in hostile()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (bad, good) = (poisoned(&format!("x{text}")), poisoned("x"));
            for path in ["/", "/policies", "/proxies", "/decisions/1001-0"] {
                let (bad, good) = (page(&bad, path).await, page(&good, path).await);
                prop_assert_eq!(skeleton(&bad), skeleton(&good), "{}: {}", path, bad);
            }
            Ok(())
        })?;
    }
}

/// Not a limit but a figure: how long the server takes for the largest page.
#[tokio::test]
async fn prints_how_long_a_page_of_2000_endpoints_takes() {
    let mut story = many(2_000);
    story.tell(120);
    let site = site(&story.board, at(story.step));
    for path in [
        "/services/demo/shop",
        "/services/demo/shop?endpoints=all",
        "/services/demo/shop/heat.png",
        "/api/v1/services/demo/shop/history",
        "/",
    ] {
        let mut times: Vec<_> = Vec::new();
        let mut size = 0;
        for _ in 0..7 {
            let begun = Instant::now();
            let answer = get(&site, path).await;
            times.push(begun.elapsed());
            assert_eq!(answer.status, StatusCode::OK);
            size = answer.body.len();
        }
        times.sort();
        let ms = times[3].as_secs_f64() * 1e3;
        println!("bench dashboard 2000 endpoints {path}: {ms:.1} ms, {} KiB", size / 1024);
    }
}
