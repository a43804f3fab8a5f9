//! Rows of endpoints as columns.
//!
//! Where clients of several zones are told apart, what they saw stands first, and the rows of the
//! whole are written as differences from its sums: nearly always nothing.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use weir_engine::latency::Latency;
use weir_engine::observation::{Row, ZoneTraffic};

use super::bytes::{Corrupt, unzigzag, zigzag};
use super::float;
use super::latency;
use super::sheet::{In, Out, field};

/// Rows whose buckets stand together: their counts stay in the first cache.
const CHUNK: usize = 256;

/// With ten reporters or more the largest count like a tenth of all, so that a sum is a fraction
/// with a denominator up to ten: a whole number of these parts.
const PARTS_OF_A_VOTE: f64 = 2_520.0;
const PARTS: u64 = 2_520;

const NANOS_PER_MS: f64 = 1e6;

/// Levels are sums of means over ten reports.
const TENTHS: f64 = 10.0;

/// What rows may be expected to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a>(pub(super) &'a [ZoneTraffic]);

impl Expected<'_> {
    /// The sum over zones.
    fn row(self, endpoint: u32) -> Row {
        let mut sum = Row::default();
        for row in self.0.iter().filter_map(|zone| zone.row(endpoint as usize)) {
            sum.requests = sum.requests.wrapping_add(row.requests);
            sum.errors = sum.errors.wrapping_add(row.errors);
            sum.timeouts = sum.timeouts.wrapping_add(row.timeouts);
            sum.local_failures = sum.local_failures.wrapping_add(row.local_failures);
            sum.clients = sum.clients.wrapping_add(row.clients);
            if let Some(in_flight) = row.in_flight {
                *sum.in_flight.get_or_insert(0.0) += in_flight;
            }
            sum.latency.add(&row.latency);
        }
        // The bits of what is no number depend on the processor.
        sum.in_flight = sum.in_flight.filter(|in_flight| in_flight.is_finite());
        if !sum.latency.sum_ms.is_finite() {
            sum.latency.sum_ms = 0.0;
        }
        sum
    }

    fn rows(self, rows: &[Row]) -> Cow<'static, [Row]> {
        if self.0.is_empty() {
            Cow::Borrowed(&[])
        } else {
            rows.iter().map(|row| self.row(row.endpoint)).collect()
        }
    }
}

/// Appends a list of rows. `exposure` is that of the row before, in this list or another.
pub(super) fn write(out: &mut Out, rows: &[Row], expected: Expected<'_>, exposure: &mut Duration) {
    let none = Row::default();
    let mut next = 0;
    for chunk in rows.chunks(CHUNK) {
        let sums = expected.rows(chunk);
        let sum_of = |at: usize| sums.get(at).unwrap_or(&none);
        for (at, row) in chunk.iter().enumerate() {
            let endpoint = u64::from(row.endpoint);
            out.push(field::ENDPOINT, zigzag(endpoint.wrapping_sub(next)));
            next = endpoint + 1;
            write_counts(out, row, sum_of(at));
            write_duration(out, EXPOSURE, row.exposure, *exposure);
            *exposure = row.exposure;
        }
        latency::write_buckets(out, chunk, sum_of);
        for (at, row) in chunk.iter().enumerate() {
            let timed = latency::timed(&row.latency);
            out.push_float(field::TIMED, row.latency.count, timed);
            write_scaled(out, SUM, row.latency.sum_ms, expected_sum(sum_of(at)));
        }
    }
}

/// Reads a list of rows.
pub(super) fn read(
    from: &mut In,
    count: usize,
    expected: Expected<'_>,
    exposure: &mut Duration,
) -> Result<Arc<[Row]>, Corrupt> {
    let none = Row::default();
    let mut rows: Vec<Row> = Vec::with_capacity(count);
    let mut next = 0_u64;
    while rows.len() < count {
        let begin = rows.len();
        let mut sums = Vec::new();
        for _ in begin..count.min(begin + CHUNK) {
            let endpoint = next.wrapping_add(unzigzag(from.next(field::ENDPOINT)));
            let endpoint = u32::try_from(endpoint).map_err(|_| Corrupt("an endpoint's index"))?;
            next = u64::from(endpoint) + 1;
            let mut row = Row { endpoint, ..Row::default() };
            if !expected.0.is_empty() {
                sums.push(expected.row(endpoint));
            }
            read_counts(from, &mut row, sums.last().unwrap_or(&none))?;
            *exposure = read_duration(from, EXPOSURE, *exposure)?;
            row.exposure = *exposure;
            rows.push(row);
        }
        let chunk = &mut rows[begin..];
        let sum_of = |at: usize| sums.get(at).unwrap_or(&none);
        latency::read_buckets(from, chunk, sum_of)?;
        for (at, row) in chunk.iter_mut().enumerate() {
            row.latency.count = from.next_float(field::TIMED, latency::timed(&row.latency))?;
            row.latency.sum_ms = read_scaled(from, SUM, expected_sum(sum_of(at)))?;
        }
    }
    Ok(rows.into())
}

fn write_counts(out: &mut Out, row: &Row, sum: &Row) {
    // All there is: a new field has to be written, here or by the caller.
    let Row {
        endpoint: _,
        requests,
        errors,
        timeouts,
        local_failures,
        judged_requests,
        judged_errors,
        exposure: _,
        clients,
        in_flight,
        latency: Latency { count: _, sum_ms: _, buckets: _ },
        ejected_by,
        opinions,
    } = row;
    out.push(field::REQUESTS, requests.wrapping_sub(sum.requests));
    out.push(field::ERRORS, errors.wrapping_sub(sum.errors));
    out.push(field::TIMEOUTS, timeouts.wrapping_sub(sum.timeouts));
    out.push(field::LOCAL_FAILURES, local_failures.wrapping_sub(sum.local_failures));
    write_scaled(out, JUDGED_REQUESTS, *judged_requests, expected_votes(*requests));
    write_scaled(out, JUDGED_ERRORS, *judged_errors, expected_votes(*errors));
    out.push(field::ROW_CLIENTS, zigzag(u64::from(*clients).wrapping_sub(sum.clients.into())));
    write_in_flight(out, *in_flight, sum.in_flight);
    out.push(field::EJECTED_BY, u64::from(*ejected_by));
    out.push(field::OPINIONS, u64::from(*opinions));
}

fn read_counts(from: &mut In, row: &mut Row, sum: &Row) -> Result<(), Corrupt> {
    row.requests = from.next(field::REQUESTS).wrapping_add(sum.requests);
    row.errors = from.next(field::ERRORS).wrapping_add(sum.errors);
    row.timeouts = from.next(field::TIMEOUTS).wrapping_add(sum.timeouts);
    row.local_failures = from.next(field::LOCAL_FAILURES).wrapping_add(sum.local_failures);
    row.judged_requests = read_scaled(from, JUDGED_REQUESTS, expected_votes(row.requests))?;
    row.judged_errors = read_scaled(from, JUDGED_ERRORS, expected_votes(row.errors))?;
    let clients = u64::from(sum.clients).wrapping_add(unzigzag(from.next(field::ROW_CLIENTS)));
    row.clients = u32::try_from(clients).map_err(|_| Corrupt("a number of clients"))?;
    row.in_flight = read_in_flight(from, sum.in_flight)?;
    row.ejected_by = from.next_u32(field::EJECTED_BY);
    row.opinions = from.next_u32(field::OPINIONS);
    Ok(())
}

/// 0 as expected, 1 known where that is expected to be unknown or the other way.
fn write_in_flight(out: &mut Out, in_flight: Option<f64>, expected: Option<f64>) {
    out.push(field::IN_FLIGHT_KNOWN, (in_flight.is_some() != expected.is_some()).into());
    if let Some(in_flight) = in_flight {
        write_scaled(out, IN_FLIGHT, in_flight, expected_level(expected));
    }
}

fn read_in_flight(from: &mut In, expected: Option<f64>) -> Result<Option<f64>, Corrupt> {
    let other = from.next(field::IN_FLIGHT_KNOWN) != 0;
    if other == expected.is_some() {
        return Ok(None);
    }
    read_scaled(from, IN_FLIGHT, expected_level(expected)).map(Some)
}

/// Two columns: seconds and nanoseconds, as differences from those before.
pub(super) const EXPOSURE: [usize; 2] = [field::EXPOSURE, field::EXPOSURE_NANOS];

pub(super) fn write_duration(
    out: &mut Out,
    [seconds, nanos]: [usize; 2],
    new: Duration,
    old: Duration,
) {
    out.push(seconds, zigzag(new.as_secs().wrapping_sub(old.as_secs())));
    out.push(nanos, zigzag(u64::from(new.subsec_nanos()).wrapping_sub(old.subsec_nanos().into())));
}

pub(super) fn read_duration(
    from: &mut In,
    [seconds, nanos]: [usize; 2],
    old: Duration,
) -> Result<Duration, Corrupt> {
    let seconds = old.as_secs().wrapping_add(unzigzag(from.next(seconds)));
    let nanos = u64::from(old.subsec_nanos()).wrapping_add(unzigzag(from.next(nanos)));
    let nanos = u32::try_from(nanos).ok().filter(|&nanos| nanos < 1_000_000_000);
    Ok(Duration::new(seconds, nanos.ok_or(Corrupt("a length of time"))?))
}

/// What a scaled number may be expected to be.
#[derive(Clone, Copy)]
struct Near {
    value: f64,
    /// The whole multiple next to it.
    multiple: u64,
}

/// A column of multiples, the one of what lies above them, and how many of them make one.
struct Scaled(usize, usize, f64);

const JUDGED_REQUESTS: Scaled =
    Scaled(field::JUDGED_REQUESTS, field::JUDGED_REQUESTS_ABOVE, PARTS_OF_A_VOTE);
const JUDGED_ERRORS: Scaled =
    Scaled(field::JUDGED_ERRORS, field::JUDGED_ERRORS_ABOVE, PARTS_OF_A_VOTE);
const IN_FLIGHT: Scaled = Scaled(field::IN_FLIGHT, field::IN_FLIGHT_ABOVE, TENTHS);
const SUM: Scaled = Scaled(field::SUM, field::SUM_ABOVE, NANOS_PER_MS);

fn expected_votes(count: u64) -> Near {
    Near { value: count as f64, multiple: count.wrapping_mul(PARTS) }
}

fn expected_sum(sum: &Row) -> Near {
    near(sum.latency.sum_ms, NANOS_PER_MS)
}

fn expected_level(sum: Option<f64>) -> Near {
    near(sum.unwrap_or(0.0), TENTHS)
}

fn near(value: f64, scale: f64) -> Near {
    Near { value, multiple: float::split(value, scale).map_or(0, |(multiple, _)| multiple) }
}

/// 0 as expected, 1 bits apart, 2 zero, else the difference in multiples and three.
fn write_scaled(out: &mut Out, Scaled(column, above, scale): Scaled, value: f64, near: Near) {
    if value.to_bits() == near.value.to_bits() {
        return out.push(column, 0);
    }
    if value.to_bits() == 0 {
        return out.push(column, 2);
    }
    let split = float::split(value, scale).and_then(|(multiple, rest)| {
        let difference = multiple.wrapping_sub(near.multiple);
        let code = if near.multiple == 0 { difference } else { zigzag(difference) };
        Some((code.checked_add(3)?, zigzag(rest)))
    });
    if let Some((code, rest)) = split {
        out.push(column, code);
        out.push(above, rest);
    } else {
        out.push(column, 1);
        out.push_raw(value);
    }
}

fn read_scaled(
    from: &mut In,
    Scaled(column, above, scale): Scaled,
    near: Near,
) -> Result<f64, Corrupt> {
    let difference = match from.next(column) {
        0 => return Ok(near.value),
        1 => return from.next_raw(),
        2 => return Ok(0.0),
        code if near.multiple == 0 => code - 3,
        code => unzigzag(code - 3),
    };
    let rest = unzigzag(from.next(above));
    Ok(float::joined(near.multiple.wrapping_add(difference), rest, scale))
}
