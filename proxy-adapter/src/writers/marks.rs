//! What is noted on an object of others, so that whoever finds it can put back what was there.

use serde_json::{Value, json};

/// What is to be done with an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// It is as it should be, or none of ours.
    Leave,
    /// A JSON patch (RFC 6902) that is refused if the object has changed meanwhile.
    Write {
        /// The operations.
        patch: Value,
        /// Whether it undoes what somebody else has written since.
        contests: bool,
    },
    /// The last such patch: nothing of Weir's is left on it then.
    LetGo {
        /// The operations.
        patch: Value,
    },
}

pub(super) fn annotation(object: &Value, key: &str) -> Option<Value> {
    serde_json::from_str(object["metadata"]["annotations"].get(key)?.as_str()?).ok()
}

pub(super) fn annotate(key: &str, value: &Value) -> Value {
    let path = format!("/metadata/annotations/{}", token(key));
    json!({"op": "add", "path": path, "value": value.to_string()})
}

/// The object is still the one that was read.
pub(super) fn unchanged(object: &Value) -> Vec<Value> {
    let version = &object["metadata"]["resourceVersion"];
    vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": version})]
}

/// Room for annotations, and the label.
pub(super) fn labelled(object: &Value, label: &str) -> Vec<Value> {
    let mut patch = Vec::new();
    for map in ["annotations", "labels"] {
        if !object["metadata"][map].is_object() {
            patch.push(json!({"op": "add", "path": format!("/metadata/{map}"), "value": {}}));
        }
    }
    let path = format!("/metadata/labels/{}", token(label));
    patch.push(json!({"op": "add", "path": path, "value": "written"}));
    patch
}

/// Nothing of ours is left on it.
pub(super) fn unmarked(object: &Value, annotations: [&str; 2], label: &str) -> Vec<Value> {
    let remove = |map: &str, key: &str| {
        let there = object["metadata"][map].get(key).is_some();
        let path = format!("/metadata/{map}/{}", token(key));
        there.then(|| json!({"op": "remove", "path": path}))
    };
    let notes = annotations.into_iter().filter_map(|key| remove("annotations", key));
    notes.chain(remove("labels", label)).collect()
}

/// A key in a JSON pointer (RFC 6901).
pub(super) fn token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
