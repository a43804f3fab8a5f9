//! Whether a series repeats, and after how many samples: the peak of its autocorrelation.
//!
//! A library's detector gave 255 for a day of 288 samples; the plain autocorrelation with one rule
//! against multiples gives 288.

/// Samples that are looked at, the newest: five days of five-minute samples and more.
const SAMPLES_MOST: usize = 4_096;
/// The series must hold this many periods ...
const PERIODS_LEAST: usize = 3;
/// ... and be this similar to itself one period ago.
const SIMILAR_LEAST: f64 = 0.7;
/// A shorter period that is almost as similar is the period, and the longer a multiple of it.
const ALMOST: f64 = 0.95;

/// Samples in a period, at most `longest`; `None` where the series does not repeat.
pub fn period(values: &[f64], longest: usize) -> Option<usize> {
    let values = &values[values.len().saturating_sub(SAMPLES_MOST)..];
    let longest = longest.min(values.len() / PERIODS_LEAST);
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let away: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let power = away.iter().map(|a| a * a).sum::<f64>() / away.len().max(1) as f64;
    if !(power > 0.0 && power.is_finite()) {
        return None;
    }
    let similar = |lag: usize| {
        let pairs = away.iter().zip(&away[lag..]);
        pairs.map(|(a, b)| a * b).sum::<f64>() / (away.len() - lag) as f64 / power
    };
    let curve: Vec<f64> = (0..=longest).map(similar).collect();
    // Near lags are alike because the series is smooth: begin where it has become unlike itself.
    let begin = curve.iter().position(|similar| *similar < 0.0)?;
    let most = curve[begin..].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most < SIMILAR_LEAST {
        return None;
    }
    let is_peak = |lag: usize| {
        let around = lag.saturating_sub(2).max(begin)..(lag + 3).min(curve.len());
        around.into_iter().all(|other| curve[other] <= curve[lag])
    };
    (begin..curve.len()).find(|lag| curve[*lag] >= ALMOST * most && is_peak(*lag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_simulator::random::Random;

    fn wave(length: usize, period: f64, noise: f64) -> Vec<f64> {
        let mut random = Random::of(3, 3, 3);
        let at = |at: usize| libm::sin(at as f64 / period * core::f64::consts::TAU);
        (0..length).map(|index| at(index) + noise * random.normal()).collect()
    }

    #[test]
    fn finds_a_day_and_not_two() {
        assert_eq!(period(&wave(1_344, 288.0, 0.0), 1_440), Some(288));
        let noisy = period(&wave(1_344, 288.0, 0.3), 1_440);
        assert!(noisy.is_some_and(|found| found.abs_diff(288) <= 4), "{noisy:?}");
    }

    #[test]
    fn noise_ramps_and_constants_do_not_repeat() {
        let noise = wave(2_000, 1e9, 1.0);
        assert_eq!(period(&noise, 600), None);
        let ramp: Vec<f64> = (0..1_000).map(f64::from).collect();
        assert_eq!(period(&ramp, 600), None);
        assert_eq!(period(&[5.0; 1_000], 600), None);
        assert_eq!(period(&[], 600), None);
    }

    proptest! {
        #[test]
        fn any_series_is_looked_at(values in prop::collection::vec(any::<f64>(), 0..300), longest in 0_usize..500) {
            let found = period(&values, longest);
            prop_assert!(found.is_none_or(|found| found <= longest));
        }
    }
}
