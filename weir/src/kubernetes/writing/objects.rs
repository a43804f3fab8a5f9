//! Objects of others, as a writer reaches them: listed, and patched.

use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::{Value, json};
use tokio::time::timeout;
use weir_collectors::kubernetes::discovery::Namespaces;
use weir_collectors::kubernetes::trouble::{Place, Trouble};
use weir_proxy_adapter::writers::FIELD_MANAGER;

use super::Result;
use crate::kubernetes::quiet::Quiet;

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How often Weir's name is taken from an object that others keep changing.
const TRIES: usize = 3;

/// API group, version, kind and plural.
pub(in crate::kubernetes) type Names = (&'static str, &'static str, &'static str, &'static str);

/// What changes of an object.
pub(super) enum Change<'a> {
    /// Operations (RFC 6902).
    Operations(&'a Value),
    /// Fields (RFC 7396).
    Merged(&'a Value),
}

/// A cluster's objects, as a writer reaches them.
#[derive(Clone)]
pub struct Objects {
    pub(super) client: Client,
    pub(super) namespaces: Namespaces,
    quiet: Quiet,
}

/// What became of a patch.
pub(super) enum Patched {
    /// It is done; the object as it is now.
    Done(Value),
    /// The object is not there any more.
    Gone,
    /// The object has changed meanwhile, and is looked at again later.
    Changed,
}

impl Patched {
    /// Whether nothing is left to do.
    fn is_over(&self) -> bool {
        !matches!(self, Self::Changed)
    }
}

impl Objects {
    /// By this client, in these namespaces.
    pub fn new(client: Client, namespaces: Namespaces) -> Self {
        Self { client, namespaces, quiet: Quiet::default() }
    }

    /// All objects of a kind in a namespace, or everywhere; none where the cluster knows no such kind.
    pub(in crate::kubernetes) async fn list(
        &self,
        (group, version, kind, plural): Names,
        namespace: Option<&str>,
        parameters: &ListParams,
    ) -> Result<Vec<Value>> {
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: if group.is_empty() {
                version.to_owned()
            } else {
                format!("{group}/{version}")
            },
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let place = Place { resource: plural, group, namespace: namespace.map(str::to_owned) };
        self.quiet.may_ask()?;
        let listed = match timeout(ANSWER_WITHIN, api.list(parameters)).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Ok(Vec::new()),
            Ok(Err(error)) => {
                return Err(self.quiet.heed(Trouble::of(&error, &place, "list")).into());
            }
            Err(_) => return Err(Trouble::Silent { place, after: ANSWER_WITHIN }.into()),
        };
        Ok(listed.items.iter().filter_map(|object| serde_json::to_value(object).ok()).collect())
    }

    /// Those that Weir has written, wherever it may look.
    pub(super) async fn written(&self, names: Names, label: &str) -> Result<Vec<Value>> {
        let parameters = ListParams::default().labels(label);
        match &self.namespaces {
            Namespaces::All => self.list(names, None, &parameters).await,
            Namespaces::Only(all) => {
                let mut found = Vec::new();
                for namespace in all {
                    found.extend(self.list(names, Some(namespace), &parameters).await?);
                }
                Ok(found)
            }
        }
    }

    /// Patches an object.
    pub(super) async fn patch(
        &self,
        (group, version, _, plural): Names,
        (namespace, name): (&str, &str),
        patch: &Change<'_>,
    ) -> Result<Patched> {
        let root = if group.is_empty() { "api".to_owned() } else { format!("apis/{group}") };
        let (form, body) = match patch {
            Change::Operations(patch) => ("application/json-patch+json", patch),
            Change::Merged(patch) => ("application/merge-patch+json", patch),
        };
        let path = format!(
            "/{root}/{version}/namespaces/{namespace}/{plural}/{name}?fieldManager={FIELD_MANAGER}"
        );
        let place = Place { resource: plural, group, namespace: Some(namespace.to_owned()) };
        let request = http::Request::patch(path)
            .header(http::header::CONTENT_TYPE, form)
            .body(body.to_string().into_bytes())
            .map_err(kube::Error::HttpError);
        self.quiet.may_ask()?;
        let asking = async { self.client.request::<Value>(request?).await };
        match timeout(ANSWER_WITHIN, asking).await {
            Ok(Ok(object)) => Ok(Patched::Done(object)),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(Patched::Gone),
            Ok(Err(kube::Error::Api(status))) if has_changed(&status) => Ok(Patched::Changed),
            Ok(Err(error)) => Err(self.quiet.heed(Trouble::of(&error, &place, "patch")).into()),
            Err(_) => Err(Trouble::Silent { place, after: ANSWER_WITHIN }.into()),
        }
    }

    /// Changes fields of an object: whether that is over.
    pub(in crate::kubernetes) async fn merge(
        &self,
        names: Names,
        place: (&str, &str),
        fields: &Value,
    ) -> Result<bool> {
        Ok(self.patch(names, place, &Change::Merged(fields)).await?.is_over())
    }

    /// Changes an object of that version: whether that is over.
    pub(super) async fn apply(&self, names: Names, object: &Value, patch: &Value) -> Result<bool> {
        Ok(self.patch(names, place(object), &Change::Operations(patch)).await?.is_over())
    }

    /// Brings an object back to what it was: whether that is over. Who is named as a field's owner decides whose
    /// next word on it is a conflict, so Weir's name goes as well.
    pub(super) async fn bring_back(
        &self,
        names: Names,
        object: &Value,
        patch: &Value,
    ) -> Result<bool> {
        let at = place(object);
        let mut patched = self.patch(names, at, &Change::Operations(patch)).await?;
        let over = patched.is_over();
        for _ in 0..TRIES {
            let Patched::Done(now) = &patched else { return Ok(over) };
            let Some(disowned) = disowned(now) else { return Ok(over) };
            patched = self.patch(names, at, &Change::Operations(&disowned)).await?;
            if let Patched::Changed = patched {
                // A change of nothing is answered by the object as it is.
                patched = self.patch(names, at, &Change::Merged(&json!({}))).await?;
            }
        }
        tracing::warn!(
            kind = names.2,
            name = at.1,
            namespace = at.0,
            "still named as an owner of fields"
        );
        Ok(over)
    }
}

/// What takes Weir's name from the owners of an object's fields, if it is there.
fn disowned(object: &Value) -> Option<Value> {
    let metadata = &object["metadata"];
    let owners = metadata["managedFields"].as_array()?;
    let mut others: Vec<&Value> =
        owners.iter().filter(|one| one["manager"] != FIELD_MANAGER).collect();
    if others.len() == owners.len() {
        return None;
    }
    // An empty list would change nothing; one of nothing takes all away.
    let nobody = json!({});
    if others.is_empty() {
        others.push(&nobody);
    }
    Some(json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": others},
    ]))
}

/// Whether the object has another version by now, so that the test in a patch fails.
fn has_changed(status: &kube::core::Status) -> bool {
    // Of a test in a patch that fails the API server says nothing; of an object that is not as it has to be it says
    // which, and why.
    let details = status.details.as_ref();
    let silent = details.is_none_or(|one| one.name.is_empty() && one.causes.is_empty());
    status.code == 409 || (status.code == 422 && silent)
}

/// Namespace and name.
pub(super) fn place(object: &Value) -> (&str, &str) {
    let metadata = &object["metadata"];
    (
        metadata["namespace"].as_str().unwrap_or_default(),
        metadata["name"].as_str().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u16, details: &Value) -> kube::core::Status {
        let status =
            json!({"status": "Failure", "code": code, "reason": "Invalid", "details": details});
        serde_json::from_value(status).unwrap()
    }

    /// As a real API server answers, v1.36.
    #[test]
    fn a_test_that_fails_is_no_object_that_is_wrong() {
        let wrong =
            json!({"name": "cart", "causes": [{"field": "spec", "message": "Required value"}]});
        assert!(has_changed(&refusal(422, &json!({}))));
        assert!(has_changed(&refusal(409, &json!({"name": "cart"}))));
        assert!(!has_changed(&refusal(422, &wrong)));
        assert!(!has_changed(&refusal(400, &json!({}))));
    }

    #[test]
    fn only_weirs_name_goes_from_the_owners() {
        let object = |owners: &[&str]| {
            let owners: Vec<Value> = owners.iter().map(|one| json!({"manager": one})).collect();
            json!({"metadata": {"resourceVersion": "7", "managedFields": owners}})
        };
        let left =
            |owners: &[&str]| disowned(&object(owners)).map(|patch| patch[1]["value"].clone());
        assert_eq!(left(&["kubectl"]), None);
        assert_eq!(left(&["kubectl", FIELD_MANAGER]), Some(json!([{"manager": "kubectl"}])));
        assert_eq!(left(&[FIELD_MANAGER]), Some(json!([{}])));
    }
}
