//! How large a ratio surely is, and how surprising a count.
//!
//! E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal
//! of the American Statistical Association 22, 1927. Unlike the usual `p +- 2 sd` it stays honest
//! for few requests and for ratios near zero, which is where ejections are decided.

/// The normal quantile of a two-sided 95 % interval.
const Z: f64 = 1.96;

/// The lower end of the 95 % interval of a ratio; zero where nothing was counted.
pub(crate) fn lower(hits: f64, total: f64) -> f64 {
    if hits.is_nan() || total.is_nan() || total <= 0.0 || !total.is_finite() {
        return 0.0;
    }
    let ratio = hits.clamp(0.0, total) / total;
    let z2 = Z * Z;
    let centre = ratio + z2 / (2.0 * total);
    let spread = Z * (ratio * (1.0 - ratio) / total + z2 / (4.0 * total * total)).sqrt();
    ((centre - spread) / (1.0 + z2 / total)).max(0.0)
}

/// How surprising it is to count `hits` where `expected` was: minus the logarithm of the Chernoff
/// bound on the chance of that many or more, for a Poisson count. Zero if it is no more.
///
/// Wilson's bound alone is passed by two errors in twenty requests, which a fleet of ten thousand
/// endpoints failing one request in a thousand shows somewhere every few seconds.
pub(crate) fn surprise(hits: f64, expected: f64) -> f64 {
    // Written so that NaN is no surprise.
    if hits > expected && expected > 0.0 {
        hits * libm::log(hits / expected) - (hits - expected)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stays_below_the_ratio_and_grows_with_evidence(ratio in 0.001..0.999_f64, total in 5.0..1e6_f64) {
            let few = lower(ratio * total, total);
            let many = lower(ratio * total * 10.0, total * 10.0);
            prop_assert!(few >= 0.0 && few < many && many < ratio);
        }

        #[test]
        fn any_number_gives_a_ratio(hits in any::<f64>(), total in any::<f64>()) {
            prop_assert!((0.0..=1.0).contains(&lower(hits, total)));
            prop_assert!(surprise(hits, total) >= 0.0);
        }
    }

    #[test]
    fn matches_the_textbook() {
        // 2 of 20: 0.0279; 50 of 100: 0.4038.
        assert!((lower(2.0, 20.0) - 0.0279).abs() < 1e-4);
        assert!((lower(50.0, 100.0) - 0.4038).abs() < 1e-4);
        assert!(lower(0.0, 100.0).abs() < 1e-12);
    }

    #[test]
    fn surprise_bounds_the_poisson_tail() {
        // P(X >= 5 | 0.1) = 7.7e-8 <= exp(-surprise).
        let bound = libm::exp(-surprise(5.0, 0.1));
        assert!((7.7e-8..1e-5).contains(&bound), "{bound}");
    }
}
