//! When a difference between endpoints is proven, and lasts: the way out of rest, and back.
//!
//! The resting state is equal shares. It is the better half of what a controller can do: with
//! moving load, one that follows every difference harms in every form that a share can take
//! (measured: tail latency 1.2 to 5.7 times that of plain least request). So an endpoint counts as
//! different only if it is by a factor of 1.35, by five deviations of its estimate, and for a
//! while: the shorter, the larger the difference. It counts as like the others again once it is
//! within a factor of 1.2 for ten seconds.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use weir_engine::units::Moment;

/// ln(1.35): a smaller difference is not worth leaving rest for.
const LEAVES: f64 = 0.300_104_592_450_338_15;

/// ln(1.2): a smaller one is not worth staying away for.
const RETURNS: f64 = 0.182_321_556_793_954_63;

/// So many deviations prove it. One look in three million passes by chance.
const PROVEN: f64 = 5.0;

/// How long it must last for a factor of e; less for more, within the two bounds.
const LASTS: f64 = 6.0;
const LASTS_LEAST: f64 = 3.0;
const LASTS_MOST: f64 = 20.0;

/// How long it must be gone.
const GONE: Duration = Duration::from_secs(10);

/// Whether an endpoint differs from its peers, and since when it seems otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// Proven and lasting.
    pub(crate) stands: bool,
    /// Since when the contrary is seen.
    otherwise: Option<Moment>,
}

/// What is seen of an endpoint against its peers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    /// Logarithm of its capacity over the peers' median.
    pub(crate) difference: f64,
    /// Deviation of that.
    pub(crate) deviation: f64,
    /// It is new or proving itself: caution costs nothing, so nothing has to last.
    pub(crate) passing: bool,
}

impl Difference {
    /// Takes in a look.
    pub(crate) fn see(&mut self, look: Look, at: Moment) {
        let size = look.difference.abs();
        // Written so that NaN proves nothing.
        let differs = size > LEAVES && size > PROVEN * look.deviation;
        let contrary = if self.stands { size < RETURNS } else { differs };
        if !contrary {
            self.otherwise = None;
            return;
        }
        let since = *self.otherwise.get_or_insert(at);
        let needed = if self.stands { GONE } else { lasting(size, look.passing) };
        if at.since(since) >= needed {
            *self = Self { stands: !self.stands, otherwise: None };
        }
    }

    /// Nothing was seen: what stands stands, and waiting starts anew.
    pub(crate) fn see_nothing(&mut self) {
        self.otherwise = None;
    }
}

fn lasting(size: f64, passing: bool) -> Duration {
    let seconds = if passing { 0.0 } else { (LASTS / size).clamp(LASTS_LEAST, LASTS_MOST) };
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(seconds: u64, difference: f64, deviation: f64) -> bool {
        let mut state = Difference::default();
        for second in 0..=seconds {
            let look = Look { difference, deviation, passing: false };
            state.see(look, Moment::from_millis(1_000 * second));
        }
        state.stands
    }

    #[test]
    fn larger_differences_wait_less() {
        let ln = libm::log;
        assert!(!after(2, ln(10.0), 0.1) && after(3, ln(10.0), 0.1));
        assert!(!after(5, ln(0.5), 0.1) && after(9, ln(0.5), 0.1));
        assert!(!after(1_000, ln(1.3), 0.001), "too small");
        assert!(!after(1_000, ln(2.0), 0.2), "not proven");
        assert!(!after(1_000, f64::NAN, f64::NAN));
    }

    #[test]
    fn returns_to_rest_only_once_it_is_gone_for_a_while() {
        let mut state = Difference { stands: true, otherwise: None };
        let mut at = |second: u64, difference: f64| {
            let look = Look { difference, deviation: 0.01, passing: false };
            state.see(look, Moment::from_millis(1_000 * second));
            state.stands
        };
        assert!((0..100).all(|second| at(second, 0.25)), "between the two edges it stays");
        assert!((100..110).all(|second| at(second, 0.1)));
        assert!(!at(110, 0.1));
    }

    proptest! {
        #[test]
        fn what_comes_and_goes_faster_than_the_wait_never_counts(
            length in 1_u64..4, factor in 1.4..3.0_f64,
        ) {
            let mut state = Difference::default();
            for second in 0..200 {
                let on = second / length % 2 == 0;
                let difference = if on { libm::log(factor) } else { 0.0 };
                let look = Look { difference, deviation: 0.01, passing: false };
                state.see(look, Moment::from_millis(1_000 * second));
                prop_assert!(!state.stands);
            }
        }
    }
}
