//! Numbers as Prometheus reads them.

/// Digits that fit an `f64` without rounding, so that they may be added up one by one.
const EXACT_DIGITS: usize = 15;

/// A sample's value. Go's plain decimal floats and its words for infinity and NaN; no
/// hexadecimal, no underscores, and no finite text that is too large for a float.
pub(super) fn parse(text: &[u8]) -> Option<f64> {
    if let Some((value, length)) = integer(text)
        && length == text.len()
    {
        return Some(value);
    }
    if !text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) {
        return None;
    }
    let value: f64 = fast_float2::parse(text).ok()?;
    let spelled_out = !text.iter().any(u8::is_ascii_digit);
    if value.is_nan() && text.len() != "NaN".len() {
        return None;
    }
    (spelled_out || value.is_finite()).then_some(value)
}

/// The short whole number at the start of a text, and its length: what nearly all values are.
#[inline]
pub(super) fn integer(text: &[u8]) -> Option<(f64, usize)> {
    let mut value = 0_u64;
    let mut length = 0;
    for &byte in text.iter().take(EXACT_DIGITS) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value * 10 + u64::from(digit);
        length += 1;
    }
    (length > 0).then_some((value as f64, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: Option<f64>) {
        let value = parse(text.as_bytes());
        let same = match (value, expected) {
            (Some(a), Some(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (None, None) => true,
            _ => false,
        };
        assert!(same, "{text}: {value:?}, not {expected:?}");
    }

    #[test]
    fn reads_what_prometheus_reads() {
        check("0", Some(0.0));
        check("-0", Some(-0.0));
        check("007", Some(7.0));
        check("+1.5", Some(1.5));
        check("1e3", Some(1000.0));
        check(".5", Some(0.5));
        check("5.", Some(5.0));
        check("2.0487804878048780921062643756159", Some(2.048_780_487_804_878));
        check("9007199254740993", Some(9_007_199_254_740_992.0));
        check("123456789012345678901234567890", Some(1.234_567_890_123_456_8e29));
        check("NaN", Some(f64::NAN));
        check("nan", Some(f64::NAN));
        check("+Inf", Some(f64::INFINITY));
        check("-inf", Some(f64::NEG_INFINITY));
        check("Infinity", Some(f64::INFINITY));
        check("1e-999", Some(0.0));
    }

    #[test]
    fn refuses_what_prometheus_refuses() {
        for text in [
            "", "1e999", "+NaN", "-nan", "0x10", "1_000", "1p4", "abc", "1 ", "1\r", "--1", "1e",
            "٣",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn every_float_survives(value in any::<f64>()) {
            let text = format!("{value:?}");
            let read = parse(text.as_bytes()).unwrap();
            prop_assert!(read.to_bits() == value.to_bits() || value.is_nan() && read.is_nan());
        }
    }
}
