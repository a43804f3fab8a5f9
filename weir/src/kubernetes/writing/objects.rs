//! Objects of others, as a writer reaches them: listed, and patched.

use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::Value;
use tokio::time::timeout;
use weir_collectors::kubernetes::discovery::Namespaces;
use weir_collectors::kubernetes::trouble::{Place, Trouble};
use weir_proxy_adapter::writers::FIELD_MANAGER;

use super::Result;

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

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
}

impl Objects {
    /// By this client, in these namespaces.
    pub fn new(client: Client, namespaces: Namespaces) -> Self {
        Self { client, namespaces }
    }

    /// All objects of a kind in a namespace, or everywhere; none where the cluster knows no such kind.
    pub(super) async fn list(
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
        let listed = match timeout(ANSWER_WITHIN, api.list(parameters)).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Ok(Vec::new()),
            Ok(Err(error)) => return Err(Trouble::of(&error, &place, "list").into()),
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

    /// Patches an object: whether it is done. One that has changed meanwhile is looked at again later, and one
    /// that has gone needs nothing.
    pub(super) async fn patch(
        &self,
        (group, version, _, plural): Names,
        (namespace, name): (&str, &str),
        patch: &Change<'_>,
    ) -> Result<bool> {
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
        let asking = async { self.client.request::<Value>(request?).await };
        match timeout(ANSWER_WITHIN, asking).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(true),
            Ok(Err(kube::Error::Api(status))) if has_changed(&status) => Ok(false),
            Ok(Err(error)) => Err(Trouble::of(&error, &place, "patch").into()),
            Err(_) => Err(Trouble::Silent { place, after: ANSWER_WITHIN }.into()),
        }
    }

    /// Changes fields of an object, as [`Objects::patch`].
    pub(in crate::kubernetes) async fn merge(
        &self,
        names: Names,
        place: (&str, &str),
        fields: &Value,
    ) -> Result<bool> {
        self.patch(names, place, &Change::Merged(fields)).await
    }

    pub(super) async fn apply(&self, names: Names, object: &Value, patch: &Value) -> Result<bool> {
        self.patch(names, place(object), &Change::Operations(patch)).await
    }
}

/// Whether the object has another version by now, so that the test in a patch fails.
fn has_changed(status: &kube::core::Status) -> bool {
    status.code == 409 || (status.code == 422 && status.message.contains("test"))
}

/// Namespace and name.
pub(super) fn place(object: &Value) -> (&str, &str) {
    let metadata = &object["metadata"];
    (
        metadata["namespace"].as_str().unwrap_or_default(),
        metadata["name"].as_str().unwrap_or_default(),
    )
}
