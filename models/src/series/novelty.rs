//! Whether a sample is unusual by several signs at once.
//!
//! Each sign compares what is new with the long run in its own way ([`Sign`]), and is ranked
//! among its own past; the logarithms of the ranks are summed (Fisher, 1925, "Statistical Methods
//! for Research Workers"). Signs are not independent, so the sum is no chi-squared: it is ranked
//! among its own past in turn. A sum, since faults show in several signs at once and noise in one;
//! and ranked, so that a series without a daily rhythm, whose sums are small, is judged alike.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::rank::Ranks;
use super::recent::Recent;
use super::season::Season;

/// Samples of the long run: two weeks of five-minute samples.
const MEMORY: f64 = 4_000.0;
/// Slots by which a day may be early or late.
const SLACK: usize = 2;

/// Signs.
const SIGNS: usize = 6;

/// In which way samples are unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sign {
    /// The last three samples are off the level of the last hours.
    Level,
    /// The last hundred samples are off the level of the long run.
    Drift,
    /// The last ten steps from sample to sample are larger.
    Spread,
    /// The last ten samples are all above or all below what is usual at this time of day.
    Shift,
    /// The last thirty samples are far from it, above or below.
    Hours,
    /// This sample is outside of all samples so far.
    Range,
}

impl Sign {
    /// All, in the order of a judgement.
    pub const ALL: [Self; SIGNS] =
        [Self::Level, Self::Drift, Self::Spread, Self::Shift, Self::Hours, Self::Range];
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Level => "level of the last 3 samples",
            Self::Drift => "level of the last 100 samples",
            Self::Spread => "steps of the last 10 samples",
            Self::Shift => "shift of the last 10 samples from what is usual at this time of day",
            Self::Hours => "distance of the last 30 samples from what is usual at this time of day",
            Self::Range => "distance from the range of all samples",
        })
    }
}

/// What is remembered of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Novelty {
    season: Season,
    last: Option<f64>,
    level: Recent,
    drift: Recent,
    spread: Recent,
    shift: Recent,
    hours: Recent,
    range: Range,
    ranks: [Ranks; SIGNS],
    all: Ranks,
}

/// How unusual a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The part of samples so far that were as unusual, by all signs together.
    pub rank: f64,
    /// The same by each sign, in the order of [`Sign::ALL`].
    pub signs: [f64; SIGNS],
}

impl Judgement {
    /// The sign that is rarest by itself.
    pub fn rarest(&self) -> (Sign, f64) {
        let signs = Sign::ALL.into_iter().zip(self.signs);
        signs.reduce(|a, b| if b.1 < a.1 { b } else { a }).unwrap_or((Sign::Level, 1.0))
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, rank) = self.rarest();
        let one_in = |rank: f64| libm::round(1.0 / rank.max(1e-9));
        write!(f, "as unusual as 1 in {} samples so far; ", one_in(self.rank))?;
        write!(f, "the {sign} alone as 1 in {}", one_in(rank))
    }
}

impl Novelty {
    /// Of a series whose day has so many slots.
    pub fn new(slots: usize) -> Self {
        Self {
            season: Season::new(slots),
            last: None,
            level: Recent::new(3, 300.0),
            drift: Recent::new(100, MEMORY),
            spread: Recent::new(10, MEMORY),
            shift: Recent::new(10, MEMORY),
            hours: Recent::new(30, MEMORY),
            range: Range::default(),
            ranks: Default::default(),
            all: Ranks::default(),
        }
    }

    /// Takes in a sample in its slot of the day.
    pub fn see(&mut self, slot: usize, value: f64) -> Judgement {
        let value = if value.is_finite() { value } else { self.last.unwrap_or(0.0) };
        let step = (value - self.last.unwrap_or(value)).abs();
        let shift = self.season.residual(slot, 0, value).unwrap_or(0.0);
        let away = self.season.residual(slot, SLACK, value).unwrap_or(0.0);
        let scores = [
            self.level.see(value).abs(),
            self.drift.see(value).abs(),
            self.spread.see(step),
            self.shift.see(shift).abs(),
            self.hours.see(away.abs()),
            self.range.see(value),
        ];
        self.season.see(slot, value);
        self.last = Some(value);
        let mut signs = [1.0; SIGNS];
        for ((sign, ranks), score) in signs.iter_mut().zip(&mut self.ranks).zip(scores) {
            *sign = ranks.see(score);
        }
        let rarity = signs.iter().map(|sign| -libm::log(*sign)).sum();
        Judgement { rank: self.all.see(rarity), signs }
    }
}

/// The least and the largest of all samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Range {
    ends: Option<(f64, f64)>,
}

impl Range {
    /// By how much of its width a sample is outside; it is widened thereafter.
    fn see(&mut self, value: f64) -> f64 {
        let (least, most) = self.ends.unwrap_or((value, value));
        self.ends = Some((least.min(value), most.max(value)));
        let outside = (value - most).max(least - value).max(0.0);
        if most > least { outside / (most - least) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;
    use weir_simulator::random::Random;

    /// Two weeks of days with noise, changed by the caller.
    fn judged(change: impl Fn(usize, f64) -> f64) -> Vec<Judgement> {
        let (mut novelty, mut random) = (Novelty::new(288), Random::of(7, 7, 7));
        let judged = (0..14 * 288).map(|at| {
            let day = libm::sin((at % 288) as f64 / 288.0 * core::f64::consts::TAU);
            let value = 100.0 + 50.0 * day + 2.0 * random.normal();
            novelty.see(at % 288, change(at, value))
        });
        judged.collect()
    }

    #[track_caller]
    fn check(change: impl Fn(usize, f64) -> f64, from: usize, sign: Sign) {
        let judged = judged(change);
        let found = judged[from..from + 40].iter().min_by(|a, b| a.rank.total_cmp(&b.rank));
        let found = found.unwrap();
        assert!(found.rank < 0.002, "{found}");
        let rank = found.signs[Sign::ALL.iter().position(|one| *one == sign).unwrap()];
        assert!(rank < 0.02, "{sign} has {rank}: {found:?}");
    }

    #[test]
    fn finds_what_is_unusual_in_each_way() {
        const AT: usize = 3_000;
        let during = |at: usize| (AT..AT + 60).contains(&at);
        check(|at, value| if during(at) { 250.0 } else { value }, AT, Sign::Range);
        check(|at, value| if during(at) { 100.0 } else { value }, AT, Sign::Hours);
        check(|at, value| if during(at) { value + 15.0 } else { value }, AT, Sign::Shift);
        let jitter =
            |at: usize, value: f64| if at.is_multiple_of(2) { value + 12.0 } else { value - 12.0 };
        check(|at, value| if during(at) { jitter(at, value) } else { value }, AT, Sign::Spread);
    }

    #[test]
    fn quiet_days_are_as_rare_as_they_are() {
        let judged = judged(|_, value| value);
        let rare = judged[604..].iter().filter(|judgement| judgement.rank <= 0.005).count();
        assert!(rare <= 60, "{rare} of 3,428 at 0.5 %");
    }

    #[test]
    fn says_why() {
        // Range and steps are as rare; the first is named.
        let judged = judged(|at, value| if at >= 3_000 { 300.0 } else { value });
        let text = judged[3_000].to_string();
        assert!(text.starts_with("as unusual as 1 in "), "{text}");
        assert!(text.contains("; the steps of the last 10 samples alone as 1 in 3001"), "{text}");
    }

    proptest! {
        #[test]
        fn any_series_is_judged(values in prop::collection::vec(any::<f64>(), 1..300), slots in 1_usize..50) {
            let mut novelty = Novelty::new(slots);
            for (at, value) in values.into_iter().enumerate() {
                let judgement = novelty.see(at % slots, value);
                prop_assert!(judgement.rank > 0.0 && judgement.rank <= 1.0);
            }
        }

        #[test]
        fn units_do_not_matter(values in prop::collection::vec(1.0..100.0_f64, 50..200)) {
            let (mut one, mut other) = (Novelty::new(24), Novelty::new(24));
            for (at, value) in values.into_iter().enumerate() {
                // A power of two, so that not even rounding differs.
                let (a, b) = (one.see(at, value), other.see(at, value * 1_024.0));
                prop_assert!((a.rank - b.rank).abs() < 1e-9, "{a:?} {b:?}");
            }
        }
    }
}
