//! Columns of whole numbers, packed.
//!
//! A column is cut into blocks of [`BLOCK`] numbers. A block says its least number and how many
//! bits the others need above it, then the bits; the few numbers that need many more stand behind
//! a list of exceptions (PFOR: Zukowski et al., "Super-scalar RAM-CPU cache compression", 2006).
//! Counts of requests come to four or five bits like that, near what an entropy coder makes of
//! them, at two nanoseconds a number and without its tables, which small meshes could not pay.
//!
//! | part of a block | bytes |
//! |---|---|
//! | width in bits, + 64 where the least number is zero, + 128 where there are exceptions | 1 |
//! | least number, unless it is zero beside a width of 1 to 63 | varint |
//! | of a width of 0: how many blocks alike follow | varint |
//! | of exceptions: how many (1); of each its place (1) and the bits above the width (varint) | |
//! | numbers | 8 x width, fewer in the last block |

use super::bytes::{self, Corrupt};

/// Numbers in a block: as few as can pay for its head, since numbers that are near are alike.
const BLOCK: usize = 64;

/// Beside the width: exceptions follow.
const EXCEPTIONS: u8 = 0x80;

/// Added to a width of at least one: the least number is zero, and left out.
const FROM_ZERO: u8 = 64;

/// A column that is written.
#[derive(Debug, Default)]
pub(super) struct Packer {
    out: Vec<u8>,
    block: Vec<u64>,
    /// The number of which only alike blocks came last, and how many after the first.
    run: Option<(u64, u64)>,
    any: bool,
}

impl Packer {
    pub(super) fn push(&mut self, number: u64) {
        self.any |= number != 0;
        self.block.push(number);
        if self.block.len() == BLOCK {
            self.close_block();
        }
    }

    /// The column's bytes; none where every number is zero.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let any = std::mem::take(&mut self.any);
        if !any {
            self.block.clear();
            self.run = None;
            self.out.clear();
            return Vec::new();
        }
        if !self.block.is_empty() {
            self.close_block();
        }
        self.close_run();
        std::mem::take(&mut self.out)
    }

    fn close_block(&mut self) {
        let (least, most) = self
            .block
            .iter()
            .fold((u64::MAX, 0), |(least, most), &number| (least.min(number), most.max(number)));
        if least == most {
            match &mut self.run {
                Some((number, more)) if *number == least => *more += 1,
                _ => {
                    self.close_run();
                    self.run = Some((least, 0));
                }
            }
        } else {
            self.close_run();
            self.pack(least);
        }
        self.block.clear();
    }

    fn close_run(&mut self) {
        if let Some((number, more)) = self.run.take() {
            self.out.push(0);
            bytes::put(&mut self.out, number);
            bytes::put(&mut self.out, more);
        }
    }

    fn pack(&mut self, least: u64) {
        for number in &mut self.block {
            *number -= least;
        }
        let width = best_width(&self.block);
        let over: Vec<(u8, u64)> = (0_u8..)
            .zip(&self.block)
            .map(|(at, &number)| (at, above(number, width)))
            .filter(|&(_, above)| above > 0)
            .collect();
        let from_zero = least == 0 && (1..FROM_ZERO).contains(&width);
        let exceptions = if over.is_empty() { 0 } else { EXCEPTIONS };
        self.out.push(exceptions | if from_zero { width + FROM_ZERO } else { width });
        if !from_zero {
            bytes::put(&mut self.out, least);
        }
        if width == 0 {
            bytes::put(&mut self.out, 0);
        }
        if !over.is_empty() {
            // A block has at most 64 of them.
            self.out.push(u8::try_from(over.len()).unwrap_or(u8::MAX));
            for (at, above) in over {
                self.out.push(at);
                bytes::put(&mut self.out, above);
            }
        }
        put_bits(&mut self.out, &self.block, u32::from(width));
    }
}

/// What of a number lies above so many bits.
fn above(number: u64, width: u8) -> u64 {
    number.checked_shr(u32::from(width)).unwrap_or(0)
}

/// The width at which numbers and exceptions take the fewest bits.
fn best_width(block: &[u64]) -> u8 {
    let mut lengths = [0_usize; 65];
    for number in block {
        lengths[64 - number.leading_zeros() as usize] += 1;
    }
    let most = lengths.iter().rposition(|&count| count > 0).unwrap_or(0);
    let cost = |width: usize| {
        let over = lengths.iter().enumerate().skip(width + 1);
        let over: usize =
            over.map(|(length, count)| count * (8 + 8 * (length - width).div_ceil(7))).sum();
        width * block.len() + over + usize::from(over > 0) * 8
    };
    let best = (0..=most).min_by_key(|&width| cost(width)).unwrap_or(most);
    u8::try_from(best).unwrap_or(64)
}

fn put_bits(out: &mut Vec<u8>, block: &[u64], width: u32) {
    let (mut held, mut bits) = (0_u128, 0);
    let mask = mask(width);
    for &number in block {
        held |= u128::from(number & mask) << bits;
        bits += width;
        while bits >= 8 {
            out.push((held & 0xff) as u8);
            held >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push((held & 0xff) as u8);
    }
}

fn mask(width: u32) -> u64 {
    u64::MAX.checked_shr(64 - width).unwrap_or(0)
}

/// A column that is read; zeros where it is missing, and after its end.
#[derive(Debug)]
pub(super) struct Column {
    bytes: Vec<u8>,
    at: usize,
    present: bool,
    block: Box<[u64; BLOCK]>,
    next: usize,
    /// Blocks that follow with the same numbers.
    more: u64,
    corrupt: bool,
}

impl Default for Column {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            at: 0,
            present: false,
            block: Box::new([0; BLOCK]),
            next: BLOCK,
            more: 0,
            corrupt: false,
        }
    }
}

impl Column {
    /// Not in this frame.
    pub(super) fn leave_out(&mut self) {
        self.present = false;
    }

    /// As in the frame before.
    pub(super) fn again(&mut self) {
        (self.at, self.next, self.more) = (0, BLOCK, 0);
        (self.present, self.corrupt) = (true, false);
    }

    /// Other bytes than before.
    pub(super) fn set(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend(bytes);
        self.again();
    }

    /// The column's bytes, if it is there: for what is no column of numbers.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        self.present.then_some(&self.bytes)
    }

    #[inline]
    pub(super) fn next(&mut self) -> u64 {
        if !self.present {
            return 0;
        }
        if self.next == BLOCK {
            self.refill();
        }
        self.next += 1;
        self.block[self.next - 1]
    }

    /// A number that fits 32 bits.
    pub(super) fn next_u32(&mut self) -> u32 {
        let number = self.next();
        u32::try_from(number).unwrap_or_else(|_| {
            self.corrupt = true;
            0
        })
    }

    /// A number that fits a byte.
    pub(super) fn next_u8(&mut self) -> u8 {
        let number = self.next();
        u8::try_from(number).unwrap_or_else(|_| {
            self.corrupt = true;
            0
        })
    }

    /// Whether all so far could be read.
    pub(super) fn check(&self) -> Result<(), Corrupt> {
        if self.present && self.corrupt { Err(Corrupt("a column")) } else { Ok(()) }
    }

    fn refill(&mut self) {
        self.next = 0;
        if self.more > 0 {
            self.more -= 1;
        } else if self.unpack().is_none() {
            self.corrupt = true;
            self.block.fill(0);
        }
    }

    fn unpack(&mut self) -> Option<()> {
        let mut rest = self.bytes.get(self.at..)?;
        let rest = &mut rest;
        let head = bytes::byte(rest)?;
        let (width, least) = match head & !EXCEPTIONS {
            width @ 0..=FROM_ZERO => (u32::from(width), bytes::varint(rest)?),
            more => (u32::from(more - FROM_ZERO), 0),
        };
        if width == 0 {
            self.more = bytes::varint(rest)?;
        }
        let mut over = [(0_usize, 0_u64); BLOCK];
        let mut exceptions = 0;
        if head & EXCEPTIONS != 0 {
            exceptions = usize::from(bytes::byte(rest)?);
            for exception in over.get_mut(..exceptions)? {
                *exception = (usize::from(bytes::byte(rest)?), bytes::varint(rest)?);
            }
        }
        let length = rest.len().min(BLOCK / 8 * width as usize);
        let (packed, behind) = rest.split_at(length);
        get_bits(packed, width, &mut self.block)?;
        for &(at, above) in &over[..exceptions] {
            *self.block.get_mut(at)? |= above.checked_shl(width).unwrap_or(0);
        }
        for number in self.block.iter_mut() {
            *number = number.wrapping_add(least);
        }
        self.at = self.bytes.len() - behind.len();
        Some(())
    }
}

fn get_bits(packed: &[u8], width: u32, block: &mut [u64; BLOCK]) -> Option<()> {
    // Zeros behind the end, so that every number is one load.
    let mut padded = [0_u8; BLOCK * 8 + 16];
    padded.get_mut(..packed.len())?.copy_from_slice(packed);
    let (width, mask) = (width as usize, mask(width));
    for (number, bit) in block.iter_mut().zip((0..).step_by(width.max(1))) {
        let (at, shift) = (bit / 8, bit % 8);
        *number = if width == 0 {
            0
        } else if width <= 56 {
            u64::from_le_bytes(padded[at..at + 8].try_into().ok()?) >> shift & mask
        } else {
            let held = u128::from_le_bytes(padded[at..at + 16].try_into().ok()?) >> shift;
            u64::try_from(held & u128::from(mask)).ok()?
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn back(numbers: &[u64], bytes: &[u8]) -> Vec<u64> {
        let mut column = Column::default();
        if !bytes.is_empty() {
            column.set(bytes);
        }
        let read = numbers.iter().map(|_| column.next()).collect();
        column.check().unwrap();
        read
    }

    #[track_caller]
    fn check(numbers: &[u64]) -> usize {
        let mut packer = Packer::default();
        for &number in numbers {
            packer.push(number);
        }
        let bytes = packer.finish();
        assert_eq!(back(numbers, &bytes), numbers);
        bytes.len()
    }

    #[test]
    fn small_numbers_take_few_bits_and_alike_ones_none() {
        assert_eq!(check(&vec![0; 10_000]), 0);
        assert_eq!(check(&vec![7; 10_000]), 4);
        let mut counts: Vec<u64> = (0..1_024).map(|n| 50 + n * 7 % 16).collect();
        assert_eq!(check(&counts), 16 * (2 + 32));
        counts[300] = 1 << 40;
        assert!(check(&counts) < 16 * (2 + 32) + 10, "one that is odd costs only itself");
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            Just(0),
            Just(u64::MAX),
            0..20_u64,
            any::<u64>(),
            any::<u32>().prop_map(u64::from)
        ]
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            numbers in prop::collection::vec((number(), 1..200_usize), 0..12),
            more in prop::collection::vec(number(), 0..300),
        ) {
            let runs = numbers.iter().flat_map(|&(number, count)| vec![number; count]);
            check(&runs.chain(more).collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut column = Column::default();
            column.set(&bytes);
            for _ in 0..1_000 {
                column.next();
            }
        }
    }
}
