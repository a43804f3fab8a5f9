//! A last look at what a new snapshot would take away.
//!
//! An empty endpoint list is the most dangerous legal message: a proxy takes it and fails every
//! request. Sources that restart, lose a permission or answer with half a list produce exactly
//! that. So what would empty a cluster, more than halve it, or remove more than a fifth of all
//! clusters is withheld: its old resource stays in force, everything else goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message;

use crate::resource::{Resource, Snapshot, TypeUrl};

/// A cluster may lose at most half of its endpoints at once.
const ENDPOINTS_LOST: (usize, usize) = (1, 2);
/// At most a fifth of all clusters may go at once.
const CLUSTERS_LOST: (usize, usize) = (1, 5);

/// Something that a new snapshot would take away, and too much of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shrinking {
    /// A cluster's endpoints.
    Endpoints {
        /// The cluster.
        name: Arc<str>,
        /// Endpoints in force.
        before: usize,
        /// Endpoints in the new snapshot.
        after: usize,
    },
    /// Whole clusters.
    Clusters {
        /// Which.
        names: BTreeSet<Arc<str>>,
        /// Clusters in force.
        before: usize,
    },
}

/// What may go into force: `next`, with the old resources wherever it would shrink too much and
/// `confirmed` does not allow it. And what was withheld.
pub fn shrink_gate(
    in_force: &Snapshot,
    next: &Arc<Snapshot>,
    confirmed: &dyn Fn(&Shrinking) -> bool,
) -> (Arc<Snapshot>, Vec<Shrinking>) {
    let mut withheld = Vec::new();
    let mut allowed = next.clone();
    for shrinking in shrinkings(in_force, next) {
        if !confirmed(&shrinking) {
            restore(&mut allowed, in_force, &shrinking);
            withheld.push(shrinking);
        }
    }
    (allowed, withheld)
}

fn shrinkings(in_force: &Snapshot, next: &Snapshot) -> Vec<Shrinking> {
    let clusters = lost_clusters(in_force, next);
    let (old, new) = (named(in_force, TypeUrl::Endpoints), named(next, TypeUrl::Endpoints));
    let changed = old
        .iter()
        .filter(|(name, old)| new.get(*name).is_none_or(|new| new.version != old.version));
    let mut shrinkings: Vec<_> =
        changed.filter_map(|(name, old)| lost_endpoints(name, old, new.get(name))).collect();
    // Endpoints that go together with their clusters are the clusters' affair.
    let missing = |shrinking: &Shrinking| match shrinking {
        Shrinking::Endpoints { name, .. } => !new.contains_key(name),
        Shrinking::Clusters { .. } => false,
    };
    if shrinkings.iter().any(missing) {
        let gone = endpoints_of_lost_clusters(in_force, next);
        shrinkings.retain(|shrinking| match shrinking {
            Shrinking::Endpoints { name, .. } => new.contains_key(name) || !gone.contains(name),
            Shrinking::Clusters { .. } => true,
        });
    }
    shrinkings.extend(clusters);
    shrinkings
}

fn lost_clusters(in_force: &Snapshot, next: &Snapshot) -> Option<Shrinking> {
    let (old, new) = (named(in_force, TypeUrl::Cluster), named(next, TypeUrl::Cluster));
    let names: BTreeSet<_> = old.keys().filter(|name| !new.contains_key(*name)).cloned().collect();
    let before = old.len();
    let too_many = names.len() * CLUSTERS_LOST.1 > before * CLUSTERS_LOST.0;
    too_many.then_some(Shrinking::Clusters { names, before })
}

fn lost_endpoints(
    name: &Arc<str>,
    old: &Resource,
    new: Option<&Arc<Resource>>,
) -> Option<Shrinking> {
    let before = count(old);
    let after = new.map_or(0, |new| count(new));
    let lost = before.saturating_sub(after);
    let too_many = lost * ENDPOINTS_LOST.1 > before * ENDPOINTS_LOST.0;
    too_many.then(|| Shrinking::Endpoints { name: name.clone(), before, after })
}

/// Names of endpoints all of whose clusters go in this very snapshot.
fn endpoints_of_lost_clusters(in_force: &Snapshot, next: &Snapshot) -> BTreeSet<Arc<str>> {
    let kept: BTreeSet<_> =
        named(next, TypeUrl::Cluster).values().map(|cluster| cluster.endpoints_name()).collect();
    let old = named(in_force, TypeUrl::Cluster).values().map(|cluster| cluster.endpoints_name());
    old.filter(|name| !kept.contains(name)).collect()
}

fn restore(allowed: &mut Arc<Snapshot>, in_force: &Snapshot, shrinking: &Shrinking) {
    let allowed = Arc::make_mut(allowed);
    let mut keep = |kind: TypeUrl, name: &Arc<str>| {
        allowed.restore(kind, name, in_force);
    };
    match shrinking {
        Shrinking::Endpoints { name, .. } => keep(TypeUrl::Endpoints, name),
        Shrinking::Clusters { names, .. } => {
            for name in names {
                let cluster = named(in_force, TypeUrl::Cluster).get(name);
                keep(TypeUrl::Cluster, name);
                if let Some(cluster) = cluster {
                    keep(TypeUrl::Endpoints, &cluster.endpoints_name());
                }
            }
        }
    }
}

fn named(snapshot: &Snapshot, kind: TypeUrl) -> &BTreeMap<Arc<str>, Arc<Resource>> {
    const NONE: &BTreeMap<Arc<str>, Arc<Resource>> = &BTreeMap::new();
    snapshot.types.get(&kind).unwrap_or(NONE)
}

/// As much of a load assignment as is needed to count endpoints.
#[derive(Clone, PartialEq, Message)]
struct Assignment {
    #[prost(message, repeated, tag = "2")]
    localities: Vec<AssignedLocality>,
}

#[derive(Clone, PartialEq, Message)]
struct AssignedLocality {
    #[prost(bytes = "bytes", repeated, tag = "2")]
    endpoints: Vec<bytes::Bytes>,
}

fn count(resource: &Resource) -> usize {
    let assignment = Assignment::decode(resource.body.clone()).unwrap_or_default();
    assignment.localities.iter().map(|locality| locality.endpoints.len()).sum()
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::endpoint::v3::{
        ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints,
    };

    use super::*;

    /// Clusters with so many endpoints each, in two localities; `version` is their content.
    fn snapshot(clusters: &[(&str, usize)], version: u32) -> Arc<Snapshot> {
        let mut snapshot = Snapshot::default();
        for (name, endpoints) in clusters {
            let locality = |count| LocalityLbEndpoints {
                lb_endpoints: vec![LbEndpoint::default(); count],
                priority: version,
                ..LocalityLbEndpoints::default()
            };
            let first = endpoints / 2;
            let assignment = ClusterLoadAssignment {
                cluster_name: (*name).to_owned(),
                endpoints: vec![locality(first), locality(endpoints - first)],
                ..ClusterLoadAssignment::default()
            };
            snapshot.insert(TypeUrl::Cluster, Resource::new(name, &version));
            snapshot.insert(TypeUrl::Endpoints, Resource::new(name, &assignment));
        }
        Arc::new(snapshot)
    }

    /// What is in force after the second snapshot follows the first, as endpoints per cluster.
    #[track_caller]
    fn check(old: &[(&str, usize)], new: &[(&str, usize)], allowed: &[(&str, usize)]) {
        let (old, next) = (snapshot(old, 1), snapshot(new, 2));
        let (in_force, withheld) = shrink_gate(&old, &next, &|_| false);
        let endpoints = named(&in_force, TypeUrl::Endpoints);
        let counts: Vec<_> = endpoints.iter().map(|(name, one)| (&**name, count(one))).collect();
        assert_eq!(counts, allowed);
        assert!(named(&in_force, TypeUrl::Cluster).keys().eq(endpoints.keys()));
        assert_eq!(withheld.is_empty(), new == allowed);
        assert_eq!(shrink_gate(&old, &next, &|_| true), (next, vec![]));
    }

    #[test]
    fn half_of_a_clusters_endpoints_may_go_and_no_more() {
        check(&[("a", 10)], &[("a", 5)], &[("a", 5)]);
        check(&[("a", 10)], &[("a", 4)], &[("a", 10)]);
        check(&[("a", 2)], &[("a", 1)], &[("a", 1)]);
        check(&[("a", 1)], &[("a", 0)], &[("a", 1)]);
        check(&[("a", 0)], &[("a", 0)], &[("a", 0)]);
        check(&[("a", 1)], &[("a", 9)], &[("a", 9)]);
    }

    #[test]
    fn one_shrinking_cluster_does_not_stop_the_others() {
        check(&[("a", 10), ("b", 10)], &[("a", 1), ("b", 9)], &[("a", 10), ("b", 9)]);
    }

    #[test]
    fn a_fifth_of_the_clusters_may_go_and_no_more() {
        let five = [("a", 4), ("b", 4), ("c", 4), ("d", 4), ("e", 4)];
        check(&five, &five[1..], &five[1..]);
        check(&five, &five[2..], &five);
        check(&five, &[], &five);
        check(&five[..4], &five[1..4], &five[..4]);
    }

    #[test]
    fn endpoints_without_a_cluster_of_ours_may_not_vanish() {
        let only_endpoints = |clusters: &[(&str, usize)]| {
            let mut snapshot = (*snapshot(clusters, 1)).clone();
            snapshot.types.remove(&TypeUrl::Cluster);
            Arc::new(snapshot)
        };
        let old = only_endpoints(&[("a", 4), ("b", 4)]);
        let (in_force, withheld) = shrink_gate(&old, &only_endpoints(&[("b", 4)]), &|_| false);
        assert_eq!(in_force, old);
        let lost = Shrinking::Endpoints { name: "a".into(), before: 4, after: 0 };
        assert_eq!(withheld, [lost]);
    }
}
