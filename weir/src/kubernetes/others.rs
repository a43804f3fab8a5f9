//! Whether Flagger or Argo Rollouts is at work on what a rollout of Weir's own moves: while they are, it
//! stands where it is, and nothing of it is done in routes of others.
//!
//! Both are looked at from time to time while there is such a rollout: they take minutes, and a watch on kinds that
//! most clusters do not have costs more than it brings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::api::ListParams;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_collectors::status::{Kind, Publisher, Status as Fares};
use weir_engine::goal::{Goals, Mode, Rollout};
use weir_engine::names::ServiceId;
use weir_policies::in_force::InForce;
use weir_proxy_adapter::writers::others;

use super::writing::{Names, Objects, Result};
use crate::clock::Clock;

/// How often they are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

const FLAGGERS: Names = ("flagger.app", "v1beta1", "Canary", "canaries");
const ARGOS: Names = ("argoproj.io", "v1alpha1", "Rollout", "rollouts");

/// What release controllers say of themselves in one namespace.
#[derive(Debug, Default)]
pub(super) struct Controllers {
    canaries: Vec<Value>,
    rollouts: Vec<Value>,
}

impl Controllers {
    /// Who of them is at work on one of these services, in words.
    pub(super) fn at_work(&self, services: &[&str]) -> Option<String> {
        let flagger = self.canaries.iter().find_map(|one| others::flagger(one, services));
        let argo = || self.rollouts.iter().find_map(|one| others::argo(one, services));
        let flagger = flagger.map(|name| format!("Flagger's Canary {name}"));
        flagger.or_else(|| argo().map(|name| format!("the Argo Rollout {name}")))
    }
}

impl Objects {
    /// The release controllers' objects in a namespace.
    pub(super) async fn controllers(&self, namespace: &str) -> Result<Controllers> {
        let all = ListParams::default();
        Ok(Controllers {
            canaries: self.list(FLAGGERS, Some(namespace), &all).await?,
            rollouts: self.list(ARGOS, Some(namespace), &all).await?,
        })
    }
}

/// Why rollouts wait, by the service that clients call; of those that were looked at.
pub type AtWork = BTreeMap<ServiceId, Option<Arc<str>>>;

/// Has these goals say which of their rollouts have to wait, by what is known and what they said before. One that
/// nobody has looked at yet waits for that.
pub fn set(goals: &mut Goals, known: &AtWork, before: &Goals) {
    for rollout in goals.rollouts.iter_mut().filter(|one| one.mode != Mode::Observe) {
        let mut earlier = before.rollouts.iter().filter(|one| one.mode != Mode::Observe);
        let earlier = earlier.find(|one| one.service == rollout.service);
        let known = known.get(&rollout.service).or(earlier.map(|one| &one.yields));
        let unknown = || Some(Arc::from("whether another controller is at work is not known yet"));
        rollout.yields = known.cloned().unwrap_or_else(unknown);
    }
}

/// Looks at them.
pub struct Others {
    objects: Objects,
    policies: watch::Receiver<InForce>,
    clock: Clock,
    publisher: Publisher,
    known: watch::Sender<Arc<AtWork>>,
}

impl std::fmt::Debug for Others {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Others").field("known", &self.known).finish_non_exhaustive()
    }
}

impl Others {
    /// By these objects' client, for the rollouts of these policies; also says how that fares.
    pub fn new(
        objects: Objects,
        policies: watch::Receiver<InForce>,
        clock: Clock,
    ) -> (Self, watch::Receiver<Arc<AtWork>>, watch::Receiver<Fares>) {
        let (publisher, fares) =
            Publisher::new("kubernetes", Kind::Kubernetes, "Flagger and Argo Rollouts");
        let (known, at_work) = watch::channel(Arc::default());
        (Self { objects, policies, clock, publisher, known }, at_work, fares)
    }

    /// Looks until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = super::looks(LOOK_EVERY);
        let forever = async {
            loop {
                tokio::select! {
                    _ = looks.tick() => {}
                    Ok(()) = self.policies.changed() => {}
                }
                self.look().await;
            }
        };
        stop.run_until_cancelled(forever).await;
    }

    async fn look(&mut self) {
        let goals = self.policies.borrow_and_update().goals().clone();
        let now = self.clock.now();
        match at_work(&self.objects, &goals.rollouts).await {
            Ok(found) => {
                self.publisher.succeeded(now);
                self.known.send_if_modified(|known| {
                    let news = **known != found;
                    *known = Arc::new(found);
                    news
                });
            }
            // What was known stays: a rollout under way is not stopped by an API server that is away.
            Err(trouble) => self.publisher.failed(now, &trouble),
        }
    }
}

async fn at_work(objects: &Objects, rollouts: &[Rollout]) -> Result<AtWork> {
    let mut spaces: BTreeMap<&str, Controllers> = BTreeMap::new();
    let mut found = AtWork::new();
    for rollout in rollouts.iter().filter(|one| one.mode != Mode::Observe) {
        let space = &*rollout.stable.namespace;
        if !spaces.contains_key(space) {
            spaces.insert(space, objects.controllers(space).await?);
        }
        let services = [&rollout.service, &rollout.stable, &rollout.canary].map(|id| &*id.name);
        let controller = spaces.get(space).and_then(|all| all.at_work(&services));
        let why = controller.map(|controller| format!("{controller} is at work").into());
        found.insert(rollout.service.clone(), why);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use weir_engine::goal::OnFailure;

    use super::*;

    fn goals(mode: Mode, yields: Option<&str>) -> Goals {
        let id = |name| ServiceId::new("shop", name);
        let rollout = Rollout {
            service: id("cart"),
            policy: "shop/cart".into(),
            mode,
            suspended: false,
            yields: yields.map(Arc::from),
            stable: id("cart-v1"),
            canary: id("cart-v2"),
            steps: Vec::new(),
            failures_max: 1,
            deadline: Duration::from_secs(60),
            on_failure: OnFailure::Rollback,
            objectives: Vec::new(),
            interval: None,
            min_samples: 1,
            stale_after: None,
        };
        Goals { services: Vec::new(), rollouts: vec![rollout] }
    }

    #[test]
    fn a_rollout_waits_until_nobody_else_is_known_to_be_at_work() {
        let found = |why: Option<&str>| {
            AtWork::from([(ServiceId::new("shop", "cart"), why.map(Arc::from))])
        };
        let (nothing, new) = (AtWork::new(), Goals::default());
        let unknown = Some("whether another controller is at work is not known yet");
        let at_work = Some("Flagger's Canary cart is at work");
        let enforced = |yields| goals(Mode::Enforce, yields);
        for (known, before, mode, expected) in [
            (&nothing, &new, Mode::Enforce, unknown),
            (&nothing, &goals(Mode::Observe, None), Mode::Enforce, unknown),
            (&nothing, &new, Mode::Observe, None),
            (&nothing, &enforced(None), Mode::Enforce, None),
            (&nothing, &enforced(at_work), Mode::Enforce, at_work),
            (&found(at_work), &enforced(None), Mode::Enforce, at_work),
            (&found(None), &enforced(at_work), Mode::Recommend, None),
        ] {
            let mut now = goals(mode, None);
            set(&mut now, known, before);
            assert_eq!(now.rollouts[0].yields.as_deref(), expected, "{mode:?} {before:?}");
        }
    }

    #[test]
    fn flagger_and_argo_are_found() {
        let phase = |phase: &str| serde_json::json!({ "phase": phase });
        let mut all = Controllers::default();
        all.rollouts.push(serde_json::json!({
            "metadata": { "name": "two" }, "status": phase("Progressing"),
            "spec": { "strategy": { "canary": { "canaryService": "cart-v2" } } },
        }));
        assert_eq!(all.at_work(&["cart-v2"]).as_deref(), Some("the Argo Rollout two"));
        assert_eq!(all.at_work(&["till"]), None);
        all.canaries.push(serde_json::json!({
            "metadata": { "name": "one" }, "status": phase("Progressing"),
            "spec": { "targetRef": { "name": "cart" } },
        }));
        assert_eq!(all.at_work(&["cart", "cart-v2"]).as_deref(), Some("Flagger's Canary one"));
    }
}
