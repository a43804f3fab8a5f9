//! What is declared, from the configuration and from discovery.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_collectors::endpoints::Discovered;
use weir_engine::decision::Decision;
use weir_engine::names::{ClusterName, ServiceId};
use weir_engine::observation::{Report, Source};
use weir_engine::topology::{ClientCluster, ClusterForm, ServiceTopology, Topology};

use weir_policies::check::Reach;

use crate::config::Service;

/// At most so many services are made up of clusters that nobody configured.
const UNCLAIMED_MAX: usize = 1_000;

/// Builds the topology. A service whose discovery has not listed anything yet keeps what `last`
/// says: nothing shrinks because Weir has just started.
pub fn topology(
    services: &[Service],
    discovered: &BTreeMap<ServiceId, Arc<Discovered>>,
    last: &Topology,
) -> Topology {
    let mut declared: Vec<ServiceTopology> = services
        .iter()
        .map(|service| {
            let before = last.services.iter().find(|known| known.service == service.id);
            let now = discovered.get(&service.id).filter(|discovered| discovered.listed);
            let endpoints = match now {
                Some(discovered) => discovered.endpoints.clone(),
                None => before.map(|known| known.endpoints.clone()).unwrap_or_default(),
            };
            ServiceTopology {
                service: service.id.clone(),
                endpoints,
                clusters: clusters(&service.clusters, service.form),
                counts: service.counts,
            }
        })
        .collect();
    let configured: BTreeSet<&ServiceId> = services.iter().map(|service| &service.id).collect();
    for (id, found) in discovered.iter().filter(|(id, _)| !configured.contains(id)) {
        declared.push(ServiceTopology {
            service: id.clone(),
            endpoints: found.endpoints.clone(),
            clusters: clusters(&[ClusterName::from(&*id.name)], in_or_out()),
            counts: services.first().map_or(Source::LoadReport, |service| service.counts),
        });
    }
    declared.sort_by(|a, b| a.service.cmp(&b.service));
    Topology { services: declared }
}

fn clusters(names: &[ClusterName], form: ClusterForm) -> Vec<ClientCluster> {
    names.iter().map(|name| ClientCluster { name: name.clone(), form }).collect()
}

fn in_or_out() -> ClusterForm {
    ClusterForm { locality_weighted: false, ..ClusterForm::native() }
}

/// The service that a cluster nobody configured is: `default/<cluster>`, unless a configured one
/// has that name: telemetry must not say what its endpoints are.
pub fn unclaimed(
    services: &[Service],
    reports: &[Report],
    topology: &Topology,
    known: &BTreeMap<ServiceId, Arc<Discovered>>,
) -> BTreeSet<ServiceId> {
    let claimed: BTreeSet<&ClusterName> = topology
        .services
        .iter()
        .flat_map(|service| service.clusters.iter().map(|cluster| &cluster.name))
        .collect();
    let taken: BTreeSet<&ServiceId> = services.iter().map(|service| &service.id).collect();
    let room = UNCLAIMED_MAX.saturating_sub(known.len());
    reports
        .iter()
        // Health flags come of every cluster a proxy has; without counts there is nothing to see.
        .filter(|report| report.source != Source::Admin)
        .map(|report| &report.cluster)
        .filter(|cluster| !claimed.contains(cluster) && !cluster.as_str().contains('/'))
        .map(|cluster| ServiceId::new("default", cluster.as_str()))
        .filter(|id| !taken.contains(id))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .take(room)
        .collect()
}

/// The services whose endpoints Weir serves to proxies: telemetry alone is too little to say who
/// exists.
pub fn served(services: &[Service]) -> BTreeSet<ServiceId> {
    let known = services.iter().filter(|service| service.endpoints.reach() == Reach::Served);
    known.map(|service| service.id.clone()).collect()
}

/// A decision and topology without the services that are not served.
pub fn only_served(
    decision: &Decision,
    topology: &Topology,
    served: &BTreeSet<ServiceId>,
) -> (Decision, Topology) {
    let services =
        decision.services.iter().filter(|s| served.contains(&s.service)).cloned().collect();
    let declared =
        topology.services.iter().filter(|s| served.contains(&s.service)).cloned().collect();
    (
        Decision {
            services,
            sequence: decision.sequence,
            at: decision.at,
            rollouts: decision.rollouts.clone(),
            sampling: decision.sampling.clone(),
        },
        Topology { services: declared },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Endpoints;
    use std::time::Duration;
    use weir_engine::units::Moment;

    fn service(name: &str, cluster: &str) -> Service {
        Service {
            id: ServiceId::new("default", name),
            clusters: vec![cluster.into()],
            form: ClusterForm::native(),
            writes_clusters: false,
            per_endpoint_stats: false,
            endpoints: Endpoints::Dns("shop.internal:80".to_owned()),
            counts: Source::LoadReport,
        }
    }

    fn report(cluster: &str, source: Source) -> Report {
        Report {
            reporter: "proxy".into(),
            cluster: cluster.into(),
            zone: "".into(),
            source,
            at: Moment::default(),
            window: Duration::from_secs(1),
            complete: true,
            samples: Vec::new(),
            totals: None,
        }
    }

    #[track_caller]
    fn check(reports: &[Report], expected: &[&str]) {
        let services = [service("shop", "shop-v1")];
        let topology = topology(&services, &BTreeMap::new(), &Topology::default());
        let found = unclaimed(&services, reports, &topology, &BTreeMap::new());
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn clusters_that_nobody_configured_are_services_of_their_own() {
        check(&[report("cart", Source::LoadReport)], &["default/cart"]);
        check(&[report("shop-v1", Source::LoadReport)], &[]);
        check(&[report("cart", Source::Admin)], &[]);
        check(&[report("a/b", Source::LoadReport)], &[]);
    }

    /// A proxy's cluster may have a configured service's name and lead elsewhere: its endpoints
    /// must not become the service's.
    #[test]
    fn a_clusters_name_does_not_make_it_a_configured_service() {
        check(&[report("shop", Source::LoadReport)], &[]);
    }
}
