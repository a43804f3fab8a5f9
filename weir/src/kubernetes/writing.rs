//! Writes decisions into objects of others: weights of versions into routes, what a policy says of zones,
//! ejections and newcomers into rules of Istio and annotations for Linkerd, and, where that is asked for,
//! Istio's label that takes a pod out.
//!
//! What is written is a level, looked at again and again: what nobody wants any more is put back as it was
//! found. While Flagger or Argo Rollouts is at work on the same services nothing is written, and a field that
//! somebody else keeps changing back is left to them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_collectors::kubernetes::trouble::Trouble;
use weir_collectors::status::{Kind as Sort, Publisher, Status as Fares};
use weir_engine::decision::Decision;
use weir_engine::names::PolicyName;
use weir_engine::rollout::{Phase, RolloutDecision};
use weir_engine::units::{Moment, Ratio};
use weir_proxy_adapter::writers::balancing::{Balanced, Unfit};
use weir_proxy_adapter::writers::routes::{Kind, Plan, Wanted};

use super::events::Note;
use super::leading::{Standing, may_write};
use super::saying::Events;
use super::telling::Shown;
use crate::clock::Clock;

mod balancing;
mod fights;
mod objects;
mod pods;
mod release;
mod weights;

use fights::Fights;
use objects::place;

pub(super) use objects::Names;
pub use objects::Objects;

/// How often objects are looked at where no decision changes.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What may be written.
#[expect(clippy::struct_excessive_bools, reason = "the words of a list, each there or not")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Weights in routes.
    pub routes: bool,
    /// Zones, ejections and newcomers in Istio's rules.
    pub destination_rules: bool,
    /// Weights in Linkerd's own routes, and ejections in annotations of Services.
    pub linkerd: bool,
    /// Istio's label `istio.io/draining` on pods.
    pub draining: bool,
}

impl Writes {
    /// Whether it is anything.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// Whether requests are moved between versions by it.
    pub fn moves(self) -> bool {
        self.routes || self.linkerd
    }

    /// The kinds of routes.
    fn kinds(self) -> Vec<Kind> {
        let common = if self.routes { &Kind::COMMON[..] } else { &[] };
        common.iter().copied().chain(self.linkerd.then_some(Kind::LinkerdRoute)).collect()
    }
}

/// Why something is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteTrouble {
    /// The API server's answer.
    #[error(transparent)]
    Cluster(#[from] Trouble),
    /// Another controller is at work.
    #[error(
        "{controller} is at work on {object}: what Weir writes there is left alone until it is done"
    )]
    Yields {
        /// Flagger's Canary or Argo's Rollout.
        controller: String,
        /// The object.
        object: String,
    },
    /// Somebody keeps changing it back.
    #[error(
        "somebody else has changed {object} back {times} times: Weir's fields there are left alone \
         for {minutes} min; have them ignore these fields, or take the service out of the policy",
        minutes = fights::PEACE.as_secs() / 60
    )]
    Fight {
        /// The object.
        object: String,
        /// How often.
        times: usize,
    },
    /// The object is not fit for it.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

pub(super) type Result<T> = std::result::Result<T, WriteTrouble>;

/// What an object that nobody wants anything of is put back by.
type Restore = fn(&Value) -> Plan;

/// Objects that are as they should be, by namespace and name.
type Seen = BTreeSet<(String, String)>;

/// What was put back, once all of it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// When that was begun.
    pub at: Moment,
    /// The policies of which something may be written.
    pub policies: BTreeSet<PolicyName>,
}

/// How one look went.
#[derive(Debug, Default)]
struct Went {
    trouble: Option<WriteTrouble>,
    /// Whether something may not have been put back.
    stuck: bool,
    /// What is not fit, for the policy that wanted it.
    unfit: Vec<(Balanced, Unfit)>,
}

impl Went {
    fn tried(&mut self, result: Result<()>) {
        if let Err(trouble) = result {
            self.trouble.get_or_insert(trouble);
        }
    }

    fn restored(&mut self, result: Result<bool>) {
        self.stuck |= !matches!(result, Ok(true));
        self.tried(result.map(drop));
    }
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
    done: watch::Sender<Option<Done>>,
    events: Option<Events>,
    told: BTreeSet<String>,
    last: Option<(Value, Vec<Balanced>)>,
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
        let (publisher, fares) =
            Publisher::new("kubernetes", Sort::Kubernetes, "fields in objects of others");
        let writing = Self {
            objects,
            writes,
            shown,
            standing,
            clock,
            fights: Fights::default(),
            publisher,
            done: watch::channel(None).0,
            events: None,
            told: BTreeSet::new(),
            last: None,
        };
        (writing, fares)
    }

    /// Also says by events what cannot be written.
    #[must_use]
    pub fn with_events(self, events: Events) -> Self {
        Self { events: Some(events), ..self }
    }

    /// Tells what has been put back.
    pub fn done(&self) -> watch::Receiver<Option<Done>> {
        self.done.subscribe()
    }

    /// Writes until `stop`. What is written then stays: whoever comes next goes on from it.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = super::looks(LOOK_EVERY);
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

    /// Looks whether everything is as decided: where that has changed, and from time to time.
    async fn look(&mut self, due: bool) {
        let now = self.clock.now();
        let Some(shown) = self.shown.borrow_and_update().clone() else { return };
        let decided = (decided(&shown.decision), shown.balanced.clone());
        if !may_write(self.standing.as_ref(), now) || !(due || self.last.as_ref() != Some(&decided))
        {
            return;
        }
        self.last = Some(decided);
        let went = self.write(&shown, now).await;
        self.tell(&went.unfit).await;
        if !went.stuck {
            let policies = policies(&shown);
            self.done.send_replace(Some(Done { at: now, policies }));
        }
        match went.trouble {
            None => self.publisher.succeeded(now),
            Some(trouble) => self.publisher.failed(now, &trouble),
        }
    }

    async fn write(&mut self, shown: &Shown, now: Moment) -> Went {
        let mut went = Went::default();
        let wanted = wanted(&shown.decision);
        for kind in self.writes.kinds() {
            self.weights(kind, &wanted, (now, &mut went)).await;
        }
        if self.writes.destination_rules {
            self.rules(&shown.balanced, (now, &mut went)).await;
        }
        if self.writes.linkerd {
            self.services(&shown.balanced, (now, &mut went)).await;
        }
        if self.writes.draining {
            let kept = pods::keep(&self.objects, &pods::out(&shown.decision)).await;
            went.restored(kept.map(|_| true));
        }
        went
    }

    /// An event for what is new.
    async fn tell(&mut self, unfit: &[(Balanced, Unfit)]) {
        let now: BTreeSet<String> = unfit.iter().map(|(_, unfit)| unfit.to_string()).collect();
        for (wanted, unfit) in unfit {
            let text = unfit.to_string();
            if let (Some(events), false) = (&mut self.events, self.told.contains(&text)) {
                events
                    .say(Note {
                        policy: wanted.policy.clone(),
                        service: wanted.service.clone(),
                        reason: "NotWritten",
                        warns: true,
                        text,
                    })
                    .await;
            }
        }
        self.told = now;
    }

    /// Applies a plan, unless somebody else is at work or wants it otherwise.
    async fn settle(
        &mut self,
        (names, object): (Names, &Value),
        plan: Plan,
        (services, now): (&[&str], Moment),
    ) -> Result<bool> {
        let (patch, contests, last) = match plan {
            Plan::Leave => return Ok(false),
            Plan::Write { patch, contests } => (patch, contests, false),
            Plan::LetGo { patch } => (patch, false, true),
        };
        let (namespace, name) = place(object);
        let object_name = format!("{}.{} {namespace}/{name}", names.3, names.0);
        if let Some(controller) = self.objects.controllers(namespace).await?.at_work(services) {
            return Err(WriteTrouble::Yields { controller, object: object_name });
        }
        if contests && let Some(times) = self.fights.lost(&object_name, now) {
            return Err(WriteTrouble::Fight { object: object_name, times });
        }
        if last {
            self.objects.bring_back(names, object, &patch).await
        } else {
            self.objects.apply(names, object, &patch).await
        }
    }

    /// Brings back what was not set just now, where that could be looked at.
    async fn rest_back(
        &self,
        (names, mark): (Names, (&str, Restore)),
        set: Result<Seen>,
        went: &mut Went,
    ) {
        went.restored(match set {
            Ok(seen) => self.put_back(names, mark, &seen).await,
            Err(trouble) => Err(trouble),
        });
    }

    /// Brings back what nobody wants any more: whether all of it is.
    async fn put_back(
        &self,
        names: Names,
        (label, restore): (&str, Restore),
        seen: &Seen,
    ) -> Result<bool> {
        let mut all = true;
        for object in self.objects.written(names, label).await? {
            let (namespace, name) = place(&object);
            if seen.contains(&(namespace.to_owned(), name.to_owned())) {
                continue;
            }
            if let Plan::LetGo { patch } = restore(&object) {
                all &= self.objects.bring_back(names, &object, &patch).await?;
                tracing::info!(kind = names.2, name, namespace, "put back as it was found");
            }
        }
        Ok(all)
    }
}

/// The policies of which something may be written.
fn policies(shown: &Shown) -> BTreeSet<PolicyName> {
    let services = shown.decision.services.iter().filter(|one| one.acts());
    let rollouts = shown.decision.rollouts.iter().filter(|one| one.acts_on_others());
    let balanced = shown.balanced.iter().map(|one| one.policy.clone());
    let services = services.map(|one| one.policy.clone());
    services.chain(rollouts.map(|one| one.policy.clone())).chain(balanced).collect()
}

/// Whether the new version has taken over for good: its routes are their owners' again, as they are now.
fn has_ended(rollout: &RolloutDecision) -> bool {
    rollout.phase == Phase::Done && rollout.weight >= Ratio::ONE
}

fn wanted(decision: &Decision) -> Vec<Wanted> {
    let acting = decision.rollouts.iter().filter(|rollout| rollout.acts_on_others());
    acting
        .map(|rollout| Wanted {
            service: rollout.service.clone(),
            canary: rollout.canary.clone(),
            stable: rollout.stable.clone(),
            weight: rollout.weight,
            ends: has_ended(rollout),
        })
        .collect()
}

/// What of a decision is written, to be compared with the one before.
fn decided(decision: &Decision) -> Value {
    let rollouts: Vec<_> = decision
        .rollouts
        .iter()
        .map(|one| {
            json!([
                one.stable.to_string(),
                one.canary.to_string(),
                one.weight.value(),
                one.acts_on_others(),
                has_ended(one)
            ])
        })
        .collect();
    let out: Vec<String> = pods::out(decision).into_keys().map(|ip| ip.to_string()).collect();
    json!([rollouts, out])
}
