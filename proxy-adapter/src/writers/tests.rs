use weir_engine::comparison::Verdict;
use weir_engine::decision::Stance;
use weir_engine::goal::Mode;
use weir_engine::names::{Locality, ServiceId};
use weir_engine::observation::Source;
use weir_engine::rollout::{Phase, Reason};
use weir_engine::topology::Endpoint;
use weir_engine::units::PerSecond;
use weir_engine::zones::{Way, ZoneSplit};

use super::*;

fn id(name: &str) -> ServiceId {
    ServiceId::new("shop", name)
}

fn rollout(weight: f64) -> RolloutDecision {
    RolloutDecision {
        service: id("search"),
        policy: "shop/search".into(),
        mode: Mode::Enforce,
        stable: id("search-v6"),
        canary: id("search-v7"),
        weight: Ratio::clamped(weight),
        phase: Phase::Stepping { step: 0 },
        steps: vec![],
        failures: 0,
        verdict: Verdict::default(),
        reason: Reason::Gathering,
        yields: None,
        offer: None,
    }
}

fn topology(places: &[(&str, &str)]) -> ServiceTopology {
    let endpoint = |(number, (region, zone)): (usize, &(&str, &str))| Endpoint {
        address: format!("10.0.0.{number}:80").as_str().into(),
        locality: Locality {
            region: (*region).into(),
            zone: (*zone).into(),
            ..Locality::default()
        },
        concurrency: None,
        ready: true,
    };
    ServiceTopology {
        service: id("cart"),
        endpoints: places.iter().enumerate().map(endpoint).collect(),
        clusters: vec![],
        counts: Source::LoadReport,
    }
}

fn near(client: &str, shares: &[(&str, f64)]) -> ServiceDecision {
    let way = |(zone, share): &(&str, f64)| Way {
        zone: (*zone).into(),
        factor: 1.0,
        share: Ratio::clamped(*share),
    };
    let ways = shares.iter().map(way).collect();
    ServiceDecision {
        service: id("cart"),
        policy: "shop/cart".into(),
        mode: Mode::Enforce,
        stance: Stance::Steering,
        load: PerSecond::default(),
        capacity: None,
        endpoints: vec![],
        realisations: vec![],
        shed: Ratio::ZERO,
        zones: vec![ZoneSplit { client: client.into(), part: Ratio::clamped(0.5), ways }],
        objectives: vec![],
        moved: Ratio::ZERO,
        warnings: vec![],
        offer: None,
        approval: None,
    }
}

#[test]
fn a_rollouts_weights_are_together_all_and_nothing_else_is_written() {
    for (weight, stable, canary) in [(0.0, 10_000, 0), (0.02, 9_800, 200), (1.0, 0, 10_000)] {
        let route = http_route(&rollout(weight));
        let backends = &route["spec"]["rules"][0]["backendRefs"];
        assert_eq!([&backends[0]["weight"], &backends[1]["weight"]], [stable, canary]);
        let service = virtual_service(&rollout(weight));
        let routes = &service["spec"]["http"][0]["route"];
        assert_eq!([&routes[0]["weight"], &routes[1]["weight"]], [stable, canary]);
    }
    insta::assert_snapshot!(format!(
        "{:#}\n{:#}",
        http_route(&rollout(0.02)),
        virtual_service(&rollout(0.02))
    ));
}

#[test]
fn zones_are_localities_of_istio() {
    let topology = topology(&[("eu", "a"), ("eu", "b"), ("eu", "b")]);
    let rule = destination_rule(&near("a", &[("a", 0.667), ("b", 0.333)]), &topology);
    insta::assert_snapshot!(format!("{:#}", rule.expect("zones differ")));
}

#[test]
fn what_istio_cannot_name_is_left_out() {
    let shares = [("a", 0.5), ("b", 0.5)];
    let unnamed = topology(&[("", "a"), ("", "b")]);
    assert_eq!(destination_rule(&near("a", &shares), &unnamed), None);
    let twice = topology(&[("eu", "a"), ("us", "a"), ("eu", "b")]);
    assert_eq!(destination_rule(&near("a", &shares), &twice), None);
    let mut alike = near("a", &shares);
    alike.zones.clear();
    assert_eq!(destination_rule(&alike, &topology(&[("eu", "a")])), None);
}
