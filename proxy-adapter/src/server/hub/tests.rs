//! What is in force after what was published and answered.

use super::*;
use Confirmation::{Confirmed, Unconfirmed};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints,
};

const NOW: Moment = Moment::from_millis(1_000_000);

/// A snapshot with one cluster's endpoints, `count` of them, in decision `decision`.
fn snapshot(count: usize, decision: u64) -> Arc<Snapshot> {
    let locality = LocalityLbEndpoints {
        lb_endpoints: vec![LbEndpoint::default(); count],
        priority: decision.try_into().unwrap(),
        ..LocalityLbEndpoints::default()
    };
    let assignment =
        ClusterLoadAssignment { endpoints: vec![locality], ..ClusterLoadAssignment::default() };
    let resource = Resource::new("a", &assignment).deciding(decision, service());
    let mut snapshot = Snapshot::default();
    snapshot.insert(TypeUrl::Endpoints, resource);
    Arc::new(snapshot)
}

fn service() -> ServiceId {
    ServiceId::new("demo", "shop")
}

fn resource(snapshot: &Snapshot) -> Arc<Resource> {
    snapshot.types[&TypeUrl::Endpoints]["a"].clone()
}

fn after(millis: u64) -> Moment {
    NOW.plus(Duration::from_millis(millis))
}

fn hub() -> Hub {
    let mut hub = Hub::new(1);
    assert!(hub.publish(snapshot(10, 1), Urgency::Settled, Unconfirmed, NOW));
    hub
}

#[test]
fn a_decision_goes_out_at_once_and_an_equal_one_not_at_all() {
    let mut hub = hub();
    assert!(hub.publish(snapshot(10, 2), Urgency::Now, Unconfirmed, NOW));
    assert!(!hub.publish(snapshot(10, 2), Urgency::Now, Unconfirmed, NOW));
    assert_eq!(hub.wake(NOW), None);
}

#[test]
fn what_may_wait_goes_out_after_a_quiet_moment_in_its_last_form() {
    let mut hub = hub();
    for (at, decision) in [(0, 2), (90, 3), (180, 4)] {
        assert!(!hub.publish(snapshot(10, decision), Urgency::Settled, Unconfirmed, after(at)));
    }
    assert_eq!(hub.wake(after(180)), Some(after(280)));
    assert!(!hub.tick(after(279)));
    assert!(hub.tick(after(280)));
    assert_eq!(hub.view().snapshot, snapshot(10, 4));
}

#[test]
fn what_may_wait_waits_a_second_at_most() {
    let mut hub = hub();
    let changes: Vec<_> = (0..=20_u64)
        .filter(|n| hub.publish(snapshot(10, n + 2), Urgency::Settled, Unconfirmed, after(n * 50)))
        .collect();
    assert_eq!(changes, [20], "at 1,000 ms");
}

#[test]
fn an_urgent_snapshot_takes_along_what_waits() {
    let mut hub = hub();
    hub.publish(snapshot(10, 2), Urgency::Settled, Unconfirmed, NOW);
    assert!(hub.publish(snapshot(10, 3), Urgency::Now, Unconfirmed, NOW));
    assert!(!hub.tick(after(100)));
}

#[test]
fn a_loss_is_withheld_until_it_has_lasted_a_minute() {
    let mut hub = hub();
    assert!(!hub.publish(snapshot(0, 2), Urgency::Now, Unconfirmed, NOW));
    assert_eq!(hub.standing(NOW).withheld.len(), 1);
    // A new decision about as few endpoints is the same loss.
    assert!(!hub.publish(snapshot(0, 3), Urgency::Now, Unconfirmed, after(30_000)));
    assert_eq!(hub.wake(after(30_000)), Some(after(60_000)));
    assert!(!hub.tick(after(59_999)));
    assert!(hub.tick(after(60_000)));
    assert_eq!(hub.view().snapshot, snapshot(0, 3));
    assert_eq!(hub.standing(after(60_000)), Standing::default());
}

#[test]
fn a_loss_that_grows_or_passes_starts_over() {
    let mut hub = hub();
    hub.publish(snapshot(3, 2), Urgency::Now, Unconfirmed, NOW);
    assert!(!hub.publish(snapshot(0, 3), Urgency::Now, Unconfirmed, after(60_000)), "worse");
    assert!(hub.publish(snapshot(9, 4), Urgency::Now, Unconfirmed, after(61_000)), "passed");
    assert!(!hub.publish(snapshot(0, 5), Urgency::Now, Unconfirmed, after(121_000)));
    assert_eq!(hub.wake(after(121_000)), Some(after(181_000)));
}

#[test]
fn a_loss_of_other_clusters_is_a_new_one() {
    let with = |names: &[&str]| {
        let mut snapshot = Snapshot::default();
        for name in names {
            snapshot.insert(TypeUrl::Cluster, Resource::new(name, &1_u32));
        }
        Arc::new(snapshot)
    };
    let mut hub = Hub::new(1);
    hub.publish(with(&["a", "b", "c"]), Urgency::Now, Unconfirmed, NOW);
    assert!(!hub.publish(with(&["a", "b"]), Urgency::Now, Unconfirmed, NOW));
    assert!(!hub.publish(with(&["a", "c"]), Urgency::Now, Unconfirmed, after(30_000)));
    assert!(!hub.tick(after(60_000)));
    assert!(hub.tick(after(90_000)));
    assert_eq!(hub.view().snapshot, with(&["a", "c"]));
}

#[test]
fn a_fall_back_to_what_was_taken_may_shrink_a_cluster() {
    let mut hub = Hub::new(1);
    let kind = TypeUrl::Endpoints;
    hub.publish(snapshot(2, 1), Urgency::Now, Unconfirmed, NOW);
    let good = Event::Taken { kind, resources: vec![resource(&snapshot(2, 1))] };
    hub.hear(&"n1".into(), good, NOW);
    hub.publish(snapshot(10, 2), Urgency::Now, Unconfirmed, NOW);
    for node in ["n1", "n2"] {
        let resources = vec![resource(&snapshot(10, 2))];
        hub.hear(&node.into(), Event::Refused { kind, resources, words: "no".into() }, NOW);
    }
    assert_eq!(hub.view().snapshot, snapshot(2, 1));
}

#[test]
fn nothing_is_due_before_what_waits_has_settled() {
    let mut hub = hub();
    hub.publish(snapshot(0, 2), Urgency::Now, Unconfirmed, NOW);
    hub.publish(snapshot(0, 3), Urgency::Settled, Unconfirmed, after(59_990));
    assert_eq!(hub.wake(after(60_000)), Some(after(60_090)), "or the loop would spin");
    assert!(hub.tick(after(60_090)));
}

#[test]
fn a_confirmed_loss_goes_out_at_once() {
    let mut hub = hub();
    assert!(hub.publish(snapshot(0, 2), Urgency::Now, Confirmed, NOW));
    let mut hub = self::hub();
    hub.publish(snapshot(0, 2), Urgency::Settled, Confirmed, NOW);
    assert!(hub.publish(snapshot(0, 3), Urgency::Now, Unconfirmed, NOW), "also if it had to wait");
}

#[test]
fn answers_become_one_receipt_for_each_decision() {
    let mut hub = hub();
    let node = Node::from("n");
    let both = vec![resource(&snapshot(10, 1)), resource(&snapshot(9, 1))];
    let taken = Event::Taken { kind: TypeUrl::Endpoints, resources: both.clone() };
    let receipt = |outcome| Receipt { node: "n".into(), service: service(), decision: 1, outcome };
    assert_eq!(hub.hear(&node, taken, NOW), (vec![receipt(Outcome::Taken)], false));
    let silent = Event::Silent { kind: TypeUrl::Endpoints, resources: both };
    assert_eq!(hub.hear(&node, silent, NOW), (vec![receipt(Outcome::Silent)], false));
    let free = Event::Taken {
        kind: TypeUrl::Cluster,
        resources: vec![Arc::new(Resource::new("c", &1_u32))],
    };
    assert_eq!(hub.hear(&node, free, NOW).0, [], "what carries no decision needs no receipt");
}

#[test]
fn a_refusal_is_remembered_for_its_node_and_two_stop_the_service_for_all() {
    let mut hub = hub();
    let kind = TypeUrl::Endpoints;
    let good = Event::Taken { kind, resources: vec![resource(&snapshot(10, 1))] };
    hub.hear(&"n1".into(), good, NOW);
    hub.publish(snapshot(10, 2), Urgency::Now, Unconfirmed, NOW);
    let bad = resource(&snapshot(10, 2));
    let refused = || Event::Refused { kind, resources: vec![bad.clone()], words: "no".into() };

    let (receipts, changed) = hub.hear(&"n1".into(), refused(), NOW);
    assert_eq!(receipts[0].outcome, Outcome::Refused("no".into()));
    assert!(changed);
    let quarantine = &hub.view().quarantine;
    assert!(quarantine.is_refused(&"n1".into(), kind, bad.version));
    assert!(!quarantine.is_refused(&"n2".into(), kind, bad.version));
    assert_eq!(
        quarantine.good(kind, &resource(&snapshot(10, 1))),
        Some(&resource(&snapshot(10, 1)))
    );
    assert_eq!(hub.view().snapshot, snapshot(10, 2), "one node alone may be odd");

    hub.hear(&"n2".into(), refused(), NOW);
    assert_eq!(hub.view().snapshot, snapshot(10, 1));
    let frozen = &hub.standing(NOW).frozen[0];
    assert_eq!((frozen.nodes, &*frozen.words), (2, "no"));
    assert!(!hub.publish(snapshot(10, 3), Urgency::Now, Unconfirmed, NOW), "it stands still");
}
