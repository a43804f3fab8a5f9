//! Goals that come, go and change: what is thought of is not what is done.

use weir_engine::decision::{Hold, Stance};
use weir_engine::goal::{Goal, Mode};
use weir_engine::units::Ratio;

use crate::toy::{
    BROKEN, FINE, Mesh, SLOW, Seen, assert_equal_shares, id, moved, only, out, predicted, weights,
};

const MIXED: [Seen; 6] = [FINE, FINE, FINE, SLOW, SLOW, BROKEN];

fn observing() -> Mesh {
    let mut mesh = Mesh::of(&[("shop", 6)]);
    mesh.goals[0].mode = Mode::Observe;
    mesh
}

#[test]
fn what_is_only_observed_or_advised_stays_equal() {
    for mode in [Mode::Observe, Mode::Recommend] {
        let mut mesh = observing();
        mesh.goals[0].mode = mode;
        for _ in 0..20 {
            let decision = mesh.second(&[&MIXED]);
            assert_equal_shares(only(&decision));
        }
        let decision = mesh.second(&[&MIXED]);
        assert_eq!(out(only(&decision)), [5], "it says what it would do");
    }
}

/// What was thought of for long does not happen in one step once it may: the way begins where
/// proxies are, and keeps to the limits.
#[test]
fn a_policy_comes_into_force_step_by_step() {
    let mut mesh = observing();
    mesh.goals[0].balancing.max_step = Ratio::clamped(0.05);
    let seen = [FINE, FINE, FINE, SLOW, SLOW, SLOW];
    let thought = mesh.seconds(120, &[&seen]);
    let thought = weights(only(&thought));
    assert!(thought[5] < 0.6 * thought[0], "{thought:?}");
    mesh.goals[0].mode = Mode::Enforce;
    let equal = [1.0 / 6.0; 6];
    let decision = mesh.second(&[&seen]);
    let shares: Vec<f64> = only(&decision).endpoints.iter().map(|e| e.share.value()).collect();
    let first = moved(&equal, &shares);
    assert!((0.01..=0.05 + 1e-9).contains(&first), "{first}");
}

/// Ejections that were only thought of do not make the first real one a long one.
#[test]
fn the_first_ejection_in_force_is_a_first_one() {
    let mut mesh = observing();
    mesh.seconds(120, &[&MIXED]);
    mesh.goals[0].mode = Mode::Enforce;
    let decision = mesh.second(&[&MIXED]);
    assert_eq!(out(only(&decision)), [5]);
    assert_eq!(mesh.state.services[0].guard.standings[5].ejections, 1);
    assert_eq!(predicted(only(&decision))[5], 0.0);
}

#[test]
fn observe_enforce_observe_ends_as_it_began() {
    let mut mesh = observing();
    mesh.seconds(10, &[&MIXED]);
    mesh.goals[0].mode = Mode::Enforce;
    let decision = mesh.seconds(10, &[&MIXED]);
    assert_eq!(predicted(only(&decision))[5], 0.0);
    mesh.goals[0].mode = Mode::Observe;
    mesh.second(&[&MIXED]);
    for _ in 0..60 {
        assert_equal_shares(only(&mesh.second(&[&MIXED])));
    }
}

#[test]
fn a_service_whose_policy_is_gone_gets_equal_shares_back() {
    let mut mesh = Mesh::of(&[("shop", 6)]);
    let decision = mesh.seconds(10, &[&MIXED]);
    assert!(predicted(only(&decision))[5] == 0.0);
    mesh.goals.clear();
    let decision = mesh.second(&[&MIXED]);
    assert_eq!(only(&decision).mode, Mode::Observe);
    assert_eq!(only(&decision).policy.as_str(), "");
    assert_equal_shares(only(&decision));
}

#[test]
fn a_suspended_policy_holds_weights_and_ejections_whatever_is_seen() {
    let mut mesh = Mesh::of(&[("shop", 6)]);
    let before = mesh.seconds(8, &[&MIXED]);
    mesh.goals[0].suspended = true;
    for seen in [[FINE; 6], [BROKEN; 6], [SLOW; 6]] {
        let decision = mesh.seconds(200, &[&seen]);
        assert_eq!(only(&decision).stance, Stance::Holding(Hold::Suspended));
        assert_eq!(weights(only(&decision)), weights(only(&before)));
        assert_eq!(out(only(&decision)), [5]);
        assert_eq!(only(&decision).realisations, only(&before).realisations);
    }
}

#[test]
fn a_policy_that_allows_no_ejection_ejects_nobody() {
    let mut mesh = Mesh::of(&[("shop", 6)]);
    mesh.goals[0].ejection.max_ejected = Ratio::ZERO;
    assert_eq!(out(only(&mesh.seconds(10, &[&MIXED]))), [0_usize; 0]);
}

#[test]
fn a_service_that_nobody_governs_is_watched() {
    let mut mesh = Mesh::of(&[("shop", 6)]);
    mesh.goals = vec![Goal::of_unclaimed(id("other"))];
    let decision = mesh.seconds(10, &[&MIXED]);
    assert_equal_shares(only(&decision));
    assert_eq!(only(&decision).mode, Mode::Observe);
}

/// Services that are only watched take nothing from the step that the mesh may make.
#[test]
fn what_is_only_thought_of_takes_no_part_of_the_meshs_step() {
    let names: Vec<String> = (0..9).map(|number| format!("s{number}")).collect();
    let services: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 6)).collect();
    let seen = [FINE, FINE, FINE, SLOW, SLOW, SLOW];
    let last = |watched: Mode| {
        let mut mesh = Mesh::of(&services);
        for goal in &mut mesh.goals[..8] {
            goal.mode = watched;
        }
        let decision = mesh.second(&[&seen[..]; 9]);
        weights(&decision.services[8])[5]
    };
    assert!(last(Mode::Observe) < 0.8, "{}", last(Mode::Observe));
    assert!(last(Mode::Enforce) > 0.9, "eight others used it up: {}", last(Mode::Enforce));
}
