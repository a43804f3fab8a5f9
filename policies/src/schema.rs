//! The JSON schema of policies, for editors and for `kubectl`-less checks.
//!
//! Draft 7, since the YAML language server that editors use reads no later one.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Value, json};

use crate::document::{AdaptiveTrafficPolicy, GROUP, VERSION};

/// The schema as a text, with a line break at its end.
pub fn schema() -> String {
    let mut settings = SchemaSettings::draft07();
    settings.transforms.insert(0, Box::new(RecursiveTransform(NotNull)));
    let mut schema = settings.into_generator().into_root_schema_for::<AdaptiveTrafficPolicy>();
    schema.insert(
        "$id".to_owned(),
        json!(format!("https://{GROUP}/schemas/{VERSION}/adaptivetrafficpolicy.json")),
    );
    let mut text = serde_json::to_string_pretty(&schema).expect("a JSON value is always JSON");
    text.push('\n');
    text
}

/// A field may be left out, but not left blank: takes `null` out of every choice.
#[derive(Clone, Debug)]
pub(crate) struct NotNull;

impl Transform for NotNull {
    fn transform(&mut self, schema: &mut Schema) {
        let Some(object) = schema.as_object_mut() else { return };
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|kind| kind != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(choices)) = object.get_mut("enum") {
            choices.retain(|choice| !choice.is_null());
        }
        let Some(Value::Array(choices)) = object.get_mut("anyOf") else { return };
        choices.retain(|choice| choice.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            object.extend(only);
        }
    }
}

/// Ties an indicator's fields to its type: each type needs its own and no other's.
pub(crate) fn tie_indicator(schema: &mut Schema) {
    let only = |kind: &str, needs: Value, not: &[&str]| {
        let refused: serde_json::Map<String, Value> =
            not.iter().map(|name| ((*name).to_owned(), json!(false))).collect();
        json!({
            "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
            "then": {"required": needs, "properties": refused},
        })
    };
    schema.insert(
        "allOf".to_owned(),
        json!([
            only("Availability", json!([]), &["latency", "prometheus"]),
            only("Latency", json!(["latency"]), &["prometheus"]),
            only("Prometheus", json!(["prometheus"]), &["latency"]),
        ]),
    );
}
