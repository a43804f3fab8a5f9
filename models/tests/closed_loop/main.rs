//! The model in its loop: telemetry, decision, shares, and what users would have noticed.
//!
//! Each scenario is played twice with the same arrivals, service draws and faults: by plain least
//! request with outlier detection, and governed. Thresholds leave room beyond what was measured
//! (`cargo bench -p weir-models --bench closed_loop`): they are there to catch a change of kind.

mod stage;

use stage::{Outcome, play};

#[track_caller]
fn check(outcome: &Outcome, p99_most: f64, errors_most: f64) {
    let (p99, errors) = (outcome.p99(), outcome.errors());
    assert!(p99 <= p99_most, "p99 is {p99:.3} times that of the plain fleet");
    assert!(errors <= errors_most, "errors are {errors:.3} times those of the plain fleet");
}

#[test]
fn a_healthy_fleet_is_left_alone() {
    for declared in [true, false] {
        let outcome = play("healthy", 1, declared);
        check(&outcome, 1.03, 1.0);
        assert!(!outcome.governors[0].ever_moved());
    }
}

#[test]
fn a_failing_endpoint_is_taken_out() {
    check(&play("err30", 1, true), 1.05, 0.3);
}

#[test]
fn a_slow_endpoint_loses_its_traffic() {
    for declared in [true, false] {
        check(&play("slow10", 1, declared), 0.8, 0.8);
    }
}

#[test]
fn where_all_fail_nothing_moves() {
    let outcome = play("all-fail", 1, true);
    check(&outcome, 1.03, 1.03);
    assert!(!outcome.governors[0].ever_moved());
    assert_eq!(outcome.governors[0].steps_with_ejections(), 0);
}

#[test]
fn cold_joiners_are_spared() {
    for declared in [true, false] {
        check(&play("cold", 1, declared), 0.4, 0.5);
    }
}

#[test]
fn moving_load_is_not_made_worse() {
    check(&play("moving", 3, true), 1.1, 2.0);
}

#[test]
fn lasting_differences_are_used() {
    check(&play("mixed-speed", 1, true), 0.9, 1.0);
}

#[test]
fn the_same_run_is_decided_alike() {
    let decisions = || play("two-at-once", 1, true).governors.remove(0).decisions;
    assert_eq!(decisions(), decisions());
}
