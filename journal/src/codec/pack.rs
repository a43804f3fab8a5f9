//! Bytes compressed by LZ4, against what is likely to be alike.

use super::bytes;
use crate::frame::FRAME_MAX;

/// LZ4 makes no more of a byte.
const RATIO_MAX: usize = 255;

/// Appends bytes: their length, that of the packed ones (zero where that is no shorter), and those.
pub(super) fn write(out: &mut Vec<u8>, plain: &[u8], alike: &[u8]) {
    let packed = lz4_flex::block::compress_with_dict(plain, alike);
    bytes::put(out, plain.len() as u64);
    if packed.len() < plain.len() {
        bytes::put_sized(out, &packed);
    } else {
        bytes::put(out, 0);
        out.extend(plain);
    }
}

/// Takes them.
pub(super) fn read(rest: &mut &[u8], alike: &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(bytes::varint(rest)?).ok()?;
    let packed = bytes::sized(rest)?;
    if packed.is_empty() {
        return Some(bytes::take(rest, length)?.to_vec());
    }
    if length > FRAME_MAX || length / RATIO_MAX > packed.len() {
        return None;
    }
    lz4_flex::block::decompress_with_dict(packed, length, alike)
        .ok()
        .filter(|plain| plain.len() == length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn back(plain: &[u8], alike: &[u8]) -> usize {
        let mut out = Vec::new();
        write(&mut out, plain, alike);
        let rest = &mut &out[..];
        assert_eq!(read(rest, alike).as_deref(), Some(plain));
        assert!(rest.is_empty());
        out.len()
    }

    #[test]
    fn what_is_alike_takes_little_room() {
        let plain: Vec<u8> = (0..2_000_u32).map(|n| (n * n % 251) as u8).collect();
        assert!(back(&plain, &plain) < 40);
        assert_eq!(back(&[], &plain), 2);
        assert!(back(&vec![7; 1 << 20], &[]) < 4_200);
    }

    proptest! {
        #[test]
        fn comes_back(plain: Vec<u8>, alike: Vec<u8>) {
            back(&plain, &alike);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, alike: Vec<u8>) {
            let _ = read(&mut &bytes[..], &alike);
        }
    }
}
