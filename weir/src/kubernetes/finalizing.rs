//! Keeps a policy that is being deleted until what Weir wrote for it is put back, and not a moment longer
//! than a deadline: nobody's `kubectl delete`, and no namespace, may hang on Weir.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_collectors::status::{Kind, Publisher, Status as Fares};
use weir_engine::names::{PolicyName, ServiceId};
use weir_engine::units::Moment;
use weir_policies::crd::PLURAL;
use weir_policies::document::{GROUP, KIND, VERSION};

use super::events::Note;
use super::leading::{Standing, may_write};
use super::saying::Events;
use super::writing::{Done, Names, Objects, WriteTrouble};
use crate::clock::Clock;
use crate::goals::objects::{ByName, Object};

/// On enforced policies, where something may have been written for them.
pub const FINALIZER: &str = "weir.dev/release";

/// How long a deletion waits at most.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often policies are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

pub(super) const POLICIES: Names = (GROUP, VERSION, KIND, PLURAL);

/// What finalizing reads.
#[derive(Debug)]
pub struct Inputs {
    /// Policies as objects.
    pub policies: watch::Receiver<Arc<ByName>>,
    /// What has been put back; none where nothing is ever written.
    pub done: Option<watch::Receiver<Option<Done>>>,
    /// Whether this replica decides; none where there are no others.
    pub standing: Option<watch::Receiver<Standing>>,
}

/// Sets finalizers, and takes them away.
pub struct Finalizing {
    objects: Objects,
    inputs: Inputs,
    clock: Clock,
    /// Since when those are on their way out, by Weir's own clock.
    going: BTreeMap<PolicyName, Moment>,
    events: Events,
    publisher: Publisher,
}

impl std::fmt::Debug for Finalizing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finalizing").field("going", &self.going).finish_non_exhaustive()
    }
}

/// What is to be done with a policy's finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Stay,
    Set,
    Take,
    /// Taken away although something may not have been put back.
    TakeLate,
}

impl Finalizing {
    /// Of these policies; also says how that fares.
    pub fn new(
        objects: Objects,
        inputs: Inputs,
        events: Events,
        clock: Clock,
    ) -> (Self, watch::Receiver<Fares>) {
        let (publisher, fares) =
            Publisher::new("kubernetes", Kind::Kubernetes, "finalizers of policies");
        (Self { objects, inputs, clock, going: BTreeMap::new(), events, publisher }, fares)
    }

    /// Follows policies until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = super::looks(LOOK_EVERY);
        let forever = async {
            loop {
                tokio::select! {
                    _ = looks.tick() => {}
                    Ok(()) = self.inputs.policies.changed() => {}
                }
                self.look().await;
            }
        };
        stop.run_until_cancelled(forever).await;
    }

    async fn look(&mut self) {
        let now = self.clock.now();
        let policies = Arc::clone(&self.inputs.policies.borrow_and_update());
        self.going.retain(|name, _| policies.get(name).is_some_and(|one| one.deleting));
        if !may_write(self.inputs.standing.as_ref(), now) {
            return;
        }
        let mut trouble = None;
        for (name, object) in policies.iter() {
            let step = self.step((name, object), now);
            if step == Step::Stay {
                continue;
            }
            match self.change(object, step == Step::Set).await {
                Ok(true) if step == Step::TakeLate => self.events.say(late(name, object)).await,
                Ok(_) => {}
                Err(failed) => {
                    trouble.get_or_insert(failed);
                }
            }
        }
        match trouble {
            None => self.publisher.succeeded(now),
            Some(trouble) => self.publisher.failed(now, &trouble),
        }
    }

    fn step(&mut self, (name, object): (&PolicyName, &Object), now: Moment) -> Step {
        let has = object.finalizers.iter().any(|one| one == FINALIZER);
        let Some(done) = &self.inputs.done else {
            // An earlier configuration let Weir write.
            return if has { Step::Take } else { Step::Stay };
        };
        if !object.deleting {
            return match (object.enforced, has) {
                (true, false) => Step::Set,
                (false, true) => Step::Take,
                _ => Step::Stay,
            };
        }
        if !has {
            return Step::Stay;
        }
        let since = *self.going.entry(name.clone()).or_insert(now);
        let back = |done: &Done| done.at >= since && !done.policies.contains(name);
        if done.borrow().as_ref().is_some_and(back) {
            Step::Take
        } else if now.since(since) >= DEADLINE {
            Step::TakeLate
        } else {
            Step::Stay
        }
    }

    async fn change(&self, object: &Object, set: bool) -> Result<bool, WriteTrouble> {
        let others = object.finalizers.iter().map(String::as_str);
        let change = change((&object.version, others), set);
        self.objects.merge(POLICIES, (&object.namespace, &object.name), &change).await
    }
}

/// The fields of an object of that version, with and without the finalizer among its others.
pub(super) fn change<'a>(
    (version, finalizers): (&str, impl Iterator<Item = &'a str>),
    set: bool,
) -> Value {
    let others = finalizers.filter(|one| *one != FINALIZER);
    let finalizers: Vec<&str> = others.chain(set.then_some(FINALIZER)).collect();
    json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}})
}

fn late(name: &PolicyName, object: &Object) -> Note {
    let service = object.targets.first().map_or("", String::as_str);
    Note {
        policy: name.clone(),
        service: ServiceId::new(&object.namespace, service),
        reason: "ReleaseTimedOut",
        warns: true,
        text: format!(
            "the policy may go after {} s, although not everything that was written for it is put back: \
             see /api/v1/sources for what is in the way, then run weir release",
            DEADLINE.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests;
