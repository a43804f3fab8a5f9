//! Whether a new version is worse than the one in use, told as early as the evidence allows and
//! no earlier, however often one looks.
//!
//! Failures, requests over the objective's latency and typical latency are compared each by a
//! sequential test that stays valid under peeking; any of them proven worse condemns the version.
//! A test that knows only "worse" and "not proven" would promote whatever nobody calls, so passing
//! has to be proven as well: either both versions differ by little, or what the new one may still
//! do wrong, at the share that it gets next, fits what the goals allow. Small first steps thus
//! need little evidence, the last one needs it all.

use serde::{Deserialize, Serialize};
use weir_engine::comparison::{Bar, Comparison, Finding, Look, Measured, Signal, Verdict};
use weir_engine::latency::Threshold;
use weir_engine::units::{Millis, Ratio};

mod pace;
mod split;

use pace::Pace;
use split::{Split, Tally};

/// Up to this ratio a new version may be worse where it has to be proven to be about as good.
const ALIKE: f64 = 1.5;

/// Typical latency up to a tenth longer is no reason to give a version up (natural logarithm).
const SLOWER_TOLERATED: f64 = 0.095;

/// A difference below this part of all requests is nothing to give a version up for.
const DIFFERENCE_MIN: f64 = 0.0001;

/// Any of three signals condemns, so each may be wrong a third as often.
const SIGNALS: f64 = 3.0;

/// A verdict needs so many looks: a single burst is one event.
const LOOKS_MIN: u32 = 2;

/// What is remembered of two versions: sums, however long it takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    looks: u32,
    errors: Split,
    slow: Split,
    pace: Pace,
}

impl Evidence {
    /// Takes in what both versions did over the same time.
    pub fn absorb(&mut self, look: &Look, bar: &Bar) {
        self.looks = self.looks.saturating_add(1);
        let failed = |side: &weir_engine::comparison::Side| Tally {
            events: side.errors,
            requests: side.requests,
        };
        self.errors.absorb(failed(&look.canary), failed(&look.stable));
        if let Some((latency, _)) = bar.slow_allowed {
            let threshold = Threshold::at(latency);
            let slow = |side: &weir_engine::comparison::Side| Tally {
                events: side.latency.count_over(threshold),
                requests: side.latency.count,
            };
            self.slow.absorb(slow(&look.canary), slow(&look.stable));
        }
        self.pace.absorb(&look.canary.latency, &look.stable.latency, SLOWER_TOLERATED);
    }

    /// What is proven by now.
    pub fn judge(&self, bar: &Bar) -> Verdict {
        let mut comparisons = Vec::new();
        comparisons.extend(compared(&self.errors, Signal::Errors, bar.errors_allowed, bar));
        if let Some((threshold, allowed)) = bar.slow_allowed {
            comparisons.extend(compared(&self.slow, Signal::Slow { threshold }, allowed, bar));
        }
        comparisons.extend(paced(&self.pace, bar.alpha.value()));
        let enough = |requests: f64| requests >= bar.requests_min as f64;
        let seen = enough(self.errors.canary.requests) && enough(self.errors.stable.requests);
        let finding = if seen && self.looks >= LOOKS_MIN {
            together(&comparisons)
        } else {
            Finding::Inconclusive
        };
        Verdict { finding, comparisons }
    }
}

/// What a whole series of looks, in the order of time, proves.
pub fn compare(looks: &[Look], bar: &Bar) -> Verdict {
    let mut evidence = Evidence::default();
    for look in looks {
        evidence.absorb(look, bar);
    }
    evidence.judge(bar)
}

/// One signal that is worse condemns; all have to pass.
fn together(comparisons: &[Comparison]) -> Finding {
    if comparisons.iter().any(|one| one.finding == Finding::Fail) {
        Finding::Fail
    } else if comparisons.iter().all(|one| one.finding == Finding::Pass) {
        Finding::Pass
    } else {
        Finding::Inconclusive
    }
}

fn compared(split: &Split, signal: Signal, allowed: Ratio, bar: &Bar) -> Option<Comparison> {
    let (canary, stable) = (split.canary, split.stable);
    if canary.requests <= 0.0 || stable.requests <= 0.0 {
        return None;
    }
    let alpha = bar.alpha.value();
    let (lower, upper) = split.interval(alpha);
    let at_most = Ratio::clamped(split.canary_at_most(alpha));
    let own = Ratio::of(canary.events, canary.requests).value();
    let others = Ratio::of(stable.events, stable.requests).value();
    let worse = split.chance() < alpha / SIGNALS && own - others >= DIFFERENCE_MIN;
    let fits = bar.exposure.value() * at_most.value() <= allowed.value();
    let finding = match (worse, fits || upper <= ALIKE) {
        (true, _) => Finding::Fail,
        (false, true) => Finding::Pass,
        (false, false) => Finding::Inconclusive,
    };
    let measured = |tally: Tally| Measured::Part { events: tally.events, requests: tally.requests };
    Some(Comparison {
        signal,
        finding,
        canary: measured(canary),
        stable: measured(stable),
        ratio: (own > 0.0 && others > 0.0).then(|| own / others),
        lower,
        upper: upper.is_finite().then_some(upper),
        chance: Ratio::clamped(split.chance()),
        at_most: Some(at_most),
    })
}

fn paced(pace: &Pace, alpha: f64) -> Option<Comparison> {
    if pace.looks <= 0.0 {
        return None;
    }
    let (ratio, lower, upper) = pace.interval(alpha).unwrap_or((0.0, 0.0, f64::INFINITY));
    let finding = if pace.chance() < alpha / SIGNALS && ratio > 1.0 {
        Finding::Fail
    } else if upper <= ALIKE {
        Finding::Pass
    } else {
        Finding::Inconclusive
    };
    let measured = |timed: pace::Timed| Measured::Typical {
        latency: Millis::clamped(timed.typical_ms()),
        requests: timed.requests,
    };
    Some(Comparison {
        signal: Signal::Latency,
        finding,
        canary: measured(pace.canary),
        stable: measured(pace.stable),
        ratio: (ratio > 0.0).then_some(ratio),
        lower,
        upper: upper.is_finite().then_some(upper),
        chance: Ratio::clamped(pace.chance()),
        at_most: None,
    })
}

#[cfg(test)]
mod tests;
