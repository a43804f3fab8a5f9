//! Reaching into a bootstrap: protobuf's JSON takes every field in two spellings
//! (`load_stats_config`, `loadStatsConfig`), and a null for an absent one.

use serde_json::{Map, Value};

use super::Problem;

/// The field at this path, if it is there.
pub(super) fn find<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    let mut found = value;
    for field in path {
        let map = found.as_object()?;
        found = map.get(*field).or_else(|| map.get(&camel(field)))?;
    }
    (!found.is_null()).then_some(found)
}

/// Whether nothing is at this path.
pub(super) fn absent(value: &Value, path: &[&str]) -> bool {
    find(value, path).is_none()
}

/// The mapping at this path, made where it is absent.
pub(super) fn mapping<'a>(
    root: &'a mut Value,
    path: &[&str],
) -> Result<&'a mut Map<String, Value>, Vec<Problem>> {
    let found = reach(root, path, || Value::Object(Map::new()))?;
    found.as_object_mut().ok_or_else(|| other(path, "mapping"))
}

/// The list at this path, made where it is absent.
pub(super) fn list<'a>(
    root: &'a mut Value,
    path: &[&str],
) -> Result<&'a mut Vec<Value>, Vec<Problem>> {
    let found = reach(root, path, || Value::Array(Vec::new()))?;
    found.as_array_mut().ok_or_else(|| other(path, "list"))
}

fn reach<'a>(
    root: &'a mut Value,
    path: &[&str],
    last: fn() -> Value,
) -> Result<&'a mut Value, Vec<Problem>> {
    let mut found = root;
    for (depth, field) in path.iter().enumerate() {
        let is_last = depth + 1 == path.len();
        let make = || if is_last { last() } else { Value::Object(Map::new()) };
        let map = found
            .as_object_mut()
            .ok_or_else(|| other(path.get(..depth).unwrap_or(&[]), "mapping"))?;
        let spelling = spelling(map, field);
        found = map.entry(spelling).or_insert_with(make);
        if found.is_null() {
            *found = make();
        }
    }
    Ok(found)
}

fn other(path: &[&str], expected: &str) -> Vec<Problem> {
    let what = format!("a {expected} belongs here");
    vec![Problem::new(&path.join("."), what, "envoy would refuse the file, too: mend it first")]
}

/// Puts a prefix before the paths of problems.
pub(super) fn within(at: &str) -> impl Fn(Vec<Problem>) -> Vec<Problem> {
    move |problems| {
        let prefixed = |problem: Problem| Problem { at: format!("{at}.{}", problem.at), ..problem };
        problems.into_iter().map(prefixed).collect()
    }
}

/// Adds a field. One that is there already has to say the same.
pub(super) fn put(
    map: &mut Map<String, Value>,
    at: &str,
    value: Value,
    mend: &str,
) -> Result<(), Vec<Problem>> {
    let field = at.rsplit('.').next().unwrap_or(at);
    let spelling = spelling(map, field);
    match map.get(&spelling) {
        None | Some(Value::Null) => {
            map.insert(spelling, value);
            Ok(())
        }
        Some(there) if *there == value => Ok(()),
        Some(there) => {
            let what = format!("the file has {}, weir needs {}", short(there), short(&value));
            Err(vec![Problem::new(at, what, mend)])
        }
    }
}

/// Adds an element with a name; says whether it was new. One of the same name that is there
/// already has to be the same.
pub(super) fn append(
    list: &mut Vec<Value>,
    at: &str,
    value: Value,
    mend: &str,
) -> Result<bool, Vec<Problem>> {
    let same_name = |there: &Value| there["name"] == value["name"];
    match list.iter().enumerate().find(|(_, there)| same_name(there)) {
        None => {
            list.push(value);
            Ok(true)
        }
        Some((_, there)) if *there == value => Ok(false),
        Some((number, _)) => {
            let what = format!("{} is there already, and differs", named(&value));
            Err(vec![Problem::new(&format!("{at}[{number}]"), what, mend)])
        }
    }
}

/// An element's name, for people.
pub(super) fn named(value: &Value) -> String {
    format!("{:?}", value["name"].as_str().unwrap_or("without a name"))
}

/// The spelling of a field that this mapping uses.
fn spelling(map: &Map<String, Value>, field: &str) -> String {
    let camel = camel(field);
    if map.contains_key(&camel) { camel } else { field.to_owned() }
}

fn camel(field: &str) -> String {
    let mut upper = false;
    let mut text = String::new();
    for letter in field.chars() {
        match letter {
            '_' => upper = true,
            _ if upper => {
                text.push(letter.to_ascii_uppercase());
                upper = false;
            }
            _ => text.push(letter),
        }
    }
    text
}

/// A value as a message can quote it: 80 characters tell people which one it is.
fn short(value: &Value) -> String {
    const SHOWN_MAX: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
