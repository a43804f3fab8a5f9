//! No proxy refuses what Weir sends: random decisions of the engine's own realiser, translated,
//! through a real Envoy. Envoy takes some things that it should not, so the checks of
//! `weir_proxy_adapter::validate` are stricter; this shows that they are not less strict, and
//! that they refuse nothing that the engine makes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::bootstrap::v3::{Bootstrap, bootstrap};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use envoy_types::pb::google::protobuf::Any;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use prost::Message;
use serde_json::{Value, json};
use weir_engine::decision::{Decision, EndpointState, Reason, ServiceDecision, Stance};
use weir_engine::goal::Mode;
use weir_engine::guard::Granted;
use weir_engine::names::{Address, ClusterName, Locality, PolicyName, ServiceId};
use weir_engine::observation::Source;
use weir_engine::realise::{Memory, Wanted, realise};
use weir_engine::topology::{
    BalancerPolicy, ClientCluster, ClientKind, ClusterForm, Endpoint, ServiceTopology, Topology,
};
use weir_engine::units::{Moment, PerSecond, Ratio};
use weir_engine::zones::{Way, ZoneSplit};
use weir_proxy_adapter::native::{self, ClusterSettings, Native, UpstreamProtocol};
use weir_proxy_adapter::resource::{Snapshot, TypeUrl};
use weir_proxy_adapter::translate::{Translation, translate};
use weir_testbed::envoy::{self, Envoy, Options};
use weir_testbed::required;

/// Snapshots in one Envoy configuration: it takes one to three seconds to load.
const BATCH: usize = 1_000;

/// Batches: ten thousand snapshots in all.
const BATCHES: usize = 10;

/// Snapshots that one Envoy subscribes to, by a cluster and a file each. Each takes one of the
/// kernel's inotify instances, of which a user has 128 by default.
const SUBSCRIBED: usize = 20;

fn form() -> impl Strategy<Value = ClusterForm> {
    let client = prop_oneof![4 => Just(ClientKind::Envoy), 1 => Just(ClientKind::Grpc)];
    let policy = prop_oneof![
        Just(BalancerPolicy::LeastRequest),
        Just(BalancerPolicy::RoundRobin),
        Just(BalancerPolicy::Random),
    ];
    (client, policy, any::<[bool; 3]>(), 0.0..=1.0).prop_map(|(client, policy, on, panic)| {
        ClusterForm {
            client,
            policy,
            locality_weighted: on[0],
            zone_aware: on[1],
            slow_start: on[2],
            panic_threshold: Ratio::clamped(panic),
        }
    })
}

fn state() -> impl Strategy<Value = EndpointState> {
    let ejected = EndpointState::Ejected { until: Moment::from_millis(9), times: 1 };
    prop_oneof![
        6 => Just(EndpointState::Serving),
        1 => Just(EndpointState::Joining),
        1 => Just(EndpointState::Probation),
        1 => Just(ejected),
        1 => Just(EndpointState::NotReady),
    ]
}

/// An endpoint's zone, readiness, weight and state, and the part of the proxies that ejected it.
type Drawn = (u8, bool, f64, EndpointState, f64);

fn drawn() -> impl Strategy<Value = Drawn> {
    // Weights mostly within what policies allow, and now and then far outside.
    let weight = prop_oneof![8 => 0.02..=3.0, 1 => 0.0..=1e-9, 1 => 1e3..=1e12];
    let ready = prop::bool::weighted(0.9);
    (0_u8..4, ready, weight, state(), prop_oneof![Just(0.0), 0.0..=1.0])
}

/// A service of up to forty endpoints as two steps of the engine leave it, each with its own
/// judgement: the second one meets the classes that the first one made.
fn decided() -> impl Strategy<Value = (Decision, Topology)> {
    let endpoints = (0_usize..40).prop_flat_map(|count| {
        let step = || prop::collection::vec(drawn(), count);
        (step(), step())
    });
    let mode = prop_oneof![1 => Just(Mode::Observe), 4 => Just(Mode::Enforce)];
    let near = prop::collection::vec(0.0..=4.0_f64, 0..3);
    (endpoints, prop::collection::vec(form(), 1..4), mode, near).prop_map(
        |((first, second), forms, mode, near)| {
            let zones: Vec<ZoneSplit> = near.iter().enumerate().map(split).collect();
            let topology = topology(&second, &forms);
            let mut memory = Memory::default();
            let mut made = Vec::new();
            for (drawn, at) in [(&first, 1_000), (&second, 60_000)] {
                let granted: Vec<Granted> = drawn.iter().map(granted).collect();
                let ejected: Vec<f64> = drawn.iter().map(|drawn| drawn.4).collect();
                let wanted = Wanted {
                    endpoints: if mode == Mode::Enforce { &granted } else { &[] },
                    ejected_by_proxies: &ejected,
                    shed: Ratio::clamped(granted.len() as f64 / 80.0),
                    zones: &zones,
                    at: Moment::from_millis(at),
                };
                made = realise(wanted, &topology, &mut memory);
            }
            let decided = ServiceDecision {
                offer: None,
                approval: None,
                warnings: Vec::new(),
                shed: Ratio::ZERO,
                zones: Vec::new(),
                service: topology.service.clone(),
                policy: PolicyName::default(),
                mode,
                stance: Stance::Resting,
                load: PerSecond::default(),
                capacity: None,
                endpoints: Vec::new(),
                realisations: made,
                objectives: Vec::new(),
                moved: Ratio::ZERO,
            };
            let decision =
                Decision { sequence: 1, services: vec![Arc::new(decided)], ..Default::default() };
            (decision, Topology { services: vec![topology] })
        },
    )
}

/// Clients of a zone that goes to one zone more or less often, to one never, and to two as all do.
fn split((client, &factor): (usize, &f64)) -> ZoneSplit {
    let way = |(zone, factor): (&str, f64)| Way { zone: zone.into(), factor, share: Ratio::ZERO };
    ZoneSplit {
        client: format!("z{client}").as_str().into(),
        part: Ratio::clamped(0.4),
        ways: [("z0", factor), ("z2", 0.0)].map(way).into(),
    }
}

fn topology(drawn: &[Drawn], forms: &[ClusterForm]) -> ServiceTopology {
    let endpoint = |(number, drawn): (usize, &Drawn)| Endpoint {
        address: Address::from(format!("10.0.0.{}:8080", 100 + number)),
        locality: Locality { zone: format!("z{}", drawn.0).into(), ..Default::default() },
        concurrency: None,
        ready: drawn.1,
    };
    let cluster = |(number, form): (usize, &ClusterForm)| ClientCluster {
        name: ClusterName::from(format!("c{number}")),
        form: *form,
    };
    ServiceTopology {
        service: ServiceId::new("demo", "shop"),
        endpoints: drawn.iter().enumerate().map(endpoint).collect(),
        clusters: forms.iter().enumerate().map(cluster).collect(),
        counts: Source::LoadReport,
    }
}

fn granted(&(_, _, weight, state, _): &Drawn) -> Granted {
    Granted { weight, state, reason: Reason::Equal, bound: None }
}

fn translated((decision, topology): &(Decision, Topology)) -> Translation {
    let clusters = topology.services.iter().flat_map(|service| &service.clusters);
    let settings = |cluster: &ClientCluster| (cluster.name.clone(), ClusterSettings::default());
    translate(decision, topology, &Native { clusters: clusters.map(settings).collect() })
}

proptest! {
    #[test]
    fn nothing_that_the_engine_makes_is_withheld(made in decided()) {
        let translation = translated(&made);
        prop_assert_eq!(&translation.withheld, &vec![]);
        let sent = &translation.snapshot.types[&TypeUrl::Endpoints];
        let clusters = &made.1.services[0].clusters;
        prop_assert!(clusters.iter().all(|cluster| sent.contains_key(cluster.name.as_str())));
        for made in &made.0.services[0].realisations {
            for zone in &made.zones {
                let own = &translation.snapshot.per_zone[&zone.client][&TypeUrl::Endpoints];
                prop_assert!(made.clusters.iter().all(|name| own.contains_key(name.as_str())));
            }
        }
    }
}

/// So many random assignments, the same in each run, each for a cluster name of its own.
fn assignments(runner: &mut TestRunner, count: usize) -> Vec<ClusterLoadAssignment> {
    let mut found = Vec::new();
    while found.len() < count {
        let made = decided().new_tree(runner).unwrap().current();
        found.extend(endpoints(&translated(&made).snapshot));
    }
    found.truncate(count);
    for (number, assignment) in found.iter_mut().enumerate() {
        assignment.cluster_name = format!("c{number}");
    }
    found
}

fn endpoints(snapshot: &Snapshot) -> Vec<ClusterLoadAssignment> {
    // A topology without clusters gives none.
    let all = snapshot.per_zone.values().chain([&snapshot.types]);
    let resources =
        all.filter_map(|types| types.get(&TypeUrl::Endpoints)).flat_map(|of| of.values());
    resources.map(|found| ClusterLoadAssignment::decode(&found.body[..]).unwrap()).collect()
}

/// The cluster that Weir would write, with its endpoints in place: a static configuration cannot
/// hold an assignment otherwise.
fn filled(assignment: ClusterLoadAssignment, settings: &ClusterSettings) -> Cluster {
    let name = ClusterName::from(assignment.cluster_name.as_str());
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        eds_cluster_config: None,
        load_assignment: Some(assignment),
        ..native::cluster(&name, settings)
    }
}

/// What Envoy says of a configuration of these clusters; nothing if it takes it.
fn refusal(envoy: &Path, clusters: Vec<Cluster>) -> Option<String> {
    let static_resources = bootstrap::StaticResources { clusters, ..Default::default() };
    let config = Bootstrap { static_resources: Some(static_resources), ..Default::default() };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bootstrap.pb");
    std::fs::write(&file, config.encode_to_vec()).unwrap();
    let flags = ["--mode", "validate", "--log-level", "error", "-c"];
    let output = Command::new(envoy).args(flags).arg(file).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn settings() -> [ClusterSettings; 2] {
    let usual = ClusterSettings::default();
    let breakers = native::Breakers {
        connections_max: u32::MAX,
        pending_max: 0,
        requests_max: 65_536,
        retries_max: 1,
    };
    let other = ClusterSettings {
        client: weir_engine::topology::ClientKind::Envoy,
        connect_timeout: Duration::from_millis(1),
        protocol: UpstreamProtocol::Http2,
        outlier_detection: false,
        circuit_breakers: Some(breakers),
        per_endpoint_stats: true,
    };
    [usual, other]
}

#[test]
fn envoy_takes_ten_thousand_random_snapshots() {
    let Some(envoy) = required::or_skip("envoy", envoy::find()) else { return };
    let mut runner = TestRunner::deterministic();
    let settings = settings();
    for batch in 0..BATCHES {
        let assignments = assignments(&mut runner, BATCH).into_iter();
        let clusters = assignments.zip(settings.iter().cycle());
        let clusters =
            clusters.map(|(assignment, settings)| filled(assignment, settings)).collect();
        assert_eq!(refusal(&envoy, clusters), None, "batch {batch}");
    }
}

#[test]
fn envoy_would_have_refused() {
    let Some(envoy) = required::or_skip("envoy", envoy::find()) else { return };
    let mut runner = TestRunner::deterministic();
    let mut found = assignments(&mut runner, BATCH);
    let broken = found.iter_mut().find(|assignment| !assignment.endpoints.is_empty()).unwrap();
    let endpoint = &mut broken.endpoints[0].lb_endpoints[0];
    endpoint.load_balancing_weight.as_mut().unwrap().value = 0;
    let usual = ClusterSettings::default();
    let clusters = found.into_iter().map(|assignment| filled(assignment, &usual)).collect();
    let refused = refusal(&envoy, clusters).expect("weight 0 is refused");
    assert!(refused.contains("load_balancing_weight") || refused.contains("LoadBalancingWeight"));
}

/// An Envoy whose clusters subscribe to their endpoints in files, as they would at Weir.
fn subscribing(files: &[PathBuf]) -> Value {
    let cluster = |(number, file): (usize, &PathBuf)| {
        json!({
            "name": format!("c{number}"),
            "type": "EDS",
            "lb_policy": "LEAST_REQUEST",
            "common_lb_config": { "locality_weighted_lb_config": {} },
            "eds_cluster_config": {
                "eds_config": {
                    "resource_api_version": "V3",
                    "path_config_source": { "path": file },
                },
            },
        })
    };
    let clusters: Vec<Value> = files.iter().enumerate().map(cluster).collect();
    json!({
        "node": { "id": "n", "cluster": "c" },
        "static_resources": { "clusters": clusters },
    })
}

fn write_response(file: &Path, assignment: &ClusterLoadAssignment) {
    let type_url = TypeUrl::Endpoints.as_str().to_owned();
    let resource = Any { type_url: type_url.clone(), value: assignment.encode_to_vec() };
    let response = DiscoveryResponse {
        version_info: "1".to_owned(),
        type_url,
        resources: vec![resource],
        ..Default::default()
    };
    std::fs::write(file, response.encode_to_vec()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_subscribes_and_refuses_no_update() {
    let Some(path) = required::or_skip("envoy", envoy::find()) else { return };
    let directory = tempfile::tempdir().unwrap();
    let found = assignments(&mut TestRunner::deterministic(), SUBSCRIBED);
    let file = |number| directory.path().join(format!("c{number}.pb"));
    let files: Vec<PathBuf> = (0..SUBSCRIBED).map(file).collect();
    for (file, assignment) in files.iter().zip(&found) {
        write_response(file, assignment);
    }
    let options = Options { directory: directory.path(), concurrency: 1 };
    let mut envoy = Envoy::start(&path, subscribing(&files), options).await.unwrap();
    envoy.serving(Duration::from_secs(30)).await.unwrap();
    let stats = envoy.admin.stats("cluster.c").await.unwrap();
    let sum = |name: &str| {
        let named = stats.iter().filter(|(key, _)| key.ends_with(name));
        named.map(|(_, count)| usize::try_from(*count).unwrap()).sum::<usize>()
    };
    assert_eq!(sum(".update_rejected"), 0);
    assert_eq!(sum(".update_success"), SUBSCRIBED);
    let groups = found.iter().flat_map(|assignment| &assignment.endpoints);
    assert_eq!(sum(".membership_total"), groups.map(|g| g.lb_endpoints.len()).sum::<usize>());
}
