//! The workers behind a queue that was seen.
//!
//! Sought by halving, which asks a dozen times whether a queue is longer than the one seen: at each
//! look at each endpoint, so that powers were a third of all time. Nearly always a rough logarithm
//! answers as surely; where it does not the power does, so that the answer is the same to the bit.

use core::f64::consts::LN_2;

/// Halvings in search of the workers: to a thousandth.
const HALVINGS: u32 = 12;

/// Twice the terms' error below, and far more than rounding: a difference of logarithms beyond it,
/// for each that is multiplied by, is no error of theirs.
const SURE: f64 = 1e-8;

/// The workers with which so many requests are inside while so many of them are worked on:
/// Sakasegawa's formula (see [`crate::queue`]) solved for the workers.
pub(super) fn shown(inside: f64, worked_on: f64) -> f64 {
    halved(inside, worked_on, is_longer)
}

fn halved(inside: f64, worked_on: f64, is_longer: fn(f64, f64, f64) -> bool) -> f64 {
    let waiting = inside - worked_on;
    let (mut low, mut high) = (worked_on, 4.0 * worked_on + 1.0);
    for _ in 0..HALVINGS {
        let workers = f64::midpoint(low, high);
        let exponent = (2.0 * (workers + 1.0)).sqrt();
        if is_longer(worked_on / workers, exponent, waiting) {
            low = workers;
        } else {
            high = workers;
        }
    }
    f64::midpoint(low, high)
}

/// Whether more wait at a utilization than were seen to.
fn is_longer(rho: f64, exponent: f64, waiting: f64) -> bool {
    let difference = exponent * rough_ln(rho) - rough_ln(waiting * (1.0 - rho));
    // Not a number is unsure too.
    if rho < 1.0 && difference.abs() > SURE * (1.0 + exponent) {
        difference > 0.0
    } else {
        is_exactly_longer(rho, exponent, waiting)
    }
}

fn is_exactly_longer(rho: f64, exponent: f64, waiting: f64) -> bool {
    libm::exp(exponent * libm::log(rho)) / (1.0 - rho) > waiting
}

/// A logarithm that errs by 1e-9 at most; not a number where there is none, or below all that a
/// queue has. The series of the inverse hyperbolic tangent, near one.
fn rough_ln(x: f64) -> f64 {
    if !x.is_normal() || x < 0.0 {
        return f64::NAN;
    }
    let bits = x.to_bits().cast_signed();
    // The power of two that leaves something between the roots of a half and of two.
    let power = (bits - core::f64::consts::FRAC_1_SQRT_2.to_bits().cast_signed()) >> 52;
    let rest = f64::from_bits((bits - (power << 52)).cast_unsigned());
    let t = (rest - 1.0) / (rest + 1.0);
    let square = t * t;
    let series = 1.0 / 7.0 + square / 9.0;
    let series = 1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * series));
    power as f64 * LN_2 + 2.0 * t * series
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(inside: f64, worked_on: f64) {
        let exactly = halved(inside, worked_on, is_exactly_longer);
        let shown = shown(inside, worked_on);
        assert_eq!(shown.to_bits(), exactly.to_bits(), "{shown} {exactly}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn the_rough_logarithm_is_close(power in -1_000.0..1_000.0_f64) {
            let x = libm::exp2(power);
            prop_assert!((rough_ln(x) - libm::log(x)).abs() < 1e-9, "{x}");
        }

        #[test]
        fn what_is_shown_is_the_same_to_the_bit(
            worked_on in -12.0..12.0_f64, part in 0.0..1.0_f64, longer in -20.0..3.0_f64,
        ) {
            let worked_on = libm::exp10(worked_on * part);
            check(worked_on * (1.0 + libm::exp(longer)), worked_on);
        }

        #[test]
        fn whatever_is_given(inside in any::<f64>(), worked_on in any::<f64>()) {
            check(inside, worked_on);
        }
    }

    #[test]
    fn a_queue_of_exactly_so_many_is_the_same_too() {
        for workers in 1..2_000 {
            let (workers, rho) = (f64::from(workers) / 4.0, 0.875);
            let exponent = (2.0 * (workers + 1.0)).sqrt();
            let queue = libm::exp(exponent * libm::log(rho)) / (1.0 - rho);
            check(rho * workers + queue, rho * workers);
        }
    }
}
