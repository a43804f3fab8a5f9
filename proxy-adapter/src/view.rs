//! What every stream reads: the snapshot in force, what changed with it, and what was refused.
//!
//! A view is immutable and shared. It says which names its last change touched, so that a stream
//! which is up to date looks at those only: with a thousand clusters and two hundred proxies,
//! comparing everything on each tick would cost more than sending it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use weir_engine::names::{Node, Place};

use crate::resource::{Resource, Resources, Snapshot, TypeUrl, Version};

/// Refused versions remembered per node: a node that refuses more has a fault of its own, and
/// the oldest are long replaced.
const REFUSED_PER_NODE: usize = 64;
/// Nodes whose refusals are remembered: as many as one server carries.
const NODES_REMEMBERED: usize = 4096;

/// Which push last changed a type: `<epoch>.<sequence>`, as proxies show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PushVersion {
    /// Raised by each change of leader, so that a late push of a former one is known as such.
    pub epoch: u64,
    /// Counts pushes within the epoch.
    pub sequence: u64,
}

impl fmt::Display for PushVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

/// The last change of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The leader whose push made it.
    pub epoch: u64,
    /// The push that made it.
    pub sequence: u64,
    /// The push that made the change before.
    pub before: u64,
    /// The names that it touched, for at least one node.
    pub names: Vec<Arc<str>>,
}

/// What single nodes refused, and what to give them instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    refused: BTreeMap<Node, VecDeque<(TypeUrl, Version)>>,
    good: BTreeMap<(TypeUrl, Arc<str>, Place), Arc<Resource>>,
}

impl Quarantine {
    /// Remembers that this node refused this resource; `good` is the last one of that name which
    /// some node took.
    pub fn refuse(
        &mut self,
        node: &Node,
        kind: TypeUrl,
        resource: &Resource,
        good: Option<Arc<Resource>>,
    ) {
        if !self.refused.contains_key(node) && self.refused.len() >= NODES_REMEMBERED {
            self.refused.pop_first();
        }
        let refused = self.refused.entry(node.clone()).or_default();
        if !refused.contains(&(kind, resource.version)) {
            if refused.len() >= REFUSED_PER_NODE {
                refused.pop_front();
            }
            refused.push_back((kind, resource.version));
        }
        if let Some(good) = good {
            self.good.insert((kind, resource.name.clone(), resource.zone.clone()), good);
        }
    }

    /// Whether this node refused this version.
    pub fn is_refused(&self, node: &Node, kind: TypeUrl, version: Version) -> bool {
        self.refused.get(node).is_some_and(|refused| refused.contains(&(kind, version)))
    }

    /// What other nodes took in place of this, for clients of the same zone.
    pub fn good(&self, kind: TypeUrl, resource: &Resource) -> Option<&Arc<Resource>> {
        self.good.get(&(kind, resource.name.clone(), resource.zone.clone()))
    }
}

/// What every stream reads.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The resources in force.
    pub snapshot: Arc<Snapshot>,
    /// What nodes refused.
    pub quarantine: Arc<Quarantine>,
    epoch: u64,
    sequence: u64,
    changes: BTreeMap<TypeUrl, Change>,
}

impl View {
    /// The view before anything is published; its first change touches everything.
    pub fn new(epoch: u64) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// The view with this snapshot in force, or nothing if it changes no resource: an identical
    /// decision is no push.
    pub fn change(&self, snapshot: Arc<Snapshot>) -> Option<Self> {
        let mut changes = self.changes.clone();
        let sequence = self.sequence + 1;
        let mut changed = false;
        for kind in TypeUrl::ALL {
            let names = touched(&self.snapshot, &snapshot, kind);
            if !names.is_empty() {
                changed = true;
                let before = changes.get(&kind).map_or(0, |change| change.sequence);
                changes.insert(kind, Change { epoch: self.epoch, sequence, before, names });
            }
        }
        let quarantine = self.quarantine.clone();
        changed.then_some(Self { snapshot, quarantine, epoch: self.epoch, sequence, changes })
    }

    /// The same view under a later leader: what it does not change keeps its version, so that a
    /// change of leader alone is no push.
    #[must_use]
    pub fn led_by(&self, epoch: u64) -> Self {
        Self { epoch: self.epoch.max(epoch), ..self.clone() }
    }

    /// The push that last changed this type.
    pub fn version(&self, kind: TypeUrl) -> PushVersion {
        let unchanged = PushVersion { epoch: self.epoch, sequence: 0 };
        self.changes.get(&kind).map_or(unchanged, |change| PushVersion {
            epoch: change.epoch,
            sequence: change.sequence,
        })
    }

    /// The last change of this type, if it ever changed.
    pub fn last_change(&self, kind: TypeUrl) -> Option<&Change> {
        self.changes.get(&kind)
    }
}

/// The names of this type whose content differs, for all nodes or for one.
fn touched(old: &Snapshot, new: &Snapshot, kind: TypeUrl) -> Vec<Arc<str>> {
    let mut names = BTreeSet::new();
    compare(&old.types, &new.types, kind, &mut names);
    let nothing = Resources::new();
    for (node, resources) in &new.per_node {
        compare(old.per_node.get(node).unwrap_or(&nothing), resources, kind, &mut names);
    }
    for (node, resources) in &old.per_node {
        if !new.per_node.contains_key(node) {
            compare(resources, &nothing, kind, &mut names);
        }
    }
    for (zone, resources) in &new.per_zone {
        compare(old.per_zone.get(zone).unwrap_or(&nothing), resources, kind, &mut names);
    }
    for (zone, resources) in &old.per_zone {
        if !new.per_zone.contains_key(zone) {
            compare(resources, &nothing, kind, &mut names);
        }
    }
    names.into_iter().collect()
}

fn compare(old: &Resources, new: &Resources, kind: TypeUrl, names: &mut BTreeSet<Arc<str>>) {
    let none = BTreeMap::new();
    let (old, new) = (old.get(&kind).unwrap_or(&none), new.get(&kind).unwrap_or(&none));
    for (name, resource) in new {
        let same = old.get(name).is_some_and(|old| old.version == resource.version);
        if !same {
            names.insert(name.clone());
        }
    }
    names.extend(old.keys().filter(|name| !new.contains_key(*name)).cloned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(clusters: &[(&str, u32)]) -> Arc<Snapshot> {
        let mut snapshot = Snapshot::default();
        for (name, content) in clusters {
            snapshot.insert(TypeUrl::Cluster, Resource::new(name, content));
        }
        Arc::new(snapshot)
    }

    #[track_caller]
    fn check(old: &[(&str, u32)], new: &[(&str, u32)], touched: &[&str]) {
        let view = View::new(3).change(snapshot(old)).unwrap_or_else(|| View::new(3));
        let names = view.change(snapshot(new)).map_or_else(Vec::new, |view| {
            assert_eq!(view.version(TypeUrl::Endpoints).to_string(), "3.0");
            view.last_change(TypeUrl::Cluster).unwrap().names.clone()
        });
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), touched);
    }

    #[test]
    fn a_change_names_what_it_touches() {
        check(&[], &[("a", 1)], &["a"]);
        check(&[("a", 1)], &[("a", 2), ("b", 1)], &["a", "b"]);
        check(&[("a", 1), ("b", 1)], &[("b", 1)], &["a"]);
        check(&[("a", 1)], &[("a", 1)], &[]);
    }

    #[test]
    fn the_version_of_a_type_is_that_of_the_push_that_last_changed_it() {
        let view = View::new(3).change(snapshot(&[("a", 1)])).unwrap();
        let mut both = (*snapshot(&[("a", 1)])).clone();
        both.insert(TypeUrl::Route, Resource::new("r", &1_u32));
        let view = view.change(Arc::new(both)).unwrap();
        assert_eq!(view.version(TypeUrl::Cluster).to_string(), "3.1");
        assert_eq!(view.version(TypeUrl::Route).to_string(), "3.2");
    }

    #[test]
    fn a_later_leader_alone_changes_no_version() {
        let view = View::new(3).change(snapshot(&[("a", 1)])).unwrap().led_by(5).led_by(4);
        assert_eq!(view.version(TypeUrl::Cluster).to_string(), "3.1");
        let view = view.change(snapshot(&[("a", 2)])).unwrap();
        assert_eq!(view.version(TypeUrl::Cluster).to_string(), "5.2");
    }

    #[test]
    fn a_nodes_own_change_counts_as_one_and_so_does_its_end() {
        let mut own = Snapshot::default();
        own.insert_for(&Node::from("n"), TypeUrl::Runtime, Resource::new("weir", &1_u32));
        let view = View::new(0).change(Arc::new(own)).unwrap();
        assert_eq!(view.last_change(TypeUrl::Runtime).unwrap().names, ["weir".into()]);
        let view = view.change(Arc::default()).unwrap();
        assert_eq!(view.version(TypeUrl::Runtime).sequence, 2);
    }

    #[test]
    fn refusals_of_one_node_are_bounded_and_concern_no_other() {
        let mut quarantine = Quarantine::default();
        let node = Node::from("n");
        let bad: Vec<_> = (0..=64_u32).map(|n| Resource::new("a", &n)).collect();
        for resource in &bad {
            quarantine.refuse(&node, TypeUrl::Cluster, resource, None);
        }
        let refused =
            |node: &Node, n: usize| quarantine.is_refused(node, TypeUrl::Cluster, bad[n].version);
        assert!(!refused(&node, 0) && refused(&node, 1) && refused(&node, 64));
        assert!(!refused(&Node::from("other"), 64));
    }
}
