use super::*;
use crate::board::read::Range;
use weir_engine::decision::{EndpointDecision, EndpointState, Reason, Stance};
use weir_engine::goal::Mode;
use weir_engine::names::PolicyName;
use weir_engine::observation::Row;
use weir_engine::units::{PerSecond, Ratio};

fn service(addresses: &[&str], ejected: bool) -> ServiceDecision {
    let share = Ratio::of(1.0, addresses.len() as f64);
    let endpoint = |address: &&str| EndpointDecision {
        address: (*address).into(),
        weight: 1.0,
        share,
        state: if ejected {
            EndpointState::Ejected { until: Moment::from_millis(1_000_000), times: 1 }
        } else {
            EndpointState::Serving
        },
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
        endpoints: addresses.iter().map(endpoint).collect(),
        realisations: Vec::new(),
        objectives: Vec::new(),
        moved: Ratio::ZERO,
    }
}

fn record(board: &Board, sequence: u64, service: ServiceDecision, observation: &Observation) {
    let at = Moment::from_millis(sequence * 1_000);
    let services = vec![Arc::new(service)];
    let decision = Decision { sequence, at, services, ..Decision::default() };
    board.record(&Step {
        decision: &decision,
        observation,
        topology: &Topology::default(),
        goals: &Goals::default(),
    });
}

fn receipt(decision: u64, outcome: Outcome) -> Receipt {
    Receipt { node: "n\u{7}1".into(), service: ServiceId::new("a", "b"), decision, outcome }
}

#[test]
fn answers_find_the_decision_that_they_answer() {
    let board = Board::new(Moment::default());
    record(&board, 1, service(&["x", "y"], false), &Observation::default());
    record(&board, 2, service(&["x", "y"], true), &Observation::default());
    let receipts =
        vec![receipt(2, Outcome::Taken), receipt(2, Outcome::Refused("no\u{1b}[2J".into()))];
    let observation = Observation { receipts, ..Observation::default() };
    record(&board, 3, service(&["x", "y"], true), &observation);
    let detail = board.read().decision(DecisionId { sequence: 2, place: 0 }).unwrap();
    assert_eq!((detail.answers.taken, detail.answers.refused), (1, 1));
    let refusal = &detail.answers.refusals[0];
    assert_eq!((refusal.node.as_str(), refusal.text.as_str()), ("n\u{fffd}1", "no\u{fffd}[2J"));
    let first = board.read().decision(DecisionId { sequence: 1, place: 0 }).unwrap();
    assert_eq!(first.answers.taken, 0);
}

#[test]
fn a_reader_keeps_its_moment_while_the_loop_goes_on() {
    let board = Board::new(Moment::default());
    record(&board, 1, service(&["x"], false), &Observation::default());
    let before = board.read();
    for sequence in 2..400 {
        record(&board, sequence, service(&["x"], sequence % 2 == 0), &Observation::default());
    }
    assert_eq!(before.feed.iter().count(), 1);
    assert_eq!(before.services[0].fine.iter().count(), 1);
    assert_eq!(before.at(), Some(Moment::from_millis(1_000)));
}

#[test]
fn nothing_grows_without_bound() {
    let board = Board::new(Moment::default());
    for sequence in 1..3_000 {
        record(&board, sequence, service(&["x", "y"], sequence % 2 == 0), &Observation::default());
    }
    let snapshot = board.read();
    assert!((FEED_MAX..FEED_MAX + 32).contains(&snapshot.feed.iter().count()));
    assert!((EVENTS_MAX..EVENTS_MAX + 32).contains(&snapshot.events.iter().count()));
    assert!(snapshot.services[0].fine.iter().count() < FINE.columns + 32);
    assert!(snapshot.services[0].coarse.iter().count() < COARSE.columns + 32);
}

#[test]
fn a_large_mesh_has_a_shorter_history_rather_than_a_larger_one() {
    let addresses: Vec<String> = (0..20_000).map(|index| format!("{index:05}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let board = Board::new(Moment::default());
    for sequence in 1..90 {
        record(&board, sequence, service(&addresses, false), &Observation::default());
    }
    let columns = board.read().services[0].fine.iter().count();
    assert!(columns < 25 + 32, "{columns}");
}

#[test]
fn a_service_that_is_gone_is_forgotten() {
    let board = Board::new(Moment::default());
    record(&board, 1, service(&["x"], false), &Observation::default());
    board.record(&Step {
        decision: &Decision { sequence: 2, at: Moment::from_millis(2_000), ..Decision::default() },
        observation: &Observation::default(),
        topology: &Topology::default(),
        goals: &Goals::default(),
    });
    assert!(board.read().service("a", "b").is_none());
    assert!(board.write().services.is_empty());
}

#[test]
fn endpoints_keep_their_history_when_others_come_and_go() {
    let board = Board::new(Moment::default());
    let counted = |endpoint: u32, requests: u64| {
        let row = Row { endpoint, requests, clients: 1, ..Row::default() };
        let service = ServiceId::new("a", "b");
        let traffic = ServiceTraffic { service, rows: [row].into(), ..ServiceTraffic::default() };
        Observation { traffic: vec![traffic], ..Observation::default() }
    };
    record(&board, 1, service(&["m", "x"], false), &counted(0, 7));
    record(&board, 2, service(&["a", "m"], false), &counted(1, 8));
    let snapshot = board.read();
    let matrix = snapshot.service("a", "b").unwrap().matrix(Range::Short);
    let names: Vec<_> = matrix.addresses.iter().map(Address::as_str).collect();
    assert_eq!((names.as_slice(), matrix.present), (["a", "m", "x"].as_slice(), 2));
    let requests: Vec<_> = matrix.rows[1].iter().flatten().map(|cell| cell.requests).collect();
    assert_eq!(requests, [7, 8]);
}

#[test]
fn counts_of_a_slow_source_cover_the_columns_that_they_were_collected_in() {
    let board = Board::new(Moment::default());
    for sequence in 1..=15 {
        let row = Row {
            endpoint: 0,
            requests: 150,
            clients: 1,
            exposure: std::time::Duration::from_secs(15),
            ..Row::default()
        };
        let rows = if sequence == 15 { [row].into() } else { Arc::default() };
        let traffic =
            ServiceTraffic { service: ServiceId::new("a", "b"), rows, ..ServiceTraffic::default() };
        let observation = Observation { traffic: vec![traffic], ..Observation::default() };
        record(&board, sequence, service(&["x"], false), &observation);
    }
    let snapshot = board.read();
    let service = snapshot.service("a", "b").unwrap();
    let known = service.matrix(Range::Short).rows[0].iter().flatten().filter(|c| c.known).count();
    assert_eq!(known, 15);
    assert_eq!(service.summary().traffic.requests_per_second, Some(10.0));
}

#[test]
fn lists_are_announced_when_something_lasting_changes() {
    let board = Board::new(Moment::default());
    let events = || board.read().events.next();
    let seen = |second: u64| ProxyView {
        last_seen: Some(Time(Moment::from_millis(second * 1_000))),
        ..ProxyView::default()
    };
    board.set_proxies(vec![seen(1)]);
    assert_eq!(events(), 1);
    board.set_proxies(vec![seen(2)]);
    assert_eq!(events(), 1, "that it is still there is no news");
    assert_eq!(board.read().proxies[0], seen(2), "but it is shown");
    board.set_proxies(vec![ProxyView { connected: true, ..seen(3) }]);
    assert_eq!(events(), 2);
    let delivered = |delivered| SourceView { delivered, ..SourceView::default() };
    board.set_sources(vec![delivered(1)]);
    board.set_sources(vec![delivered(2)]);
    assert_eq!(events(), 3);
    board.set_sources(vec![SourceView { error: Some("no".into()), ..delivered(3) }]);
    assert_eq!(events(), 4);
}
