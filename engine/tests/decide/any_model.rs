//! A model that answers with any bits at all: the limits hold.

use core::time::Duration;

use proptest::prelude::*;
use weir_engine::assessment::{Assessment, Expectation, Judgement};
use weir_engine::decide;
use weir_engine::decision::{Failing, Reason, ServiceDecision};
use weir_engine::model::{Model, View};
use weir_engine::plan::{Plan, Wish};
use weir_engine::units::{Millis, Moment, PerSecond, Ratio};
use weir_engine::zones::{Way, ZoneSplit};

use crate::toy::{FINE, Mesh, Seen, all_serve, moved, out, traffic};

/// Answers with what a generator of bits says: NaN, infinities, lists of any length.
struct Any {
    seed: u64,
}

impl Any {
    /// SplitMix64 of where and when.
    fn bits(&self, at: Moment, place: u64) -> u64 {
        let mut z = self.seed ^ at.millis().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (place << 40);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Half of the time any bits, otherwise a number as a model might say it.
    fn number(&self, at: Moment, place: u64) -> f64 {
        let bits = self.bits(at, place);
        if bits & 1 == 0 { f64::from_bits(bits) } else { (bits >> 8) as f64 / (1_u64 << 54) as f64 }
    }

    /// Splits of some clients over zones that are there, or not.
    fn zones(&self, view: &View<'_>) -> Vec<ZoneSplit> {
        let number = |place: u64| self.number(view.at, 700_000 + place);
        let way = |client: u64, zone: u64| Way {
            zone: format!("z{zone}").as_str().into(),
            factor: number(20 * client + zone),
            share: Ratio::clamped(number(20 * client + zone + 5)),
        };
        let split = |client: u64| ZoneSplit {
            client: format!("z{client}").as_str().into(),
            part: Ratio::clamped(number(20 * client + 9)),
            ways: (0..self.bits(view.at, client) % 4).map(|zone| way(client, zone)).collect(),
        };
        (0..self.bits(view.at, 600_000) % 5).map(split).collect()
    }

    fn length(&self, view: &View<'_>, place: u64) -> usize {
        let right = view.topology.endpoints.len();
        match self.bits(view.at, place) % 8 {
            0 => right / 2,
            1 => right + 3,
            _ => right,
        }
    }
}

impl Model for Any {
    type Memory = Vec<f64>;

    fn version(&self) -> &'static str {
        "any"
    }

    fn remap(&self, _: &mut Vec<f64>, _: &[Option<usize>]) {}

    fn assess(&self, view: &View<'_>, _: &mut Vec<f64>) -> Assessment {
        let number = |place: u64| self.number(view.at, place);
        let judgement = |index: usize| {
            let place = 1_000 + 20 * index as u64;
            Judgement {
                expectation: (number(place) > 0.1).then(|| Expectation {
                    service_time: Millis::clamped(number(place + 1)),
                    deviation: number(place + 2),
                    concurrency: number(place + 3),
                    capacity: PerSecond::clamped(number(place + 4) * 100.0),
                    present: PerSecond::clamped(number(place + 6) * 100.0),
                    sustained: PerSecond::clamped(number(place + 5) * 100.0),
                    utilization: Ratio::clamped(number(place + 6)),
                }),
                failing: (number(place + 7) > 0.5).then(|| Failing {
                    errors: number(place + 8),
                    requests: number(place + 9),
                    bound: Ratio::clamped(number(place + 10)),
                    limit: Ratio::clamped(number(place + 11)),
                }),
                slow: None,
                bad: number(place + 12) > 0.8,
                errors: number(place + 13),
                requests: number(place + 14) * 100.0,
            }
        };
        Assessment {
            endpoints: (0..self.length(view, 1)).map(judgement).collect(),
            load: PerSecond::clamped(number(2)),
            persistence: number(3),
            warnings: Vec::new(),
        }
    }

    fn share(&self, view: &View<'_>, _: &Assessment, _: &mut Vec<f64>) -> Plan {
        let wish = |index: usize| Wish {
            weight: self.number(view.at, 900_000 + index as u64) * 4.0,
            eject: self.bits(view.at, 800_000 + index as u64).is_multiple_of(5),
            reason: Reason::Equal,
        };
        Plan {
            shed: Ratio::ZERO,
            zones: self.zones(view),
            endpoints: (0..self.length(view, 4)).map(wish).collect(),
            steering: true,
            capacity: None,
        }
    }
}

/// What holds of every decision.
fn check(service: &ServiceDecision) -> Result<(), TestCaseError> {
    let count = service.endpoints.len();
    let cap = if count < 3 { 0 } else { (count / 5).max(1) };
    prop_assert!(out(service).len() <= cap, "{:?}", out(service));
    for endpoint in &service.endpoints {
        prop_assert!(endpoint.weight.is_finite());
        prop_assert!((0.002..=3.0).contains(&endpoint.weight), "{endpoint:?}");
    }
    let sum: f64 = service.endpoints.iter().map(|endpoint| endpoint.share.value()).sum();
    prop_assert!(count == 0 || (sum - 1.0).abs() < 1e-9, "{sum}");
    for realisation in &service.realisations {
        prop_assert!(!realisation.panicking);
        let sum: f64 = realisation.predicted.iter().map(|share| share.value()).sum();
        prop_assert!(count == 0 || (sum - 1.0).abs() < 1e-9, "{sum}");
        let weights: u64 = realisation.groups.iter().map(|g| u64::from(g.weight.get())).sum();
        prop_assert!(weights <= 1 << 31);
        for zone in &realisation.zones {
            prop_assert_eq!(zone.weights.len(), realisation.groups.len());
            let weights: u64 = zone.weights.iter().map(|weight| u64::from(weight.get())).sum();
            prop_assert!(weights <= 1 << 24, "room for the mark of what is turned away");
        }
        let members: usize = realisation.groups.iter().map(|group| group.members.len()).sum();
        prop_assert_eq!(members, count, "nobody is left out");
    }
    Ok(())
}

/// What re-weighting moved in each step, in part of the traffic.
#[derive(Default)]
struct Moves(Vec<(Moment, f64)>);

impl Moves {
    fn within(&self, at: Moment, seconds: u64) -> f64 {
        let recent = |then: Moment| at.since(then) < Duration::from_secs(seconds);
        self.0.iter().filter(|(then, _)| recent(*then)).map(|(_, moved)| moved).sum()
    }
}

fn shares(service: &ServiceDecision) -> Vec<f64> {
    service.endpoints.iter().map(|endpoint| endpoint.share.value()).collect()
}

proptest! {
    #[test]
    fn any_bits_stay_within_the_limits(
        seed in any::<u64>(), count in 0_usize..14, restart in 0_u32..60, tick in 100_u64..2_000,
    ) {
        let (mut mesh, model) = (Mesh::of(&[("shop", count)]), Any { seed });
        for (index, endpoint) in mesh.services[0].endpoints.iter_mut().enumerate() {
            endpoint.locality.zone = format!("z{}", index as u64 % (1 + seed % 3)).as_str().into();
        }
        let (mut moves, mut before) = (Moves::default(), None::<Vec<f64>>);
        for step in 0..60 {
            mesh.at = mesh.at.plus(Duration::from_millis(tick));
            if step == restart {
                mesh.restart();
            }
            let observation = mesh.observe(vec![traffic("shop", &vec![FINE; count])]);
            let decision = decide(&mut mesh.state, &observation, &model);
            let service = &decision.services[0];
            check(service)?;
            let now = all_serve(&service.endpoints).then(|| shares(service));
            if let (Some(before), Some(now)) = (&before, &now) {
                moves.0.push((mesh.at, moved(before, now)));
                prop_assert!(moves.within(mesh.at, 60) <= 0.5 + 1e-6);
            }
            before = now;
        }
    }

    /// Proxies may report any number: sums end at the largest and nothing panics.
    #[test]
    fn any_counts_are_taken(
        counts in prop::collection::vec((0..=3_u32, any::<u64>()), 24), seed in any::<u64>(),
    ) {
        let (mut mesh, model) = (Mesh::of(&[("shop", 4)]), Any { seed });
        let number = |&(kind, any): &(u32, u64)| match kind { 0 => u64::MAX, 1 => any, _ => any % 500 };
        for step in counts.chunks(8) {
            mesh.at = mesh.at.plus(Duration::from_secs(1));
            let seen: Vec<Seen> = step
                .chunks(2)
                .map(|pair| Seen(number(&pair[0]), number(&pair[1]), 40.0))
                .collect();
            let mut traffic = traffic("shop", &seen);
            let longest = step[0].0 == 0;
            for row in std::sync::Arc::make_mut(&mut traffic.rows).iter_mut().filter(|_| longest) {
                row.exposure = Duration::MAX;
            }
            let observation = mesh.observe(vec![traffic]);
            let decision = decide(&mut mesh.state, &observation, &model);
            check(&decision.services[0])?;
        }
    }

    /// Whatever loads a model claims, services together move no more than the mesh may.
    #[test]
    fn the_mesh_moves_no_more_than_its_part(seed in any::<u64>(), restart in 0_u32..60) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let services: Vec<(&str, usize)> = names.iter().map(|name| (*name, 4)).collect();
        let (mut mesh, model) = (Mesh::of(&services), Any { seed });
        // Nobody fails here, so that all movement is re-weighting.
        for goal in &mut mesh.goals {
            goal.ejection.max_ejected = Ratio::ZERO;
        }
        let (mut moves, mut before) = (Moves::default(), vec![vec![0.25; 4]; names.len()]);
        for step in 0..60 {
            mesh.at = mesh.at.plus(Duration::from_secs(1));
            if step == restart {
                mesh.restart();
            }
            let seen = names.iter().map(|name| traffic(name, &[FINE; 4])).collect();
            let observation = mesh.observe(seen);
            let decision = decide(&mut mesh.state, &observation, &model);
            let now: Vec<Vec<f64>> = decision.services.iter().map(|service| shares(service)).collect();
            // All services have the same load: one of them is a sixth of the mesh.
            let step: f64 = before.iter().zip(&now).map(|(before, now)| moved(before, now)).sum();
            moves.0.push((mesh.at, step / names.len() as f64));
            before = now;
            prop_assert!(moves.within(mesh.at, 60) <= 0.1 + 1e-6, "{}", moves.within(mesh.at, 60));
        }
    }
}
