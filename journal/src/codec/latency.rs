//! Histograms of latency as columns: for a chunk of rows all counts of the first bucket, then all
//! of the second, and so on. The counts of one bucket are alike, so they take few bits: one in the
//! tails, four in the middle.

use weir_engine::latency::Latency;
use weir_engine::observation::Row;

use super::bytes::{self, Corrupt};
use super::foreign;
use super::sheet::{In, Out, field};

/// A difference between two counts' bits that takes as much room as all of them.
const FAR: u64 = 1 << 40;

/// How a row's buckets are written.
const TOGETHER: u64 = 0;
const AS_EXPECTED: u64 = 1;
const APART: u64 = 2;
const FOREIGN: u64 = 3;

/// How many requests the buckets count.
pub(super) fn timed(latency: &Latency) -> f64 {
    let sum = latency.buckets.iter().fold(0.0, |sum, &(_, count)| sum + count);
    // The bits of what is no number depend on the processor.
    if sum.is_nan() { 0.0 } else { sum }
}

pub(super) fn write_buckets<'a>(out: &mut Out, rows: &[Row], expected: impl Fn(usize) -> &'a Row) {
    let forms: Vec<u64> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| form(&row.latency, &expected(at).latency))
        .collect();
    let together =
        || rows.iter().zip(&forms).enumerate().filter(|(_, (_, form))| **form == TOGETHER);
    let used = together().flat_map(|(_, (row, _))| &row.latency.buckets);
    let (first, end) = used.fold((u8::MAX, 0), |(first, end), &(bucket, _)| {
        (first.min(bucket), end.max(usize::from(bucket) + 1))
    });
    let span = end.saturating_sub(usize::from(first));
    out.push(field::BUCKET_FIRST, if span == 0 { 0 } else { first.into() });
    out.push(field::BUCKET_SPAN, span as u64);
    let mut counts = vec![0; span * rows.len()];
    for (at, (row, _)) in together() {
        for &(bucket, count) in &row.latency.buckets {
            counts[usize::from(bucket - first) * rows.len() + at] = small(count).unwrap_or(0);
        }
    }
    for count in counts {
        out.push(field::BUCKET_COUNT, count.into());
    }
    for (row, &form) in rows.iter().zip(&forms) {
        out.push(field::BUCKETS, form);
        match form {
            APART => write_apart(out, &row.latency),
            FOREIGN => write_foreign(out, &row.latency),
            _ => {}
        }
    }
}

fn form(latency: &Latency, expected: &Latency) -> u64 {
    let ascending = latency.buckets.is_sorted_by(|a, b| a.0 < b.0);
    let counted = latency.buckets.iter().all(|&(_, count)| small(count).is_some());
    if ascending && counted {
        let as_expected = !expected.buckets.is_empty() && same(latency, expected);
        return if as_expected { AS_EXPECTED } else { TOGETHER };
    }
    if ascending && above_foreign(latency).is_some() { FOREIGN } else { APART }
}

/// The foreign counts that a histogram was made of, and what each of ours lies above what they come
/// to; nothing where they do not come to the same buckets.
fn above_foreign(latency: &Latency) -> Option<([u64; foreign::THEIRS], Vec<u64>)> {
    let counts = foreign::guessed(latency)?;
    let ours = foreign::in_ours(&counts);
    let filled = || (0_u8..).zip(&ours).filter(|(_, count)| **count > 0.0);
    if !filled().map(|(bucket, _)| bucket).eq(latency.buckets.iter().map(|(bucket, _)| *bucket)) {
        return None;
    }
    let above = filled().zip(&latency.buckets).map(|((_, guess), (_, count))| {
        let above = bytes::zigzag(count.to_bits().wrapping_sub(guess.to_bits()));
        (above < FAR).then_some(above)
    });
    Some((counts, above.collect::<Option<_>>()?))
}

fn write_foreign(out: &mut Out, latency: &Latency) {
    if let Some((counts, above)) = above_foreign(latency) {
        for count in counts {
            out.push(field::FOREIGN, count);
        }
        for above in above {
            out.push(field::FOREIGN_ABOVE, above);
        }
    }
}

fn read_foreign(from: &mut In) -> Vec<(u8, f64)> {
    let counts = std::array::from_fn(|_| from.next(field::FOREIGN));
    let filled = (0_u8..).zip(foreign::in_ours(&counts)).filter(|(_, count)| *count > 0.0);
    filled
        .map(|(bucket, guess)| {
            let above = bytes::unzigzag(from.next(field::FOREIGN_ABOVE));
            (bucket, f64::from_bits(guess.to_bits().wrapping_add(above)))
        })
        .collect()
}

fn same(a: &Latency, b: &Latency) -> bool {
    a.buckets.len() == b.buckets.len()
        && a.buckets
            .iter()
            .zip(&b.buckets)
            .all(|(a, b)| (a.0, a.1.to_bits()) == (b.0, b.1.to_bits()))
}

/// A whole count of at least one and 32 bits.
fn small(count: f64) -> Option<u32> {
    super::float::whole(count).and_then(|n| u32::try_from(n).ok()).filter(|&n| n > 0)
}

/// What is split into equal parts is alike but for a rounding: a count that is the one before and a
/// few representable numbers more or less is that difference. Others keep their bits.
fn write_apart(out: &mut Out, latency: &Latency) {
    bytes::put(out.blob(field::ODD_BUCKETS), latency.buckets.len() as u64);
    let mut last = 0_u64;
    for &(bucket, count) in &latency.buckets {
        out.blob(field::ODD_BUCKETS).push(bucket);
        let difference = bytes::zigzag(count.to_bits().wrapping_sub(last));
        if difference < FAR {
            bytes::put(out.blob(field::ODD_BUCKETS), difference + 1);
        } else {
            out.blob(field::ODD_BUCKETS).push(0);
            out.push_raw(count);
        }
        last = count.to_bits();
    }
}

pub(super) fn read_buckets<'a>(
    from: &mut In,
    rows: &mut [Row],
    expected: impl Fn(usize) -> &'a Row,
) -> Result<(), Corrupt> {
    let first = from.next_u8(field::BUCKET_FIRST);
    let span = usize::try_from(from.next(field::BUCKET_SPAN)).unwrap_or(usize::MAX);
    if span > 256 - usize::from(first) {
        return Err(Corrupt("a range of buckets"));
    }
    // Row after row, each bucket's count next to the one before: read in the other order.
    let mut counts = vec![0_u32; span * rows.len()];
    let mut used = vec![0_usize; rows.len()];
    for bucket in 0..span {
        for (at, used) in used.iter_mut().enumerate() {
            let count = from.next_u32(field::BUCKET_COUNT);
            counts[at * span + bucket] = count;
            *used += usize::from(count != 0);
        }
    }
    for (at, row) in rows.iter_mut().enumerate() {
        match from.next(field::BUCKETS) {
            TOGETHER => {
                let counts = &counts[at * span..(at + 1) * span];
                let mut buckets = Vec::with_capacity(used[at]);
                let numbered = (first..=u8::MAX).zip(counts).filter(|(_, count)| **count != 0);
                buckets.extend(numbered.map(|(bucket, &count)| (bucket, f64::from(count))));
                row.latency.buckets = buckets;
            }
            AS_EXPECTED => row.latency.buckets.clone_from(&expected(at).latency.buckets),
            APART => row.latency.buckets = read_apart(from)?,
            FOREIGN => row.latency.buckets = read_foreign(from),
            _ => return Err(Corrupt("a row's kind of buckets")),
        }
    }
    Ok(())
}

fn read_apart(from: &mut In) -> Result<Vec<(u8, f64)>, Corrupt> {
    let next = |from: &mut In| {
        let next = |rest: &mut &[u8]| Some((bytes::byte(rest)?, bytes::varint(rest)?));
        from.take_from(field::ODD_BUCKETS, next).ok_or(Corrupt("buckets that stand apart"))
    };
    let count = from.take_from(field::ODD_BUCKETS, bytes::varint).unwrap_or(0);
    let (mut last, mut buckets) = (0_u64, Vec::new());
    for _ in 0..count {
        let (bucket, difference) = next(from)?;
        let count = match difference {
            0 => from.next_raw()?,
            near => f64::from_bits(last.wrapping_add(bytes::unzigzag(near - 1))),
        };
        last = count.to_bits();
        buckets.push((bucket, count));
    }
    Ok(buckets)
}
