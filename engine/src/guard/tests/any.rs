//! What must hold whatever a model says: arbitrary plans, judgements and opinions of proxies.

use proptest::prelude::*;

use super::*;

fn any_weight() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..5.0_f64,
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-1.0), Just(1e308), Just(0.0)],
    ]
}

#[derive(Clone, Debug)]
struct Chaos {
    weights: Vec<f64>,
    eject: Vec<bool>,
    failing: Vec<bool>,
    ejected_by: Vec<u32>,
    load: f64,
    seen: bool,
}

fn chaos(count: usize) -> impl Strategy<Value = Chaos> {
    (
        prop::collection::vec(any_weight(), count),
        prop::collection::vec(any::<bool>(), count),
        prop::collection::vec(prop::bool::weighted(0.3), count),
        prop::collection::vec(0_u32..=40, count),
        0.0..2_000.0_f64,
        prop::bool::weighted(0.9),
    )
        .prop_map(|(weights, eject, failing, ejected_by, load, seen)| Chaos {
            weights,
            eject,
            failing,
            ejected_by,
            load,
            seen,
        })
}

fn chosen(flags: &[bool]) -> Vec<usize> {
    flags.iter().enumerate().filter(|&(_, &flag)| flag).map(|(index, _)| index).collect()
}

proptest! {
    /// Whatever a model says, over any trace: caps, health, steps and numbers hold.
    #[test]
    fn no_model_can_exceed_the_limits(
        (count, steps) in (1_usize..14).prop_flat_map(|n| (Just(n), prop::collection::vec(chaos(n), 1..40))),
    ) {
        let mut service = Service::of(count);
        let mut shares_before: Option<Vec<f64>> = None;
        let mut moved: Vec<(Moment, f64)> = Vec::new();
        for chaos in steps {
            let before = service.memory.standings.clone();
            let seen = chaos.seen.then(|| service.traffic(&chaos.ejected_by));
            let assessment = judged(count, &chosen(&chaos.failing), chaos.load);
            let allowed =
                service.step_seen(&plan(&chaos.weights, &chosen(&chaos.eject)), &assessment, seen);
            let endpoints = &allowed.endpoints;
            let new_out = endpoints.iter().zip(&before).filter(|(granted, old)| {
                matches!(granted.state, EndpointState::Ejected { .. })
                    && !matches!(old.state, EndpointState::Ejected { .. })
            }).count();
            let out = out(&allowed).len();
            let cap = (0.2 * count as f64).floor().max(1.0) as usize;
            prop_assert!(out <= cap && (count > 2 || out == 0));
            if new_out > 0 {
                prop_assert!((count - out) as f64 / count as f64 >= 0.6 - 1e-9);
                let acting = matches!(allowed.stance, Stance::Resting | Stance::Steering);
                prop_assert!(acting, "ejected while holding");
            }
            for endpoint in endpoints {
                prop_assert!(endpoint.weight.is_finite() && endpoint.weight >= 0.0 && endpoint.weight <= 3.0);
            }
            // Same members in both steps: what re-weighting moved stays within both windows.
            let serving = |list: &[Granted]| list.iter().all(|e| e.state == EndpointState::Serving);
            let now = shares(endpoints);
            if let (Some(earlier), true) = (&shares_before, serving(endpoints)) {
                let step: f64 = earlier.iter().zip(&now).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0;
                moved.push((service.at, step));
                let within = |seconds: u64| -> f64 {
                    moved.iter().filter(|(at, _)| service.at.since(*at) < Duration::from_secs(seconds)).map(|m| m.1).sum()
                };
                prop_assert!(within(60) <= 0.5 + 1e-6, "moved {}", within(60));
                prop_assert!(within(15) <= 0.5 + 1e-6);
            }
            shares_before = serving(endpoints).then_some(now);
        }
    }

    /// The same inputs give the same answer, and asking twice changes nothing more.
    #[test]
    fn guarding_is_deterministic(steps in prop::collection::vec(chaos(8), 1..20)) {
        let run = || {
            let mut service = Service::of(8);
            steps.iter().map(|chaos| {
                let seen = chaos.seen.then(|| service.traffic(&chaos.ejected_by));
                let assessment = judged(8, &chosen(&chaos.failing), chaos.load);
                service.step_seen(&plan(&chaos.weights, &chosen(&chaos.eject)), &assessment, seen)
            }).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }

    /// Constant wishes with ten per cent of noise: settles, and does not swing.
    #[test]
    fn noise_does_not_swing_weights(noise in prop::collection::vec(prop::collection::vec(-0.1..0.1_f64, 10), 120)) {
        let mut service = Service::of(10);
        let mut turns = [0_u32; 10];
        let mut last_change = [0.0_f64; 10];
        for sample in noise {
            let wished: Vec<f64> = (0..10).map(|i| if i < 5 { 1.3 } else { 0.7 } * (1.0 + sample[i])).collect();
            let before: Vec<f64> = service.memory.standings.iter().map(|s| s.weight).collect();
            let allowed = service.step(&plan(&wished, &[]), &judged(10, &[], 300.0));
            for index in 0..10 {
                let change = allowed.endpoints[index].weight - before[index];
                if change != 0.0 {
                    turns[index] += u32::from(change * last_change[index] < 0.0);
                    last_change[index] = change;
                }
            }
        }
        prop_assert!(turns.iter().all(|&turns| turns <= 1), "{turns:?}");
    }
}
