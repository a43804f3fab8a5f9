//! `AdaptiveTrafficPolicy` as a custom resource: the same types, as Kubernetes wants a schema.
//!
//! A structural schema (no references, every node of a type, no choice between shapes) made from the
//! types that the reader reads, so that the two cannot differ. What needs two fields at once is a CEL
//! rule beside it, with the words of `weir policy check`. What only Weir can know (targets that are not
//! there, queries) it says in the status.
//!
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Map, Value, json};

use crate::document::{GROUP, KIND, Spec, VERSION};
use crate::schema::NotNull;
use crate::status::Status;

/// The resource's plural, in its path and in its definition's name.
pub const PLURAL: &str = "adaptivetrafficpolicies";

/// A rule of two fields: where, what must hold, and what is said otherwise.
struct Rule {
    path: &'static [&'static str],
    rule: &'static str,
    message: &'static str,
}

/// In the words of `weir policy check`.
const RULES: [Rule; 6] = [
    Rule {
        path: &["objectives", "[]", "indicator"],
        rule: "(self.type == 'Latency') == has(self.latency) && \
               (self.type == 'Prometheus') == has(self.prometheus)",
        message: "an indicator needs the field of its type and no other's: latency for type Latency, \
                  prometheus for type Prometheus",
    },
    Rule {
        path: &["loadBalancing", "zoneAware", "preferLocal"],
        rule: "!has(self.minEndpointsInZoneThreshold) || self.minEndpointsInZoneThreshold <= \
               (has(self.minEndpointsThreshold) ? self.minEndpointsThreshold : 6)",
        message: "more endpoints are asked for in the zone than in all: raise minEndpointsThreshold, or \
                  lower minEndpointsInZoneThreshold",
    },
    Rule {
        path: &[],
        rule: "!has(self.objectives) || self.objectives.all(o, \
               self.objectives.exists_one(other, other.name == o.name))",
        message: "two objectives have one name",
    },
    Rule {
        path: &[],
        rule: "!has(self.unsafe) || !has(self.ejection) || \
               !(has(self.unsafe.maxEjectionPercent) && has(self.ejection.maxEjectionPercent))",
        message: "maxEjectionPercent stands under both ejection and unsafe: keep one of the two",
    },
    Rule {
        path: &[],
        rule: "!has(self.unsafe) || !has(self.ejection) || \
               !(has(self.unsafe.minHealthPercent) && has(self.ejection.minHealthPercent))",
        message: "minHealthPercent stands under both ejection and unsafe: keep one of the two",
    },
    Rule {
        path: &[],
        rule: "!has(self.unsafe) || !has(self.loadBalancing) || \
               !(has(self.unsafe.maxStepPercent) && has(self.loadBalancing.maxStepPercent))",
        message: "maxStepPercent stands under both loadBalancing and unsafe: keep one of the two",
    },
];

/// The definition, as `kubectl apply` takes it.
pub fn definition() -> Value {
    let mut spec = structural::<Spec>();
    for Rule { path, rule, message } in &RULES {
        let at = path.iter().try_fold(&mut spec, |at, name| match *name {
            "[]" => at.get_mut("items"),
            name => at.get_mut("properties")?.get_mut(name),
        });
        let node = at.and_then(Value::as_object_mut).expect("rules name fields of the spec");
        let rules = node.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
        let rules = rules.as_array_mut().expect("made here");
        rules.push(json!({ "rule": rule, "message": message }));
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{PLURAL}.{GROUP}"),
            "labels": {
                "app.kubernetes.io/name": "weir",
                "app.kubernetes.io/part-of": "weir",
                "gateway.networking.k8s.io/policy": "Direct",
            },
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": format!("{KIND}List"),
                "plural": PLURAL,
                "singular": KIND.to_lowercase(),
                "shortNames": ["atp"],
                "categories": ["gateway-api", "weir"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": columns(),
                "schema": { "openAPIV3Schema": {
                    "description": "What is wanted of services, and what Weir may do for them.",
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": { "type": "string" },
                        "kind": { "type": "string" },
                        "metadata": { "type": "object" },
                        "spec": spec,
                        "status": structural::<Status>(),
                    },
                } },
            }],
        },
    })
}

fn columns() -> Value {
    let condition = |name: &str| {
        let path = format!(".status.ancestors[0].conditions[?(@.type==\"{name}\")].status");
        json!({ "name": name, "type": "string", "jsonPath": path })
    };
    json!([
        { "name": "Mode", "type": "string", "jsonPath": ".spec.mode" },
        { "name": "Target", "type": "string", "jsonPath": ".spec.targetRefs[0].name" },
        condition("Accepted"),
        condition("Programmed"),
        {
            "name": "Ejected",
            "type": "integer",
            "jsonPath": ".status.endpoints.ejected",
            "priority": 1,
        },
        {
            "name": "Last decision",
            "type": "string",
            "jsonPath": ".status.lastDecision.summary",
            "priority": 1,
        },
        { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
    ])
}

/// A type's schema without references and choices.
fn structural<T: schemars::JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    settings.transforms.insert(0, Box::new(RecursiveTransform(NotNull)));
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut schema = Value::from(schema);
    flatten(&mut schema);
    schema
}

/// Makes one node and all below it structural.
fn flatten(node: &mut Value) {
    match node {
        Value::Array(nodes) => nodes.iter_mut().for_each(flatten),
        Value::Object(object) => {
            for name in ["title", "$schema", "examples"] {
                object.remove(name);
            }
            // Kubernetes knows no unsigned numbers; `minimum` says it.
            if object.get("format").and_then(Value::as_str).is_some_and(|it| it.starts_with('u')) {
                object.remove("format");
            }
            // Unknown fields are pruned, or refused where a client asks for strict validation.
            if object.get("additionalProperties") == Some(&Value::Bool(false)) {
                object.remove("additionalProperties");
            }
            // Names cannot have a pattern; the values are the same for all.
            if let Some(Value::Object(named)) = object.remove("patternProperties")
                && let Some((_, value)) = named.into_iter().next()
            {
                object.insert("additionalProperties".to_owned(), value);
            }
            // A flag beside the bound, as OpenAPI 3.0 has it.
            for bound in ["maximum", "minimum"] {
                let exclusive = format!("exclusive{}{}", bound[..1].to_uppercase(), &bound[1..]);
                if let Some(limit) = object.remove(&exclusive) {
                    object.insert(bound.to_owned(), limit);
                    object.insert(exclusive, Value::Bool(true));
                }
            }
            unwrap_only(object);
            choices(object);
            if let Some(only) = object.remove("const") {
                object.insert("enum".to_owned(), json!([only]));
            }
            object.values_mut().for_each(flatten);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `allOf` of one is that one; of conditions, they are rules of their own ([`RULES`]).
fn unwrap_only(object: &mut Map<String, Value>) {
    let Some(Value::Array(all)) = object.remove("allOf") else { return };
    let plain = all.into_iter().filter(|one| one.get("if").is_none());
    for one in plain {
        if let Value::Object(one) = one {
            for (name, value) in one {
                object.entry(name).or_insert(value);
            }
        }
    }
}

/// Constants to choose from are an enumeration; what each means goes into the description.
fn choices(object: &mut Map<String, Value>) {
    let Some(Value::Array(all)) = object.remove("oneOf") else { return };
    let mut description = object.get("description").and_then(Value::as_str).map(str::to_owned);
    let mut values = Vec::new();
    for one in all {
        let Some(value) = one.get("const").cloned() else { continue };
        if let (Some(text), Some(name)) =
            (one.get("description").and_then(Value::as_str), value.as_str())
        {
            let text = text.replace('\n', " ");
            let before = description.get_or_insert_default();
            *before += &format!("\n{name}: {text}");
        }
        values.push(value);
    }
    object.insert("type".to_owned(), json!("string"));
    object.insert("enum".to_owned(), values.into());
    if let Some(description) = description {
        object.insert("description".to_owned(), json!(description));
    }
}
