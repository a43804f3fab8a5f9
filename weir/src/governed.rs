//! Which services are governed: those of the configuration, and those of a cluster that policies
//! name.
//!
//! A service that a policy names and nobody configured is governed once the API server has said
//! that it is there and who its endpoints are, and until no policy names it any more. That its
//! Service is gone, or the API server, takes nothing away: its endpoints go through the gate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_collectors::endpoints::Discovered;
use weir_collectors::kubernetes::catalog::Port;
use weir_collectors::kubernetes::discovery::{Found, Services, Wanted};
use weir_engine::names::ServiceId;
use weir_engine::state::State;
use weir_engine::topology::{Endpoint, ServiceTopology};
use weir_models::reference::Memory;
use weir_policies::check::{self, Policy, Target};
use weir_policies::in_force::InForce;

use crate::config::{Endpoints, KubernetesConfig, Service};

/// Services that policies may bring in: as many as one process is built for.
const NAMED_MAX: usize = 1_000;

/// What is governed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Governed {
    /// The services, by id.
    pub services: Vec<Service>,
    /// Whether everything is known that decides on it. Until then there may be more.
    pub settled: bool,
}

/// Where discovered endpoints are read.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Of services with a source of their own.
    pub own: Vec<(ServiceId, watch::Receiver<Arc<Discovered>>)>,
    /// Of all that a cluster knows.
    pub cluster: Option<Found>,
    /// Whose were read from the cluster.
    from_cluster: BTreeSet<ServiceId>,
}

impl Sources {
    /// Nothing was read of these yet.
    pub fn new(
        own: Vec<(ServiceId, watch::Receiver<Arc<Discovered>>)>,
        cluster: Option<Found>,
    ) -> Self {
        Self { own, cluster, from_cluster: BTreeSet::new() }
    }

    /// Brings what is known of the governed services up to date, and forgets what is no longer.
    pub fn read(&mut self, governed: &[Service], known: &mut BTreeMap<ServiceId, Arc<Discovered>>) {
        for (service, found) in &mut self.own {
            if found.has_changed().unwrap_or(false) || !known.contains_key(service) {
                known.insert(service.clone(), Arc::clone(&found.borrow_and_update()));
            }
        }
        let Some(cluster) = &mut self.cluster else { return };
        let found = Arc::clone(&cluster.endpoints.borrow_and_update());
        let ours = governed.iter().filter(|service| is_from_cluster(service));
        let ids: BTreeSet<ServiceId> = ours.map(|service| service.id.clone()).collect();
        for gone in self.from_cluster.difference(&ids) {
            known.remove(gone);
        }
        for id in &ids {
            if let Some(found) = found.get(id) {
                known.insert(id.clone(), Arc::clone(found));
            }
        }
        self.from_cluster = ids;
    }

    /// Everybody's, as it is now.
    pub fn all(&self) -> Vec<(ServiceId, Arc<Discovered>)> {
        let own = self.own.iter().map(|(id, found)| (id.clone(), Arc::clone(&found.borrow())));
        let cluster = self.cluster.iter().flat_map(|cluster| {
            let found = Arc::clone(&cluster.endpoints.borrow());
            found.iter().map(|(id, found)| (id.clone(), Arc::clone(found))).collect::<Vec<_>>()
        });
        own.chain(cluster).collect()
    }
}

fn is_from_cluster(service: &Service) -> bool {
    matches!(service.endpoints, Endpoints::Kubernetes { .. })
}

/// Everything that decides on what is governed.
struct Facts<'a> {
    configured: &'a [Service],
    cluster: &'a KubernetesConfig,
    named: &'a [Target],
    /// The Services that there are, once they are known.
    there: Option<&'a Services>,
    /// What was governed before.
    before: &'a [Service],
}

/// The services that policies name and nobody configured, as far as they can be governed.
fn named(facts: &Facts<'_>) -> Vec<Service> {
    let configured: BTreeSet<&ServiceId> = facts.configured.iter().map(|one| &one.id).collect();
    let mut named = BTreeMap::new();
    for target in facts.named {
        let id = &target.service;
        let ours = facts.cluster.namespaces.hold(&id.namespace) && !configured.contains(id);
        if !ours || named.contains_key(id) || named.len() >= NAMED_MAX {
            continue;
        }
        let before = facts.before.iter().find(|service| service.id == *id);
        let as_before = || {
            let endpoints =
                Endpoints::Kubernetes { of: id.clone(), port: target.port.as_ref().map(port) };
            Some(Service { endpoints, ..before?.clone() })
        };
        if let Some(service) = here(target, facts).or_else(as_before) {
            named.insert(id.clone(), service);
        }
    }
    named.into_values().collect()
}

/// A named service, if it is there and it is clear by which port it is meant.
fn here(target: &Target, facts: &Facts<'_>) -> Option<Service> {
    let port = target.port.as_ref().map(port);
    let known = facts.there?.get(&target.service)?;
    let number = known.port(port.as_ref())?;
    Some(Service {
        id: target.service.clone(),
        clusters: vec![facts.cluster.clusters.of(&target.service, number)],
        form: facts.cluster.form,
        writes_clusters: false,
        per_endpoint_stats: false,
        endpoints: Endpoints::Kubernetes { of: target.service.clone(), port },
        counts: facts.cluster.counts,
    })
}

fn port(port: &check::Port) -> Port {
    match port {
        check::Port::Name(name) => Port::Name(name.clone()),
        check::Port::Number(number) => Port::Number(*number),
    }
}

/// Keeps what is governed in step with policies and cluster.
#[derive(Debug)]
pub struct Governing {
    configured: Vec<Service>,
    cluster: KubernetesConfig,
    policies: watch::Receiver<InForce>,
    found: Found,
    wanted: watch::Sender<Arc<Vec<Wanted>>>,
    governed: watch::Sender<Arc<Governed>>,
    before: Vec<Service>,
    last_known: BTreeMap<ServiceId, Vec<Endpoint>>,
}

/// The ends of what governing reads and tells.
#[derive(Debug)]
pub struct Ends {
    /// Policies in force.
    pub policies: watch::Receiver<InForce>,
    /// What the cluster says.
    pub found: Found,
    /// Tells discovery whose endpoints are wanted.
    pub wanted: watch::Sender<Arc<Vec<Wanted>>>,
}

impl Governing {
    /// Goes on from what an earlier life governed.
    pub fn new(
        configured: Vec<Service>,
        cluster: KubernetesConfig,
        state: &State<Memory>,
        Ends { policies, found, wanted }: Ends,
    ) -> (Self, watch::Receiver<Arc<Governed>>) {
        let (governed, reader) = watch::channel(Arc::default());
        let known = state.services.iter().map(|service| &service.topology);
        let last_known = known.map(|one| (one.service.clone(), one.endpoints.clone())).collect();
        let before = restored(&configured, &cluster, state);
        let mut governing =
            Self { configured, cluster, policies, found, wanted, governed, before, last_known };
        governing.settle();
        (governing, reader)
    }

    /// Follows until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Ok(()) = self.policies.changed() => {}
                Ok(()) = self.found.services.changed() => {}
                Ok(()) = self.found.endpoints.changed() => {}
                else => return stop.cancelled().await,
            }
            self.settle();
        }
    }

    fn settle(&mut self) {
        let in_force = self.policies.borrow_and_update().clone();
        let there = self.found.services.borrow_and_update().clone();
        let targets: Vec<Target> = in_force
            .checked()
            .policies
            .iter()
            .flat_map(|policy: &Policy| policy.targets.iter().cloned())
            .collect();
        let mut named = named(&Facts {
            configured: &self.configured,
            cluster: &self.cluster,
            named: &targets,
            there: there.as_deref(),
            before: &self.before,
        });
        if in_force.earlier().any() {
            // Not everybody has said what is wanted now: what was, is.
            let known = self.before.iter().filter(|one| !named.iter().any(|it| it.id == one.id));
            let known: Vec<Service> = known.cloned().collect();
            named.extend(known);
        }
        self.want(&named);
        let found = Arc::clone(&self.found.endpoints.borrow_and_update());
        let listed = |id: &ServiceId| found.get(id).is_some_and(|found| found.listed);
        let settled =
            in_force.is_read() && there.is_some() && named.iter().all(|one| listed(&one.id));
        named.retain(|one| listed(&one.id) || self.before.iter().any(|known| known.id == one.id));
        self.before.clone_from(&named);
        let mut services = [self.configured.clone(), named].concat();
        services.sort_by(|one, other| one.id.cmp(&other.id));
        let next = Governed { services, settled };
        self.governed.send_if_modified(|last| {
            let news = **last != next;
            *last = Arc::new(next);
            news
        });
    }

    /// Has the endpoints discovered of all that the cluster shall name.
    fn want(&self, named: &[Service]) {
        let wanted = self.configured.iter().chain(named).filter_map(|service| {
            let Endpoints::Kubernetes { of, port } = &service.endpoints else { return None };
            Some(Wanted {
                service: service.id.clone(),
                of: of.clone(),
                port: port.clone(),
                last_known: self.last_known.get(&service.id).cloned().unwrap_or_default(),
            })
        });
        let wanted: Vec<Wanted> = wanted.collect();
        self.wanted.send_if_modified(|last| {
            let news = **last != wanted;
            *last = Arc::new(wanted);
            news
        });
    }
}

/// What an earlier life governed by policies alone: what its goals name and nobody configured.
fn restored(
    configured: &[Service],
    cluster: &KubernetesConfig,
    state: &State<Memory>,
) -> Vec<Service> {
    let goals = state.goals.services.iter().map(|goal| &goal.service);
    let rollouts = state.goals.rollouts.iter().flat_map(|one| [&one.stable, &one.canary]);
    let wanted: BTreeSet<&ServiceId> = goals.chain(rollouts).collect();
    let known = state.services.iter().map(|service| &service.topology);
    let ours = known.filter(|known| {
        wanted.contains(&known.service)
            && cluster.namespaces.hold(&known.service.namespace)
            && !configured.iter().any(|service| service.id == known.service)
            // Named by telemetry alone.
            && !known.clusters.iter().any(|one| one.name.as_str() == &*known.service.name)
    });
    ours.map(|known| as_it_was(known, cluster)).collect()
}

fn as_it_was(known: &ServiceTopology, cluster: &KubernetesConfig) -> Service {
    Service {
        id: known.service.clone(),
        clusters: known.clusters.iter().map(|cluster| cluster.name.clone()).collect(),
        form: known.clusters.first().map_or(cluster.form, |cluster| cluster.form),
        writes_clusters: false,
        per_endpoint_stats: false,
        endpoints: Endpoints::Kubernetes { of: known.service.clone(), port: None },
        counts: known.counts,
    }
}

#[cfg(test)]
mod tests;
