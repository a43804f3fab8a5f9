//! Fields of objects that somebody else has written: how they are set, and how they come back.
//!
//! What was there before is remembered on the object itself. A field that somebody else has changed since is
//! theirs when it is to come back.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::marks::{Plan, annotate, annotation, labelled, unchanged, unmarked};

/// What the fields were before Weir wrote them, on the object; null where there was nothing.
pub const BEFORE: &str = "weir.dev/fields-before";

/// What Weir wrote last, on the object.
pub const WRITTEN: &str = "weir.dev/fields-written";

/// By this label objects are found that Weir has written.
pub const LABEL: &str = "weir.dev/fields";

/// Values by where they stand, as JSON pointers (RFC 6901).
pub type Fields = BTreeMap<String, Value>;

/// What has to change for the object to have these fields, and no others of Weir's.
pub fn plan(object: &Value, wanted: &Fields) -> Plan {
    let mut edit = Edit::of(object);
    let changed = |path: &String| {
        let written = edit.written.get(path);
        written.is_some_and(|written| object.pointer(path) != Some(written))
    };
    let contests = wanted.keys().any(changed);
    let left: Vec<String> =
        edit.written.keys().filter(|path| !wanted.contains_key(*path)).cloned().collect();
    for path in left {
        edit.put_back(&path);
    }
    for (path, value) in wanted {
        edit.set(path, value);
    }
    edit.prune();
    edit.into_plan(object, contests)
}

/// How an object gets back what it had before Weir wrote it; nothing where Weir never did.
pub fn restore(object: &Value) -> Plan {
    plan(object, &Fields::new())
}

/// Whether Weir has written something there or below.
pub(super) fn is_ours(object: &Value, path: &str) -> bool {
    let within = |field: &String| {
        field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    noted(object, WRITTEN).keys().any(within)
}

fn noted(object: &Value, key: &str) -> Map<String, Value> {
    match annotation(object, key) {
        Some(Value::Object(noted)) => noted,
        _ => Map::new(),
    }
}

/// An object as it becomes, step by step.
struct Edit {
    object: Value,
    operations: Vec<Value>,
    before: Map<String, Value>,
    written: Map<String, Value>,
    noted: bool,
}

impl Edit {
    fn of(object: &Value) -> Self {
        let (before, written) = (noted(object, BEFORE), noted(object, WRITTEN));
        let noted = object["metadata"]["labels"].get(LABEL).is_some() || !before.is_empty();
        let mut object = object.clone();
        // The patch makes room for annotations before it sets any.
        if !object["metadata"]["annotations"].is_object() {
            object["metadata"]["annotations"] = json!({});
        }
        Self { object, operations: Vec::new(), before, written, noted }
    }

    fn add(&mut self, path: &str, value: &Value) {
        self.operations.push(json!({"op": "add", "path": path, "value": value}));
        let Some((parent, key)) = split(path) else { return };
        if let Some(parent) = self.object.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.insert(key, value.clone());
        }
    }

    fn remove(&mut self, path: &str) {
        let Some((parent, key)) = split(path) else { return };
        let parent = self.object.pointer_mut(parent).and_then(Value::as_object_mut);
        if parent.is_some_and(|parent| parent.remove(&key).is_some()) {
            self.operations.push(json!({"op": "remove", "path": path}));
        }
    }

    fn set(&mut self, path: &str, value: &Value) {
        let has = self.object.pointer(path).cloned();
        if has.as_ref() == Some(value) {
            return;
        }
        let ends = path.char_indices().skip(1).filter(|(_, letter)| *letter == '/');
        for parent in ends.map(|(end, _)| &path[..end]) {
            if self.object.pointer(parent).is_none() {
                self.before.insert(parent.to_owned(), Value::Null);
                self.add(parent, &json!({}));
            }
        }
        self.before.entry(path).or_insert(has.unwrap_or_default());
        self.written.insert(path.to_owned(), value.clone());
        self.add(path, value);
    }

    fn put_back(&mut self, path: &str) {
        let written = self.written.remove(path);
        let before = self.before.remove(path);
        if self.object.pointer(path) == written.as_ref() {
            match before {
                Some(Value::Null) | None => self.remove(path),
                Some(before) => self.add(path, &before),
            }
        }
    }

    /// What was only made to hold fields goes with the last of them.
    fn prune(&mut self) {
        let made = self.before.keys().filter(|path| !self.written.contains_key(*path));
        let mut made: Vec<String> = made.cloned().collect();
        made.sort_by_key(|path| std::cmp::Reverse(path.len()));
        for path in made {
            let below = format!("{path}/");
            if self.written.keys().any(|field| field.starts_with(&below)) {
                continue;
            }
            self.before.remove(&path);
            if self.object.pointer(&path) == Some(&json!({})) {
                self.remove(&path);
            }
        }
    }

    fn into_plan(self, object: &Value, contests: bool) -> Plan {
        let done = self.written.is_empty();
        if self.operations.is_empty() && !(done && self.noted) {
            return Plan::Leave;
        }
        let mut patch = unchanged(object);
        if done {
            patch.extend(self.operations);
            patch.extend(unmarked(object, [BEFORE, WRITTEN], LABEL));
            return Plan::LetGo { patch: Value::Array(patch) };
        }
        patch.extend(labelled(object, LABEL));
        patch.extend(self.operations);
        patch.push(annotate(BEFORE, &Value::Object(self.before)));
        patch.push(annotate(WRITTEN, &Value::Object(self.written)));
        Plan::Write { patch: Value::Array(patch), contests }
    }
}

/// A pointer's parent, and the key in it.
fn split(path: &str) -> Option<(&str, String)> {
    let (parent, key) = path.rsplit_once('/')?;
    Some((parent, key.replace("~1", "/").replace("~0", "~")))
}

#[cfg(test)]
mod tests;
