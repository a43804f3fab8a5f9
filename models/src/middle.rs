//! Medians: the middle of what peers show, which no minority can move far.

/// The lower median; nothing of nothing. Reorders the values.
pub(crate) fn lower(values: &mut [f64]) -> Option<f64> {
    let middle = values.len().checked_sub(1)? / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

/// The upper median; nothing of nothing. Reorders the values.
pub(crate) fn upper(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// The median of sorted values without one of them: what an endpoint's peers show.
pub(crate) fn of_others(sorted: &[f64], own: f64) -> Option<f64> {
    let own = sorted.partition_point(|value| value.total_cmp(&own).is_lt());
    let other = |index: usize| sorted.get(if index < own { index } else { index + 1 }).copied();
    let others = sorted.len().checked_sub(1).filter(|&others| others > 0)?;
    Some(f64::midpoint(other((others - 1) / 2)?, other(others / 2)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn leaves_exactly_one_out(mut values in prop::collection::vec(0.0..10.0_f64, 1..20), pick in 0_usize..20) {
            let own = values[pick % values.len()];
            values.sort_by(f64::total_cmp);
            let mut others = values.clone();
            others.remove(others.iter().position(|v| v.total_cmp(&own).is_eq()).unwrap());
            let middle = others.len().checked_sub(1).map(|last| {
                f64::midpoint(others[last / 2], others[others.len() / 2])
            });
            prop_assert_eq!(of_others(&values, own), middle);
        }
    }

    #[test]
    fn takes_the_lower_of_two() {
        assert_eq!(lower(&mut []), None);
        assert_eq!(lower(&mut [3.0, 1.0]), Some(1.0));
        assert_eq!(lower(&mut [5.0, 1.0, 3.0]), Some(3.0));
    }
}
