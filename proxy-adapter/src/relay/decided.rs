//! A decision as opinions about what another server sends.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_engine::decision::{Decision, Health, Member, Realisation};
use weir_engine::names::{Address, ServiceId};
use weir_engine::rollout::RolloutDecision;
use weir_engine::topology::Topology;
use weir_engine::units::Ratio;

use super::assignment::{Key, Opinion, Stand};
use super::opinions::Opinions;
use super::parts::Parts;
use super::route::Split;

/// Weights within this part of one another are equal: a proxy that balances by itself does it worse over
/// weights that differ.
const EQUAL: f64 = 0.01;

/// What all of a split comes to.
const WHOLE: u32 = 10_000;

/// The part of endpoints of a priority that stays healthy in any case: half, as where proxies begin to
/// ignore health by default. Where a cluster's own threshold is higher, that holds.
const HEALTHY: f64 = 0.5;

impl Opinions {
    /// What a decision says of endpoints and routes that another server lists. Where an endpoint belongs to
    /// several services that are judged apart, the sternest word counts for clusters that nobody named.
    pub fn of_decision(decision: &Decision, topology: &Topology) -> Self {
        let mut named: BTreeMap<String, Arc<Opinion>> = BTreeMap::new();
        let mut anywhere = Opinion::default();
        for realisation in decision.services.iter().flat_map(|service| &service.realisations) {
            let opinion = Arc::new(of_realisation(realisation));
            for (key, stand) in &opinion.stands {
                let known = anywhere.stands.entry(key.clone()).or_insert(*stand);
                *known = known.sterner(*stand);
            }
            let clusters = realisation.clusters.iter();
            named.extend(clusters.map(|name| (name.to_string(), Arc::clone(&opinion))));
        }
        // A route through which another controller moves requests is its own until it is done.
        let ours =
            |rollout: &&Arc<RolloutDecision>| rollout.acts_on_others() && rollout.yields.is_none();
        let rollouts = || decision.rollouts.iter().filter(ours);
        Self {
            named,
            anywhere: Arc::new(anywhere),
            splits: rollouts().flat_map(|rollout| splits(rollout, topology)).collect(),
            parts: rollouts().map(|rollout| sides(rollout, topology)).collect(),
            healthy: HEALTHY,
        }
    }
}

impl Stand {
    fn sterner(self, other: Self) -> Self {
        Self { multiplier: self.multiplier.min(other.multiplier), out: self.out || other.out }
    }
}

fn of_realisation(realisation: &Realisation) -> Opinion {
    let weighed: Vec<(&Member, f64)> = realisation
        .groups
        .iter()
        .flat_map(|group| {
            let all: f64 = group.members.iter().map(|one| f64::from(one.weight.get())).sum();
            let part = f64::from(group.weight.get()) / all;
            group.members.iter().map(move |one| (one, part * f64::from(one.weight.get())))
        })
        .collect();
    let healthy = || weighed.iter().filter(|(one, _)| one.health == Health::Healthy);
    let mean = healthy().map(|(_, weight)| weight).sum::<f64>() / healthy().count() as f64;
    let stand = |(one, weight): &(&Member, f64)| {
        let relative = weight / mean;
        let differs = relative.is_finite() && (relative - 1.0).abs() > EQUAL;
        let stand = match one.health {
            Health::Healthy => {
                Stand { multiplier: if differs { relative } else { 1.0 }, out: false }
            }
            Health::Unhealthy => Stand { multiplier: 1.0, out: true },
            // The server that lists it knows.
            Health::Draining => Stand { multiplier: 1.0, out: false },
        };
        (!stand.is_neutral()).then(|| key(&one.address).map(|key| (key, stand))).flatten()
    };
    Opinion { stands: weighed.iter().filter_map(stand).collect() }
}

fn key(address: &Address) -> Option<Key> {
    let parsed: std::net::SocketAddr = address.as_str().parse().ok()?;
    Some((Arc::from(parsed.ip().to_string()), parsed.port()))
}

/// The split between both versions of a rollout, for each pair of clusters that lead to them.
fn splits(rollout: &RolloutDecision, topology: &Topology) -> Vec<Split> {
    let clusters = |id: &ServiceId| {
        let declared = topology.services.iter().find(|service| service.service == *id);
        declared.map(|service| service.clusters.clone()).unwrap_or_default()
    };
    let canary = parts(rollout.weight);
    let pairs = clusters(&rollout.stable).into_iter().zip(clusters(&rollout.canary));
    pairs
        .map(|(stable, new)| Split {
            weights: [(stable.name.to_string(), WHOLE - canary), (new.name.to_string(), canary)]
                .into(),
        })
        .collect()
}

/// The split between both versions by their endpoints.
fn sides(rollout: &RolloutDecision, topology: &Topology) -> Parts {
    let endpoints = |id: &ServiceId| {
        let declared = topology.services.iter().find(|service| service.service == *id);
        let all = declared.into_iter().flat_map(|service| &service.endpoints);
        Arc::new(all.filter_map(|endpoint| key(&endpoint.address)).collect())
    };
    let canary = parts(rollout.weight);
    let stable = (endpoints(&rollout.stable), WHOLE - canary);
    Parts { sides: vec![stable, (endpoints(&rollout.canary), canary)] }
}

fn parts(weight: Ratio) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between nothing and all of the parts"
    )]
    let parts = (f64::from(WHOLE) * weight.value()).round() as u32;
    parts
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use weir_engine::decision::{Form, Group};
    use weir_engine::names::Locality;

    use weir_engine::comparison::Verdict;
    use weir_engine::goal::Mode;
    use weir_engine::rollout::{Phase, Reason};

    use super::*;

    #[test]
    fn a_split_that_nobody_wants_or_that_is_anothers_is_left_alone() {
        let id = |name| ServiceId::new("shop", name);
        for (reason, yields, expected) in [
            (Reason::Gathering, None, 1),
            (Reason::Gone, None, 0),
            (Reason::Yielding, Some("Flagger's Canary cart is at work"), 0),
        ] {
            let rollout = RolloutDecision {
                service: id("cart"),
                policy: "shop/cart".into(),
                mode: Mode::Enforce,
                stable: id("cart-v1"),
                canary: id("cart-v2"),
                weight: Ratio::clamped(0.1),
                phase: Phase::Stepping { step: 0 },
                steps: vec![],
                failures: 0,
                verdict: Verdict::default(),
                reason,
                yields: yields.map(Arc::from),
                offer: None,
            };
            let decision = Decision { rollouts: vec![Arc::new(rollout)], ..Decision::default() };
            let opinions = Opinions::of_decision(&decision, &Topology::default());
            assert_eq!(opinions.parts.len(), expected, "{reason:?}");
        }
    }

    /// A member's address, weight and health.
    type Written<'a> = (&'a str, u32, Health);

    fn realisation(groups: &[(u32, &[Written<'_>])]) -> Realisation {
        let weight = |value| NonZeroU32::new(value).unwrap();
        Realisation {
            clusters: vec!["outbound|80||shop".into()],
            form: Form::Weights,
            groups: groups
                .iter()
                .map(|(whole, members)| Group {
                    locality: Locality::default(),
                    weight: weight(*whole),
                    members: members
                        .iter()
                        .map(|(address, own, health)| Member {
                            address: Address::from((*address).to_owned()),
                            weight: weight(*own),
                            health: *health,
                        })
                        .collect(),
                })
                .collect(),
            predicted: Vec::new(),
            shed: Ratio::ZERO,
            zones: Vec::new(),
            panicking: false,
        }
    }

    fn stands(realisation: &Realisation) -> Vec<(String, Stand)> {
        let opinion = of_realisation(realisation);
        let stands = opinion.stands.into_iter();
        stands.map(|((host, port), stand)| (format!("{host}:{port}"), stand)).collect()
    }

    #[test]
    fn equal_shares_are_no_opinion() {
        let healthy = |address| (address, 7, Health::Healthy);
        let even = realisation(&[
            (2, &[healthy("10.0.0.1:80"), healthy("10.0.0.2:80")]),
            (1, &[healthy("[fd00::1]:80")]),
        ]);
        assert_eq!(stands(&even), []);
    }

    #[test]
    fn weights_are_times_the_mean_and_who_is_out_is_out() {
        let uneven = realisation(&[(
            1,
            &[
                ("10.0.0.1:80", 10, Health::Healthy),
                ("10.0.0.2:80", 30, Health::Healthy),
                ("10.0.0.3:80", 20, Health::Unhealthy),
                ("[fd00::1]:80", 20, Health::Draining),
            ],
        )]);
        let stand = |multiplier, out| Stand { multiplier, out };
        let expected = [
            ("10.0.0.1:80".to_owned(), stand(0.5, false)),
            ("10.0.0.2:80".to_owned(), stand(1.5, false)),
            ("10.0.0.3:80".to_owned(), stand(1.0, true)),
        ];
        assert_eq!(stands(&uneven), expected);
    }
}
