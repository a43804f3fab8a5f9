use proptest::prelude::*;
use weir_engine::comparison::{Bar, Finding, Look, Side};
use weir_engine::latency::Latency;
use weir_engine::units::{Millis, Ratio};
use weir_simulator::random::Random;

use super::Evidence;

fn bar() -> Bar {
    Bar {
        alpha: Ratio::clamped(0.05),
        requests_min: 100,
        errors_allowed: Ratio::clamped(0.001),
        slow_allowed: Some((Millis::clamped(500.0), Ratio::clamped(0.01))),
        exposure: Ratio::ONE,
    }
}

fn side(requests: f64, errors: f64) -> Side {
    Side { requests, errors, latency: Latency::default() }
}

/// Draws without bursts: each request fails by itself.
fn failing(random: &mut Random, requests: u32, ratio: f64) -> Side {
    let errors = (0..requests).filter(|_| random.unit() < ratio).count();
    side(requests.into(), errors as f64)
}

fn timed(random: &mut Random, requests: u32, mean_ms: f64) -> Side {
    let mut side = side(requests.into(), 0.0);
    for _ in 0..requests {
        side.latency.record(Millis::clamped(mean_ms * random.lognormal(0.8)));
    }
    side
}

/// The look at which each of some runs fails.
fn failures(runs: u64, looks: u32, draw: impl Fn(&mut Random) -> Look) -> Vec<Option<u32>> {
    let run = |seed| {
        let (mut evidence, mut random) = (Evidence::default(), Random::of(seed, 9, 0));
        (1..=looks).find(|_| {
            evidence.absorb(&draw(&mut random), &bar());
            evidence.judge(&bar()).finding == Finding::Fail
        })
    };
    (0..runs).map(run).collect()
}

#[test]
fn equal_versions_are_seldom_told_apart() {
    let equal = |ratio| {
        move |random: &mut Random| Look {
            canary: failing(random, 500, ratio),
            stable: failing(random, 500, ratio),
        }
    };
    for ratio in [0.001, 0.01, 0.05] {
        let failed = failures(500, 40, equal(ratio)).iter().flatten().count();
        assert!(failed <= 7, "{failed} of 500 at {ratio}");
    }
}

#[test]
fn twice_the_errors_are_found_in_six_looks() {
    let mut found = failures(301, 60, |random| Look {
        canary: failing(random, 500, 0.02),
        stable: failing(random, 500, 0.01),
    });
    found.sort();
    assert!(found[150].is_some_and(|look| look <= 6), "{:?}", found[150]);
}

#[test]
fn an_upstream_that_fails_for_both_condemns_nobody() {
    let failed = failures(300, 40, |random| {
        let ratio = if random.unit() < 0.2 { 0.3 } else { 0.002 };
        Look { canary: failing(random, 100, ratio), stable: failing(random, 1_900, ratio) }
    });
    assert!(failed.iter().flatten().count() <= 6);
}

#[test]
fn a_slower_version_is_found_and_an_equal_one_is_not() {
    let at = |ms: f64| {
        move |random: &mut Random| Look {
            canary: timed(random, 200, ms),
            stable: timed(random, 800, 20.0),
        }
    };
    assert_eq!(failures(100, 20, at(20.0)).iter().flatten().count(), 0);
    let mut found = failures(101, 20, at(30.0));
    found.sort();
    assert!(found[50].is_some_and(|look| look <= 6), "{:?}", found[50]);
}

#[test]
fn nothing_and_little_prove_nothing() {
    let mut evidence = Evidence::default();
    assert_eq!(evidence.judge(&bar()).finding, Finding::Inconclusive);
    assert_eq!(evidence.judge(&bar()).to_string(), "too few requests to compare");
    evidence.absorb(&Look { canary: side(20.0, 20.0), stable: side(0.0, 0.0) }, &bar());
    evidence.absorb(&Look { canary: side(20.0, 20.0), stable: side(900.0, 0.0) }, &bar());
    assert_eq!(evidence.judge(&bar()).finding, Finding::Inconclusive);
}

#[test]
fn a_small_share_passes_on_less_than_all_traffic_does() {
    let mut evidence = Evidence::default();
    for _ in 0..6 {
        evidence.absorb(&Look { canary: side(200.0, 0.0), stable: side(3_800.0, 2.0) }, &bar());
    }
    let small = Bar { exposure: Ratio::clamped(0.1), ..bar() };
    assert_eq!(evidence.judge(&small).finding, Finding::Pass);
    assert_eq!(evidence.judge(&bar()).finding, Finding::Inconclusive);
}

#[test]
fn says_what_it_rests_on() {
    let mut evidence = Evidence::default();
    for _ in 0..6 {
        evidence.absorb(&Look { canary: side(500.0, 12.0), stable: side(4_500.0, 40.0) }, &bar());
    }
    let verdict = evidence.judge(&bar());
    assert_eq!(verdict.finding, Finding::Fail);
    assert_eq!(
        verdict.to_string(),
        "errors 2.40 % (72 of 3000) against 0.89 % (240 of 27000), surely 1.65 to 4.26 times; \
         without a difference the chance of this is below 0.01 %"
    );
}

proptest! {
    #[test]
    fn any_numbers_give_a_verdict(looks in prop::collection::vec(any::<[f64; 4]>(), 0..6)) {
        let mut evidence = Evidence::default();
        for [cn, ce, sn, se] in looks {
            evidence.absorb(&Look { canary: side(cn, ce), stable: side(sn, se) }, &bar());
        }
        for comparison in evidence.judge(&bar()).comparisons {
            prop_assert!(comparison.lower.is_finite() && comparison.lower >= 0.0);
            prop_assert!((0.0..=1.0).contains(&comparison.chance.value()));
        }
    }

    #[test]
    fn the_ratio_lies_within_its_bounds(canary in 5_u32..200, stable in 5_u32..200) {
        let mut evidence = Evidence::default();
        let look =
            Look { canary: side(5_000.0, canary.into()), stable: side(5_000.0, stable.into()) };
        evidence.absorb(&look, &bar());
        let comparison = &evidence.judge(&bar()).comparisons[0];
        let ratio = comparison.ratio.unwrap();
        prop_assert!(comparison.lower <= ratio);
        prop_assert!(comparison.upper.is_none_or(|upper| ratio <= upper));
    }
}
