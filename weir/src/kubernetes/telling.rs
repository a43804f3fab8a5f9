//! Tells a cluster what became of its policies: writes statuses and events, where they are new.
//!
//! Only whoever decides writes, at its own pace, and never in the way of a decision.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use weir_collectors::kubernetes::trouble::{Place, Trouble};
use weir_collectors::status::{Kind, Publisher, Status as Fares};
use weir_engine::decision::Decision;
use weir_engine::names::ServiceId;
use weir_engine::units::Moment;
use weir_policies::document::{GROUP, KIND, api_version};
use weir_policies::in_force::InForce;
use weir_proxy_adapter::writers::FIELD_MANAGER;
use weir_proxy_adapter::writers::balancing::Balanced;

use super::events::{Note, Pace, Told, bounded};
use super::leading::{Standing, may_write};
use super::quiet::Quiet;
use super::status::{Facts, Last, statuses};
use crate::clock::Clock;
use crate::goals::objects::{ByName, resource};
use crate::governed::Governed;
use crate::times;

/// How often statuses are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Statuses that are written in one look: a cluster's first look at a thousand policies is spread
/// over a few minutes.
const WRITES_MAX: usize = 20;

/// Events that wait for an API server that does not take them; older ones are dropped for newer ones.
const WAITING_MAX: usize = 100;

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What was decided, and for whom.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The decision.
    pub decision: Decision,
    /// What is governed.
    pub governed: Arc<Governed>,
    /// What is wanted of the proxies of services that are acted on.
    pub balanced: Vec<Balanced>,
    /// Whether proxies are answered.
    pub serving: bool,
}

/// What telling reads.
#[derive(Debug)]
pub struct Sources {
    /// Policies in force.
    pub policies: watch::Receiver<InForce>,
    /// Their objects.
    pub objects: watch::Receiver<Arc<ByName>>,
    /// What was decided last.
    pub shown: watch::Receiver<Option<Arc<Shown>>>,
    /// Whether this replica decides; none where there are no others.
    pub standing: Option<watch::Receiver<Standing>>,
}

/// Writes statuses and events.
pub struct Telling {
    client: Client,
    sources: Sources,
    clock: Clock,
    told: Told,
    pace: Pace,
    /// Events that are not written yet, with the time of each.
    waiting: VecDeque<(Note, Moment)>,
    last: Last,
    quiet: Quiet,
    publisher: Publisher,
}

impl std::fmt::Debug for Telling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telling").field("sources", &self.sources).finish_non_exhaustive()
    }
}

impl Telling {
    /// Tells by this client; also says how that fares.
    pub fn new(client: Client, sources: Sources, clock: Clock) -> (Self, watch::Receiver<Fares>) {
        let (publisher, fares) =
            Publisher::new("kubernetes", Kind::Kubernetes, "status of policies, and events");
        let telling = Self {
            client,
            sources,
            clock,
            told: Told::default(),
            pace: Pace::default(),
            waiting: VecDeque::new(),
            last: Last::default(),
            quiet: Quiet::default(),
            publisher,
        };
        (telling, fares)
    }

    /// Tells until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = super::looks(LOOK_EVERY);
        let forever = async {
            loop {
                tokio::select! {
                    biased;
                    _ = looks.tick() => self.look().await,
                    Ok(()) = self.sources.shown.changed() => self.decided().await,
                    else => std::future::pending().await,
                }
            }
        };
        stop.run_until_cancelled(forever).await;
    }

    fn may_write(&self) -> bool {
        may_write(self.sources.standing.as_ref(), self.clock.now())
    }

    /// A decision was made.
    async fn decided(&mut self) {
        let Some(shown) = self.sources.shown.borrow_and_update().clone() else { return };
        self.last.remember(&shown.decision, times::shown);
        let goals = self.sources.policies.borrow().goals().clone();
        let policy = |id: &ServiceId| goals.of(id).map(|goal| goal.policy.clone());
        let notes = self.told.of_decision(&shown.decision, policy);
        self.note(notes);
        self.write_events().await;
    }

    async fn look(&mut self) {
        let objects = Arc::clone(&self.sources.objects.borrow());
        let shown = self.sources.shown.borrow().clone();
        let now = times::shown(self.clock.now());
        let statuses = {
            let in_force = self.sources.policies.borrow();
            statuses(&Facts {
                in_force: &in_force,
                objects: &objects,
                shown: shown.as_deref(),
                last: &self.last,
                now: &now,
            })
        };
        if !self.may_write() {
            return;
        }
        let notes = self.told.of_statuses(&statuses);
        self.note(notes);
        let mut written = 0;
        for (name, status) in &statuses {
            let Some(object) = objects.get(name) else { continue };
            let value = serde_json::to_value(status).unwrap_or_default();
            if value == object.status || written >= WRITES_MAX {
                continue;
            }
            written += 1;
            if !self.write_status((&object.namespace, &object.name), &value).await {
                break;
            }
        }
        self.write_events().await;
    }

    /// Whether the API server takes more.
    async fn write_status(&self, (namespace, name): (&str, &str), status: &Value) -> bool {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource());
        let body = body((namespace, name), status);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&body);
        let place = Place {
            resource: "adaptivetrafficpolicies/status",
            group: GROUP,
            namespace: Some(namespace.to_owned()),
        };
        self.noted("patch", place, api.patch_status(name, &parameters, &patch)).await
    }

    /// What there is to write, if this replica is who writes it.
    fn note(&mut self, notes: Vec<Note>) {
        if !self.may_write() {
            return;
        }
        let now = self.clock.now();
        for note in notes {
            if !self.pace.pass(now) {
                tracing::debug!(dropped = self.pace.dropped, "too many events at once");
                continue;
            }
            if self.waiting.len() >= WAITING_MAX {
                self.waiting.pop_front();
            }
            self.waiting.push_back((note, now));
        }
    }

    async fn write_events(&mut self) {
        if !self.may_write() {
            return;
        }
        let objects = Arc::clone(&self.sources.objects.borrow());
        while let Some((note, at)) = self.waiting.pop_front() {
            let event = event(&note, &objects, at);
            let namespace = event.metadata.namespace.clone().unwrap_or_default();
            let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
            let place =
                Place { resource: "events", group: "events.k8s.io", namespace: Some(namespace) };
            let parameters = PostParams::default();
            if !self.noted("create", place, api.create(&parameters, &event)).await {
                self.waiting.push_front((note, at));
                return;
            }
        }
    }

    /// Waits for an answer, and notes how it went: whether there is no use in asking this again, or no need.
    async fn noted<T>(
        &self,
        verb: &'static str,
        place: Place,
        asking: impl Future<Output = kube::Result<T>>,
    ) -> bool {
        if self.quiet.may_ask().is_err() {
            return false;
        }
        let at = self.clock.now();
        let trouble = match timeout(ANSWER_WITHIN, asking).await {
            Ok(Ok(_)) => {
                self.publisher.succeeded(at);
                return true;
            }
            // It was deleted meanwhile.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => return true,
            Ok(Err(error)) => self.quiet.heed(Trouble::of(&error, &place, verb)),
            Err(_) => Trouble::Silent { place, after: ANSWER_WITHIN },
        };
        self.publisher.failed(at, &trouble);
        is_final(&trouble)
    }
}

/// Whether only this was refused, and would be again. All else is the API server's own trouble, and passes.
fn is_final(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Forbidden { .. } | Trouble::Refused { code: 400 | 409 | 422, .. })
}

/// What is applied: the fields that Weir owns, and nothing else.
fn body((namespace, name): (&str, &str), status: &Value) -> Value {
    json!({
        "apiVersion": api_version(),
        "kind": KIND,
        "metadata": { "namespace": namespace, "name": name },
        "status": status,
    })
}

/// A note as an object: about the policy where it is one of the cluster's, or else about the service.
pub(super) fn event(note: &Note, objects: &ByName, now: Moment) -> Event {
    let service = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Service".to_owned()),
        namespace: Some(note.service.namespace.to_string()),
        name: Some(note.service.name.to_string()),
        ..ObjectReference::default()
    };
    let policy = objects.get(&note.policy).map(|object| ObjectReference {
        api_version: Some(api_version()),
        kind: Some(KIND.to_owned()),
        namespace: Some(object.namespace.clone()),
        name: Some(object.name.clone()),
        uid: Some(object.uid.clone()),
        ..ObjectReference::default()
    });
    let regarding = policy.unwrap_or_else(|| service.clone());
    let millis = i64::try_from(now.millis()).unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            namespace: regarding.namespace.clone(),
            generate_name: regarding.name.as_ref().map(|name| format!("{name}-")),
            ..ObjectMeta::default()
        },
        event_time: Timestamp::from_millisecond(millis).ok().map(MicroTime),
        reporting_controller: Some(format!("{GROUP}/weir")),
        reporting_instance: Some(FIELD_MANAGER.to_owned()),
        action: Some("Decide".to_owned()),
        reason: Some(note.reason.to_owned()),
        type_: Some(if note.warns { "Warning" } else { "Normal" }.to_owned()),
        note: Some(bounded(&note.text).to_owned()),
        regarding: Some(regarding),
        related: Some(service),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goals::objects::Object;
    use weir_engine::names::PolicyName;

    fn note() -> Note {
        Note {
            policy: PolicyName::from("shop/web"),
            service: ServiceId::new("shop", "web"),
            reason: "EndpointEjected",
            warns: true,
            text: "10.0.0.1:80: it fails".to_owned(),
        }
    }

    #[test]
    fn an_event_is_about_the_policys_object() {
        let object = Object {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            uid: "u-1".to_owned(),
            ..Object::default()
        };
        let objects = ByName::from([(PolicyName::from("shop/web"), object)]);
        let event = event(&note(), &objects, Moment::from_millis(1_700_000_000_000));
        let value = serde_json::to_value(&event).unwrap();
        assert_eq!(value["regarding"]["kind"], KIND);
        assert_eq!(value["regarding"]["uid"], "u-1");
        assert_eq!(value["related"]["kind"], "Service");
        assert_eq!(value["metadata"]["generateName"], "web-");
        assert_eq!(
            (&value["type"], &value["reason"]),
            (&"Warning".into(), &"EndpointEjected".into())
        );
        assert_eq!(value["eventTime"], "2023-11-14T22:13:20.000000Z");
    }

    #[test]
    fn of_a_policy_in_a_file_the_event_is_about_the_service() {
        let event = event(&note(), &ByName::new(), Moment::from_millis(1));
        assert_eq!(event.regarding.unwrap().kind.as_deref(), Some("Service"));
        assert_eq!(event.metadata.namespace.as_deref(), Some("shop"));
    }

    /// Fields that others own are not touched: they are not named.
    #[test]
    fn only_the_status_is_applied() {
        let body = body(("shop", "web"), &json!({ "ancestors": [] }));
        let fields: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["apiVersion", "kind", "metadata", "status"]);
        assert_eq!(body["metadata"], json!({ "namespace": "shop", "name": "web" }));
    }
}
