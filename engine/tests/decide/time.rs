//! Time that goes on without evidence, stands still or jumps.

use core::time::Duration;

use weir_engine::decide;
use weir_engine::decision::{EndpointState, Hold, Stance};
use weir_engine::goal::OnStale;
use weir_engine::observation::ServiceTraffic;

use crate::toy::{BROKEN, FINE, Mesh, SLOW, Toy, assert_equal_shares, only, out, traffic, weights};

const HOUR: Duration = Duration::from_secs(3_600);

/// One slow endpoint, which settles below the others, and a broken one.
fn settled() -> Mesh {
    let mut mesh = Mesh::of(&[("shop", 6)]);
    mesh.seconds(8, &[&[FINE, FINE, FINE, SLOW, SLOW, BROKEN]]);
    mesh
}

/// Weights without the broken one's.
fn steered(mesh: &Mesh) -> Vec<f64> {
    weights(mesh.state.services[0].last.as_ref().unwrap())[..5].to_vec()
}

#[test]
fn without_evidence_it_holds_five_minutes_and_is_equal_after_fifteen() {
    let mut mesh = settled();
    let held = steered(&mesh);
    for second in 1..=15 * 60 + 5_u32 {
        let decision = mesh.silence();
        let service = only(&decision);
        match second {
            0..=3 => {}
            4..=300 => {
                assert!(matches!(service.stance, Stance::Holding(Hold::Stale { .. })));
                assert_eq!(weights(service)[..5], held[..]);
            }
            301.. => assert!(matches!(service.stance, Stance::Decaying { .. })),
        }
        assert!(second < 310 || out(service).is_empty(), "time brings the ejected one back");
        if second == 600 {
            let half = f64::midpoint(held[4], 1.0);
            assert!((weights(service)[4] - half).abs() < 0.01, "{:?}", weights(service));
        }
        if second > 900 {
            assert_equal_shares(service);
        }
    }
}

#[test]
fn what_is_frozen_holds_without_evidence_for_ever() {
    let mut mesh = settled();
    mesh.goals[0].evaluation.on_stale = OnStale::Freeze;
    let held = steered(&mesh);
    for _ in 0..1_000 {
        mesh.silence();
    }
    assert_eq!(steered(&mesh), held);
}

/// Nobody looked for hours: that says nothing of the endpoints. What was in force stays until
/// evidence comes, or five minutes of looking have brought none.
#[test]
fn after_a_long_pause_it_goes_on_where_it_was() {
    let mut mesh = settled();
    let held = steered(&mesh);
    mesh.restart();
    let first = mesh.after(3 * HOUR, Vec::new());
    assert!(matches!(only(&first).stance, Stance::Holding(Hold::Stale { .. })), "{first:?}");
    assert_eq!(weights(only(&first))[..5], held[..]);
    for _ in 0..200 {
        mesh.silence();
    }
    assert_eq!(steered(&mesh), held);
    for _ in 0..200 {
        mesh.silence();
    }
    assert!(steered(&mesh)[4] > held[4], "five minutes without evidence: {:?}", steered(&mesh));
}

#[test]
fn a_pause_ends_with_the_first_evidence() {
    let mut mesh = settled();
    let seen = vec![traffic("shop", &[FINE, FINE, FINE, SLOW, SLOW, FINE])];
    let decision = mesh.after(3 * HOUR, seen);
    assert_eq!(only(&decision).stance, Stance::Steering);
}

#[test]
fn time_that_stands_still_or_runs_back_moves_nothing() {
    let mut mesh = settled();
    let before = steered(&mesh);
    let mut observation = mesh.observe(Vec::new());
    for back in [Duration::ZERO, Duration::from_secs(5), HOUR] {
        let millis = u64::try_from(back.as_millis()).unwrap();
        let then = mesh.at.millis().saturating_sub(millis);
        observation.at = weir_engine::units::Moment::from_millis(then);
        let decision = decide(&mut mesh.state, &observation, &Toy);
        assert_eq!(decision.at, mesh.at, "no decision is older than the one before");
        assert_eq!(weights(only(&decision))[..5], before[..]);
        assert_eq!(out(only(&decision)), [5]);
    }
}

/// A source that is asked every quarter of a minute is not silent in between.
#[test]
fn counts_that_come_seldom_are_fresh_until_the_next_but_one() {
    let mut mesh = Mesh::of(&[("shop", 6)]);
    let mut seen = traffic("shop", &[FINE, FINE, FINE, SLOW, SLOW, BROKEN]);
    for row in std::sync::Arc::make_mut(&mut seen.rows) {
        row.exposure = 4 * Duration::from_secs(15);
    }
    for second in 0..120 {
        let now: Vec<ServiceTraffic> =
            if second % 15 == 0 { vec![seen.clone()] } else { Vec::new() };
        let decision = mesh.after(Duration::from_secs(1), now);
        assert_eq!(only(&decision).stance, Stance::Steering, "after {second} s");
    }
    let mut silent = mesh.silence();
    for _ in 0..30 {
        silent = mesh.silence();
    }
    assert!(matches!(only(&silent).stance, Stance::Holding(Hold::Stale { .. })), "{silent:?}");
}

#[test]
fn an_interval_is_kept() {
    let mut mesh = Mesh::of(&[("shop", 6)]);
    mesh.goals[0].evaluation.interval = Some(Duration::from_secs(10));
    mesh.seconds(1, &[&[FINE; 6]]);
    let seen = [FINE, FINE, FINE, FINE, FINE, BROKEN];
    for second in 2..=10 {
        let decision = mesh.second(&[&seen]);
        assert_eq!(out(only(&decision)), [0_usize; 0], "after {second} s");
    }
    assert_eq!(out(only(&mesh.second(&[&seen]))), [5]);
}

/// What was decided for other endpoints or another goal is not repeated, however long the
/// interval is.
#[test]
fn a_change_does_not_wait_for_the_interval() {
    let mut mesh = settled();
    mesh.goals[0].evaluation.interval = Some(HOUR);
    mesh.seconds(2, &[&[FINE; 6]]);
    mesh.services = vec![crate::toy::service("shop", 10..16)];
    let decision = mesh.second(&[&[FINE; 6]]);
    let named: Vec<_> = only(&decision).endpoints.iter().map(|e| e.address.to_string()).collect();
    let declared: Vec<_> = (10..16).map(crate::toy::address).collect();
    assert_eq!(named, declared);
    mesh.services[0].endpoints[2].ready = false;
    let decision = mesh.second(&[&[FINE; 6]]);
    assert_eq!(only(&decision).endpoints[2].state, EndpointState::NotReady);
    mesh.goals[0].suspended = true;
    let decision = mesh.second(&[&[FINE; 6]]);
    assert_eq!(only(&decision).stance, Stance::Holding(Hold::Suspended));
}

/// The way back to equal takes ten minutes, whatever the interval between decisions.
#[test]
fn an_interval_does_not_slow_the_way_back() {
    let mut mesh = settled();
    mesh.goals[0].evaluation.interval = Some(Duration::from_secs(30));
    let held = steered(&mesh)[4];
    for _ in 0..10 * 60 {
        mesh.silence();
    }
    let half = f64::midpoint(held, 1.0);
    assert!((steered(&mesh)[4] - half).abs() < 0.05, "{:?}", steered(&mesh));
    for _ in 0..6 * 60 {
        mesh.silence();
    }
    assert!(
        steered(&mesh).iter().all(|weight| (weight - 1.0).abs() < 1e-6),
        "{:?}",
        steered(&mesh)
    );
}
