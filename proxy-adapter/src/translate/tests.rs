use super::*;

use std::num::NonZeroU32;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::HealthStatus;
use envoy_types::pb::envoy::service::runtime::v3::Runtime;
use envoy_types::pb::google::protobuf::value::Kind;
use proptest::prelude::*;
use prost::Message;
use weir_engine::decision::{Form, Group, Health, Member, Stance, ZoneWeights};
use weir_engine::goal::Mode;
use weir_engine::names::{Address, Locality};
use weir_engine::observation::Source;
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint};
use weir_engine::units::Ratio;

use crate::native::ClusterSettings;
use crate::resource::Client;

fn weight(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).unwrap()
}

fn zone(name: &str) -> Locality {
    Locality { zone: name.into(), ..Default::default() }
}

/// A locality of weight 10 whose members have weight 1.
fn group(name: &str, members: &[(&str, Health)]) -> Group {
    let member = |(address, health): &(&str, Health)| Member {
        address: Address::from(*address),
        weight: weight(1),
        health: *health,
    };
    Group {
        locality: zone(name),
        weight: weight(10),
        members: members.iter().map(member).collect(),
    }
}

fn realisation(clusters: &[&str], groups: Vec<Group>) -> Realisation {
    Realisation {
        shed: weir_engine::units::Ratio::ZERO,
        clusters: clusters.iter().map(|name| ClusterName::from(*name)).collect(),
        form: Form::Classes,
        groups,
        predicted: vec![],
        zones: vec![],
        panicking: false,
    }
}

fn decision(sequence: u64, realisations: &[Realisation]) -> Decision {
    let service = serde_json::json!({
        "service": "demo/shop", "policy": "", "mode": Mode::Enforce, "stance": Stance::Resting,
        "load": 0.0, "capacity": null, "endpoints": [], "realisations": realisations,
        "objectives": [], "moved": Ratio::ZERO, "warnings": [],
    });
    let services = vec![serde_json::from_value(service).unwrap()];
    Decision { sequence, services, ..Default::default() }
}

/// A service with these endpoints, reached through these clusters.
fn topology(addresses: &[&str], clusters: &[&str]) -> Topology {
    let endpoint = |address: &&str| Endpoint {
        address: Address::from(*address),
        locality: zone("a"),
        concurrency: None,
        ready: true,
    };
    let cluster =
        |name: &&str| ClientCluster { name: ClusterName::from(*name), form: ClusterForm::native() };
    let shop = ServiceTopology {
        service: ServiceId::new("demo", "shop"),
        endpoints: addresses.iter().map(endpoint).collect(),
        clusters: clusters.iter().map(cluster).collect(),
        counts: Source::LoadReport,
    };
    Topology { services: vec![shop] }
}

const A: &str = "10.0.0.1:80";
const B: &str = "[fd00::2]:8080";

/// Both endpoints, the second one ejected, for one cluster.
fn usual(sequence: u64) -> Translation {
    let groups = vec![group("a", &[(A, Health::Healthy)]), group("b", &[(B, Health::Unhealthy)])];
    let decision = decision(sequence, &[realisation(&["shop"], groups)]);
    translate(&decision, &topology(&[A, B], &["shop"]), &Native::default())
}

fn endpoints(translation: &Translation, cluster: &str) -> Option<ClusterLoadAssignment> {
    let resource = translation.snapshot.types.get(&TypeUrl::Endpoints)?.get(cluster)?;
    Some(ClusterLoadAssignment::decode(&resource.body[..]).unwrap())
}

fn faults(translation: &Translation) -> Vec<(TypeUrl, &str, &Fault)> {
    translation.withheld.iter().map(|w| (w.kind, &*w.name, &w.fault)).collect()
}

#[test]
fn what_is_turned_away_stands_in_the_assignment() {
    let topology = topology(&["10.0.0.1:80"], &["shop"]);
    let groups = vec![group("a", &[("10.0.0.1:80", Health::Healthy)])];
    let shed = Ratio::clamped(0.125);
    let turning = Realisation { shed, ..realisation(&["shop"], groups) };
    let built = assignment::build(&turning, topology.services.first()).unwrap();
    let drops = built.policy.unwrap().drop_overloads;
    let percent = drops[0].drop_percentage.unwrap();
    // Envoy takes one category, and no more.
    assert_eq!((drops.len(), drops[0].category.as_str()), (1, "weir"));
    assert_eq!((percent.numerator, percent.denominator), (125_000, 2));
    // Envoy overlooks another part where no weight is another.
    let weight = |shed: f64| {
        let shed = Ratio::clamped(shed);
        let turning = Realisation { shed, ..turning.clone() };
        let built = assignment::build(&turning, topology.services.first()).unwrap();
        built.endpoints[0].load_balancing_weight.unwrap().value
    };
    assert_eq!([weight(0.0), weight(0.005), weight(0.5)], [10, 20, 1_010]);
}

#[test]
fn says_where_how_much_and_how_healthy() {
    let message = endpoints(&usual(1), "shop").unwrap();
    assert_eq!(message.cluster_name, "shop");
    assert_eq!(message.policy, None);
    let [a, b] = &message.endpoints[..] else { panic!("two localities: {message:?}") };
    assert_eq!(a.locality.as_ref().unwrap().zone, "a");
    assert_eq!(a.load_balancing_weight.as_ref().unwrap().value, 10);
    assert_eq!((a.priority, b.priority), (0, 0));
    let health = |g: &envoy_types::pb::envoy::config::endpoint::v3::LocalityLbEndpoints| {
        g.lb_endpoints[0].health_status
    };
    assert_eq!(health(a), i32::from(HealthStatus::Healthy));
    assert_eq!(health(b), i32::from(HealthStatus::Unhealthy));
}

#[test]
fn equal_content_is_an_equal_version_whatever_the_decision() {
    let (first, later) = (usual(1), usual(2));
    let of = |t: &Translation| t.snapshot.types[&TypeUrl::Endpoints]["shop"].clone();
    assert_eq!(of(&first).version, of(&later).version);
    assert_eq!(of(&first).body, of(&later).body);
    assert_eq!(of(&later).decision, Some(2));
    assert_eq!(of(&later).service, Some(ServiceId::new("demo", "shop")));
}

#[test]
fn every_client_cluster_gets_endpoints_in_its_own_name() {
    let groups = vec![group("a", &[(A, Health::Healthy)])];
    let decision = decision(1, &[realisation(&["one", "two"], groups)]);
    let translation = translate(&decision, &topology(&[A], &["one", "two"]), &Native::default());
    for cluster in ["one", "two"] {
        assert_eq!(endpoints(&translation, cluster).unwrap().cluster_name, cluster);
    }
    assert_eq!(faults(&translation), []);
}

/// What is withheld of a realisation for `shop`, whose only declared endpoint is `A`.
#[track_caller]
fn check_withheld(groups: Vec<Group>, expected: &Fault) {
    let decision = decision(1, &[realisation(&["shop"], groups)]);
    let translation = translate(&decision, &topology(&[A], &["shop"]), &Native::default());
    assert_eq!(faults(&translation), [(TypeUrl::Endpoints, "shop", expected)]);
    assert_eq!(endpoints(&translation, "shop"), None);
}

#[test]
fn withholds_what_is_not_what_is_declared() {
    check_withheld(vec![], &Fault::Empty { declared: 1 });
    check_withheld(vec![group("a", &[])], &Fault::Empty { declared: 1 });
    check_withheld(
        vec![group("a", &[(A, Health::Healthy), (B, Health::Healthy)])],
        &Fault::Undeclared(B.into()),
    );
    check_withheld(
        vec![group("a", &[(A, Health::Healthy)]), group("a", &[(A, Health::Healthy)])],
        &Fault::EndpointTwice(A.into()),
    );
    let decision =
        decision(1, &[realisation(&["shop"], vec![group("a", &[(A, Health::Healthy)])])]);
    let translation = translate(&decision, &topology(&[A, B], &["shop"]), &Native::default());
    assert_eq!(faults(&translation), [(TypeUrl::Endpoints, "shop", &Fault::Missing(B.into()))]);
}

#[test]
fn withholds_names_and_scopes_for_addresses() {
    for bad in ["shop.demo:80", "10.0.0.1", "[fe80::1%2]:80", "10.0.0.1:0"] {
        let groups = vec![group("a", &[(bad, Health::Healthy)])];
        let decision = decision(1, &[realisation(&["shop"], groups)]);
        let translation = translate(&decision, &topology(&[bad], &["shop"]), &Native::default());
        let found = faults(&translation);
        assert!(matches!(found[..], [(_, _, Fault::NotAnAddress(_))]), "{bad}: {found:?}");
    }
}

#[test]
fn the_first_of_two_realisations_for_a_cluster_stands() {
    let of = |health| realisation(&["shop"], vec![group("a", &[(A, health)])]);
    let decision = decision(1, &[of(Health::Draining), of(Health::Healthy)]);
    let translation = translate(&decision, &topology(&[A], &["shop"]), &Native::default());
    assert_eq!(faults(&translation), [(TypeUrl::Endpoints, "shop", &Fault::ClusterTwice)]);
    let sent = endpoints(&translation, "shop").unwrap();
    let health = sent.endpoints[0].lb_endpoints[0].health_status;
    assert_eq!(health, i32::from(HealthStatus::Draining));
}

#[test]
fn no_endpoint_is_an_answer_only_where_none_is_declared() {
    let nothing = Decision::default();
    let none = translate(&nothing, &topology(&[], &["shop"]), &Native::default());
    assert_eq!(endpoints(&none, "shop").unwrap().endpoints, []);
    let some = translate(&nothing, &topology(&[A], &["shop"]), &Native::default());
    assert_eq!(endpoints(&some, "shop"), None);
    assert_eq!(faults(&some), [(TypeUrl::Endpoints, "shop", &Fault::NotDecided)]);
}

#[test]
fn what_is_withheld_leaves_the_last_good_in_place() {
    let good = usual(1);
    let broken = translate(&Decision::default(), &topology(&[A, B], &["shop"]), &Native::default());
    let over = broken.over(&good.snapshot);
    assert_eq!(over.types[&TypeUrl::Endpoints], good.snapshot.types[&TypeUrl::Endpoints]);
    assert_eq!(broken.over(&Snapshot::default()), broken.snapshot);
    let gone = translate(&Decision::default(), &Topology::default(), &Native::default());
    assert_eq!(gone.over(&good.snapshot).types, Snapshot::default().types, "gone is gone");
}

#[test]
fn writes_clusters_whose_endpoints_it_has() {
    let native = Native {
        clusters: ["lost", "shop"].map(|c| (c.into(), ClusterSettings::default())).into(),
    };
    let groups = vec![group("a", &[(A, Health::Healthy)])];
    let decision = decision(1, &[realisation(&["shop"], groups)]);
    let translation = translate(&decision, &topology(&[A], &["shop"]), &native);
    let clusters = &translation.snapshot.types[&TypeUrl::Cluster];
    assert_eq!(clusters.keys().map(|name| &**name).collect::<Vec<_>>(), ["shop"]);
    assert_eq!(faults(&translation), [(TypeUrl::Cluster, "lost", &Fault::WithoutEndpoints)]);
}

#[test]
fn sampling_is_a_plain_number_per_node() {
    let sampling = |node: &str, percent| Sampling { node: node.into(), percent };
    let decision =
        Decision { sampling: vec![sampling("n1", 7), sampling("n2", 101)], ..Default::default() };
    let translation = translate(&decision, &Topology::default(), &Native::default());
    let client = Client { node: &"n1".into(), zone: &"".into() };
    let found = translation.snapshot.find(client, TypeUrl::Runtime, RUNTIME_LAYER).unwrap();
    let layer = Runtime::decode(&found.body[..]).unwrap();
    let value = &layer.layer.unwrap().fields[ACCESS_LOG_PERCENT];
    assert_eq!(value.kind, Some(Kind::NumberValue(7.0)));
    assert_eq!(
        translation.withheld[0].to_string(),
        "withheld runtime layer \"weir\" of node \"n2\": a sampling of 101 per cent is over 100"
    );
    assert!(!translation.snapshot.per_node.contains_key(&Node::from("n2")));
}

#[test]
fn what_is_withheld_is_said_with_its_name() {
    let translation =
        translate(&Decision::default(), &topology(&[A], &["shop"]), &Native::default());
    assert_eq!(
        translation.withheld[0].to_string(),
        "withheld the endpoints of cluster \"shop\": the decision has no endpoints for it"
    );
}

fn health() -> impl Strategy<Value = Health> {
    prop_oneof![Just(Health::Healthy), Just(Health::Unhealthy), Just(Health::Draining)]
}

prop_compose! {
    /// Endpoints with distinct addresses, dealt over up to five localities.
    fn dealt()(
        members in prop::collection::vec((0_usize..5, 1_u32..=1 << 24, health()), 1..40),
        weights in prop::array::uniform5(1_u32..=1 << 28),
    ) -> Vec<Group> {
        let mut groups: Vec<Group> = weights.iter().zip(0..).map(|(&value, at)| Group {
            locality: zone(&format!("z{at}")), weight: weight(value), members: vec![],
        }).collect();
        for ((at, value, health), number) in members.into_iter().zip(0_u32..) {
            let address = Address::from(format!("10.0.{}.{}:80", number / 256, number % 256));
            groups[at].members.push(Member { address, weight: weight(value), health });
        }
        groups
    }
}

proptest! {
    #[test]
    fn no_realisation_of_valid_weights_is_refused_and_all_of_it_arrives(groups in dealt()) {
        let members: Vec<Member> = groups.iter().flat_map(|g| g.members.clone()).collect();
        let mut addresses: Vec<&str> = members.iter().map(|m| m.address.as_str()).collect();
        addresses.sort_unstable();
        let topology = topology(&addresses, &["shop"]);
        let decision = decision(1, &[realisation(&["shop"], groups)]);
        let translation = translate(&decision, &topology, &Native::default());
        prop_assert_eq!(faults(&translation), []);
        let sent = endpoints(&translation, "shop").unwrap();
        let count: usize = sent.endpoints.iter().map(|group| group.lb_endpoints.len()).sum();
        prop_assert_eq!(count, members.len());
        prop_assert_eq!(translate(&decision, &topology, &Native::default()), translation);
    }
}

#[test]
fn connect_timeouts_of_zero_are_withheld() {
    let settings = ClusterSettings { connect_timeout: Duration::ZERO, ..Default::default() };
    let native = Native { clusters: [("shop".into(), settings)].into() };
    let translation = translate(&Decision::default(), &topology(&[], &["shop"]), &native);
    assert_eq!(faults(&translation), [(TypeUrl::Cluster, "shop", &Fault::NoConnectTimeout)]);
}

/// For clients of zone a: 9 to 1; for others: 1 to 1.
fn near(sequence: u64, members: &[(&str, Health)]) -> Translation {
    let mut made =
        realisation(&["shop"], vec![group("a", &members[..1]), group("b", &members[1..])]);
    made.zones =
        vec![ZoneWeights { client: "a".into(), weights: vec![weight(900_000), weight(100_000)] }];
    let decision = decision(sequence, &[made]);
    translate(&decision, &topology(&[A, B], &["shop"]), &Native::default())
}

fn weights_of(snapshot: &Snapshot, zone: &str) -> Vec<u32> {
    let client = Client { node: &"n1".into(), zone: &zone.into() };
    let found = snapshot.find(client, TypeUrl::Endpoints, "shop").unwrap();
    let message = ClusterLoadAssignment::decode(&found.body[..]).unwrap();
    assert_eq!(message.cluster_name, "shop");
    message.endpoints.iter().map(|one| one.load_balancing_weight.unwrap().value).collect()
}

#[test]
fn clients_of_a_zone_get_an_assignment_of_their_own() {
    let both = [(A, Health::Healthy), (B, Health::Healthy)];
    let good = near(1, &both);
    assert_eq!(weights_of(&good.snapshot, "a"), [900_000, 100_000]);
    assert_eq!(weights_of(&good.snapshot, "b"), [10, 10]);
    let even = translate(
        &decision(2, &[realisation(&["shop"], vec![group("a", &both)])]),
        &topology(&[A, B], &["shop"]),
        &Native::default(),
    );
    assert_eq!(weights_of(&even.snapshot, "a"), [10], "the next decision has no zones");
    let broken = near(3, &[(A, Health::Healthy)]);
    assert!(matches!(faults(&broken)[..], [(TypeUrl::Endpoints, "shop", Fault::Missing(_))]));
    let over = broken.over(&good.snapshot);
    let kept = |of: &Snapshot| (of.types[&TypeUrl::Endpoints].clone(), of.per_zone.clone());
    assert_eq!(kept(&over), kept(&good.snapshot), "what was withheld stays for all zones");
}
