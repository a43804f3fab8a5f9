//! What is in force: from published snapshots and proxies' answers to the view that streams read.
//!
//! Pure: time is given, and nothing is sent. A snapshot passes the fleet's refusals, then the
//! shrink gate, and is in force only if something of it changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use weir_engine::names::{Node, ServiceId};
use weir_engine::observation::{Outcome, Receipt};
use weir_engine::units::Moment;

use super::refusals::{Frozen, Refusals};
use crate::resource::{Resource, Snapshot, TypeUrl};
use crate::session::{Event, TypeStatus};
use crate::shrink::{Shrinking, shrink_gate};
use crate::view::View;

/// A shrinking that lasts this long without growing worse is believed, if nobody confirms it
/// earlier: it is what discovery really says.
const SHRINK_BELIEVED: Duration = Duration::from_mins(1);
/// A change that may wait does so until nothing has changed for this long...
const QUIET: Duration = Duration::from_millis(100);
/// ...and no longer than this.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// How soon a snapshot goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// At once: a tick's decision.
    Now,
    /// Once nothing changes for 100 ms, and after 1 s at most: discovery and policies, which
    /// change many times in a row.
    Settled,
}

/// Whether a snapshot may take away much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Too much of a loss is withheld until it has lasted.
    Unconfirmed,
    /// It is meant: a second source or a person says so.
    Confirmed,
}

/// One stream, as people see it. A proxy has one with ADS, several without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyView {
    /// The stream's number.
    pub stream: u64,
    /// The proxy's node id.
    pub node: Node,
    /// Where it connects from.
    pub address: Option<SocketAddr>,
    /// Program and version.
    pub agent: String,
    /// Since when the stream stands.
    pub connected: Moment,
    /// Its types.
    pub types: Vec<TypeStatus>,
    /// Types that it asks for and that are not served.
    pub unserved: Vec<String>,
}

/// What of the last published snapshot is not in force, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Losses that are withheld, with the moment since when.
    pub withheld: Vec<(Shrinking, Moment)>,
    /// Services that stand still because proxies refused them.
    pub frozen: Vec<Frozen>,
}

/// The state behind the server.
#[derive(Debug)]
pub(super) struct Hub {
    view: Arc<View>,
    wanted: Option<Arc<Snapshot>>,
    confirmation: Confirmation,
    /// When the first and the last change came that still wait.
    settling: Option<(Moment, Moment)>,
    refusals: Refusals,
    withheld: BTreeMap<ShrinkKey, (Shrinking, Moment)>,
    proxies: BTreeMap<u64, ProxyView>,
}

/// What a withheld loss is recognised by in the next snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ShrinkKey {
    Endpoints(Arc<str>),
    Clusters,
}

impl Hub {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            view: Arc::new(View::new(epoch)),
            wanted: None,
            confirmation: Confirmation::Unconfirmed,
            settling: None,
            refusals: Refusals::default(),
            withheld: BTreeMap::new(),
            proxies: BTreeMap::new(),
        }
    }

    pub(super) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// What is published from now on is a later leader's.
    pub(super) fn lead(&mut self, epoch: u64) {
        self.view = Arc::new(self.view.led_by(epoch));
    }

    /// Takes a snapshot. Whether the view changed.
    pub(super) fn publish(
        &mut self,
        snapshot: Arc<Snapshot>,
        urgency: Urgency,
        confirmation: Confirmation,
        now: Moment,
    ) -> bool {
        let first = self.wanted.replace(snapshot).is_none();
        if confirmation == Confirmation::Confirmed {
            self.confirmation = confirmation;
        }
        if urgency == Urgency::Settled && !first {
            let since = self.settling.map_or(now, |(since, _)| since);
            self.settling = Some((since, now));
            return self.tick(now);
        }
        self.settle(now)
    }

    /// Does what is due by now. Whether the view changed.
    pub(super) fn tick(&mut self, now: Moment) -> bool {
        if self.settling.is_some_and(|settling| settled_at(settling) > now) {
            return false;
        }
        self.settle(now)
    }

    /// When [`Hub::tick`] is due.
    pub(super) fn wake(&self, now: Moment) -> Option<Moment> {
        if let Some(settling) = self.settling {
            return Some(settled_at(settling));
        }
        let believed = self.withheld.values().map(|(_, since)| since.plus(SHRINK_BELIEVED)).min();
        [believed, self.refusals.wake(now)].into_iter().flatten().min()
    }

    /// Puts into force what may be.
    fn settle(&mut self, now: Moment) -> bool {
        self.settling = None;
        let Some(wanted) = self.wanted.clone() else { return false };
        let confirmed = self.confirmation == Confirmation::Confirmed;
        self.confirmation = Confirmation::Unconfirmed;
        let held = &self.withheld;
        let taken = self.refusals.apply(&wanted, now);
        let believed = |shrinking: &Shrinking| {
            confirmed
                || falls_back(shrinking, &taken, &wanted)
                || believed_since(held, shrinking).is_some_and(|since| lasted(since, now))
        };
        let (allowed, shrinkings) = shrink_gate(&self.view.snapshot, &taken, &believed);
        self.withheld = shrinkings
            .into_iter()
            .map(|one| {
                let since = believed_since(held, &one).unwrap_or(now);
                (key(&one), (one, since))
            })
            .collect();
        self.refusals.prune(&wanted, now);
        let next = self.view.change(allowed);
        let changed = next.is_some();
        if let Some(next) = next {
            self.view = Arc::new(next);
        }
        changed
    }

    /// A stream changed, or came.
    pub(super) fn see(&mut self, proxy: ProxyView) {
        self.proxies.insert(proxy.stream, proxy);
    }

    /// A stream ended.
    pub(super) fn forget(&mut self, stream: u64) {
        self.proxies.remove(&stream);
    }

    pub(super) fn proxies(&self) -> Vec<ProxyView> {
        self.proxies.values().cloned().collect()
    }

    pub(super) fn standing(&self, now: Moment) -> Standing {
        Standing {
            withheld: self.withheld.values().cloned().collect(),
            frozen: self.refusals.frozen(now),
        }
    }

    /// Takes a proxy's answer: receipts for the engine, and whether the view changed.
    pub(super) fn hear(&mut self, node: &Node, event: Event, now: Moment) -> (Vec<Receipt>, bool) {
        match event {
            Event::Taken { kind, resources } => {
                for resource in &resources {
                    self.refusals.taken(kind, resource, now);
                }
                (receipts(node, &resources, &Outcome::Taken), false)
            }
            Event::Silent { resources, .. } => {
                (receipts(node, &resources, &Outcome::Silent), false)
            }
            Event::Refused { kind, resources, words } => {
                let changed = self.refuse(node, kind, &resources, &words, now);
                (receipts(node, &resources, &Outcome::Refused(words)), changed)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one refusal, taken apart by its only caller")]
    fn refuse(
        &mut self,
        node: &Node,
        kind: TypeUrl,
        resources: &[Arc<Resource>],
        words: &str,
        now: Moment,
    ) -> bool {
        let connected: BTreeSet<_> = self.proxies.values().map(|proxy| &proxy.node).collect();
        let connected = connected.len();
        let mut view = (*self.view).clone();
        let quarantine = Arc::make_mut(&mut view.quarantine);
        let mut stop = false;
        for resource in resources {
            let good = self.refusals.good(kind, resource).cloned();
            quarantine.refuse(node, kind, resource, good);
            stop |= self.refusals.refused((kind, resource), node, words, (connected, now));
        }
        self.view = Arc::new(view);
        if stop {
            self.settle(now);
        }
        true
    }
}

fn settled_at((first, last): (Moment, Moment)) -> Moment {
    last.plus(QUIET).min(first.plus(QUIET_MAX))
}

/// Whether it is a fall back to what proxies took that shrinks a cluster.
fn falls_back(shrinking: &Shrinking, taken: &Snapshot, wanted: &Snapshot) -> bool {
    let version = |snapshot: &Snapshot, name| {
        Some(snapshot.types.get(&TypeUrl::Endpoints)?.get(name)?.version)
    };
    match shrinking {
        Shrinking::Endpoints { name, .. } => version(taken, name) != version(wanted, name),
        Shrinking::Clusters { .. } => false,
    }
}

fn lasted(since: Moment, now: Moment) -> bool {
    now.since(since) >= SHRINK_BELIEVED
}

fn key(shrinking: &Shrinking) -> ShrinkKey {
    match shrinking {
        Shrinking::Endpoints { name, .. } => ShrinkKey::Endpoints(name.clone()),
        Shrinking::Clusters { .. } => ShrinkKey::Clusters,
    }
}

/// Since when this very loss is seen; one that grew worse is a new one.
fn believed_since(
    held: &BTreeMap<ShrinkKey, (Shrinking, Moment)>,
    shrinking: &Shrinking,
) -> Option<Moment> {
    let (earlier, since) = held.get(&key(shrinking))?;
    let no_worse = match (earlier, shrinking) {
        (Shrinking::Endpoints { after: then, .. }, Shrinking::Endpoints { after: now, .. }) => {
            now >= then
        }
        (Shrinking::Clusters { names: then, .. }, Shrinking::Clusters { names: now, .. }) => {
            now.is_subset(then)
        }
        _ => false,
    };
    no_worse.then_some(*since)
}

/// One receipt for each decision that the resources carry.
fn receipts(node: &Node, resources: &[Arc<Resource>], outcome: &Outcome) -> Vec<Receipt> {
    let decisions: BTreeSet<(ServiceId, u64)> = resources
        .iter()
        .filter_map(|resource| Some((resource.service.clone()?, resource.decision?)))
        .collect();
    let receipt = |(service, decision)| Receipt {
        node: node.clone(),
        service,
        decision,
        outcome: outcome.clone(),
    };
    decisions.into_iter().map(receipt).collect()
}

#[cfg(test)]
mod tests;
