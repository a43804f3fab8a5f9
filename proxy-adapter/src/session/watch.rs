//! One type on one stream: what is subscribed to, what was sent, and what is to be told next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use weir_engine::units::Moment;

use super::pace::{ACK_DEADLINE, Gate, Pace};
use super::slot::{Held, Owed, Slot, Wanted};
use super::verdict::Refusal;
use super::wants::Wants;
use super::{Dialect, Scene, TypeStatus};
use crate::resource::{Resource, TypeUrl};
use crate::view::PushVersion;

/// Responses without an answer that a stream remembers per type; a client that leaves more has
/// lost the oldest.
pub(super) const OUTSTANDING_MAX: usize = 16;

/// Whether what is gone may be taken away now, or only once nothing refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removals {
    Now,
    Later,
}

/// What the next response carries.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) resources: Vec<Arc<Resource>>,
    pub(super) removed: Vec<Arc<str>>,
    /// Of the resources, those that the client may not have in this very version.
    pub(super) renewed: Vec<Arc<Resource>>,
    /// Whether the client asked for it or waits for it.
    solicited: bool,
}

/// A response that has had no answer.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) nonce: String,
    pub(super) version: PushVersion,
    pub(super) resources: Vec<Arc<Resource>>,
    pub(super) at: Moment,
    /// Whether its silence was reported.
    pub(super) overdue: bool,
}

/// One type on one stream.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) kind: TypeUrl,
    pub(super) wants: Wants,
    /// Whether the client has nothing that it was not told on this stream.
    pub(super) fresh: bool,
    pub(super) slots: BTreeMap<Arc<str>, Slot>,
    /// Names that may need telling.
    pub(super) pending: BTreeSet<Arc<str>>,
    /// Whether the client waits for a response, even an empty one.
    pub(super) must_answer: bool,
    pub(super) synced: Option<u64>,
    pub(super) outstanding: VecDeque<Outstanding>,
    last_nonce: String,
    pub(super) pace: Pace,
    wake: Option<Moment>,
    sent: Option<PushVersion>,
    pub(super) acked: Option<PushVersion>,
    pub(super) refusal: Option<Refusal>,
    pub(super) lag: Option<Duration>,
}

impl Watch {
    pub(super) fn new(kind: TypeUrl) -> Self {
        Self {
            kind,
            wants: Wants::default(),
            fresh: true,
            slots: BTreeMap::new(),
            pending: BTreeSet::new(),
            must_answer: false,
            synced: None,
            outstanding: VecDeque::new(),
            last_nonce: String::new(),
            pace: Pace::default(),
            wake: None,
            sent: None,
            acked: None,
            refusal: None,
            lag: None,
        }
    }

    pub(super) fn is_last(&self, nonce: &str) -> bool {
        self.last_nonce == nonce
    }

    #[cfg(test)]
    pub(super) fn last_nonce(&self) -> &str {
        &self.last_nonce
    }

    pub(super) fn wake(&self) -> Option<Moment> {
        self.wake
    }

    pub(super) fn status(&self) -> TypeStatus {
        TypeStatus {
            kind: self.kind,
            wildcard: self.wants.wildcard,
            names: self.slots.len(),
            sent: self.sent,
            acked: self.acked,
            refusal: self.refusal.clone(),
            lag: self.lag,
            unanswered_since: self.outstanding.front().map(|response| response.at),
            pending: !self.pending.is_empty() || !self.outstanding.is_empty(),
        }
    }

    /// Whether the client has, and has taken, all that it should have.
    pub(super) fn is_settled(&self, scene: &Scene<'_>) -> bool {
        let falls_back =
            |(name, slot): (&Arc<str>, &Slot)| slot.falls_back(scene.resource(self.kind, name));
        self.pending.is_empty() && self.outstanding.is_empty() && !self.slots.iter().any(falls_back)
    }

    /// When the oldest response without an answer is given up, if there is one and it is not yet.
    pub(super) fn unanswered_until(&self, now: Moment) -> Option<Moment> {
        self.outstanding.front().map(Outstanding::due).filter(|due| *due > now)
    }

    /// The next response, if one is due; `ready`: what the client did not ask for waits till then.
    pub(super) fn offer(
        &mut self,
        scene: &Scene<'_>,
        removals: Removals,
        ready: Option<Moment>,
    ) -> Option<Batch> {
        self.sync(scene);
        self.wake =
            self.outstanding.iter().find(|response| !response.overdue).map(Outstanding::due);
        let gate = self.pace.gate(self.outstanding.back().map(|response| response.at), scene.now);
        let gate = gate.after(ready);
        let whole = scene.dialect == Dialect::StateOfTheWorld && self.has_wildcard();
        let batch = if whole {
            self.whole(scene, gate, removals)?
        } else {
            let parts = self.parts(scene, gate, removals);
            Some(parts).filter(|parts| self.must_answer || !parts.is_empty())?
        };
        self.must_answer = false;
        Some(batch)
    }

    /// Adds the names that changed since this stream looked last.
    fn sync(&mut self, scene: &Scene<'_>) {
        let Some(change) = scene.view.last_change(self.kind) else { return };
        if self.synced == Some(change.sequence) {
            return;
        }
        if self.synced == Some(change.before) {
            let concerned = change.names.iter().filter(|name| {
                self.slots.contains_key(*name)
                    || (self.wants.wildcard && scene.resource(self.kind, name).is_some())
            });
            self.pending.extend(concerned.cloned().collect::<Vec<_>>());
        } else {
            self.pending.extend(self.slots.keys().cloned());
            if self.wants.wildcard {
                let all = scene.view.snapshot.names(scene.node, self.kind);
                self.pending.extend(all.cloned());
            }
        }
        self.synced = Some(change.sequence);
    }

    /// Only what is due: incremental responses, and the types of which a state of the world need
    /// not be whole.
    fn parts(&mut self, scene: &Scene<'_>, gate: Gate, removals: Removals) -> Batch {
        let mut batch = Batch { solicited: true, ..Batch::default() };
        for name in std::mem::take(&mut self.pending) {
            let wanted = self.wanted(&name, scene);
            let slot = self.slots.entry(name.clone()).or_default();
            let changes = match &wanted {
                Wanted::Give(resource) => !slot.holds(resource),
                Wanted::Gone => slot.held != Held::Nothing,
                Wanted::Keep => false,
            };
            if wanted == Wanted::Keep {
                slot.owed = Owed::Nothing;
            }
            let owed = slot.owed;
            let waits =
                wanted == Wanted::Gone && removals == Removals::Later && owed < Owed::Answer;
            if !changes && owed == Owed::Nothing {
                self.settle(name, &wanted, scene);
            } else if owed < gate.least || waits {
                self.wait(name, gate.until.filter(|_| owed < gate.least));
            } else {
                batch.solicited &= owed != Owed::Nothing;
                self.tell(name, wanted, scene, &mut batch);
            }
        }
        batch
    }

    fn wanted(&self, name: &Arc<str>, scene: &Scene<'_>) -> Wanted {
        match self.slots.get(name) {
            Some(slot) => slot.wanted((self.kind, name), scene, self.fresh),
            None => Slot::default().wanted((self.kind, name), scene, self.fresh),
        }
    }

    /// Nothing to tell of this name; unless a refused one may be tried again later.
    fn settle(&mut self, name: Arc<str>, wanted: &Wanted, scene: &Scene<'_>) {
        let Some(slot) = self.slots.get(&name) else { return };
        let retry = slot.retry_at().filter(|at| *at > scene.now);
        let differs = slot.falls_back(scene.resource(self.kind, &name));
        if *wanted == Wanted::Gone && !slot.subscribed {
            self.slots.remove(&name);
        } else if let Some(at) = retry.filter(|_| differs) {
            self.wait(name, Some(at));
        }
    }

    fn wait(&mut self, name: Arc<str>, until: Option<Moment>) {
        self.pending.insert(name);
        if let Some(until) = until {
            self.wake = Some(self.wake.map_or(until, |wake| wake.min(until)));
        }
    }

    fn tell(&mut self, name: Arc<str>, wanted: Wanted, scene: &Scene<'_>, batch: &mut Batch) {
        let Some(slot) = self.slots.get_mut(&name) else { return };
        slot.owed = Owed::Nothing;
        match wanted {
            Wanted::Give(resource) => {
                slot.held = Held::Sent(resource.clone());
                batch.renewed.push(resource.clone());
                batch.resources.push(resource.clone());
                self.settle(name, &Wanted::Give(resource), scene);
            }
            Wanted::Gone => {
                slot.held = Held::Nothing;
                self.settle(name.clone(), &Wanted::Gone, scene);
                if scene.dialect == Dialect::Incremental {
                    batch.removed.push(name);
                }
            }
            Wanted::Keep => {}
        }
    }

    /// Everything there is: what a state of the world leaves out, a client deletes. So nothing
    /// is sent while a name would have to be left out that the client may have.
    fn whole(&mut self, scene: &Scene<'_>, gate: Gate, removals: Removals) -> Option<Batch> {
        if !self.is_due(scene, gate, removals) {
            return None;
        }
        let mut names: BTreeSet<Arc<str>> = self.slots.keys().cloned().collect();
        if self.wants.wildcard {
            names.extend(scene.view.snapshot.names(scene.node, self.kind).cloned());
        }
        let wanted: Vec<_> =
            names.into_iter().map(|name| (self.wanted(&name, scene), name)).collect();
        if !self.fresh && wanted.iter().any(|(wanted, _)| *wanted == Wanted::Keep) {
            return None;
        }
        let mut batch = Batch { solicited: self.must_answer, ..Batch::default() };
        for (wanted, name) in wanted {
            self.pending.remove(&name);
            self.include(name, wanted, (scene, removals), &mut batch);
        }
        Some(batch)
    }

    fn include(
        &mut self,
        name: Arc<str>,
        wanted: Wanted,
        (scene, removals): (&Scene<'_>, Removals),
        batch: &mut Batch,
    ) {
        let slot = self.slots.entry(name.clone()).or_default();
        batch.solicited |= slot.owed != Owed::Nothing;
        match (wanted, &slot.held) {
            (Wanted::Give(resource), _) => {
                let taken = slot.good.as_ref().is_some_and(|good| good.version == resource.version);
                if taken && slot.holds(&resource) && slot.owed == Owed::Nothing {
                    batch.resources.push(resource);
                } else {
                    self.tell(name, Wanted::Give(resource), scene, batch);
                }
            }
            (Wanted::Gone, Held::Sent(old)) if removals == Removals::Later => {
                batch.resources.push(old.clone());
                self.pending.insert(name);
            }
            (Wanted::Gone, _) => self.tell(name, Wanted::Gone, scene, batch),
            (Wanted::Keep, _) => slot.owed = Owed::Nothing,
        }
    }

    /// Whether a whole state is due. Names that have nothing to tell are settled on the way.
    fn is_due(&mut self, scene: &Scene<'_>, gate: Gate, removals: Removals) -> bool {
        let mut due = self.must_answer;
        for name in std::mem::take(&mut self.pending) {
            let wanted = self.wanted(&name, scene);
            let slot = self.slots.entry(name.clone()).or_default();
            let (changes, waits) = match &wanted {
                Wanted::Give(resource) => (!slot.holds(resource), false),
                Wanted::Gone => (
                    matches!(slot.held, Held::Sent(_)),
                    removals == Removals::Later && slot.owed < Owed::Answer,
                ),
                Wanted::Keep => (false, false),
            };
            let owed = slot.owed;
            if !changes && (owed == Owed::Nothing || wanted == Wanted::Keep) {
                self.settle(name, &wanted, scene);
            } else {
                due |= owed >= gate.least && !waits;
                self.wait(name, gate.until.filter(|_| owed < gate.least));
            }
        }
        due
    }

    /// A response with this batch goes out.
    pub(super) fn sent(&mut self, batch: &Batch, nonce: &str, version: PushVersion, at: Moment) {
        if !batch.solicited {
            self.pace.pushed(at);
        }
        if self.outstanding.len() >= OUTSTANDING_MAX {
            self.outstanding.pop_front();
        }
        nonce.clone_into(&mut self.last_nonce);
        self.sent = Some(version);
        let response = Outstanding {
            nonce: nonce.to_owned(),
            version,
            resources: batch.resources.clone(),
            at,
            overdue: false,
        };
        let due = response.due();
        self.wake = Some(self.wake.map_or(due, |wake| wake.min(due)));
        self.outstanding.push_back(response);
    }
}

impl Outstanding {
    /// When its answer is overdue.
    pub(super) fn due(&self) -> Moment {
        self.at.plus(ACK_DEADLINE)
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.removed.is_empty()
    }
}
