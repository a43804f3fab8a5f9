//! How many requests are in flight at each endpoint, averaged over the last reports.
//!
//! A report carries one instant's number, which says little; the mean of ten says enough to check
//! the number that Little's law gives.

use std::collections::BTreeMap;

use weir_engine::names::Address;

/// Reports that a mean is taken over: at one a second as far back as the engine looks, and the
/// fewest with which an instant's number is more than a coin toss.
pub(crate) const REPORTS: usize = 10;

/// The last numbers of one client cluster's endpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels {
    reports: usize,
    rings: BTreeMap<Address, [u32; REPORTS]>,
}

impl Levels {
    /// Takes in one complete report: endpoints that it does not list have nothing in flight.
    pub(crate) fn absorb<'a>(&mut self, listed: impl Iterator<Item = (&'a Address, u64)>) {
        let slot = self.reports % REPORTS;
        for ring in self.rings.values_mut() {
            ring[slot] = 0;
        }
        for (address, in_progress) in listed {
            let level = u32::try_from(in_progress).unwrap_or(u32::MAX);
            if let Some(ring) = self.rings.get_mut(address) {
                ring[slot] = ring[slot].saturating_add(level);
            } else if level > 0 {
                let mut ring = [0; REPORTS];
                ring[slot] = level;
                self.rings.insert(address.clone(), ring);
            }
        }
        self.rings.retain(|_, ring| ring.iter().any(|&level| level > 0));
        self.reports += 1;
    }

    /// An endpoint's mean; nothing before there are enough reports.
    pub(crate) fn mean(&self, address: &Address) -> Option<f64> {
        (self.reports >= REPORTS).then(|| self.rings.get(address).map_or(0.0, mean_of))
    }

    /// All endpoints whose mean is known and above zero.
    pub(crate) fn busy(&self) -> impl Iterator<Item = (&Address, f64)> {
        let known = self.reports >= REPORTS;
        self.rings.iter().filter(move |_| known).map(|(address, ring)| (address, mean_of(ring)))
    }
}

fn mean_of(ring: &[u32; REPORTS]) -> f64 {
    ring.iter().map(|&level| f64::from(level)).sum::<f64>() / REPORTS as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mean_needs_ten_reports_and_forgets_what_is_idle() {
        let busy = Address::from("10.0.0.1:80");
        let mut levels = Levels::default();
        for _ in 0..REPORTS - 1 {
            levels.absorb([(&busy, 4)].into_iter());
            assert_eq!(levels.mean(&busy), None);
            assert_eq!(levels.busy().count(), 0);
        }
        levels.absorb([(&busy, 14)].into_iter());
        assert_eq!(levels.mean(&busy), Some(5.0));
        for _ in 0..REPORTS {
            levels.absorb(std::iter::empty());
        }
        assert_eq!(levels.mean(&busy), Some(0.0));
        assert!(levels.rings.is_empty());
    }

    proptest! {
        #[test]
        fn the_mean_is_that_of_the_last_ten(series in prop::collection::vec(0_u64..50, 10..40)) {
            let address = Address::from("10.0.0.1:80");
            let mut levels = Levels::default();
            for &level in &series {
                levels.absorb((level > 0).then_some((&address, level)).into_iter());
            }
            let last = &series[series.len() - REPORTS..];
            let expected = last.iter().sum::<u64>() as f64 / REPORTS as f64;
            prop_assert!((levels.mean(&address).unwrap() - expected).abs() < 1e-9);
        }
    }
}
