//! Writes decisions into objects of others: weights of versions into routes, and, where that is asked for,
//! Istio's label that takes a pod out.
//!
//! What is written is a level, looked at again and again: what nobody wants any more is put back as it was
//! found. While Flagger or Argo Rollouts is at work on the same services nothing is written, and a field that
//! somebody else keeps changing back is left to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use weir_collectors::kubernetes::discovery::Namespaces;
use weir_collectors::kubernetes::trouble::{Place, Trouble};
use weir_collectors::status::{Kind as Sort, Publisher, Status as Fares};
use weir_engine::decision::Decision;
use weir_engine::units::Moment;
use weir_proxy_adapter::writers::routes::{Kind, LABEL, Plan, Wanted, concerns, plan, restore};
use weir_proxy_adapter::writers::{FIELD_MANAGER, others};

use super::leading::Standing;
use super::telling::Shown;
use crate::clock::Clock;

mod fights;
mod pods;

use fights::Fights;

/// How often objects are looked at where no decision changes.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What may be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Weights in routes.
    pub routes: bool,
    /// Istio's label `istio.io/draining` on pods.
    pub draining: bool,
}

/// Why something is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteTrouble {
    /// The API server's answer.
    #[error(transparent)]
    Cluster(#[from] Trouble),
    /// Another controller is at work.
    #[error("{controller} is at work on {object}: its weights are left alone until it is done")]
    Yields {
        /// Flagger's Canary or Argo's Rollout.
        controller: String,
        /// The route.
        object: String,
    },
    /// Somebody keeps changing it back.
    #[error(
        "somebody else has changed the weights of {object} back {times} times: they are left alone \
         for {minutes} min; have them ignore these fields, or take the service out of the policy",
        minutes = fights::PEACE.as_secs() / 60
    )]
    Fight {
        /// The route.
        object: String,
        /// How often.
        times: usize,
    },
}

type Result<T> = std::result::Result<T, WriteTrouble>;

/// API group, version, kind and plural.
type Names = (&'static str, &'static str, &'static str, &'static str);

/// What changes of an object.
enum Change<'a> {
    /// Operations (RFC 6902).
    Operations(&'a Value),
    /// Fields (RFC 7396).
    Merged(&'a Value),
}

/// A cluster's objects, as a writer reaches them.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    namespaces: Namespaces,
}

impl Objects {
    /// By this client, in these namespaces.
    pub fn new(client: Client, namespaces: Namespaces) -> Self {
        Self { client, namespaces }
    }

    /// All objects of a kind in a namespace, or everywhere; none where the cluster knows no such kind.
    async fn list(
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
    async fn written(&self, names: Names, label: &str) -> Result<Vec<Value>> {
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

    /// Patches an object. One that has changed or gone meanwhile is looked at again later.
    async fn patch(
        &self,
        (group, version, _, plural): Names,
        (namespace, name): (&str, &str),
        patch: &Change<'_>,
    ) -> Result<()> {
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
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) if [404, 409].contains(&status.code) => Ok(()),
            // A test of the patch failed: the object has another version by now.
            Ok(Err(kube::Error::Api(status)))
                if status.code == 422 && status.message.contains("test") =>
            {
                Ok(())
            }
            Ok(Err(error)) => Err(Trouble::of(&error, &place, "patch").into()),
            Err(_) => Err(Trouble::Silent { place, after: ANSWER_WITHIN }.into()),
        }
    }

    async fn apply(&self, kind: Kind, object: &Value, patch: &Value) -> Result<()> {
        self.patch(kind.names(), place(object), &Change::Operations(patch)).await
    }

    /// Puts back everything that Weir has ever written; how many objects that were.
    ///
    /// # Errors
    ///
    /// If the API server does not let it.
    pub async fn release(&self) -> Result<usize> {
        let mut count = 0;
        for kind in Kind::ALL {
            for object in self.written(kind.names(), LABEL).await? {
                if let Plan::Write { patch, .. } = restore(&object) {
                    self.apply(kind, &object, &patch).await?;
                    count += 1;
                }
            }
        }
        Ok(count + pods::keep(self, &BTreeMap::new()).await?)
    }
}

fn place(object: &Value) -> (&str, &str) {
    let metadata = &object["metadata"];
    (
        metadata["namespace"].as_str().unwrap_or_default(),
        metadata["name"].as_str().unwrap_or_default(),
    )
}

/// Writes what is decided.
pub struct Writing {
    objects: Objects,
    writes: Writes,
    shown: watch::Receiver<Option<Arc<Shown>>>,
    standing: Option<watch::Receiver<Standing>>,
    clock: Clock,
    fights: Fights,
    publisher: Publisher,
    last: Option<Value>,
}

impl std::fmt::Debug for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing").field("writes", &self.writes).finish_non_exhaustive()
    }
}

impl Writing {
    /// Writes into these objects what is shown; also says how that fares.
    pub fn new(
        objects: Objects,
        writes: Writes,
        (shown, standing): (watch::Receiver<Option<Arc<Shown>>>, Option<watch::Receiver<Standing>>),
        clock: Clock,
    ) -> (Self, watch::Receiver<Fares>) {
        let (publisher, fares) = Publisher::new(
            "kubernetes",
            Sort::Kubernetes,
            "weights and labels in objects of others",
        );
        let fights = Fights::default();
        (Self { objects, writes, shown, standing, clock, fights, publisher, last: None }, fares)
    }

    /// Writes until `stop`. What is written then stays: whoever comes next goes on from it.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let forever = async {
            loop {
                tokio::select! {
                    _ = looks.tick() => self.look(true).await,
                    Ok(()) = self.shown.changed() => self.look(false).await,
                    else => std::future::pending().await,
                }
            }
        };
        stop.run_until_cancelled(forever).await;
    }

    fn may_write(&self, now: Moment) -> bool {
        let standing = self.standing.as_ref();
        standing.is_none_or(|one| one.borrow().term.is_some_and(|term| term.lasts(now)))
    }

    /// Looks whether everything is as decided: where that has changed, and from time to time.
    async fn look(&mut self, due: bool) {
        let now = self.clock.now();
        let Some(shown) = self.shown.borrow_and_update().clone() else { return };
        let decided = decided(&shown.decision);
        if !self.may_write(now) || !(due || self.last.as_ref() != Some(&decided)) {
            return;
        }
        self.last = Some(decided);
        match self.write(&shown.decision, now).await {
            Ok(()) => self.publisher.succeeded(now),
            Err(trouble) => self.publisher.failed(now, &trouble),
        }
    }

    async fn write(&mut self, decision: &Decision, now: Moment) -> Result<()> {
        let mut trouble = Ok(());
        if self.writes.routes {
            let wanted = wanted(decision);
            for kind in Kind::ALL {
                trouble = trouble.and(self.routes(kind, &wanted, now).await);
            }
        }
        if self.writes.draining {
            trouble = trouble.and(pods::keep(&self.objects, &pods::out(decision)).await.map(drop));
        }
        trouble
    }

    /// Brings the routes of a kind to what is wanted, and back where nobody wants anything of them.
    async fn routes(&mut self, kind: Kind, wanted: &[Wanted], now: Moment) -> Result<()> {
        let mut trouble = Ok(());
        let spaces: BTreeSet<&str> = wanted.iter().map(|one| &*one.stable.namespace).collect();
        let mut seen = BTreeSet::new();
        for namespace in spaces {
            let all =
                self.objects.list(kind.names(), Some(namespace), &ListParams::default()).await?;
            for object in &all {
                let Some(one) = wanted.iter().find(|one| concerns(kind, object, one)) else {
                    continue;
                };
                let (space, name) = place(object);
                seen.insert((space.to_owned(), name.to_owned()));
                trouble = trouble.and(self.route((kind, object), one, now).await);
            }
        }
        for object in self.objects.written(kind.names(), LABEL).await? {
            let (space, name) = place(&object);
            if seen.contains(&(space.to_owned(), name.to_owned())) {
                continue;
            }
            if let Plan::Write { patch, .. } = restore(&object) {
                self.objects.apply(kind, &object, &patch).await?;
                tracing::info!(
                    object = name,
                    namespace = space,
                    "weights are put back as they were found"
                );
            }
        }
        trouble
    }

    async fn route(
        &mut self,
        (kind, object): (Kind, &Value),
        wanted: &Wanted,
        now: Moment,
    ) -> Result<()> {
        let Plan::Write { patch, contests } = plan(kind, object, wanted) else { return Ok(()) };
        let (namespace, name) = place(object);
        let object_name = format!("{} {namespace}/{name}", kind.names().2);
        if let Some(controller) = self.busy(namespace, wanted).await? {
            return Err(WriteTrouble::Yields { controller, object: object_name });
        }
        if contests && let Some(times) = self.fights.lost(&object_name, now) {
            return Err(WriteTrouble::Fight { object: object_name, times });
        }
        self.objects.apply(kind, object, &patch).await?;
        tracing::info!(object = object_name, weight = wanted.weight.value(), "weights are written");
        Ok(())
    }

    /// Who else is at work on these services.
    async fn busy(&self, namespace: &str, wanted: &Wanted) -> Result<Option<String>> {
        let services = [&*wanted.stable.name, &*wanted.canary.name];
        let parameters = ListParams::default();
        let flagger = ("flagger.app", "v1beta1", "Canary", "canaries");
        for canary in self.objects.list(flagger, Some(namespace), &parameters).await? {
            if let Some(name) = others::flagger(&canary, &services) {
                return Ok(Some(format!("Flagger's Canary {name}")));
            }
        }
        let argo = ("argoproj.io", "v1alpha1", "Rollout", "rollouts");
        for rollout in self.objects.list(argo, Some(namespace), &parameters).await? {
            if let Some(name) = others::argo(&rollout, &services) {
                return Ok(Some(format!("the Argo Rollout {name}")));
            }
        }
        Ok(None)
    }
}

fn wanted(decision: &Decision) -> Vec<Wanted> {
    let acting = decision.rollouts.iter().filter(|rollout| rollout.acts());
    acting
        .map(|rollout| Wanted {
            canary: rollout.canary.clone(),
            stable: rollout.stable.clone(),
            weight: rollout.weight,
        })
        .collect()
}

/// What of a decision is written, to be compared with the one before.
fn decided(decision: &Decision) -> Value {
    let rollouts: Vec<_> = decision
        .rollouts
        .iter()
        .map(|one| {
            json!([one.stable.to_string(), one.canary.to_string(), one.weight.value(), one.acts()])
        })
        .collect();
    let out: Vec<String> = pods::out(decision).into_keys().map(|ip| ip.to_string()).collect();
    json!([rollouts, out])
}
