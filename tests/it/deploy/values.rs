//! The chart's values and their schema.

use super::*;

const CHART: &str = "deploy/chart/weir";

/// Values as Helm makes them of the chart's own and a user's file: maps are merged, null takes away.
fn merged(own: &Value, more: &Value) -> Value {
    let (Value::Object(own), Value::Object(more)) = (own, more) else { return more.clone() };
    let mut all = own.clone();
    for (key, value) in more {
        if value.is_null() {
            all.shift_remove(key);
        } else {
            let before = own.get(key).unwrap_or(&Value::Null);
            all.insert(key.clone(), merged(before, value));
        }
    }
    Value::Object(all)
}

fn own() -> Value {
    yaml(&format!("{CHART}/values.yaml"))
}

fn schema() -> Value {
    serde_json::from_str(&read(&format!("{CHART}/values.schema.json"))).unwrap()
}

/// What is wrong with values: where, and the words.
fn wrong(values: &Value) -> Vec<String> {
    let validator = jsonschema::draft7::new(&schema()).unwrap();
    let errors = validator.iter_errors(values);
    errors.map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn every_values_file_is_taken() {
    assert!(jsonschema::draft7::meta::is_valid(&schema()));
    assert_eq!(wrong(&own()), Vec::<String>::new(), "the chart's own");
    let files = files(&format!("{CHART}/ci"), "-values.yaml");
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        assert_eq!(wrong(&merged(&own(), &yaml(&file))), Vec::<String>::new(), "{file}");
    }
}

#[test]
fn mistakes_are_refused() {
    for mistake in [
        json!({"replica": 2}),
        json!({"replicas": "2"}),
        json!({"kind": "StatefulSet"}),
        json!({"image": {"tags": "1"}}),
        json!({"image": {"digest": "0123"}}),
        json!({"config": {"tick": 1}}),
        json!({"config": {"data_dir": "/data"}}),
        json!({"config": {"listen": {"xds": "0.0.0.0:1"}}}),
        json!({"config": {"kubernetes": {"namespace": "shop"}}}),
        json!({"config": {"kubernetes": {"namespaces": []}}}),
        json!({"config": {"services": [{"name": "shop"}]}}),
        json!({"config": {"services": [{"name": "shop", "endpoints": {}}]}}),
        json!({"config": {"sources": [{"prometheus": {"url": "prometheus:9090"}}]}}),
        json!({"config": {"sources": [{"push": {}, "scrape": {"targets": ["http://a:1"]}}]}}),
        json!({"config": {"relay": {"upstream": {}}}}),
        json!({"config": {"relay": {"cert_file": "c", "upstream": {"address": "http://i:1"}}}}),
        json!({"policies": {"shop": "spec: {}"}}),
        json!({"ports": {"xds": 0}}),
        json!({"config": {"kubernetes": {"writes": ["secrets"]}}}),
        json!({"networkPolicy": {"from": []}}),
        json!({"test": {"image": "busybox"}}),
    ] {
        assert!(!wrong(&merged(&own(), &mistake)).is_empty(), "{mistake} is taken");
    }
}

/// Every object of ours says what it holds; what is in Kubernetes' own words is listed here.
#[test]
fn the_schema_is_closed() {
    const OPEN: [&str; 7] = [
        "/definitions/http/properties/headers",
        "/properties/resources",
        "/properties/affinity",
        "/properties/global",
        "/properties/policies",
        "/properties/volumes/items",
        "/properties/volumeMounts/items",
    ];
    fn search(path: &str, at: &Value, open: &mut Vec<String>) {
        let Value::Object(fields) = at else { return };
        let keyed = fields.get("additionalProperties").is_some_and(|more| more["type"] == "string");
        if fields.get("type") == Some(&json!("object"))
            && fields.get("additionalProperties") != Some(&json!(false))
            && !keyed
        {
            open.push(path.to_owned());
        }
        for (name, inner) in fields {
            search(&format!("{path}/{name}"), inner, open);
        }
    }
    let mut open = Vec::new();
    search("", &schema(), &mut open);
    let peers = "items";
    open.retain(|path| !OPEN.contains(&path.as_str()) && !path.ends_with(peers));
    assert!(open.is_empty(), "{open:?}");
}

/// The fields of a struct in the source of `weir.yaml`'s shape.
fn fields(source: &str, name: &str) -> BTreeSet<String> {
    let opening = format!("pub struct {name} {{\n");
    let (_, rest) = source.split_once(&opening).unwrap_or_else(|| panic!("no struct {name}"));
    let (body, _) = rest.split_once("\n}").unwrap();
    let lines = body.lines().filter_map(|line| line.trim().strip_prefix("pub "));
    lines.filter_map(|line| line.split_once(':').map(|(field, _)| field.to_owned())).collect()
}

/// Nothing that `weir.yaml` may hold is refused by the chart, but what the chart itself writes.
#[test]
fn all_of_weir_yaml_may_be_set() {
    let file = read("weir/src/config/file.rs");
    let relay = read("weir/src/config/relay.rs");
    let config = "/properties/config/properties";
    let service = "/definitions/service/properties";
    let schema = schema();
    for (source, name, at, by_chart) in [
        (&file, "File", config, &["data_dir", "policies"][..]),
        (
            &file,
            "Listen",
            "/properties/config/properties/listen/properties",
            &["xds", "api", "metrics"],
        ),
        (&file, "Journal", "/properties/config/properties/journal/properties", &[]),
        (&file, "Kubernetes", "/definitions/kubernetes/properties", &["lease"]),
        (&file, "Service", service, &[]),
        (&file, "Endpoints", "/definitions/service/properties/endpoints/properties", &[]),
        (&file, "Balancer", "/definitions/balancer/properties", &[]),
        (&file, "SourceEntry", "/definitions/source/properties", &[]),
        (&file, "Push", "/definitions/source/properties/push/properties", &[]),
        (&file, "Scrape", "/definitions/source/properties/scrape/properties", &[]),
        (&file, "Prometheus", "/definitions/source/properties/prometheus/properties", &[]),
        (&file, "Http", "/definitions/http/properties", &[]),
        (
            &relay,
            "EnvoyGateway",
            "/properties/config/properties/envoy_gateway/anyOf/1/properties",
            &["listen"],
        ),
        (&relay, "Relay", "/definitions/relay/properties", &["listen"]),
        (&relay, "UpstreamEntry", "/definitions/relay/properties/upstream/properties", &[]),
    ] {
        let known = schema.pointer(at).unwrap_or_else(|| panic!("no {at}")).as_object().unwrap();
        let fields = fields(source, name);
        assert!(!fields.is_empty(), "{name}");
        let missing: Vec<_> = fields
            .iter()
            .filter(|field| !known.contains_key(*field) && !by_chart.contains(&field.as_str()))
            .collect();
        assert!(missing.is_empty(), "{name}: values.schema.json lacks {missing:?} at {at}");
    }
}

/// A comment says what each value is for.
#[test]
fn values_are_explained() {
    let text = read(&format!("{CHART}/values.yaml"));
    let comments = text.lines().filter(|line| line.trim_start().starts_with('#')).count();
    let values = own().as_object().unwrap().len();
    assert!(comments >= values, "{comments} comments for {values} values");
    assert!(text.lines().all(|line| line.len() <= 120), "lines are short");
}
