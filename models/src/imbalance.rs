//! When a difference between endpoints lasts: the way out of rest, and back.
//!
//! The resting state is equal shares. It is the better half of what a controller can do: with
//! moving load, one that follows every difference harms in every form that a share can take
//! (measured: tail latency 1.2 to 5.7 times that of plain least request). So a proven difference
//! (see [`crate::kinds`]) is adopted only once it has lasted: the shorter, the larger it is. Where
//! experience says that differences last (see [`crate::persistence`]), it is adopted at once. It is
//! given up slowly, and not before ten seconds, but no more of it is acted on than is left.

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

/// What is left of a difference at least, until it is given up.
const LEFT: f64 = 0.01;

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

    /// Takes in the difference that is seen now; zero is none, and `own` is then what there is of
    /// one, too small to count. A `trusted` one is adopted at once.
    pub(crate) fn see(&mut self, seen: f64, own: f64, trusted: bool, at: Moment) {
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
        if seen == 0.0 && self.stands() {
            self.shrink(own);
        }
        let since = *self.otherwise.get_or_insert(at);
        let gone = if seen == 0.0 { GONE } else { Duration::ZERO };
        let wait = if trusted { Duration::ZERO } else { lasting(change) };
        if at.since(since) >= wait.max(gone) {
            *self = Self { adopted: seen, otherwise: None };
        }
    }

    /// While a difference that is no more waits to be given up, no more of it is acted on than is
    /// left: that leads to equal shares, where no caution is needed.
    fn shrink(&mut self, own: f64) {
        let left = (own * self.adopted.signum()).min(self.adopted.abs()).max(LEFT);
        self.adopted = left * self.adopted.signum();
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
            state.see(seen, 0.0, false, Moment::from_millis(1_000 * second));
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
    fn trusted_ones_are_adopted_at_once() {
        let mut state = Difference::default();
        state.see(-0.7, 0.0, true, Moment::from_millis(0));
        assert!(state.stands());
    }

    #[test]
    fn acts_on_no_more_than_is_left() {
        let mut state = Difference { adopted: -1.0, otherwise: None };
        state.see(0.0, -0.15, false, Moment::from_millis(0));
        assert!((state.adopted + 0.15).abs() < 1e-9);
        state.see(0.0, 0.3, false, Moment::from_millis(1_000));
        assert!((state.adopted + LEFT).abs() < 1e-9, "{state:?}");
    }

    #[test]
    fn is_given_up_only_once_it_is_gone_for_a_while() {
        let mut state = Difference { adopted: 0.7, otherwise: None };
        let mut at = |second: u64, seen: f64| {
            state.see(seen, 0.6, false, Moment::from_millis(1_000 * second));
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
                state.see(if on { seen } else { 0.0 }, 0.0, false, Moment::from_millis(1_000 * second));
                prop_assert!(!state.stands());
            }
        }
    }
}
