//! The JSON schema says what the reader does, as far as a schema can.

use jsonschema::Validator;
use serde_json::Value;
use weir_policies::check::check;
use weir_policies::reader::{Limits, read};
use weir_policies::schema::schema;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/adaptivetrafficpolicy.json");

pub(crate) fn validator() -> Validator {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    jsonschema::draft7::new(&schema).unwrap()
}

fn value(text: &str) -> Value {
    read("a.yaml", text.as_bytes(), &Limits::DOCUMENT).unwrap()
}

/// `WEIR_WRITE=schema cargo test -p weir-policies` writes it anew.
#[test]
fn the_committed_schema_is_up_to_date() {
    if option_env!("WEIR_WRITE") == Some("schema") {
        std::fs::write(PATH, schema()).unwrap();
    }
    let committed = std::fs::read_to_string(PATH).unwrap_or_default();
    assert_eq!(committed, schema(), "WEIR_WRITE=schema cargo test -p weir-policies writes it anew");
}

#[test]
fn it_is_a_draft_7_schema() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(jsonschema::draft7::meta::is_valid(&schema));
    assert!(!schema.to_string().contains("null"), "no field may be left blank");
}

#[test]
fn every_example_is_valid() {
    let validator = validator();
    for document in super::examples::all() {
        let value = value(std::str::from_utf8(&document.bytes).unwrap());
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{}", document.path);
    }
}

/// One part of the good policy and what it is replaced by.
const WRONG: &[(&str, &str)] = &[
    ("weir.dev/v1alpha1", "weir.dev/v2"),
    ("kind: AdaptiveTrafficPolicy", "kind: Deployment"),
    ("maxStepPercent", "maxSteppercent"),
    ("mode: Enforce", "mode: enforce"),
    ("mode: Enforce", "mode: ~"),
    ("mode: Enforce", "suspend: 1"),
    ("name: payments\n  namespace", "name: Payments\n  namespace"),
    ("namespace: shop", "namespace: shop.eu"),
    ("    - group: \"\"\n      kind: Service\n      name: payments", "    []"),
    ("kind: Service", "kind: HTTPRoute"),
    ("group: \"\"", "group: apps"),
    ("targetPercent: 99.95", "targetPercent: 100"),
    ("targetPercent: 99.95", "targetPercent: 0"),
    ("targetPercent: 99.95", "targetPercent: \"99\""),
    ("duration: 4w", "duration: 4"),
    ("duration: 4w", "duration: 04w"),
    ("isRolling: true", "isRolling: false"),
    ("        latency: { threshold: 250ms }\n", ""),
    ("type: Latency", "type: Availability"),
    ("threshold: 250ms", "threshold: 250"),
    ("interval: 1s", "interval: 1d"),
    ("minSamples: 150", "minSamples: 0"),
    ("minSamples: 150", "minSamples: 1.5"),
    ("onStale: Fallback", "onStale: Hold"),
    ("min: 10, max: 200", "min: 1, max: 200"),
    ("min: 10, max: 200", "min: 10, max: 1001"),
    ("maxStepPercent: 25", "maxStepPercent: 51"),
    ("maxStepPercent: 25", "maxStepPercent: 0"),
    ("maxEjectionPercent: 20", "maxEjectionPercent: 20.5"),
    ("minHealthPercent: 70", "minHealthPercent: 59"),
    ("minHealthPercent: 70", "minHealthPercent: 101"),
    ("ejection:", "unsafe: { maxEjectionPercent: 101 }\n  ejection:"),
    ("ejection:", "guardrails: { maxChangesPerMinute: 61 }\n  ejection:"),
    ("ejection:", "rollout: { stepWeights: [1] }\n  ejection:"),
    ("ejection:", "cost: { currency: eur, perGiB: [] }\n  ejection:"),
];

#[test]
fn what_the_schema_can_say_both_refuse() {
    let validator = validator();
    for (part, by) in WRONG {
        assert!(super::GOOD.contains(part), "{part:?}");
        let text = super::GOOD.replacen(part, by, 1);
        assert!(super::check_one(&text).is_err(), "the reader takes {by:?}");
        assert!(!validator.is_valid(&value(&text)), "the schema takes {by:?}");
    }
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let validator = validator();
    for document in super::examples::all() {
        assert!(check(std::slice::from_ref(&document)).is_ok(), "{}", document.path);
        assert!(validator.is_valid(&value(std::str::from_utf8(&document.bytes).unwrap())));
    }
}
