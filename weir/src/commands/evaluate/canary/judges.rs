//! Weir's judge and those that it is compared with. All see the same looks.

use weir_engine::comparison::{Bar, Finding, Look};
use weir_engine::units::{Millis, Ratio};
use weir_models::canary::Evidence;

/// The chance of a false alarm that the tests are set to.
pub(super) const ALPHA: f64 = 0.05;

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judge {
    /// Weir.
    Weir,
    /// A mixture sequential test of the log ratio of pooled counts, half an error added to each:
    /// Johari, Koomen, Pekelis and Walsh, "Peeking at A/B tests", KDD 2017.
    Mixture,
    /// A two-sided z-test of pooled counts at each look.
    Peeking,
    /// The same test, once, at the last look.
    Fixed,
    /// A rule as progressive delivery tools have it: a look with more than 1 % errors fails, five
    /// failed looks give up (Flagger's example of `threshold: 5` and `min: 99`).
    Threshold,
}

impl Judge {
    pub(super) const ALL: [Self; 5] =
        [Self::Weir, Self::Mixture, Self::Peeking, Self::Fixed, Self::Threshold];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Mixture => "mixture",
            Self::Peeking => "z_peeking",
            Self::Fixed => "z_fixed",
            Self::Threshold => "threshold",
        }
    }
}

/// What Weir's judge is asked in simulations: 99.9 % shall be available, 99 % within 500 ms.
pub(super) fn bar() -> Bar {
    Bar {
        alpha: Ratio::clamped(ALPHA),
        requests_min: 100,
        errors_allowed: Ratio::clamped(0.001),
        slow_allowed: Some((Millis::clamped(500.0), Ratio::clamped(0.01))),
        exposure: Ratio::ONE,
    }
}

/// The look, counted from 1, at which a judge gives the new version up, if it does.
pub(super) fn gives_up(judge: Judge, looks: &[Look], bar: &Bar) -> Option<u32> {
    let mut sums = Sums::default();
    let mut evidence = Evidence::default();
    for (look, number) in looks.iter().zip(1..) {
        sums.add(look);
        let last = number as usize == looks.len();
        let failed = match judge {
            Judge::Weir => {
                evidence.absorb(look, bar);
                evidence.judge(bar).finding == Finding::Fail
            }
            Judge::Mixture => sums.is_worse() && sums.odds() > 1.0 / ALPHA,
            Judge::Peeking => sums.is_worse() && sums.z() > 1.96,
            Judge::Fixed => last && sums.is_worse() && sums.z() > 1.96,
            Judge::Threshold => sums.bad_looks >= 5,
        };
        if failed {
            return Some(number);
        }
    }
    None
}

/// Counts pooled over looks.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    canary: (f64, f64),
    stable: (f64, f64),
    bad_looks: u32,
}

impl Sums {
    fn add(&mut self, look: &Look) {
        self.canary.0 += look.canary.errors;
        self.canary.1 += look.canary.requests;
        self.stable.0 += look.stable.errors;
        self.stable.1 += look.stable.requests;
        self.bad_looks += u32::from(look.canary.errors > 0.01 * look.canary.requests);
    }

    fn ratios(&self) -> (f64, f64) {
        let of = |(errors, requests): (f64, f64)| Ratio::of(errors, requests).value();
        (of(self.canary), of(self.stable))
    }

    fn is_worse(&self) -> bool {
        let (canary, stable) = self.ratios();
        canary > stable
    }

    fn z(&self) -> f64 {
        let (canary, stable) = self.ratios();
        let pooled =
            Ratio::of(self.canary.0 + self.stable.0, self.canary.1 + self.stable.1).value();
        let inverse = 1.0 / self.canary.1.max(1.0) + 1.0 / self.stable.1.max(1.0);
        let variance = pooled * (1.0 - pooled) * inverse;
        if variance > 0.0 { (canary - stable).abs() / variance.sqrt() } else { 0.0 }
    }

    fn odds(&self) -> f64 {
        const MIXING: f64 = 0.48;
        let log = |(errors, requests): (f64, f64)| libm::log((errors + 0.5) / (requests + 1.0));
        let part = |(errors, requests): (f64, f64)| 1.0 / (errors + 0.5) - 1.0 / (requests + 1.0);
        let difference = log(self.canary) - log(self.stable);
        let variance = part(self.canary) + part(self.stable);
        let sum = variance + MIXING;
        let exponent = MIXING * difference * difference / (2.0 * variance * sum);
        libm::sqrt(variance / sum) * libm::exp(exponent)
    }
}
