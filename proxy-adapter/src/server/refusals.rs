//! Refusals of the whole fleet: what is good, what is not, and which services stand still.
//!
//! One node that refuses may be odd; a hundredth of the fleet (at least two nodes) is a bad push,
//! and the rest should not have to find out one by one. Then everything of that service goes back
//! to what proxies last took, and stays there for a while.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use weir_engine::names::{Node, Place, ServiceId};
use weir_engine::units::Moment;

use crate::resource::{Resource, Snapshot, TypeUrl, Version};

/// Nodes that must refuse before a service stands still...
const NODES_MIN: usize = 2;
/// ...or one in so many of those connected, if that is more.
const NODES_ONE_IN: usize = 100;
/// Refusals of one push come together; older ones belong to another.
const TOGETHER: Duration = Duration::from_mins(1);
/// How long a service stands still at first, and at most.
const FREEZE: Duration = Duration::from_mins(1);
/// See [`FREEZE`].
const FREEZE_MAX: Duration = Duration::from_mins(10);
/// Versions refused by the fleet that are remembered.
const VERSIONS_KEPT: usize = 1024;

/// What stands still together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Everything of a service.
    Service(ServiceId),
    /// A resource that belongs to no service.
    Resource(TypeUrl, Arc<str>),
}

/// Something that stands still because proxies refused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// What.
    pub subject: Subject,
    /// Nodes that refused.
    pub nodes: usize,
    /// The words of the last one.
    pub words: String,
    /// Since when.
    pub since: Moment,
    /// When a new version is tried.
    pub until: Moment,
}

#[derive(Debug, Default)]
struct Case {
    nodes: BTreeMap<Node, Moment>,
    frozen: Option<Frozen>,
    times: u32,
}

/// The last two versions of a resource that nodes took. Two, since most of a fleet may have taken
/// the one that the others refuse.
#[derive(Debug)]
struct Taken {
    last: Arc<Resource>,
    before: Option<Arc<Resource>>,
}

/// The fleet's memory of refusals.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    taken: BTreeMap<(TypeUrl, Arc<str>, Place), Taken>,
    bad: VecDeque<(TypeUrl, Version)>,
    cases: BTreeMap<Subject, Case>,
}

impl Refusals {
    /// A node took this. That others refused it lately still counts; but how often the service
    /// stood still before does no longer, if it does not now.
    pub(super) fn taken(&mut self, kind: TypeUrl, resource: &Arc<Resource>, now: Moment) {
        let key = (kind, resource.name.clone(), resource.zone.clone());
        let case = self.cases.get_mut(&subject(kind, resource));
        let frozen = case.as_ref().is_some_and(|case| case.is_frozen(now));
        let last = self.taken.remove(&key);
        let known = last.as_ref().is_some_and(|taken| taken.last.version == resource.version);
        // What a service stands still at must not change because a node takes it again.
        let taken = match last {
            Some(taken) if known || frozen => taken,
            last => Taken { last: resource.clone(), before: last.map(|taken| taken.last) },
        };
        self.taken.insert(key, taken);
        if let (false, false, Some(case)) = (known, frozen, case) {
            case.times = 0;
        }
    }

    /// A node refused this; `connected` nodes are there. Whether something now stands still that
    /// did not before.
    pub(super) fn refused(
        &mut self,
        (kind, resource): (TypeUrl, &Resource),
        node: &Node,
        words: &str,
        (connected, now): (usize, Moment),
    ) -> bool {
        let case = self.cases.entry(subject(kind, resource)).or_default();
        case.nodes.insert(node.clone(), now);
        case.nodes.retain(|_, at| now.since(*at) <= TOGETHER);
        let enough = case.nodes.len() >= NODES_MIN.max(connected.div_ceil(NODES_ONE_IN));
        if !enough {
            return false;
        }
        let version = (kind, resource.version);
        let newly_bad = !self.bad.contains(&version);
        if newly_bad {
            if self.bad.len() >= VERSIONS_KEPT {
                self.bad.pop_front();
            }
            self.bad.push_back(version);
        }
        let newly_frozen = !case.is_frozen(now);
        let nodes = case.nodes.len();
        let frozen = case.freeze(subject(kind, resource), now);
        frozen.nodes = nodes;
        words.clone_into(&mut frozen.words);
        newly_bad || newly_frozen
    }

    /// What some node last took in place of this, and the fleet did not refuse.
    pub(super) fn good(&self, kind: TypeUrl, resource: &Resource) -> Option<&Arc<Resource>> {
        let key = (kind, resource.name.clone(), resource.zone.clone());
        let Taken { last, before } = self.taken.get(&key)?;
        [Some(last), before.as_ref()].into_iter().flatten().find(|one| !self.is_bad(kind, one))
    }

    /// The snapshot without what was refused: the last good resource in its place, or none.
    pub(super) fn apply(&self, wanted: &Arc<Snapshot>, now: Moment) -> Arc<Snapshot> {
        if self.bad.is_empty() && !self.cases.values().any(|case| case.is_frozen(now)) {
            return wanted.clone();
        }
        let mut allowed = wanted.clone();
        let zones = wanted.per_zone.values();
        for (kind, named) in zones.chain([&wanted.types]).flatten() {
            for (name, resource) in named.iter().filter(|(_, one)| self.is_held(*kind, one, now)) {
                let allowed = Arc::make_mut(&mut allowed);
                let near = allowed.per_zone.get_mut(&resource.zone);
                let types = if resource.zone.as_str().is_empty() { None } else { near };
                let named = types.unwrap_or(&mut allowed.types).entry(*kind).or_default();
                match self.good(*kind, resource) {
                    Some(good) => named.insert(name.clone(), good.clone()),
                    None => named.remove(name),
                };
            }
        }
        allowed
    }

    fn is_bad(&self, kind: TypeUrl, resource: &Resource) -> bool {
        self.bad.contains(&(kind, resource.version))
    }

    fn is_held(&self, kind: TypeUrl, resource: &Resource, now: Moment) -> bool {
        let frozen = self.cases.get(&subject(kind, resource)).is_some_and(|c| c.is_frozen(now));
        frozen || self.is_bad(kind, resource)
    }

    /// Forgets resources that are no longer wanted.
    pub(super) fn prune(&mut self, wanted: &Snapshot, now: Moment) {
        let mut subjects = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for (kind, named) in wanted.per_zone.values().chain([&wanted.types]).flatten() {
            keys.extend(named.values().map(|one| (*kind, one.name.clone(), one.zone.clone())));
            subjects.extend(named.values().map(|resource| subject(*kind, resource)));
        }
        self.taken.retain(|key, _| keys.contains(key));
        self.cases.retain(|subject, case| case.is_frozen(now) || subjects.contains(subject));
    }

    /// What stands still.
    pub(super) fn frozen(&self, now: Moment) -> Vec<Frozen> {
        let frozen = self.cases.values().filter_map(|case| case.frozen.clone());
        frozen.filter(|frozen| frozen.until > now).collect()
    }

    /// When something may move again.
    pub(super) fn wake(&self, now: Moment) -> Option<Moment> {
        self.frozen(now).into_iter().map(|frozen| frozen.until).min()
    }
}

impl Case {
    fn is_frozen(&self, now: Moment) -> bool {
        self.frozen.as_ref().is_some_and(|frozen| frozen.until > now)
    }

    /// Stands still from now on, longer each time; if it does already, nothing changes.
    fn freeze(&mut self, subject: Subject, now: Moment) -> &mut Frozen {
        if !self.is_frozen(now) {
            let pause = FREEZE.saturating_mul(1 << self.times.min(8)).min(FREEZE_MAX);
            self.times += 1;
            self.frozen = None;
            let until = now.plus(pause);
            return self.frozen.insert(Frozen {
                subject,
                nodes: 0,
                words: String::new(),
                since: now,
                until,
            });
        }
        self.frozen.as_mut().expect("it is frozen, as was just checked")
    }
}

fn subject(kind: TypeUrl, resource: &Resource) -> Subject {
    match &resource.service {
        Some(service) => Subject::Service(service.clone()),
        None => Subject::Resource(kind, resource.name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_millis(1_000_000);

    fn resource(name: &str, content: u32) -> Arc<Resource> {
        Arc::new(Resource::new(name, &content).deciding(1, ServiceId::new("demo", "shop")))
    }

    fn snapshot(resources: &[Arc<Resource>]) -> Arc<Snapshot> {
        let mut snapshot = Snapshot::default();
        for resource in resources {
            snapshot.insert(TypeUrl::Endpoints, (**resource).clone());
        }
        Arc::new(snapshot)
    }

    /// After so many of the connected nodes refused `a` in version 2, is it still in force?
    #[track_caller]
    fn check(nodes: usize, connected: usize, in_force: bool) {
        let mut refusals = Refusals::default();
        refusals.taken(TypeUrl::Endpoints, &resource("a", 1), NOW);
        refusals.taken(TypeUrl::Endpoints, &resource("b", 1), NOW);
        let bad = resource("a", 2);
        for node in 0..nodes {
            let node = Node::from(node.to_string());
            refusals.refused((TypeUrl::Endpoints, &bad), &node, "no", (connected, NOW));
        }
        let wanted = snapshot(&[resource("a", 2), resource("b", 2)]);
        let good = snapshot(&[resource("a", 1), resource("b", 1)]);
        let expected = if in_force { &wanted } else { &good };
        assert_eq!(refusals.apply(&wanted, NOW), *expected);
        assert_eq!(refusals.frozen(NOW).is_empty(), in_force);
    }

    /// What a service stands still at is, for clients of a zone, what such clients took.
    #[test]
    fn a_zone_goes_back_to_its_own() {
        let near = |content: u32| {
            let resource = Resource::new("a", &content).deciding(1, ServiceId::new("demo", "shop"));
            Arc::new(resource.in_zone("z".into()))
        };
        let both = |all: u32, own: u32| {
            let mut both = (*snapshot(&[resource("a", all)])).clone();
            both.insert_in_zone(TypeUrl::Endpoints, near(own));
            Arc::new(both)
        };
        let mut refusals = Refusals::default();
        for one in [near(11), resource("a", 1)] {
            refusals.taken(TypeUrl::Endpoints, &one, NOW);
        }
        refusals.prune(&both(2, 12), NOW);
        for node in ["n1", "n2"] {
            refusals.refused((TypeUrl::Endpoints, &near(12)), &node.into(), "no", (2, NOW));
        }
        assert_eq!(refusals.apply(&both(2, 12), NOW), both(1, 11));
        assert_eq!(refusals.good(TypeUrl::Endpoints, &near(12)), Some(&near(11)));
    }

    #[test]
    fn two_nodes_or_one_in_a_hundred_stop_a_service() {
        check(1, 1, true);
        check(1, 2, true);
        check(2, 2, false);
        check(2, 200, false);
        check(2, 201, true);
        check(3, 201, false);
    }

    fn frozen() -> Refusals {
        let mut refusals = Refusals::default();
        refusals.taken(TypeUrl::Endpoints, &resource("a", 1), NOW);
        for node in ["n1", "n2"] {
            let bad = resource("a", 2);
            refusals.refused((TypeUrl::Endpoints, &bad), &node.into(), "no", (2, NOW));
        }
        refusals
    }

    #[test]
    fn a_service_moves_again_after_a_while_but_the_refused_version_never_does() {
        let refusals = frozen();
        let later = refusals.wake(NOW).unwrap();
        assert_eq!(later, NOW.plus(Duration::from_mins(1)));
        let third = snapshot(&[resource("a", 3)]);
        assert_eq!(refusals.apply(&third, NOW), snapshot(&[resource("a", 1)]));
        assert_eq!(refusals.apply(&third, later), third);
        let second = snapshot(&[resource("a", 2)]);
        assert_eq!(refusals.apply(&second, later), snapshot(&[resource("a", 1)]));
    }

    #[test]
    fn each_time_it_stands_still_longer_until_something_new_is_taken() {
        let mut refusals = frozen();
        let mut now = NOW;
        for (content, minutes) in (3..).zip([2, 4, 8, 10, 10]) {
            now = refusals.wake(now).unwrap();
            for node in ["n1", "n2"] {
                let bad = resource("a", content);
                refusals.refused((TypeUrl::Endpoints, &bad), &node.into(), "no", (2, now));
            }
            assert_eq!(refusals.wake(now), Some(now.plus(Duration::from_mins(minutes))));
        }
        now = refusals.wake(now).unwrap();
        refusals.taken(TypeUrl::Endpoints, &resource("a", 99), now);
        assert_eq!(refusals.frozen(now), []);
        for node in ["n1", "n2"] {
            let bad = resource("a", 100);
            refusals.refused((TypeUrl::Endpoints, &bad), &node.into(), "no", (2, now));
        }
        assert_eq!(refusals.wake(now), Some(now.plus(Duration::from_mins(1))));
    }

    #[test]
    fn refusals_that_lie_apart_do_not_add_up() {
        let mut refusals = Refusals::default();
        let bad = resource("a", 2);
        refusals.refused((TypeUrl::Endpoints, &bad), &"n1".into(), "no", (2, NOW));
        let later = NOW.plus(Duration::from_secs(61));
        assert!(!refusals.refused((TypeUrl::Endpoints, &bad), &"n2".into(), "no", (2, later)));
    }

    /// Most of a fleet takes what two nodes refuse, before, between and after their refusals.
    #[test]
    fn that_others_take_it_does_not_make_it_good() {
        let mut refusals = Refusals::default();
        let (good, bad) = (resource("a", 1), resource("a", 2));
        refusals.taken(TypeUrl::Endpoints, &good, NOW);
        for node in ["n1", "n2"] {
            refusals.taken(TypeUrl::Endpoints, &bad, NOW);
            refusals.refused((TypeUrl::Endpoints, &bad), &node.into(), "no", (200, NOW));
            refusals.taken(TypeUrl::Endpoints, &good, NOW);
        }
        refusals.taken(TypeUrl::Endpoints, &bad, NOW);
        assert_eq!(refusals.frozen(NOW).len(), 1);
        assert_eq!(refusals.apply(&snapshot(&[resource("a", 3)]), NOW), snapshot(&[good]));
    }

    #[test]
    fn what_was_never_taken_is_left_out() {
        let mut refusals = Refusals::default();
        for node in ["n1", "n2"] {
            let bad = resource("new", 2);
            refusals.refused((TypeUrl::Endpoints, &bad), &node.into(), "no", (2, NOW));
        }
        let allowed = refusals.apply(&snapshot(&[resource("new", 2)]), NOW);
        assert!(allowed.types[&TypeUrl::Endpoints].is_empty());
    }

    #[test]
    fn what_is_no_longer_wanted_is_forgotten() {
        let mut refusals = frozen();
        refusals.prune(&Snapshot::default(), NOW);
        assert_eq!(refusals.frozen(NOW).len(), 1, "still standing");
        let later = NOW.plus(Duration::from_mins(2));
        refusals.prune(&Snapshot::default(), later);
        assert!(refusals.taken.is_empty() && refusals.cases.is_empty());
    }
}
