use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;
use weir_engine::comparison::Verdict;
use weir_engine::decision::Decision;
use weir_engine::observation::Source;
use weir_engine::rollout::{Phase, Reason};
use weir_engine::topology::{ClientCluster, ClusterForm, ServiceTopology};

use super::*;
use crate::native::Native;
use crate::resource::{Snapshot, TypeUrl};
use crate::translate::{Translation, translate};
use crate::validate;

fn id(name: &str) -> ServiceId {
    ServiceId::new("demo", name)
}

/// Services of these names, each behind clusters of its own.
fn topology(services: &[(&str, &[&str])]) -> Topology {
    let service = |(name, clusters): &(&str, &[&str])| ServiceTopology {
        service: id(name),
        endpoints: Vec::new(),
        clusters: clusters
            .iter()
            .map(|name| ClientCluster { name: (*name).into(), form: ClusterForm::native() })
            .collect(),
        counts: Source::LoadReport,
    };
    Topology { services: services.iter().map(service).collect() }
}

/// From `shop-v1` to `shop-v2` behind `shop`.
fn rollout(mode: Mode, weight: f64) -> RolloutDecision {
    RolloutDecision {
        offer: None,
        service: id("shop"),
        policy: "demo/shop".into(),
        mode,
        stable: id("shop-v1"),
        canary: id("shop-v2"),
        weight: Ratio::clamped(weight),
        phase: Phase::Stepping { step: 0 },
        steps: vec![Ratio::clamped(0.5)],
        failures: 0,
        verdict: Verdict::default(),
        reason: Reason::Gathering,
        yields: None,
    }
}

fn translated(rollout: Option<RolloutDecision>, topology: &Topology) -> Translation {
    let rollouts = rollout.into_iter().map(Arc::new).collect();
    let decision = Decision { sequence: 7, rollouts, ..Default::default() };
    translate(&decision, topology, &Native::default())
}

/// Clusters and their parts in the route of `demo/shop`.
fn parts_in(snapshot: &Snapshot) -> Option<Vec<(String, u32)>> {
    let resource = snapshot.types.get(&TypeUrl::Route)?.get("demo/shop")?;
    assert_eq!(resource.service, Some(id("shop")));
    let message = RouteConfiguration::decode(&resource.body[..]).unwrap();
    let Some(Action::Route(action)) = &message.virtual_hosts[0].routes[0].action else {
        panic!("no route: {message:?}")
    };
    let Some(ClusterSpecifier::WeightedClusters(weighted)) = &action.cluster_specifier else {
        panic!("no weights: {action:?}")
    };
    let clusters = weighted.clusters.iter();
    Some(clusters.map(|one| (one.name.clone(), one.weight.unwrap().value)).collect())
}

const VERSIONS: &[(&str, &[&str])] = &[("shop-v1", &["v1", "v1-old"]), ("shop-v2", &["v2"])];

#[track_caller]
fn check(services: &[(&str, &[&str])], rollout: Option<RolloutDecision>, expected: &[(&str, u32)]) {
    let translation = translated(rollout, &topology(services));
    assert_eq!(translation.withheld, []);
    let expected = expected.iter().map(|(name, parts)| ((*name).to_owned(), *parts)).collect();
    assert_eq!(parts_in(&translation.snapshot), Some(expected));
}

#[test]
fn versions_get_their_parts_and_who_has_none_is_left_out() {
    let enforced = |weight| Some(rollout(Mode::Enforce, weight));
    check(VERSIONS, enforced(0.0), &[("v1", 10_000)]);
    check(VERSIONS, enforced(0.0001), &[("v1", 9_999), ("v2", 1)]);
    check(VERSIONS, enforced(0.3), &[("v1", 7_000), ("v2", 3_000)]);
    check(VERSIONS, enforced(1.0), &[("v2", 10_000)]);
}

#[test]
fn without_a_rollout_a_service_is_its_own_cluster() {
    check(&[("shop", &["shop", "shop-b"])], None, &[("shop", 10_000)]);
    let nothing = translated(None, &topology(VERSIONS));
    assert_eq!(parts_in(&nothing.snapshot), None, "a service of versions without any is no route");
}

#[test]
fn watching_changes_nothing() {
    let with_own: &[(&str, &[&str])] = &[("shop", &["shop"]), VERSIONS[0], VERSIONS[1]];
    for mode in [Mode::Observe, Mode::Recommend] {
        check(with_own, Some(rollout(mode, 0.0)), &[("shop", 10_000)]);
        check(VERSIONS, Some(rollout(mode, 0.0)), &[("v1", 10_000)]);
        // What has moved already stays where it is.
        check(with_own, Some(rollout(mode, 0.25)), &[("v1", 7_500), ("v2", 2_500)]);
    }
    check(with_own, Some(rollout(Mode::Enforce, 0.0)), &[("v1", 10_000)]);
}

#[test]
fn a_route_to_nowhere_is_withheld_and_the_last_one_stays() {
    let good = translated(Some(rollout(Mode::Enforce, 0.25)), &topology(VERSIONS));
    let only_stable = topology(&VERSIONS[..1]);
    let lost = translated(Some(rollout(Mode::Enforce, 0.25)), &only_stable);
    let told: Vec<String> = lost.withheld.iter().map(ToString::to_string).collect();
    let words = "withheld route configuration \"demo/shop\": no cluster leads to demo/shop-v2, \
        which is to get requests; they would fail";
    assert_eq!(told, [words]);
    assert_eq!(parts_in(&lost.over(&good.snapshot)), parts_in(&good.snapshot));
    // Without a part it need not be there.
    check(&VERSIONS[..1], Some(rollout(Mode::Enforce, 0.0)), &[("v1", 10_000)]);
    check(&VERSIONS[1..], Some(rollout(Mode::Enforce, 1.0)), &[("v2", 10_000)]);
}

/// What is called by gRPC clients without a proxy, of itself or of its versions, has a listener.
#[test]
fn only_what_grpc_clients_call_has_a_listener() {
    let listeners = |topology: &Topology| -> Vec<String> {
        let translation = translated(Some(rollout(Mode::Enforce, 0.2)), topology);
        let named = translation.snapshot.types.get(&TypeUrl::Listener);
        named.into_iter().flatten().map(|(name, _)| name.to_string()).collect()
    };
    let mut topology = topology(VERSIONS);
    assert_eq!(listeners(&topology), Vec::<String>::new());
    for service in
        topology.services.iter_mut().filter(|service| *service.service.name == *"shop-v2")
    {
        for cluster in &mut service.clusters {
            cluster.form.client = weir_engine::topology::ClientKind::Grpc;
        }
    }
    assert_eq!(listeners(&topology), ["demo/shop", "demo/shop-v2"]);
}

#[test]
fn an_equal_route_is_an_equal_version_whatever_the_decision() {
    let version = |sequence, weight| {
        let rollouts = vec![Arc::new(rollout(Mode::Enforce, weight))];
        let decision = Decision { sequence, rollouts, ..Default::default() };
        let translation = translate(&decision, &topology(VERSIONS), &Native::default());
        translation.snapshot.types[&TypeUrl::Route]["demo/shop"].version
    };
    assert_eq!(version(1, 0.25), version(2, 0.25));
    assert_ne!(version(1, 0.25), version(1, 0.2501));
}

proptest! {
    /// Whatever the weight, the parts are all of the requests, and the strictest client takes it.
    #[test]
    fn every_weight_is_a_route(weight in 0.0..=1.0_f64) {
        let rollout = rollout(Mode::Enforce, weight);
        let built = build(&id("shop"), Some(&rollout), &topology(VERSIONS)).unwrap().unwrap();
        prop_assert_eq!(validate::route(&built, "demo/shop"), Ok(()));
        let translation = translated(Some(rollout), &topology(VERSIONS));
        let parts = parts_in(&translation.snapshot).unwrap();
        let canary = parts.iter().find(|(name, _)| name == "v2").map_or(0, |(_, parts)| *parts);
        prop_assert!((f64::from(canary) - 10_000.0 * weight).abs() <= 0.5);
    }
}
