//! A decision in proxies' words: endpoints, routes, runtime layers and Weir's own clusters.
//!
//! Pure, and the same bytes for the same content whatever the decision's number: the version of a
//! resource is a hash of its bytes, so a decision that changes nothing pushes nothing. Everything
//! is checked by [`validate`] on its way; what fails is withheld and said, and
//! [`Translation::over`] lets the last good one stand, because leaving a resource out would tell
//! proxies to delete it.

use std::collections::BTreeSet;
use std::fmt;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use weir_engine::decision::{Decision, Realisation, Sampling};
use weir_engine::names::{ClusterName, Node, ServiceId};
use weir_engine::topology::{ServiceTopology, Topology};

use crate::native::{self, Native};
use crate::resource::{Resource, Snapshot, TypeUrl};
use crate::validate::{self, Fault};

mod assignment;
mod listener;
mod route;
mod runtime;

pub use route::name as route_name;
pub use runtime::{ACCESS_LOG_PERCENT, RUNTIME_LAYER};

/// What became of a decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// What proxies should have.
    pub snapshot: Snapshot,
    /// What is missing in it, and why.
    pub withheld: Vec<Withheld>,
}

/// A resource that is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Its type.
    pub kind: TypeUrl,
    /// Its name.
    pub name: String,
    /// The node that it is for; none: every node.
    pub node: Option<Node>,
    /// The service that it belongs to, if it belongs to one.
    pub service: Option<ServiceId>,
    /// Why.
    pub fault: Fault,
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            TypeUrl::Cluster => "cluster",
            TypeUrl::Endpoints => "the endpoints of cluster",
            TypeUrl::Listener => "listener",
            TypeUrl::Route => "route configuration",
            TypeUrl::Runtime => "runtime layer",
        };
        write!(f, "withheld {kind} {:?}", self.name)?;
        if let Some(node) = &self.node {
            write!(f, " of node {:?}", node.as_str())?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// Translates a decision. `topology` is the one that the decision was taken on.
pub fn translate(decision: &Decision, topology: &Topology, native: &Native) -> Translation {
    let mut translation = Translation::default();
    for decided in &decision.services {
        let declared = find(topology, &decided.service);
        for realisation in &decided.realisations {
            let owner = Owner { service: &decided.service, decision: decision.sequence };
            translation.add_realisation(realisation, declared, owner);
        }
    }
    for declared in &topology.services {
        translation.add_undecided(declared, decision.sequence);
    }
    for (name, settings) in &native.clusters {
        translation.add_cluster(native::cluster(name, settings));
    }
    translation.add_routes(decision, topology);
    for sampling in &decision.sampling {
        translation.add_sampling(sampling);
    }
    translation
}

fn has(snapshot: &Snapshot, kind: TypeUrl, name: &str) -> bool {
    snapshot.types.get(&kind).is_some_and(|named| named.contains_key(name))
}

fn find<'a>(topology: &'a Topology, service: &ServiceId) -> Option<&'a ServiceTopology> {
    let at = topology.services.binary_search_by(|declared| declared.service.cmp(service)).ok()?;
    topology.services.get(at)
}

/// What a resource belongs to.
#[derive(Clone, Copy)]
struct Owner<'a> {
    service: &'a ServiceId,
    decision: u64,
}

impl Translation {
    /// The snapshot with the last good resource wherever one is withheld now.
    #[must_use]
    pub fn over(&self, last: &Snapshot) -> Snapshot {
        let mut snapshot = self.snapshot.clone();
        for Withheld { kind, name, node, .. } in &self.withheld {
            let Some(node) = node else {
                if !has(&snapshot, *kind, name) {
                    snapshot.restore(*kind, &name.as_str().into(), last);
                }
                continue;
            };
            let own = last.per_node.get(node);
            if let Some(good) = own.and_then(|types| types.get(kind)?.get(name.as_str())) {
                let types = snapshot.per_node.entry(node.clone()).or_default();
                let named = types.entry(*kind).or_default();
                named.entry(good.name.clone()).or_insert_with(|| good.clone());
            }
        }
        snapshot
    }

    fn add_realisation(
        &mut self,
        realisation: &Realisation,
        declared: Option<&ServiceTopology>,
        owner: Owner<'_>,
    ) {
        let built = assignment::build(realisation, declared);
        let near: Vec<_> = realisation
            .zones
            .iter()
            .map(|zone| (zone.client.clone(), assignment::for_zone(realisation, declared, zone)))
            .collect();
        for cluster in &realisation.clusters {
            let named = |mut message: ClusterLoadAssignment| {
                message.cluster_name = cluster.to_string();
                validate::assignment(&message, cluster.as_str())?;
                Ok(message)
            };
            let twice = self.has(TypeUrl::Endpoints, cluster);
            let checked = built.clone().and_then(named);
            let checked = if twice { Err(Fault::ClusterTwice) } else { checked };
            let sent = checked.is_ok();
            self.add_endpoints(cluster, checked, owner);
            // Who does not get a resource of its own has the one for all.
            for (zone, built) in near.iter().filter(|_| sent) {
                let Ok(message) = built.clone().and_then(named) else { continue };
                let resource = Resource::new(cluster.as_str(), &message)
                    .deciding(owner.decision, owner.service.clone())
                    .in_zone(zone.clone());
                self.snapshot.insert_in_zone(TypeUrl::Endpoints, resource.into());
            }
        }
    }

    /// Answers for the clusters of a service that the decision leaves out. No endpoint is an
    /// answer where none is declared: silence would let a proxy wait for 15 s.
    fn add_undecided(&mut self, declared: &ServiceTopology, decision: u64) {
        let owner = Owner { service: &declared.service, decision };
        for cluster in declared.clusters.iter().map(|cluster| &cluster.name) {
            let known = |withheld: &Withheld| {
                withheld.kind == TypeUrl::Endpoints && withheld.name == cluster.as_str()
            };
            if self.has(TypeUrl::Endpoints, cluster) || self.withheld.iter().any(known) {
                continue;
            }
            let message = if declared.endpoints.is_empty() {
                Ok(assignment::empty(cluster))
            } else {
                Err(Fault::NotDecided)
            };
            self.add_endpoints(cluster, message, owner);
        }
    }

    fn add_endpoints(
        &mut self,
        cluster: &ClusterName,
        checked: Result<ClusterLoadAssignment, Fault>,
        owner: Owner<'_>,
    ) {
        match checked {
            Ok(message) => {
                let resource = Resource::new(cluster.as_str(), &message)
                    .deciding(owner.decision, owner.service.clone());
                self.snapshot.insert(TypeUrl::Endpoints, resource);
            }
            Err(fault) => self.withheld.push(Withheld {
                kind: TypeUrl::Endpoints,
                name: cluster.to_string(),
                node: None,
                service: Some(owner.service.clone()),
                fault,
            }),
        }
    }

    fn add_cluster(&mut self, message: Cluster) {
        let name = ClusterName::from(message.name.as_str());
        let checked = validate::cluster(&message).and_then(|()| {
            let answered = self.has(TypeUrl::Endpoints, &name);
            if answered { Ok(()) } else { Err(Fault::WithoutEndpoints) }
        });
        match checked {
            Ok(()) => {
                self.snapshot.insert(TypeUrl::Cluster, Resource::new(&message.name, &message));
            }
            Err(fault) => self.withheld.push(Withheld {
                kind: TypeUrl::Cluster,
                name: message.name,
                node: None,
                service: None,
                fault,
            }),
        }
    }

    /// A route for every service that has a cluster or a rollout: whoever asks for one gets it.
    fn add_routes(&mut self, decision: &Decision, topology: &Topology) {
        let declared = topology.services.iter().map(|declared| &declared.service);
        let rolled_out = decision.rollouts.iter().map(|rollout| &rollout.service);
        let services: BTreeSet<&ServiceId> = declared.chain(rolled_out).collect();
        for service in services {
            let rollout = decision.rollouts.iter().find(|rollout| rollout.service == *service);
            let Some(built) = route::build(service, rollout.map(|one| &**one), topology) else {
                continue;
            };
            let name = route::name(service);
            let checked =
                built.and_then(|message| validate::route(&message, &name).map(|()| message));
            match checked {
                Ok(message) => {
                    let resource =
                        Resource::new(&name, &message).deciding(decision.sequence, service.clone());
                    self.snapshot.insert(TypeUrl::Route, resource);
                    if listener::is_wanted(service, rollout.map(|one| &**one), topology) {
                        let resource = Resource::new(&name, &listener::build(service));
                        self.snapshot.insert(TypeUrl::Listener, resource);
                    }
                }
                Err(fault) => self.withheld.push(Withheld {
                    kind: TypeUrl::Route,
                    name,
                    node: None,
                    service: Some(service.clone()),
                    fault,
                }),
            }
        }
    }

    fn add_sampling(&mut self, sampling: &Sampling) {
        match runtime::layer(sampling) {
            Ok(layer) => {
                let resource = Resource::new(RUNTIME_LAYER, &layer);
                self.snapshot.insert_for(&sampling.node, TypeUrl::Runtime, resource);
            }
            Err(fault) => self.withheld.push(Withheld {
                kind: TypeUrl::Runtime,
                name: RUNTIME_LAYER.to_owned(),
                node: Some(sampling.node.clone()),
                service: None,
                fault,
            }),
        }
    }

    fn has(&self, kind: TypeUrl, name: &ClusterName) -> bool {
        has(&self.snapshot, kind, name.as_str())
    }
}

#[cfg(test)]
mod tests;
