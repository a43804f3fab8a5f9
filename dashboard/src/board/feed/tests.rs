use super::*;
use weir_engine::decision::{EndpointDecision, Hold, Reason};
use weir_engine::names::ServiceId;
use weir_engine::units::{PerSecond, Ratio};

fn endpoint(address: &str, share: f64, state: EndpointState) -> EndpointDecision {
    EndpointDecision {
        address: address.into(),
        weight: 1.0,
        share: Ratio::clamped(share),
        state,
        reason: Reason::Equal,
        bound: None,
    }
}

fn service(endpoints: &[(&str, f64, EndpointState)]) -> ServiceDecision {
    ServiceDecision {
        offer: None,
        approval: None,
        warnings: Vec::new(),
        shed: weir_engine::units::Ratio::ZERO,
        zones: vec![],
        service: ServiceId::new("a", "b"),
        policy: PolicyName::default(),
        mode: Mode::Enforce,
        stance: decision::Stance::Resting,
        load: PerSecond::default(),
        capacity: None,
        endpoints: endpoints.iter().map(|(a, share, s)| endpoint(a, *share, *s)).collect(),
        realisations: Vec::new(),
        objectives: Vec::new(),
        moved: Ratio::ZERO,
    }
}

fn layout(service: &ServiceDecision) -> Arc<[Address]> {
    service.endpoints.iter().map(|endpoint| endpoint.address.clone()).collect()
}

const SERVING: EndpointState = EndpointState::Serving;
const PROBATION: EndpointState = EndpointState::Probation;

fn out(times: u32) -> EndpointState {
    EndpointState::Ejected { until: Moment::from_millis(99_000), times }
}

/// The kind that is told between two decisions so many seconds apart.
fn kind_between(before: &ServiceDecision, after: &ServiceDecision, seconds: u64) -> Option<Kind> {
    let told = told(before);
    changed(Some(&told), seconds * 1_000, after).map(|changes| changes.kind)
}

fn told(service: &ServiceDecision) -> Told {
    let layout = layout(service);
    Told::of(Now { at: Moment::default(), layout: &layout, service, rollout: None })
}

fn changed(told: Option<&Told>, millis: u64, service: &ServiceDecision) -> Option<Changes> {
    let layout = layout(service);
    let at = Moment::from_millis(millis);
    changes(told, Now { at, layout: &layout, service, rollout: None })
}

type Endpoints = [(&'static str, f64, EndpointState)];

#[track_caller]
fn check(before: &Endpoints, after: &Endpoints, expected: Option<Kind>) {
    assert_eq!(kind_between(&service(before), &service(after), 60), expected);
}

#[test]
fn what_stays_is_not_told() {
    check(
        &[("a", 0.5, SERVING), ("b", 0.5, SERVING)],
        &[("a", 0.5, SERVING), ("b", 0.5, SERVING)],
        None,
    );
}

#[test]
fn an_ejection_is_told_and_so_is_the_next_in_a_row() {
    check(&[("a", 0.5, SERVING)], &[("a", 0.0, out(1))], Some(Kind::Ejected));
    check(&[("a", 0.0, out(1))], &[("a", 0.0, out(2))], Some(Kind::Ejected));
    check(&[("a", 0.0, out(1))], &[("a", 0.0, out(1))], None);
}

#[test]
fn the_way_back_is_told_in_two_steps() {
    check(&[("a", 0.0, out(1))], &[("a", 0.01, PROBATION)], Some(Kind::Probation));
    check(&[("a", 0.1, PROBATION)], &[("a", 0.1, SERVING)], Some(Kind::Restored));
}

#[test]
fn endpoints_that_come_and_go_are_told() {
    check(
        &[("a", 1.0, SERVING)],
        &[("a", 1.0, SERVING), ("b", 0.0, SERVING)],
        Some(Kind::Endpoints),
    );
    check(
        &[("a", 1.0, SERVING), ("b", 0.0, SERVING)],
        &[("b", 1.0, SERVING)],
        Some(Kind::Endpoints),
    );
    check(&[("a", 1.0, SERVING)], &[("a", 1.0, EndpointState::NotReady)], Some(Kind::Endpoints));
}

#[test]
fn of_several_changes_the_most_important_names_the_decision() {
    check(
        &[("a", 0.5, SERVING), ("b", 0.0, out(1)), ("c", 0.5, SERVING)],
        &[("a", 0.0, out(1)), ("b", 0.1, PROBATION), ("c", 0.9, SERVING)],
        Some(Kind::Ejected),
    );
}

#[test]
fn shares_are_told_once_they_amount_to_something() {
    let even = service(&[("a", 0.5, SERVING), ("b", 0.5, SERVING)]);
    let little = service(&[("a", 0.495, SERVING), ("b", 0.505, SERVING)]);
    let much = service(&[("a", 0.45, SERVING), ("b", 0.55, SERVING)]);
    assert_eq!(kind_between(&even, &little, 60), None);
    assert_eq!(kind_between(&even, &much, 60), Some(Kind::Shares));
    assert_eq!(kind_between(&even, &much, 1), None, "too soon after the last");
}

#[test]
fn holding_is_told_when_its_cause_changes_but_not_in_every_step() {
    let mut acting = service(&[("a", 1.0, SERVING)]);
    let mut stale = acting.clone();
    stale.stance = decision::Stance::Holding(Hold::Stale { age: Duration::from_secs(3) });
    let mut older = acting.clone();
    older.stance = decision::Stance::Holding(Hold::Stale { age: Duration::from_secs(30) });
    assert_eq!(kind_between(&acting, &stale, 60), Some(Kind::Stance));
    assert_eq!(kind_between(&stale, &older, 60), None);
    assert_eq!(kind_between(&acting, &stale, 1), None);
    acting.stance = decision::Stance::Steering;
    let told = told(&stale);
    let back = changed(Some(&told), 60_000, &acting).unwrap();
    assert!(back.resumed && back.kind == Kind::Stance);
}

#[test]
fn another_mode_is_told() {
    let before = service(&[("a", 1.0, SERVING)]);
    let mut after = before.clone();
    after.mode = Mode::Observe;
    assert_eq!(kind_between(&before, &after, 0), Some(Kind::Policy));
}

#[test]
fn the_first_sight_of_a_service_is_told() {
    let first = service(&[("a", 1.0, SERVING)]);
    let changes = changed(None, 0, &first).unwrap();
    assert_eq!(changes.kind, Kind::First);
}
