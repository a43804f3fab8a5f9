//! Floating point numbers as whole ones where they are nearly that, bit for bit.
//!
//! Most numbers of an observation are counts. Sums of latencies are sums of nanoseconds, written
//! in milliseconds and off by a few roundings: a whole number of nanoseconds, and how many
//! representable numbers further the sum lies.

/// The whole number that a value is; not of minus zero, which has other bits.
pub(super) fn whole(value: f64) -> Option<u64> {
    let n = truncated(value)?;
    (bits(n as f64) == bits(value)).then_some(n)
}

/// The multiple of `1 / scale` next to a value, and how many representable numbers above it the
/// value lies, as a two's complement. Nothing where that would be no shorter.
pub(super) fn split(value: f64, scale: f64) -> Option<(u64, u64)> {
    let near = truncated((value * scale).round())?;
    let above = bits(value).wrapping_sub(bits(joined(near, 0, scale)));
    let small = above.wrapping_add(1 << 40) < 1 << 41;
    small.then_some((near, above))
}

/// What was split.
pub(super) fn joined(near: u64, above: u64, scale: f64) -> f64 {
    f64::from_bits(bits(near as f64 / scale).wrapping_add(above))
}

fn bits(value: f64) -> u64 {
    value.to_bits()
}

/// Without the part behind the point, of what is in the range in which all whole numbers exist.
fn truncated(value: f64) -> Option<u64> {
    const BELOW: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in 0..2^53, and cut on purpose"
    )]
    (0.0..BELOW).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_is_split_is_joined_bit_for_bit(any: u64, nanos in 0_u64..1 << 40, off in -8_i64..8) {
            let near = f64::from_bits((nanos as f64 / 1e6).to_bits().saturating_add_signed(off));
            for value in [f64::from_bits(any), near, nanos as f64] {
                for scale in [1e6, 2_520.0] {
                    if let Some((near, above)) = split(value, scale) {
                        prop_assert_eq!(bits(joined(near, above, scale)), bits(value));
                    }
                }
                if let Some(n) = whole(value) {
                    prop_assert_eq!(bits(n as f64), bits(value));
                }
            }
            prop_assert!(split(near, 1e6).is_some());
        }
    }

    #[test]
    fn odd_ones_are_left_to_their_bits() {
        for odd in [f64::NAN, f64::INFINITY, -0.0, -1.0, 1e300] {
            assert_eq!(whole(odd), None, "{odd}");
        }
        assert_eq!(whole(0.0), Some(0));
        assert_eq!(split(f64::NAN, 1e6), None);
    }
}
