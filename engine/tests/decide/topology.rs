//! Endpoints that come, go and change places.

use proptest::prelude::*;
use weir_engine::decision::{EndpointState, Hold, Stance};

use crate::toy::{
    BROKEN, FINE, Mesh, SLOW, Seen, address, assert_equal_shares, only, out, predicted, service,
    weights,
};

/// A few requests: too few to act on.
const QUIET: Seen = Seen(1, 0, 40.0);

#[test]
fn a_service_without_endpoints_is_decided_and_filled_at_once() {
    let mut mesh = Mesh::of(&[("shop", 0)]);
    let decision = mesh.seconds(3, &[&[]]);
    assert!(only(&decision).endpoints.is_empty());
    mesh.services = vec![service("shop", 0..4)];
    let decision = mesh.second(&[&[FINE; 4]]);
    assert!(only(&decision).endpoints.iter().all(|e| e.state == EndpointState::Serving));
    assert_equal_shares(only(&decision));
}

#[test]
fn one_endpoint_keeps_everything_whatever_it_does() {
    let mut mesh = Mesh::of(&[("shop", 1)]);
    let decision = mesh.seconds(10, &[&[BROKEN]]);
    assert_eq!(predicted(only(&decision)), [1.0]);
}

#[test]
fn no_service_at_all_is_a_decision_too() {
    let decision = Mesh::of(&[]).second(&[]);
    assert!(decision.services.is_empty());
}

#[test]
fn all_replaced_share_equally_from_the_first_moment() {
    let mut mesh = Mesh::of(&[("shop", 6)]);
    mesh.seconds(8, &[&[FINE, FINE, FINE, SLOW, SLOW, BROKEN]]);
    mesh.services = vec![service("shop", 20..26)];
    for _ in 0..40 {
        assert_equal_shares(only(&mesh.second(&[&[FINE; 6]])));
    }
    assert_eq!(only(&mesh.second(&[&[FINE; 6]])).stance, Stance::Resting);
}

/// What is known of an endpoint goes with it, wherever it then stands in the list.
#[test]
fn who_stays_keeps_its_weight_and_its_ejection() {
    let mut mesh = Mesh::of(&[("shop", 6)]);
    let before = mesh.seconds(8, &[&[FINE, FINE, FINE, SLOW, SLOW, BROKEN]]);
    // The first leaves; two others come between.
    let mut numbers = vec![1, 2, 3, 4, 5, 10, 11];
    numbers.sort_by_key(|&number| address(number));
    mesh.services = vec![service("shop", numbers)];
    let after = mesh.second(&[&[FINE, FINE, SLOW, SLOW, Seen(0, 0, 40.0), FINE, FINE]]);
    let find = |number: usize| {
        let all = &only(&after).endpoints;
        all.iter().find(|endpoint| endpoint.address.as_str() == address(number)).unwrap()
    };
    assert_eq!(find(5).state, only(&before).endpoints[5].state);
    assert!(find(5).is_ejected());
    assert!((find(4).weight - weights(only(&before))[4]).abs() < 0.2, "{:?}", find(4));
    assert_eq!(find(10).state, EndpointState::Joining);
    assert!(find(10).weight < 0.2);
}

/// An ejection within the limits of ten is beyond those of two, and of a policy that allows none.
#[test]
fn whoever_is_out_comes_back_where_too_few_are_left() {
    let mut mesh = Mesh::of(&[("shop", 10)]);
    let seen = [FINE, FINE, FINE, FINE, FINE, FINE, FINE, FINE, BROKEN, BROKEN];
    assert_eq!(out(only(&mesh.second(&[&seen]))), [8, 9]);
    mesh.services = vec![service("shop", 6..10)];
    let decision = mesh.second(&[&seen[6..]]);
    assert_eq!(out(only(&decision)).len(), 1, "one of four: {:?}", only(&decision).endpoints);
    assert!(!only(&decision).realisations[0].panicking);
    mesh.services = vec![service("shop", 8..10)];
    let decision = mesh.second(&[&seen[8..]]);
    assert_eq!(out(only(&decision)), [0_usize; 0]);
}

#[test]
fn whoever_is_out_comes_back_where_discovery_takes_others() {
    let mut mesh = Mesh::of(&[("shop", 10)]);
    let seen = [FINE, FINE, FINE, FINE, FINE, FINE, FINE, FINE, BROKEN, BROKEN];
    assert_eq!(out(only(&mesh.second(&[&seen]))), [8, 9]);
    for endpoint in &mut mesh.services[0].endpoints[..3] {
        endpoint.ready = false;
    }
    let decision = mesh.second(&[&seen]);
    assert_eq!(out(only(&decision)).len(), 1, "60 % stay healthy");
}

/// A service with too few requests to act on holds; that must not keep who comes at a tenth.
#[test]
fn newcomers_ramp_while_everything_holds() {
    let mut mesh = Mesh::of(&[("shop", 4)]);
    mesh.seconds(3, &[&[QUIET; 4]]);
    mesh.services = vec![service("shop", 0..5)];
    let decision = mesh.second(&[&[QUIET; 5]]);
    assert!(matches!(only(&decision).stance, Stance::Holding(Hold::Quorum { .. })));
    let first = weights(only(&decision))[4];
    assert!((0.1..0.2).contains(&first), "{first}");
    let middle = weights(only(&mesh.seconds(15, &[&[QUIET; 5]])))[4];
    assert!((0.5..0.6).contains(&middle), "{middle}");
    let decision = mesh.seconds(15, &[&[QUIET; 5]]);
    assert_eq!(only(&decision).endpoints[4].state, EndpointState::Serving);
    assert_equal_shares(only(&decision));
}

#[test]
fn newcomers_ramp_while_evidence_is_long_gone() {
    let mut mesh = Mesh::of(&[("shop", 4)]);
    mesh.seconds(3, &[&[FINE; 4]]);
    for _ in 0..1_000 {
        mesh.silence();
    }
    mesh.services = vec![service("shop", 0..5)];
    let first = weights(only(&mesh.silence()))[4];
    assert!((0.1..0.2).contains(&first), "{first}");
    for _ in 0..31 {
        mesh.silence();
    }
    assert_equal_shares(only(&mesh.silence()));
}

/// Discovery took an endpoint out, for however long: it comes back as a new one.
#[test]
fn whoever_is_ready_again_ramps_from_the_start() {
    for away in [5, 100] {
        let mut mesh = Mesh::of(&[("shop", 6)]);
        mesh.seconds(3, &[&[FINE; 6]]);
        mesh.services[0].endpoints[2].ready = false;
        let decision = mesh.seconds(away, &[&[FINE; 6]]);
        assert_eq!(predicted(only(&decision))[2], 0.0);
        mesh.services[0].endpoints[2].ready = true;
        let decision = mesh.second(&[&[FINE; 6]]);
        let back = &only(&decision).endpoints[2];
        assert_eq!(back.state, EndpointState::Joining, "{away} s away");
        assert!(back.weight < 0.2, "{away} s away: {back:?}");
        assert_equal_shares(only(&mesh.seconds(31, &[&[FINE; 6]])));
    }
}

proptest! {
    /// Any list of endpoints after any other: all are named, none is lost, shares are whole.
    #[test]
    fn any_change_of_the_list_is_followed(
        lists in prop::collection::vec(prop::collection::btree_set(0_usize..12, 0..10), 1..25),
        broken in 0_usize..12,
    ) {
        let mut mesh = Mesh::of(&[("shop", 3)]);
        for numbers in lists {
            let count = numbers.len();
            let seen: Vec<Seen> =
                numbers.iter().map(|&n| if n == broken { BROKEN } else { FINE }).collect();
            mesh.services = vec![service("shop", numbers)];
            let decision = mesh.second(&[&seen]);
            let decided = only(&decision);
            prop_assert_eq!(decided.endpoints.len(), count);
            prop_assert!(out(decided).len() <= usize::from(count > 2));
            let sum: f64 = decided.endpoints.iter().map(|endpoint| endpoint.share.value()).sum();
            prop_assert!(count == 0 || (sum - 1.0).abs() < 1e-9);
            let members: usize =
                decided.realisations[0].groups.iter().map(|group| group.members.len()).sum();
            prop_assert_eq!(members, count);
        }
    }
}
