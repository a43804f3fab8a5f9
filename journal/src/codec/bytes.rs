//! Numbers and texts as bytes: what everything else in here is written with.

use thiserror::Error;

/// Bytes that no writer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} cannot be read: no writer makes such bytes")]
pub(crate) struct Corrupt(pub(crate) &'static str);

/// Appends a number, seven bits a byte.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Appends bytes behind their length.
pub(crate) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend(bytes);
}

/// Takes a byte.
pub(crate) fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (&first, behind) = rest.split_first()?;
    *rest = behind;
    Some(first)
}

/// Takes a number.
pub(crate) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let next = byte(rest)?;
        let bits = u64::from(next & 0x7f);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if next < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Takes so many bytes.
pub(crate) fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

/// Takes bytes behind their length.
pub(crate) fn sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    take(rest, length)
}

/// Takes eight bytes as a number's bits.
pub(crate) fn float(rest: &mut &[u8]) -> Option<f64> {
    let bits = take(rest, 8)?.try_into().ok()?;
    Some(f64::from_bits(u64::from_le_bytes(bits)))
}

/// A difference as a number that is small where the difference is.
pub(crate) fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ if difference >> 63 == 1 { u64::MAX } else { 0 }
}

/// The difference again.
pub(crate) fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ if number & 1 == 1 { u64::MAX } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(number: u64) {
            let mut out = Vec::new();
            put(&mut out, number);
            prop_assert_eq!(varint(&mut &out[..]), Some(number));
            prop_assert_eq!(unzigzag(zigzag(number)), number);
        }
    }

    #[test]
    fn small_differences_are_small_and_long_numbers_are_refused() {
        assert_eq!([0, 1, u64::MAX].map(zigzag), [0, 2, 1]);
        assert_eq!(varint(&mut &[0xff; 10][..]), None);
        assert_eq!(sized(&mut &[0xff, 0xff, 0xff, 0x7f, 1][..]), None);
    }
}
