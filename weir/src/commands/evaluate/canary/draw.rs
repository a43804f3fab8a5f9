//! Pairs of versions as they might be, drawn from a seed.

use weir_engine::comparison::{Look, Side};
use weir_engine::units::Millis;
use weir_simulator::random::Random;

/// A pair of versions, look after look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// The part of the new version's requests that fail.
    pub(super) canary: f64,
    /// The part of those of the version in use.
    pub(super) stable: f64,
    /// Requests of both in a look.
    pub(super) requests: (u32, u32),
    /// How errors come.
    pub(super) errors: Errors,
    /// How long requests take; none: not timed.
    pub(super) latency: Option<Pace>,
}

/// How errors come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Errors {
    /// Each by itself.
    Alone,
    /// In bursts at each version by itself: each look's ratio is drawn, with a deviation of half
    /// its mean (Gamma of shape four).
    Bursts,
    /// In bursts that hit both alike, as a failing upstream does: one look in five fails at
    /// twenty times the ratio.
    Upstream,
}

/// How long requests take: lognormal, deviation 0.8, around a look's own middle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How much longer they take at the new version.
    pub(super) slower: f64,
    /// Deviation of the logarithm of a version's middle from look to look, as queues make it.
    pub(super) wander: f64,
}

/// The middle of latencies in milliseconds.
const MIDDLE_MS: f64 = 20.0;

/// Deviation of the logarithm of latencies within a look.
const SPREAD: f64 = 0.8;

impl Pair {
    /// The next look.
    pub(super) fn look(&self, random: &mut Random) -> Look {
        let (ours, theirs) = match self.errors {
            Errors::Alone => (1.0, 1.0),
            Errors::Bursts => (gamma(random), gamma(random)),
            Errors::Upstream => {
                let both = if random.unit() < 0.2 { 20.0 } else { 1.0 };
                (both, both)
            }
        };
        let slower = self.latency.map_or(1.0, |pace| pace.slower);
        Look {
            canary: self.side(random, self.requests.0, (self.canary * ours).min(1.0), slower),
            stable: self.side(random, self.requests.1, (self.stable * theirs).min(1.0), 1.0),
        }
    }

    fn side(&self, random: &mut Random, requests: u32, ratio: f64, slower: f64) -> Side {
        let errors = failures(random, requests, ratio);
        let mut side = Side { requests: requests.into(), errors, ..Side::default() };
        if let Some(pace) = self.latency {
            let middle = MIDDLE_MS * slower * libm::exp(pace.wander * random.normal());
            for _ in 0..requests {
                side.latency.record(Millis::clamped(middle * libm::exp(SPREAD * random.normal())));
            }
        }
        side
    }
}

/// A Gamma draw of shape four and mean one.
fn gamma(random: &mut Random) -> f64 {
    (0..4).map(|_| random.exponential()).sum::<f64>() / 4.0
}

/// How many of some requests fail: from one failure to the next is a geometric way.
fn failures(random: &mut Random, requests: u32, ratio: f64) -> f64 {
    if ratio <= 0.0 {
        return 0.0;
    }
    if ratio >= 1.0 {
        return requests.into();
    }
    let (mut at, mut failed) = (0.0, 0.0);
    loop {
        at += 1.0 + (libm::log(random.unit()) / libm::log1p(-ratio)).floor();
        if at > f64::from(requests) {
            return failed;
        }
        failed += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_a_binomials_moments() {
        let draws: Vec<f64> =
            (0..20_000).map(|n| failures(&mut Random::of(1, 1, n), 500, 0.02)).collect();
        let count = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / count;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / count;
        assert!((mean - 10.0).abs() < 0.1, "{mean}");
        assert!((variance - 9.8).abs() < 0.4, "{variance}");
    }

    #[test]
    fn none_and_all_may_fail() {
        let random = &mut Random::of(1, 1, 1);
        assert!(failures(random, 500, 0.0) < 0.5);
        assert!(failures(random, 500, 1.0) > 499.5);
    }
}
