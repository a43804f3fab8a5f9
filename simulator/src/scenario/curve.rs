//! Values over time: straight lines between knots.

use crate::random::Random;

/// Stream of randomness of alternating curves.
const ALTERNATING: u64 = 6;

/// A value over time: straight lines between knots of (second, value), level outside them.
/// Two knots at one second make a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve(Vec<(f64, f64)>);

impl Curve {
    /// Always the same.
    pub fn level(value: f64) -> Self {
        Self(vec![(0.0, value)])
    }

    /// Through knots in ascending order of time.
    pub fn through(knots: &[(f64, f64)]) -> Self {
        assert!(knots.windows(2).all(|pair| pair[0].0 <= pair[1].0), "knots ascend in time");
        Self(knots.to_vec())
    }

    /// One value, and another between two moments.
    pub fn between(from: f64, until: f64, outside: f64, inside: f64) -> Self {
        Self(vec![(from, outside), (from, inside), (until, inside), (until, outside)])
    }

    /// One value, and another for exponentially distributed times in turn: `often` is the mean
    /// length in seconds of each.
    pub fn alternating(seed: u64, number: u64, often: (f64, f64), inside: f64, until: f64) -> Self {
        let mut random = Random::of(seed, ALTERNATING, number);
        let (mut knots, mut at) = (Vec::new(), 0.0);
        // Whoever is seen first at any moment is in either state as often as it usually is.
        let mut on = random.unit() < often.1 / (often.0 + often.1);
        while at < until {
            let (value, mean) = if on { (inside, often.1) } else { (1.0, often.0) };
            knots.push((at, value));
            at += mean * random.exponential();
            knots.push((at, value));
            on = !on;
        }
        Self(knots)
    }

    /// This and another one, put together value by value: exact at every knot and step of both,
    /// and between them wherever one of the two is level.
    #[must_use]
    pub fn with(&self, other: &Self, together: impl Fn(f64, f64) -> f64) -> Self {
        let mut times: Vec<f64> = self.0.iter().chain(&other.0).map(|knot| knot.0).collect();
        times.sort_unstable_by(f64::total_cmp);
        times.dedup();
        let knots = times.into_iter().flat_map(|at| {
            let before = together(self.before(at), other.before(at));
            [(at, before), (at, together(self.at(at), other.at(at)))]
        });
        Self(knots.collect())
    }

    /// The value just before a second.
    fn before(&self, second: f64) -> f64 {
        self.between_knots(self.0.partition_point(|knot| knot.0 < second), second)
    }

    /// The same, so many times as high.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|&(second, value)| (second, value * factor)).collect())
    }

    /// The value at a second.
    pub fn at(&self, second: f64) -> f64 {
        self.between_knots(self.0.partition_point(|knot| knot.0 <= second), second)
    }

    fn between_knots(&self, next: usize, second: f64) -> f64 {
        match (next.checked_sub(1).and_then(|last| self.0.get(last)), self.0.get(next)) {
            (Some(last), Some(next)) => {
                last.1 + (next.1 - last.1) * (second - last.0) / (next.0 - last.0)
            }
            (Some(only), None) | (None, Some(only)) => only.1,
            (None, None) => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_step_and_ramp() {
        let step = Curve::between(10.0, 20.0, 1.0, 5.0);
        let ramp = Curve::through(&[(10.0, 5.0), (20.0, 1.0)]);
        let at = |curve: &Curve| [9.9, 10.0, 15.0, 20.0].map(|second| curve.at(second));
        assert_eq!(at(&step).map(f64::to_bits), [1.0, 5.0, 5.0, 1.0].map(f64::to_bits));
        assert_eq!(at(&ramp).map(f64::to_bits), [5.0, 5.0, 3.0, 1.0].map(f64::to_bits));
    }

    #[test]
    fn two_curves_make_one() {
        let slow = Curve::between(10.0, 20.0, 1.0, 3.0);
        let easing = Curve::through(&[(15.0, 1.0), (15.0, 4.0), (25.0, 2.0), (25.0, 1.0)]);
        let both = slow.with(&easing, |a, b| a * b);
        for (second, expected) in [
            (9.0, 1.0),
            (12.0, 3.0),
            (15.0, 12.0),
            (17.5, 10.5),
            (20.0, 3.0),
            (24.9, 2.02),
            (30.0, 1.0),
        ] {
            let value = both.at(second);
            assert!((value - expected).abs() < 1e-9, "{value} at {second}");
        }
    }
}
