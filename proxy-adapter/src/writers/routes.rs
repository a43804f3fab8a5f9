//! The weights of two versions in routes that somebody has written: which fields change, and how they come
//! back.
//!
//! A route belongs to whoever wrote it. Only weights are changed, only of a rule that lists both versions and
//! nobody else, and nothing is ever added to it. What was there is remembered on the object itself, so that
//! whoever finds it can put it back.

use serde_json::{Map, Value, json};
use weir_engine::names::ServiceId;
use weir_engine::units::Ratio;

use super::istio::is_host;
use super::marks::{annotate, annotation, labelled, unchanged, unmarked};
use super::parts;

mod notes;

use notes::Note;

pub use super::marks::Plan;

/// What the weights were before Weir wrote them, on the object.
pub const BEFORE: &str = "weir.dev/weights-before";

/// What Weir wrote last, on the object: if the weights are others, somebody else has written since.
pub const WRITTEN: &str = "weir.dev/weights-written";

/// By this label objects are found that Weir has written.
pub const LABEL: &str = "weir.dev/weights";

/// A kind of route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Of the Gateway API.
    HttpRoute,
    /// Of the Gateway API.
    GrpcRoute,
    /// Of the Gateway API.
    TcpRoute,
    /// Of Istio.
    VirtualService,
    /// Linkerd's own `HTTPRoute`, which came before the Gateway API's.
    LinkerdRoute,
}

impl Kind {
    /// Those of the Gateway API and of Istio.
    pub const COMMON: [Self; 4] =
        [Self::HttpRoute, Self::GrpcRoute, Self::TcpRoute, Self::VirtualService];

    /// API group, version, kind and plural.
    pub const fn names(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
            Self::GrpcRoute => ("gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes"),
            Self::TcpRoute => ("gateway.networking.k8s.io", "v1", "TCPRoute", "tcproutes"),
            Self::VirtualService => {
                ("networking.istio.io", "v1", "VirtualService", "virtualservices")
            }
            Self::LinkerdRoute => ("policy.linkerd.io", "v1beta3", "HTTPRoute", "httproutes"),
        }
    }

    /// Lists of rules, and in a rule the list of its destinations.
    const fn lists(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::HttpRoute | Self::GrpcRoute | Self::TcpRoute | Self::LinkerdRoute => {
                &[("rules", "backendRefs")]
            }
            Self::VirtualService => &[("http", "route"), ("tcp", "route"), ("tls", "route")],
        }
    }

    /// Whether a destination of an object in that namespace is the service.
    fn leads_to(self, destination: &Value, namespace: &str, service: &ServiceId) -> bool {
        match self {
            Self::HttpRoute | Self::GrpcRoute | Self::TcpRoute | Self::LinkerdRoute => {
                let kind = destination["kind"].as_str().unwrap_or("Service");
                let group = destination["group"].as_str().unwrap_or_default();
                let there = destination["namespace"].as_str().unwrap_or(namespace);
                kind == "Service"
                    && matches!(group, "" | "core")
                    && destination["name"] == *service.name
                    && *service.namespace == *there
            }
            Self::VirtualService => {
                let subset = destination["destination"]["subset"].is_string();
                let host = destination["destination"]["host"].as_str().unwrap_or_default();
                !subset && is_host(host, namespace, service)
            }
        }
    }
}

/// How requests are to be split over two versions.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// What clients call.
    pub service: ServiceId,
    /// What takes over.
    pub canary: ServiceId,
    /// What has been there.
    pub stable: ServiceId,
    /// The part of the new one.
    pub weight: Ratio,
    /// Whether that is the end: the weights stay, and are their owner's again.
    pub ends: bool,
}

/// A weight in the object: where it stands, and what it is; none is the default, 1.
type Found = (String, Option<i64>);

/// Whether a rule of the object lists both versions and nobody else.
pub fn concerns(kind: Kind, object: &Value, wanted: &Wanted) -> bool {
    !found(kind, object, wanted).is_empty()
}

/// The weights of both versions in each rule that lists them and nobody else, and what they shall be.
fn found(kind: Kind, object: &Value, wanted: &Wanted) -> Vec<(Found, u32)> {
    let (stable, canary) = parts(wanted.weight);
    let mut weights = Vec::new();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    each_rule(kind, object, |path, destinations| {
        let of = |service: &ServiceId| {
            let mut all = destinations.iter().enumerate();
            let found = all.find(|(_, one)| kind.leads_to(one, namespace, service));
            found.map(|(at, one)| (format!("{path}/{at}/weight"), one["weight"].as_i64()))
        };
        if let (2, Some(old), Some(new)) =
            (destinations.len(), of(&wanted.stable), of(&wanted.canary))
        {
            weights.extend([(old, stable), (new, canary)]);
        }
    });
    weights
}

/// What has to change for a split.
pub fn plan(kind: Kind, object: &Value, wanted: &Wanted) -> Plan {
    let (now, then): (Vec<Found>, Vec<u32>) = found(kind, object, wanted).into_iter().unzip();
    if wanted.ends {
        return end(object, &now, &then);
    }
    if now.is_empty() || is_met(&now, &then) {
        return Plan::Leave;
    }
    let written = annotation(object, WRITTEN);
    let contests = written.as_ref().is_some_and(|written| *written != noted(&now));
    let before = notes_with(object, &now);
    let values = now.iter().zip(&then).map(|((path, _), weight)| (path.clone(), json!(weight)));
    let written: Map<String, Value> = values.clone().collect();
    let mut patch = unchanged(object);
    patch.extend(now.iter().zip(values).map(|((_, has), (path, value))| set(&path, *has, &value)));
    patch.extend(labelled(object, LABEL));
    if annotation(object, BEFORE).as_ref() != Some(&before) {
        patch.push(annotate(BEFORE, &before));
    }
    patch.push(annotate(WRITTEN, &Value::Object(written)));
    Plan::Write { patch: Value::Array(patch), contests }
}

/// A new version has taken over: what was before is no place to go back to.
fn end(object: &Value, now: &[Found], then: &[u32]) -> Plan {
    if annotation(object, BEFORE).is_none() {
        return Plan::Leave;
    }
    let mut patch = unchanged(object);
    if !is_met(now, then) {
        let pairs = now.iter().zip(then);
        patch.extend(pairs.map(|((path, has), weight)| set(path, *has, &json!(weight))));
    }
    patch.extend(unmarked(object, [BEFORE, WRITTEN], LABEL));
    Plan::LetGo { patch: Value::Array(patch) }
}

/// How an object gets back what it had before Weir wrote it; nothing where nobody knows. What somebody else has
/// changed since stays as they want it.
pub fn restore(object: &Value) -> Plan {
    let Some(notes) = notes::read(object) else { return Plan::Leave };
    let mut patch = unchanged(object);
    let stands = notes::as_written(object, &notes);
    for Note { path, weight, .. } in notes.into_iter().filter(|note| stands.contains(note.rule())) {
        let has = notes::destination(object, &path).and_then(|one| one.get("weight"));
        match (weight, has) {
            (Some(weight), _) => patch.push(json!({"op": "add", "path": path, "value": weight})),
            (None, Some(_)) => patch.push(json!({"op": "remove", "path": path})),
            (None, None) => {}
        }
    }
    patch.extend(unmarked(object, [BEFORE, WRITTEN], LABEL));
    Plan::LetGo { patch: Value::Array(patch) }
}

/// What is noted already, and what the weights are now of rules that have come since.
fn notes_with(object: &Value, now: &[Found]) -> Value {
    let mut notes = notes::read(object).unwrap_or_default();
    for (path, weight) in now {
        if !notes.iter().any(|note| note.path == *path) {
            notes.push(Note::new(object, path, *weight));
        }
    }
    notes::written(&notes)
}

/// Calls with the path of each rule's destinations, and these.
fn each_rule(kind: Kind, object: &Value, mut call: impl FnMut(&str, &[Value])) {
    for (rules, destinations) in kind.lists() {
        for (at, rule) in object["spec"][rules].as_array().into_iter().flatten().enumerate() {
            if let Some(list) = rule[destinations].as_array() {
                call(&format!("/spec/{rules}/{at}/{destinations}"), list);
            }
        }
    }
}

/// Whether the weights come to the same parts, rule by rule.
fn is_met(now: &[Found], then: &[u32]) -> bool {
    let weight = |found: &Found| found.1.unwrap_or(1).max(0);
    now.chunks(2).zip(then.chunks(2)).all(|(now, then)| match (now, then) {
        ([old, new], [stable, canary]) => {
            weight(old) * i64::from(*canary) == weight(new) * i64::from(*stable)
                && weight(old) + weight(new) > 0
        }
        _ => false,
    })
}

fn noted(weights: &[Found]) -> Value {
    Value::Object(weights.iter().map(|(path, weight)| (path.clone(), json!(weight))).collect())
}

fn set(path: &str, has: Option<i64>, value: &Value) -> Value {
    let op = if has.is_some() { "replace" } else { "add" };
    json!({"op": op, "path": path, "value": value})
}

#[cfg(test)]
mod tests;
