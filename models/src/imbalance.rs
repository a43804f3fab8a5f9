//! When a difference between endpoints lasts: the way out of rest, and back.
//!
//! The resting state is equal shares. It is the better half of what a controller can do: with
//! moving load, one that follows every difference harms in every form that a share can take
//! (measured: tail latency 1.2 to 5.7 times that of plain least request). So a proven difference
//! (see [`crate::kinds`]) is adopted only once it has lasted: the shorter, the larger it is. It is
//! given up as slowly, and not before ten seconds.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use weir_engine::units::Moment;

use crate::kinds::RETURNS;

/// How long it must last for a factor of e; less for more, within the two bounds.
const LASTS: f64 = 10.0;
const LASTS_LEAST: f64 = 3.0;
const LASTS_MOST: f64 = 20.0;

/// So many deviations of its estimate count for an endpoint that has yet to prove itself.
const ADOPTED_BY: f64 = 3.0;

/// How long it must be gone at least.
const GONE: Duration = Duration::from_secs(10);

/// How an endpoint differs from its peers, as far as that is acted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// Logarithm of its capacity over the main kind's that is acted on; zero is none.
    pub(crate) adopted: f64,
    /// Since when another one is seen.
    otherwise: Option<Moment>,
}

impl Difference {
    /// Whether any is acted on.
    pub(crate) fn stands(&self) -> bool {
        self.adopted != 0.0
    }

    /// Takes in the difference that is seen now; zero is none.
    pub(crate) fn see(&mut self, seen: f64, at: Moment) {
        let change = (seen - self.adopted).abs();
        if self.stands() && seen != 0.0 && change < RETURNS {
            // Much the same: it is followed, since that moves little.
            *self = Self { adopted: seen, otherwise: None };
            return;
        }
        if change <= 0.0 || !seen.is_finite() {
            self.otherwise = None;
            return;
        }
        let since = *self.otherwise.get_or_insert(at);
        let gone = if seen == 0.0 { GONE } else { Duration::ZERO };
        if at.since(since) >= lasting(change).max(gone) {
            *self = Self { adopted: seen, otherwise: None };
        }
    }

    /// Adopts what is seen at once: of an endpoint that is new or proving itself, with which
    /// caution costs nothing.
    pub(crate) fn adopt(&mut self, seen: f64, deviation: f64) {
        let counts = seen.abs() > RETURNS && seen.abs() > ADOPTED_BY * deviation;
        *self = Self { adopted: if counts { seen } else { 0.0 }, otherwise: None };
    }

    /// Nothing was seen: what stands stands, and waiting starts anew.
    pub(crate) fn see_nothing(&mut self) {
        self.otherwise = None;
    }
}

fn lasting(change: f64) -> Duration {
    Duration::from_secs_f64((LASTS / change).clamp(LASTS_LEAST, LASTS_MOST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(seconds: u64, seen: f64) -> bool {
        let mut state = Difference::default();
        for second in 0..=seconds {
            state.see(seen, Moment::from_millis(1_000 * second));
        }
        state.stands()
    }

    #[test]
    fn larger_differences_wait_less() {
        let ln = libm::log;
        assert!(!after(2, ln(0.01)) && after(3, ln(0.01)));
        assert!(!after(4, ln(0.1)) && after(5, ln(0.1)));
        assert!(!after(14, ln(0.5)) && after(15, ln(0.5)));
        assert!(!after(1_000, 0.0) && !after(1_000, f64::NAN));
    }

    #[test]
    fn is_given_up_only_once_it_is_gone_for_a_while() {
        let mut state = Difference { adopted: 0.7, otherwise: None };
        let mut at = |second: u64, seen: f64| {
            state.see(seen, Moment::from_millis(1_000 * second));
            state.adopted
        };
        assert!((0..100).all(|second| at(second, 0.6) > 0.5), "it is followed");
        assert!((100..116).all(|second| at(second, 0.0) > 0.5));
        assert!(at(117, 0.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn what_comes_and_goes_faster_than_the_wait_never_counts(
            length in 1_u64..4, seen in 0.3..1.1_f64,
        ) {
            let mut state = Difference::default();
            for second in 0..200 {
                let on = second / length % 2 == 0;
                state.see(if on { seen } else { 0.0 }, Moment::from_millis(1_000 * second));
                prop_assert!(!state.stands());
            }
        }
    }
}
