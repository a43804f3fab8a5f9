//! Alerts and the dashboard: only metrics that Weir has, in queries that Prometheus takes.

use promql_parser::parser;

use super::*;

const RULES: &str = "deploy/prometheus/weir.rules.yaml";

/// The queries of the rules, with the alert each is of.
fn alerts() -> Vec<(String, String)> {
    let groups = yaml(RULES)["groups"].as_array().unwrap().clone();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rules.map(|rule| (text(&rule["alert"]), text(&rule["expr"]))).collect()
}

/// The queries of the dashboard, with the panel each is of.
fn panels() -> Vec<(String, String)> {
    let board: Value = serde_json::from_str(&read("deploy/grafana/weir.json")).unwrap();
    let mut queries = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            queries.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    queries
}

/// The metrics that a text names.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("weir_")).map(str::to_owned).collect()
}

/// Those of the table in the page, with the labels' values that stand beside them.
fn described() -> Vec<(BTreeSet<String>, String)> {
    let page = read("docs/operations.md");
    let rows = page.lines().filter(|line| line.starts_with("| `weir_"));
    rows.map(|row| {
        let (names, meaning) = row[1..].split_once('|').unwrap();
        (metrics(names), meaning.to_owned())
    })
    .collect()
}

/// What is wrong with a query.
fn wrong(query: &str) -> Option<String> {
    if let Err(cause) = parser::parse(&query.replace("$job", "weir")) {
        return Some(format!("is no query: {cause}"));
    }
    for selector in query.split("weir_").skip(1) {
        let name = selector.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
        let name = format!("weir_{name}");
        let base = name.strip_suffix("_bucket").unwrap_or(&name);
        let described = described();
        let Some((_, meaning)) = described.iter().find(|(names, _)| names.contains(base)) else {
            return Some(format!("{name} is not in docs/operations.md"));
        };
        let matched = selector[name.len() - "weir_".len()..].strip_prefix('{').unwrap_or_default();
        let matched = matched.split('}').next().unwrap_or_default();
        for one in matched.split(',').filter(|one| !one.is_empty() && !one.starts_with("job")) {
            let values = one.split('"').nth(1).unwrap();
            let unknown = values.split('|').find(|value| !meaning.contains(value));
            if let Some(value) = unknown {
                return Some(format!("{name} is never {value}, says docs/operations.md"));
            }
        }
    }
    None
}

#[test]
fn queries_name_what_there_is() {
    let queries = [alerts(), panels()].concat();
    assert!(queries.len() >= 25, "{}", queries.len());
    for (of, query) in queries {
        assert_eq!(wrong(&query), None, "{of}: {query}");
    }
    assert!(wrong("weir_nothing > 0").is_some());
    assert!(wrong(r#"weir_sources{state="broken"} > 0"#).is_some());
    assert!(wrong("sum(weir_ready").is_some());
}

/// The page says what is worth an alert, and these are the alerts.
#[test]
fn the_alerts_are_those_of_the_page() {
    let page = read("docs/operations.md");
    let (_, after) = page.split_once("\nWorth an alert").expect("the page says it");
    let said = after.split("\n\n").next().unwrap();
    let quoted: BTreeSet<&str> =
        said.split('`').skip(1).step_by(2).filter(|text| text.contains("weir_")).collect();
    let alerts = alerts();
    assert_eq!(quoted, alerts.iter().map(|(_, query)| query.as_str()).collect());
}

/// Every metric is on the dashboard, so that nothing is told in vain, but what is for machines.
#[test]
fn the_dashboard_shows_all() {
    let shown: BTreeSet<String> = metrics(&read("deploy/grafana/weir.json"))
        .iter()
        .map(|m| m.replace("_bucket", ""))
        .collect();
    let unseen = ["weir_steps_total", "weir_event_streams", "weir_http_requests_total"];
    let all: BTreeSet<String> = described().into_iter().flat_map(|(names, _)| names).collect();
    let missing: Vec<_> =
        all.difference(&shown).filter(|name| !unseen.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The panels' places do not overlap, and each says what it shows.
#[test]
fn panels_have_room() {
    let board: Value = serde_json::from_str(&read("deploy/grafana/weir.json")).unwrap();
    let mut taken = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|at| panel["gridPos"][at].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{} lies on another", panel["title"]);
        }
        assert!(!panel["title"].as_str().unwrap().is_empty());
    }
}

/// Prometheus' own tool takes the rules, and they fire when they should.
#[test]
fn alerts_fire() {
    let beside = root().join(".build/prometheus/usr/bin/promtool");
    let tool = if beside.is_file() { beside } else { PathBuf::from("promtool") };
    let mut tests = Command::new(tool);
    tests.current_dir(root().join("deploy/prometheus")).args(["test", "rules"]);
    let ran = tests.arg("weir.rules.test.yaml").output();
    let Some(ran) = required::or_skip("prometheus", ran) else { return };
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&said));
}
