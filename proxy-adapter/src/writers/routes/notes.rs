//! What is remembered on a route: whose weight stood where, and what it was.
//!
//! Whoever wrote the route may put rules before others at any time, so a place alone does not say which
//! destination it was: that would give one rule's weights to another.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{BEFORE, WRITTEN, annotation};

/// What a weight was before Weir wrote it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Note {
    /// Where it stands.
    pub(super) path: String,
    /// Its destination, as the route names it; none in what older versions noted.
    name: Option<String>,
    /// What it was; none where there was none.
    pub(super) weight: Option<i64>,
}

impl Note {
    /// Of a weight that stands there.
    pub(super) fn new(object: &Value, path: &str, weight: Option<i64>) -> Self {
        let name = destination(object, path).and_then(name).map(str::to_owned);
        Self { path: path.to_owned(), name, weight }
    }

    fn parse(path: &str, value: &Value) -> Self {
        let (name, weight) = match value.as_array().map(Vec::as_slice) {
            Some([name, weight]) => (name.as_str(), weight.as_i64()),
            _ => (None, value.as_i64()),
        };
        Self { path: path.to_owned(), name: name.map(str::to_owned), weight }
    }

    /// The list of destinations that it stands in.
    pub(super) fn rule(&self) -> &str {
        let parent = |path: &str| path.rfind('/').unwrap_or(0);
        let destination = &self.path[..parent(&self.path)];
        &destination[..parent(destination)]
    }

    /// Whether its destination still stands where it did.
    fn stays(&self, object: &Value) -> bool {
        destination(object, &self.path)
            .is_some_and(|one| self.name.is_none() || name(one) == self.name.as_deref())
    }
}

/// The destination that a weight is of.
pub(super) fn destination<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    object.pointer(path.rsplit_once('/')?.0)
}

fn name(destination: &Value) -> Option<&str> {
    destination["name"].as_str().or_else(|| destination["destination"]["host"].as_str())
}

/// What is noted on an object, each where its destination stands now. What has gone takes its weight along.
pub(super) fn read(object: &Value) -> Option<Vec<Note>> {
    let Some(Value::Object(noted)) = annotation(object, BEFORE) else { return None };
    let mut notes: Vec<Note> = noted.iter().map(|(path, value)| Note::parse(path, value)).collect();
    // As rules stand, not as texts sort.
    notes.sort_by_cached_key(|note| place(&note.path));
    if notes.iter().all(|note| note.stays(object)) {
        return Some(notes);
    }
    let moved = |note: &Note| {
        let alike: Vec<&Note> = notes.iter().filter(|one| alike(one, note)).collect();
        let places = places(object, note);
        let at = alike.iter().position(|one| *one == note)?;
        let path = (places.len() == alike.len()).then(|| places[at].clone());
        let path = path.or_else(|| note.stays(object).then(|| note.path.clone()))?;
        Some(Note { path, ..note.clone() })
    };
    Some(notes.iter().filter_map(moved).collect())
}

/// The lists of destinations in which all weights are as Weir wrote them. With one of somebody else's a list is theirs:
/// half of it brought back would be a split that nobody has chosen.
pub(super) fn as_written(object: &Value, notes: &[Note]) -> BTreeSet<String> {
    let written = annotation(object, WRITTEN);
    let ours = |note: &&Note| {
        let has = destination(object, &note.path).and_then(|one| one.get("weight"));
        match &written {
            Some(Value::Object(written)) => written.values().any(|value| Some(value) == has),
            _ => true,
        }
    };
    let theirs: BTreeSet<&str> = notes.iter().filter(|note| !ours(note)).map(Note::rule).collect();
    let rules = notes.iter().map(Note::rule).filter(|rule| !theirs.contains(rule));
    rules.map(str::to_owned).collect()
}

pub(super) fn written(notes: &[Note]) -> Value {
    let pair = |note: &Note| (note.path.clone(), json!([note.name, note.weight]));
    Value::Object(notes.iter().map(pair).collect::<Map<_, _>>())
}

/// Whether both are of one destination in one kind of list: `/spec/http`, or `/spec/tcp`.
fn alike(one: &Note, other: &Note) -> bool {
    one.name == other.name && place(&one.path).0 == place(&other.path).0
}

/// A path in parts that sort as they stand: the lists' names, and the numbers of rule and destination.
fn place(path: &str) -> (String, Vec<usize>) {
    let (numbers, words): (Vec<&str>, Vec<&str>) = path
        .split('/')
        .partition(|part| part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty());
    (words.join("/"), numbers.iter().filter_map(|part| part.parse().ok()).collect())
}

/// Where a note's destination stands now, in rules of two destinations.
fn places(object: &Value, note: &Note) -> Vec<String> {
    let parts: Vec<&str> = note.path.split('/').collect();
    let (Some(of), ["", "spec", rules, _, list, _, "weight"]) = (&note.name, &parts[..]) else {
        return Vec::new();
    };
    let mut places = Vec::new();
    for (rule, found) in object["spec"][rules].as_array().into_iter().flatten().enumerate() {
        let Some(all @ [_, _]) = found[list].as_array().map(Vec::as_slice) else { continue };
        for at in (0..2).filter(|at| name(&all[*at]) == Some(of)) {
            places.push(format!("/spec/{rules}/{rule}/{list}/{at}/weight"));
        }
    }
    places
}
