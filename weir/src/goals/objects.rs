//! Policies as objects of the API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use weir_collectors::Now;
use weir_collectors::kubernetes::discovery::Namespaces;
use weir_collectors::kubernetes::trouble::{Place, Trouble};
use weir_collectors::kubernetes::watch::{Event, follow};
use weir_collectors::status::{Kind, Publisher, Status};
use weir_engine::names::PolicyName;
use weir_policies::check::Document;
use weir_policies::crd::PLURAL;
use weir_policies::document::{GROUP, KIND, VERSION};

/// What changed.
#[derive(Debug)]
pub enum Change {
    /// This is what an object says now.
    Said(PolicyName, Document),
    /// An object is gone.
    Gone(PolicyName),
    /// These are all.
    All {
        /// By name.
        objects: BTreeMap<PolicyName, Document>,
        /// Whether no other can be: every watch has listed.
        complete: bool,
    },
}

/// A policy's object, as far as it matters besides what it says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which object of this name.
    pub uid: String,
    /// Which version of what it says.
    pub generation: i64,
    /// The services that it names.
    pub targets: Vec<String>,
    /// What its status says.
    pub status: Value,
    /// Which version of the whole object.
    pub version: String,
    /// What its deletion waits for.
    pub finalizers: Vec<String>,
    /// Whether it is being deleted: then nothing is wanted by it any more.
    pub deleting: bool,
    /// Whether it says `mode: Enforce`.
    pub enforced: bool,
}

/// Objects by name.
pub type ByName = BTreeMap<PolicyName, Object>;

/// All watches on policies, and what they know.
pub struct Objects {
    events: SelectAll<BoxStream<'static, (usize, Event<DynamicObject>)>>,
    watches: Vec<Watched>,
    known: BTreeMap<PolicyName, (Object, Document)>,
    published: watch::Sender<Arc<ByName>>,
    now: Now,
}

struct Watched {
    namespace: Option<String>,
    listed: bool,
    publisher: Publisher,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("known", &self.known).finish_non_exhaustive()
    }
}

/// The resource, for a client.
pub fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), PLURAL)
}

impl Objects {
    /// Watches policies; gives what is known of them, and how each watch fares.
    pub fn watch(
        client: &Client,
        namespaces: &Namespaces,
        now: Now,
    ) -> (Self, watch::Receiver<Arc<ByName>>, Vec<watch::Receiver<Status>>) {
        let mut events = SelectAll::new();
        let mut watches = Vec::new();
        let mut statuses = Vec::new();
        for (index, namespace) in namespaces.each().into_iter().enumerate() {
            let place = Place { resource: PLURAL, group: GROUP, namespace: namespace.clone() };
            let api = match &namespace {
                Some(name) => Api::namespaced_with(client.clone(), name, &resource()),
                None => Api::all_with(client.clone(), &resource()),
            };
            let (publisher, status) =
                Publisher::new("kubernetes", Kind::Kubernetes, &place.to_string());
            statuses.push(status);
            watches.push(Watched { namespace, listed: false, publisher });
            events.push(follow(api, place).map(move |event| (index, event)).boxed());
        }
        let (published, reader) = watch::channel(Arc::default());
        (Self { events, watches, known: BTreeMap::new(), published, now }, reader, statuses)
    }

    /// Waits for the next change. What cannot be read changes nothing.
    pub async fn next(&mut self) -> Change {
        loop {
            let Some((index, event)) = self.events.next().await else {
                return std::future::pending().await;
            };
            if let Some(change) = self.take(index, event) {
                let objects = self.known.iter();
                let objects = objects.map(|(name, (object, _))| (name.clone(), object.clone()));
                self.published.send_replace(Arc::new(objects.collect()));
                return change;
            }
        }
    }

    fn take(&mut self, index: usize, event: Event<DynamicObject>) -> Option<Change> {
        let watched = self.watches.get_mut(index)?;
        let at = (self.now)();
        if let Event::Failed(trouble) = &event {
            watched.publisher.failed(at, trouble);
        } else {
            watched.publisher.succeeded(at);
        }
        match event {
            Event::Listed(all) => {
                watched.listed = true;
                let namespace = watched.namespace.clone();
                self.known.retain(|_, (object, _)| {
                    namespace.as_ref().is_some_and(|namespace| *namespace != object.namespace)
                });
                self.known.extend(all.iter().map(read));
                Some(self.all())
            }
            // Without a definition there can be no object: so it is where nobody wants any.
            Event::Failed(Trouble::NotServed(_)) if !watched.listed => {
                watched.listed = true;
                Some(self.all())
            }
            Event::Applied(object) => {
                let (name, (object, document)) = read(&object);
                let gone = object.deleting;
                self.known.insert(name.clone(), (object, document.clone()));
                Some(if gone { Change::Gone(name) } else { Change::Said(name, document) })
            }
            Event::Deleted(object) => {
                let (name, _) = read(&object);
                self.known.remove(&name);
                Some(Change::Gone(name))
            }
            Event::Alive | Event::Failed(_) => None,
        }
    }

    fn all(&self) -> Change {
        let objects = self.known.iter().filter(|(_, (object, _))| !object.deleting);
        let objects = objects.map(|(name, (_, document))| (name.clone(), document.clone()));
        let complete = self.watches.iter().all(|watched| watched.listed);
        Change::All { objects: objects.collect(), complete }
    }
}

/// The names of its targets, as far as they can be read.
fn targets(data: &Value) -> Vec<String> {
    let refs = data.pointer("/spec/targetRefs").and_then(Value::as_array);
    let names = refs.into_iter().flatten().filter_map(|target| target.get("name")?.as_str());
    names.map(str::to_owned).collect()
}

/// An object, and what it says as the same document that a file would be.
fn read(object: &DynamicObject) -> (PolicyName, (Object, Document)) {
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    let policy = PolicyName::from(format!("{namespace}/{name}"));
    let types = object.types.clone().unwrap_or_default();
    let made = object.creation_timestamp().map(|time| time.0.to_string());
    let mut said = json!({
        "apiVersion": types.api_version,
        "kind": types.kind,
        "metadata": { "name": name, "namespace": namespace },
    });
    if let Some(made) = made {
        said["metadata"]["creationTimestamp"] = Value::from(made);
    }
    let parts = object.data.as_object().into_iter().flatten();
    for (field, value) in parts.filter(|(field, _)| *field != "status") {
        said[field] = value.clone();
    }
    let text = serde_saphyr::to_string(&said).unwrap_or_else(|_| said.to_string());
    let known = Object {
        namespace,
        name,
        uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        targets: targets(&object.data),
        status: object.data.get("status").cloned().unwrap_or_default(),
        version: object.resource_version().unwrap_or_default(),
        finalizers: object.finalizers().to_vec(),
        deleting: object.metadata.deletion_timestamp.is_some(),
        enforced: object.data.pointer("/spec/mode").and_then(Value::as_str) == Some("Enforce"),
    };
    let document = Document::new(format!("{KIND} {policy}"), text);
    (policy, (known, document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_policies::check::check;
    use weir_policies::document::api_version;

    fn object(more: &Value) -> DynamicObject {
        let mut object = json!({
            "apiVersion": api_version(), "kind": KIND,
            "metadata": {
                "namespace": "shop", "name": "checkout", "uid": "u", "generation": 3,
                "creationTimestamp": "2026-01-02T03:04:05Z", "resourceVersion": "7",
                "annotations": { "a": "b" }, "managedFields": [{ "manager": "kubectl" }],
            },
            "spec": { "targetRefs": [{ "group": "", "kind": "Service", "name": "web" }] },
            "status": { "ancestors": [] },
        });
        for (name, value) in more.as_object().unwrap() {
            object["spec"][name] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn an_object_is_checked_as_a_file_is() {
        let (name, (known, document)) = read(&object(&json!({ "mode": "Enforce" })));
        assert_eq!((name.as_str(), known.generation), ("shop/checkout", 3));
        assert_eq!(known.status, json!({ "ancestors": [] }));
        let checked = check(&[document]).unwrap();
        assert_eq!(checked.policies[0].path, "AdaptiveTrafficPolicy shop/checkout");
        assert_eq!(checked.goals.services[0].service.to_string(), "shop/web");
    }

    /// As an older version may have stored it.
    #[test]
    fn a_field_that_nothing_reads_is_refused_with_its_line() {
        let (_, (_, document)) = read(&object(&json!({ "weights": [1, 2] })));
        let problems = check(&[document]).unwrap_err();
        let problem = &problems[0];
        assert!(problem.what.contains("weights"), "{}", problem.what);
        assert_eq!(problem.path, "AdaptiveTrafficPolicy shop/checkout");
        assert!(problem.snippet.text.contains("weights"), "{problem:?}");
    }
}
