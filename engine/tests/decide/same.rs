//! The same again: what may not make a difference makes none.

use core::time::Duration;

use proptest::prelude::*;
use weir_engine::decide;
use weir_engine::decision::Decision;
use weir_engine::latency::Latency;
use weir_engine::observation::{Report, Sample, Source, fold};
use weir_engine::topology::Topology;
use weir_engine::units::Moment;

use crate::toy::{
    BROKEN, FINE, Mesh, SLOW, Seen, Toy, address, only, out, service, traffic, weights,
};

fn bytes(decision: &Decision) -> Vec<u8> {
    serde_json::to_vec(decision).unwrap()
}

fn seen() -> impl Strategy<Value = Seen> {
    (0_u64..200, 0.0..1.0_f64, 1.0..200.0_f64)
        .prop_map(|(requests, failed, ms)| Seen(requests, (requests as f64 * failed) as u64, ms))
}

/// What is seen in each second; now and then nothing.
fn trace(count: usize) -> impl Strategy<Value = Vec<Option<Vec<Seen>>>> {
    let second = prop::option::weighted(0.9, prop::collection::vec(seen(), count));
    prop::collection::vec(second, 1..30)
}

fn run(mesh: &mut Mesh, seconds: &[Option<Vec<Seen>>]) -> Vec<Vec<u8>> {
    let second = |seen: &Option<Vec<Seen>>| match seen {
        Some(seen) => bytes(&mesh.second(&[seen])),
        None => bytes(&mesh.silence()),
    };
    seconds.iter().map(second).collect()
}

fn report(node: usize, cluster: usize, samples: &[Seen]) -> Report {
    let sample = |(index, &Seen(requests, errors, ms)): (usize, &Seen)| Sample {
        endpoint: address(index).into(),
        requests: Some(requests),
        errors: Some(errors),
        latency: Some(Latency {
            count: requests as f64,
            sum_ms: ms * requests as f64 / 3.0,
            ..Latency::default()
        }),
        ..Sample::default()
    };
    Report {
        reporter: format!("node-{node}").into(),
        cluster: if cluster == 0 { "a".into() } else { "b".into() },
        zone: if node.is_multiple_of(2) { "z1".into() } else { "z2".into() },
        source: Source::LoadReport,
        at: Moment::from_millis(1_000_000),
        window: Duration::from_millis(1_000 + node as u64),
        complete: true,
        samples: samples.iter().enumerate().map(sample).collect(),
        totals: None,
    }
}

fn reports() -> impl Strategy<Value = Vec<Report>> {
    let samples = || prop::collection::vec(seen(), 4);
    prop::collection::vec((samples(), samples()), 1..14).prop_map(|nodes| {
        let nodes = nodes.iter().enumerate();
        nodes.flat_map(|(node, (a, b))| [report(node, 0, a), report(node, 1, b)]).collect()
    })
}

proptest! {
    #[test]
    fn the_same_trace_gives_the_same_bytes(trace in trace(6)) {
        let mesh = Mesh::of(&[("shop", 6)]);
        prop_assert_eq!(run(&mut mesh.clone(), &trace), run(&mut mesh.clone(), &trace));
    }

    /// A restart is no event: the state read back goes on as if nothing had been.
    #[test]
    fn a_state_read_back_decides_as_the_one_written(trace in trace(6), part in 0.0..1.0_f64) {
        let (first, second) = trace.split_at((trace.len() as f64 * part) as usize);
        let mut going = Mesh::of(&[("shop", 6)]);
        run(&mut going, first);
        let mut restarted = going.clone();
        restarted.restart();
        prop_assert_eq!(run(&mut going, second), run(&mut restarted, second));
    }

    #[test]
    fn the_order_of_reports_makes_no_difference(
        (reports, shuffled) in reports().prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle())),
    ) {
        let services = vec![service("a", 0..4), service("b", 0..4)];
        let topology = Topology { services };
        let decided = |reports: &[Report]| {
            let mut mesh = Mesh::of(&[("a", 4), ("b", 4)]);
            let observation = mesh.observe(fold(reports, &topology));
            bytes(&decide(&mut mesh.state, &observation, &Toy))
        };
        prop_assert_eq!(decided(&reports), decided(&shuffled));
    }

    /// Names decide the order of endpoints; the order decides nothing.
    #[test]
    fn the_order_of_endpoints_makes_no_difference(
        (seen, order) in (prop::collection::vec(30.0..90.0_f64, 8), Just((0..8).collect::<Vec<usize>>()).prop_shuffle()),
    ) {
        let seen: Vec<Seen> = seen
            .iter()
            .enumerate()
            // One is broken, and one more than it.
            .map(|(index, &ms)| Seen(100, [90, 70, 0, 0, 0, 0, 0, 0][index], ms))
            .collect();
        let ordered: Vec<Seen> = order.iter().map(|&index| seen[index]).collect();
        let (mut a, mut b) = (Mesh::of(&[("shop", 8)]), Mesh::of(&[("shop", 8)]));
        for _ in 0..20 {
            let (a, b) = (a.second(&[&seen]), b.second(&[&ordered]));
            let (a, b) = (only(&a), only(&b));
            // Sums in another order differ in their last digits.
            prop_assert_eq!(format!("{:.9?}", a.stance), format!("{:.9?}", b.stance));
            for (place, &index) in order.iter().enumerate() {
                let (a, b) = (&a.endpoints[index], &b.endpoints[place]);
                prop_assert_eq!(a.state, b.state);
                prop_assert!((a.weight - b.weight).abs() < 1e-9, "{a:?} {b:?}");
            }
        }
    }

    /// Ten times the traffic with the same ratios: the same shares.
    #[test]
    fn more_traffic_of_the_same_kind_makes_no_difference(
        seen in prop::collection::vec((30.0..90.0_f64, 0_u64..60), 6), times in 2_u64..50,
    ) {
        let scaled = |times: u64| -> Vec<Seen> {
            seen.iter().map(|&(ms, errors)| Seen(100 * times, errors * times, ms)).collect()
        };
        let (mut a, mut b) = (Mesh::of(&[("shop", 6)]), Mesh::of(&[("shop", 6)]));
        for _ in 0..20 {
            let (a, b) = (a.second(&[&scaled(1)]), b.second(&[&scaled(times)]));
            let (a, b) = (only(&a), only(&b));
            prop_assert_eq!(out(a), out(b));
            for (a, b) in weights(a).iter().zip(weights(b)) {
                prop_assert!((a - b).abs() < 1e-9);
            }
        }
    }
}

/// Once all has settled, the same observation changes nothing, however often it comes.
#[test]
fn what_was_seen_before_moves_nothing_again() {
    let mut mesh = Mesh::of(&[("shop", 6)]);
    let seen = [FINE, FINE, FINE, SLOW, SLOW, BROKEN];
    mesh.seconds(8, &[&seen]);
    let observation = mesh.observe(vec![traffic("shop", &seen)]);
    let first = decide(&mut mesh.state, &observation, &Toy);
    assert_eq!(out(only(&first)), [5]);
    assert!(weights(only(&first))[4] < 0.8, "{:?}", weights(only(&first)));
    for _ in 0..5 {
        let mut again = decide(&mut mesh.state, &observation, &Toy);
        again.sequence = first.sequence;
        assert_eq!(again, first);
    }
}
