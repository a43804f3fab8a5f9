use super::*;
use crate::names::{PolicyName, ServiceId};
use crate::units::{Millis, PerSecond, Ratio};
use alloc::vec;

#[track_caller]
fn check(thing: impl fmt::Display, expected: &str) {
    assert_eq!(thing.to_string(), expected);
}

fn failing() -> Reason {
    Reason::Failing(Failing {
        errors: 36.0,
        requests: 118.0,
        bound: Ratio::clamped(0.223),
        limit: Ratio::clamped(0.01),
    })
}

fn endpoint(address: &str, state: EndpointState, reason: Reason) -> EndpointDecision {
    EndpointDecision {
        address: address.into(),
        weight: 1.0,
        share: Ratio::clamped(0.1),
        state,
        reason,
        bound: None,
    }
}

fn service(mode: Mode, stance: Stance, endpoints: Vec<EndpointDecision>) -> ServiceDecision {
    ServiceDecision {
        offer: None,
        approval: None,
        warnings: Vec::new(),
        shed: Ratio::ZERO,
        zones: Vec::new(),
        service: ServiceId::new("demo", "shop"),
        policy: PolicyName::from("demo/shop"),
        mode,
        stance,
        load: PerSecond::default(),
        capacity: None,
        endpoints,
        realisations: vec![],
        objectives: vec![],
        moved: Ratio::ZERO,
    }
}

const NOW: Moment = Moment::from_millis(1_000_000);

fn ejected(times: u32) -> EndpointState {
    EndpointState::Ejected { until: NOW.plus(Duration::from_secs(10)), times }
}

#[test]
fn an_ejection_says_for_how_long_and_on_what_evidence() {
    check(
        endpoint("a:1", ejected(1), failing()).sentence(NOW),
        "ejected for 10 s: 36 of 118 requests failed (at least 22 %, limit 1.0 %)",
    );
    check(
        endpoint("a:1", ejected(3), failing()).sentence(NOW),
        "ejected for 10 s (3 times in a row): 36 of 118 requests failed (at least 22 %, limit 1.0 %)",
    );
}

#[test]
fn a_bound_says_what_held_the_model_back() {
    let mut kept = endpoint("a:1", EndpointState::Serving, failing());
    kept.bound = Some(Bound::EjectionCap);
    check(
        kept.sentence(NOW),
        "36 of 118 requests failed (at least 22 %, limit 1.0 %); held back: as many endpoints are out as the policy allows",
    );
}

#[test]
fn a_returning_endpoint_says_how_long_it_has_been_proving_itself() {
    let reason = Reason::Proving { age: Duration::from_millis(4_500) };
    check(
        endpoint("a:1", EndpointState::Probation, reason).sentence(NOW),
        "on probation: has been proving itself for 4.5 s",
    );
}

#[test]
fn reasons_carry_their_numbers() {
    check(
        Reason::ServiceTime {
            own: Millis::clamped(412.3),
            peers: Millis::clamped(40.0),
            persistence: 0.92,
        },
        "service time 412 ms, peers 40.0 ms; 92 % of the difference outlasts one step",
    );
    let slow = Slow {
        own: Millis::clamped(412.0),
        peers: Millis::clamped(52.0),
        bound: Ratio::clamped(0.31),
        limit: Ratio::clamped(0.01),
        windows: 3,
    };
    check(
        Reason::Slow(slow),
        "mean latency 412 ms, peers 52.0 ms; at least 31 % too slow (limit 1.0 %) in 3 windows in a row",
    );
    check(
        Reason::EjectedByProxies { clients: 3, of: 20 },
        "3 of 20 clients have ejected it themselves",
    );
}

#[test]
fn stances_say_what_is_missing() {
    check(Stance::Resting, "at rest: no imbalance is proven, shares are equal");
    check(
        Stance::Holding(Hold::Stale { age: Duration::from_secs(12) }),
        "holding: no fresh telemetry for 12 s",
    );
    check(
        Stance::Holding(Hold::Quorum { covered: 3, endpoints: 10, requests: 40, needed: 100 }),
        "holding: evidence is thin: 3 of 10 endpoints covered, 40 of 100 requests needed",
    );
    check(Hold::Refused { nodes: 1 }, "1 proxy refused the last push");
    check(
        Stance::Decaying { stale: Duration::from_secs(400) },
        "going back to equal shares: no fresh telemetry for 6 min",
    );
}

#[test]
fn weighted_counts_show_their_fraction_only_where_it_matters() {
    check(Count(36.0), "36");
    check(Count(3.26), "3.3");
    check(Count(118.4), "118");
}

#[test]
fn durations_read_as_people_say_them() {
    for (ms, text) in [
        (0, "0 s"),
        (350, "350 ms"),
        (1_500, "1.5 s"),
        (10_000, "10 s"),
        (119_000, "119 s"),
        (300_000, "5 min"),
        (7_200_000, "2 h"),
    ] {
        check(Span(Duration::from_millis(ms)), text);
    }
}

#[test]
fn a_summary_names_who_is_out_and_why() {
    let endpoints = vec![
        endpoint("a:1", ejected(1), failing()),
        endpoint("b:1", EndpointState::Serving, Reason::Remainder),
    ];
    check(
        service(Mode::Enforce, Stance::Steering, endpoints).summary(),
        "demo/shop: steering; 1 of 2 endpoints out: a:1, 36 of 118 requests failed (at least 22 %, limit 1.0 %)",
    );
}

#[test]
fn a_summary_of_many_names_the_first_and_counts_the_rest() {
    let endpoints: Vec<_> = ["a:1", "b:1", "c:1", "d:1", "e:1"]
        .iter()
        .map(|address| endpoint(address, ejected(1), Reason::Unknown))
        .collect();
    let text = service(Mode::Enforce, Stance::Steering, endpoints).summary();
    assert!(text.ends_with("; and 2 more"), "{text}");
}

#[test]
fn a_summary_names_the_lightest_endpoint_first() {
    let mut light = endpoint("b:1", EndpointState::Serving, Reason::Remainder);
    light.weight = 0.25;
    let mut lighter = endpoint("c:1", EndpointState::Serving, Reason::Remainder);
    lighter.weight = 0.1;
    check(
        service(Mode::Observe, Stance::Steering, vec![light, lighter]).summary(),
        "demo/shop: would steer; lighter than an equal share: c:1 at 0.10 x; b:1 at 0.25 x",
    );
}

#[test]
fn a_quiet_summary_is_one_clause() {
    check(
        service(Mode::Enforce, Stance::Resting, vec![]).summary(),
        "demo/shop: at rest: no imbalance is proven, shares are equal",
    );
}
