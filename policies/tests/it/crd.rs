//! The custom resource's definition says what the reader does, as far as Kubernetes can.

use serde_json::{Value, json};
use weir_policies::crd::definition;
use weir_policies::reader::{Limits, read};

fn schema() -> Value {
    definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn value(text: &str) -> Value {
    read("a.yaml", text.as_bytes(), &Limits::DOCUMENT).unwrap()
}

/// What makes a schema structural, and what Kubernetes has no word for.
fn assert_structural(node: &Value, path: &str, in_property: bool) {
    let Some(object) = node.as_object() else { panic!("{path} is no schema: {node}") };
    let unknown = [
        "$ref",
        "$defs",
        "definitions",
        "oneOf",
        "anyOf",
        "allOf",
        "not",
        "if",
        "const",
        "patternProperties",
    ];
    for word in unknown {
        assert!(!object.contains_key(word), "{path} has {word}");
    }
    assert!(object["type"].is_string(), "{path} has no type: {node}");
    let both = object.contains_key("properties") && object.contains_key("additionalProperties");
    assert!(!both, "{path} has named and other fields");
    let described = object.contains_key("description") || !in_property;
    assert!(described, "{path} says not what it is for");
    for (name, field) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        assert_structural(field, &format!("{path}.{name}"), !path.is_empty());
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = object.get(name) {
            assert_structural(inner, &format!("{path}.{name}"), false);
        }
    }
}

#[test]
fn it_is_structural_and_every_field_is_described() {
    let schema = schema();
    assert_structural(&schema["properties"]["spec"], "spec", true);
    assert_structural(&schema["properties"]["status"], "status", true);
    assert_eq!(schema["required"], json!(["spec"]));
}

#[test]
fn every_example_is_valid() {
    let validator = jsonschema::draft4::new(&schema()).unwrap();
    for document in super::examples::all() {
        let value = value(std::str::from_utf8(&document.bytes).unwrap());
        let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", document.path);
    }
}

/// Those that are neither about names, which Kubernetes checks itself, nor about fields that are not
/// there, which it refuses by strict validation, nor for a rule of two fields.
#[test]
fn wrong_values_are_refused() {
    let validator = jsonschema::draft4::new(&schema()).unwrap();
    for (part, by) in [
        ("mode: Enforce", "mode: enforce"),
        ("mode: Enforce", "suspend: 1"),
        ("    - group: \"\"\n      kind: Service\n      name: payments", "    []"),
        ("kind: Service", "kind: HTTPRoute"),
        ("targetPercent: 99.95", "targetPercent: 100"),
        ("isRolling: true", "isRolling: false"),
        ("threshold: 250ms", "threshold: 250"),
        ("minSamples: 150", "minSamples: 0"),
        ("onStale: Fallback", "onStale: Hold"),
        ("maxStepPercent: 25", "maxStepPercent: 51"),
        ("minHealthPercent: 70", "minHealthPercent: 59"),
    ] {
        assert!(super::GOOD.contains(part), "{part:?}");
        let text = super::GOOD.replacen(part, by, 1);
        assert!(!validator.is_valid(&value(&text)), "it takes {by:?}");
    }
}

/// Where a rule stands has to be there, or the API server refuses the whole definition.
#[test]
fn rules_stand_at_what_they_are_about_and_can_be_read() {
    let spec = &schema()["properties"]["spec"];
    let at = |path: &str| spec.pointer(path).and_then(Value::as_array).map(Vec::len);
    assert_eq!(at("/x-kubernetes-validations"), Some(4));
    let indicator = "/properties/objectives/items/properties/indicator/x-kubernetes-validations";
    assert_eq!(at(indicator), Some(1));
    let near = "/properties/loadBalancing/properties/zoneAware/properties/preferLocal";
    assert_eq!(at(&format!("{near}/x-kubernetes-validations")), Some(1));
    // Lists have bounds: without one the API server takes a rule over them for too expensive.
    assert_eq!(spec["properties"]["objectives"]["maxItems"], 16);
}
