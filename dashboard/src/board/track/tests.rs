use super::*;
use weir_engine::decision::{EndpointDecision, Reason, Stance};
use weir_engine::goal::Mode;
use weir_engine::names::{PolicyName, ServiceId};
use weir_engine::units::{Millis, PerSecond};

fn decision(count: usize) -> ServiceDecision {
    let endpoint = |index: usize| EndpointDecision {
        address: format!("10.0.0.{index}:80").into(),
        weight: 1.0,
        share: Ratio::of(1.0, count as f64),
        state: weir_engine::decision::EndpointState::Serving,
        reason: Reason::Equal,
        bound: None,
    };
    ServiceDecision {
        offer: None,
        approval: None,
        warnings: Vec::new(),
        shed: weir_engine::units::Ratio::ZERO,
        zones: vec![],
        service: ServiceId::new("a", "b"),
        policy: PolicyName::default(),
        mode: Mode::Enforce,
        stance: Stance::Resting,
        load: PerSecond::default(),
        capacity: None,
        endpoints: (0..count).map(endpoint).collect(),
        realisations: Vec::new(),
        objectives: Vec::new(),
        moved: Ratio::ZERO,
    }
}

fn row(endpoint: u32, requests: u64, clients: u32) -> Row {
    let mut latency = Latency::default();
    latency.record(Millis::clamped(40.0));
    Row {
        endpoint,
        requests,
        clients,
        exposure: Duration::from_secs(1) * clients,
        latency,
        ..Row::default()
    }
}

fn traffic(rows: Vec<Row>) -> ServiceTraffic {
    ServiceTraffic { rows: rows.into(), ..ServiceTraffic::default() }
}

/// A track after steps at so many milliseconds.
fn after(steps: &[(u64, Option<ServiceTraffic>)], max: usize) -> Log<Column> {
    let decision = decision(2);
    let layout: Arc<[Address]> = decision.endpoints.iter().map(|e| e.address.clone()).collect();
    let mut track = Track::new(COARSE);
    for (at, traffic) in steps {
        let at = Moment::from_millis(*at);
        let tick = Tick { at, layout: &layout, decision: &decision, traffic: traffic.as_ref() };
        track.add(&tick, max);
    }
    track.columns()
}

#[test]
fn steps_of_one_column_are_summed_and_the_next_begins_another() {
    let counts = || Some(traffic(vec![row(0, 10, 1)]));
    let columns = after(&[(1_000, counts()), (4_000, counts()), (5_000, counts())], 100);
    let columns: Vec<_> = columns.iter().map(|(_, column)| Arc::clone(column)).collect();
    assert_eq!(columns.len(), 2);
    assert_eq!(columns[0].sums(), Some((20, 0)));
    assert_eq!(columns[0].span, Duration::from_secs(2));
    assert_eq!(columns[1].sums(), Some((10, 0)));
}

#[test]
fn what_no_client_counted_is_not_known_rather_than_zero() {
    let columns = after(&[(1_000, Some(traffic(vec![row(0, 10, 1), row(1, 0, 0)])))], 100);
    let column = columns.last().unwrap();
    assert!(column.cells[0].known && !column.cells[1].known);
    let silent = after(&[(1_000, None)], 100);
    assert_eq!(silent.last().unwrap().sums(), None);
}

#[test]
fn columns_are_bounded() {
    let steps: Vec<_> = (0..1_000).map(|second| (second * 5_000, None)).collect();
    assert!(after(&steps, 1_000).iter().count() < COARSE.columns + 32);
    assert!(after(&steps, 10).iter().count() < 10 + 32);
}
