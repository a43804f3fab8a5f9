//! What a client subscribes to, in both dialects.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::NAMES_MAX;
use super::slot::{Held, Owed, Slot};
use super::watch::Watch;
use crate::resource::TypeUrl;

/// Subscribes to every resource there is.
const WILDCARD: &str = "*";

/// How a client subscribes to a type.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// Whether it wants every resource there is.
    pub(super) wildcard: bool,
    /// Whether names were ever given: from then on no names means none, not all.
    named: bool,
    /// Names subscribed to one by one.
    pub(super) explicit: usize,
}

impl Watch {
    /// The first request of a stream, or one that starts over: the client waits for everything.
    pub(super) fn restart(&mut self, fresh: bool) {
        self.fresh = fresh;
        self.outstanding.clear();
        self.must_answer = true;
        self.synced = None;
        for (name, slot) in &mut self.slots {
            slot.held = Held::Unknown;
            slot.owed = Owed::Answer;
            self.pending.insert(name.clone());
        }
    }

    /// The client wants these names and no others. An answer is owed for those that are new.
    pub(super) fn want(&mut self, names: &[String], initial: bool) {
        self.wants.named |= !names.is_empty();
        let legacy = names.is_empty() && !self.wants.named && self.has_wildcard();
        let wildcard = legacy || names.iter().any(|name| name == WILDCARD);
        let wanted: BTreeSet<&str> =
            names.iter().map(String::as_str).filter(|name| *name != WILDCARD).collect();
        if wildcard && !self.wants.wildcard {
            self.synced = None;
            self.must_answer = true;
        }
        self.wants.wildcard = wildcard;
        self.wants.explicit = wanted.len();
        for (name, slot) in &mut self.slots {
            slot.subscribed &= wanted.contains(&**name);
        }
        self.forget_unwanted();
        for name in wanted {
            let held = if initial { Held::Unknown } else { Held::Nothing };
            let slot = self.slots.entry(name.into()).or_insert_with(|| Slot::holding(held));
            if !slot.subscribed {
                slot.subscribed = true;
                slot.owed = Owed::Answer;
                self.pending.insert(name.into());
            }
        }
    }

    /// Without names, all clusters and all listeners are meant; of other types none.
    pub(super) const fn has_wildcard(&self) -> bool {
        matches!(self.kind, TypeUrl::Cluster | TypeUrl::Listener)
    }

    fn forget_unwanted(&mut self) {
        if !self.wants.wildcard {
            self.slots.retain(|_, slot| slot.subscribed);
            self.pending.retain(|name| self.slots.contains_key(name));
        }
    }

    /// The first request of a stream: what the client has already.
    pub(super) fn begin(&mut self, subscribe: &[String], has: &[(String, String)]) {
        self.fresh = has.is_empty();
        self.wants.wildcard = subscribe.is_empty() && self.has_wildcard();
        self.must_answer = self.wants.wildcard && self.fresh;
        for (name, version) in has.iter().take(NAMES_MAX) {
            let name: Arc<str> = name.as_str().into();
            let held = Held::Claimed(version.parse().ok());
            self.slots.insert(name.clone(), Slot::holding(held));
            self.pending.insert(name);
        }
    }

    /// Adds and drops names. An answer is owed for every name that is added, even a known one.
    pub(super) fn alter(
        &mut self,
        subscribe: &[String],
        unsubscribe: &[String],
        mut renewed: Option<&mut BTreeSet<Arc<str>>>,
    ) {
        for name in subscribe {
            let renewed = renewed.as_mut().is_some_and(|renewed| renewed.remove(name.as_str()));
            self.subscribe(name, renewed);
        }
        for name in unsubscribe {
            self.unsubscribe(name);
        }
        self.forget_unwanted();
    }

    fn subscribe(&mut self, name: &str, renewed: bool) {
        if name == WILDCARD {
            if self.wants.wildcard {
                self.owe_all();
            }
            self.wants.wildcard = true;
            self.must_answer = self.fresh;
            self.synced = None;
            return;
        }
        let name: Arc<str> = name.into();
        let slot = self.slots.entry(name.clone()).or_insert_with(|| Slot::holding(Held::Nothing));
        let claimed = matches!(slot.held, Held::Claimed(_)) && !slot.subscribed;
        if !claimed || renewed {
            slot.owed = Owed::Answer;
        }
        self.wants.explicit += usize::from(!slot.subscribed);
        slot.subscribed = true;
        self.pending.insert(name);
    }

    fn unsubscribe(&mut self, name: &str) {
        if name == WILDCARD {
            self.wants.wildcard = false;
            return;
        }
        let Some(slot) = self.slots.get_mut(name) else { return };
        self.wants.explicit -= usize::from(slot.subscribed);
        slot.subscribed = false;
        if self.wants.wildcard {
            // The client may have dropped it, but still wants everything there is.
            slot.owed = Owed::Answer;
            self.pending.insert(name.into());
        }
    }

    fn owe_all(&mut self) {
        for (name, slot) in &mut self.slots {
            slot.owed = Owed::Answer;
            self.pending.insert(name.clone());
        }
    }

    /// The client is about to need this name again; `false` if it has not asked for it.
    pub(super) fn owe(&mut self, name: &Arc<str>) -> bool {
        let Some(slot) = self.slots.get_mut(name) else { return false };
        slot.owed = slot.owed.max(Owed::Repair);
        self.pending.insert(name.clone());
        true
    }
}
