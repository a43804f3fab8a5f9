//! One frame as fields: numbered columns and blobs, each left out where it is all default, and
//! one byte where it is what it was in the frame before.
//!
//! A field is `number << 1` (varint), its length (varint) and its bytes; or `number << 1 | 1` alone:
//! the same bytes as last time. A reader skips numbers that it does not know and takes zeros for
//! those that are not there, which is how a field can be added.

use super::bytes::{self, Corrupt};
use super::column::{Column, Packer};
use super::float;

/// The fields' numbers. A number is never given a second meaning.
#[rustfmt::skip]
pub(super) mod field {
    // Blobs.
    pub(crate) const AT: usize = 0;
    pub(crate) const DIGEST: usize = 1;
    pub(crate) const COUNTS: usize = 2;
    pub(crate) const NAMES: usize = 3;
    pub(crate) const RAW: usize = 4;
    pub(crate) const ODD_BUCKETS: usize = 5;
    pub(crate) const FLAGS: usize = 6;
    pub(crate) const LOG_BUDGET: usize = 7;
    pub(crate) const TOPOLOGY: usize = 8;
    pub(crate) const GOALS: usize = 9;
    pub(crate) const WEIGHTS: usize = 10;
    pub(crate) const CHANGED: usize = 11;
    pub(crate) const LAYOUTS: usize = 12;
    pub(crate) const BUILD: usize = 13;
    pub(crate) const MODEL: usize = 14;
    pub(crate) const STATE: usize = 15;
    pub(crate) const STATE_LAYOUT: usize = 16;
    pub(crate) const EPOCH: usize = 17;
    // Columns: a service's traffic.
    pub(crate) const NAMESPACE: usize = 20;
    pub(crate) const NAME: usize = 21;
    pub(crate) const CLIENTS: usize = 22;
    pub(crate) const REPORTERS: usize = 23;
    pub(crate) const ROWS: usize = 24;
    pub(crate) const TOTALS: usize = 25;
    pub(crate) const ZONES: usize = 26;
    pub(crate) const ZONE: usize = 27;
    pub(crate) const ZONE_ROWS: usize = 28;
    // A row.
    pub(crate) const ENDPOINT: usize = 30;
    pub(crate) const REQUESTS: usize = 31;
    pub(crate) const ERRORS: usize = 32;
    pub(crate) const TIMEOUTS: usize = 33;
    pub(crate) const LOCAL_FAILURES: usize = 34;
    pub(crate) const JUDGED_REQUESTS: usize = 35;
    pub(crate) const JUDGED_REQUESTS_ABOVE: usize = 36;
    pub(crate) const JUDGED_ERRORS: usize = 37;
    pub(crate) const JUDGED_ERRORS_ABOVE: usize = 38;
    pub(crate) const EXPOSURE: usize = 39;
    pub(crate) const EXPOSURE_NANOS: usize = 40;
    pub(crate) const ROW_CLIENTS: usize = 41;
    pub(crate) const IN_FLIGHT: usize = 42;
    pub(crate) const TIMED: usize = 43;
    pub(crate) const SUM: usize = 44;
    pub(crate) const SUM_ABOVE: usize = 45;
    pub(crate) const EJECTED_BY: usize = 46;
    pub(crate) const OPINIONS: usize = 47;
    pub(crate) const BUCKETS: usize = 48;
    pub(crate) const BUCKET_FIRST: usize = 49;
    pub(crate) const BUCKET_SPAN: usize = 50;
    pub(crate) const BUCKET_COUNT: usize = 51;
    pub(crate) const IN_FLIGHT_KNOWN: usize = 52;
    pub(crate) const IN_FLIGHT_ABOVE: usize = 53;
    pub(crate) const FOREIGN: usize = 54;
    pub(crate) const FOREIGN_ABOVE: usize = 55;
    // What queries counted.
    pub(crate) const INDICATED_NAMESPACE: usize = 60;
    pub(crate) const INDICATED_NAME: usize = 61;
    pub(crate) const OBJECTIVE: usize = 62;
    pub(crate) const GOOD: usize = 63;
    pub(crate) const TOTAL: usize = 64;
    // Receipts.
    pub(crate) const RECEIPT_NODE: usize = 70;
    pub(crate) const RECEIPT_NAMESPACE: usize = 71;
    pub(crate) const RECEIPT_NAME: usize = 72;
    pub(crate) const DECISION: usize = 73;
    pub(crate) const OUTCOME: usize = 74;
    pub(crate) const REFUSAL: usize = 75;
    // Access log volumes.
    pub(crate) const LOG_NODE: usize = 80;
    pub(crate) const LOG_ENTRIES: usize = 81;
    pub(crate) const LOG_COUNTS: usize = 82;
    pub(crate) const LOG_REQUESTS: usize = 83;
    pub(crate) const LOG_WINDOW: usize = 84;
    pub(crate) const LOG_WINDOW_NANOS: usize = 85;
    // Fitted weights.
    pub(crate) const FITTED_NAMESPACE: usize = 90;
    pub(crate) const FITTED_NAME: usize = 91;
    pub(crate) const FITTED_VERSION: usize = 92;
    // What people said to offers.
    pub(crate) const WORD_NAMESPACE: usize = 94;
    pub(crate) const WORD_NAME: usize = 95;
    pub(crate) const WORD_OFFER: usize = 96;
    pub(crate) const WORD_UNTIL: usize = 97;
    pub(crate) const WORD_BY: usize = 98;
    // Services of which something changed.
    pub(crate) const CHANGED_NAMESPACE: usize = 100;
    pub(crate) const CHANGED_NAME: usize = 101;
    // What proxies were told anew.
    pub(crate) const PUSHED_KIND: usize = 110;
    pub(crate) const PUSHED_NAME: usize = 111;
    pub(crate) const PUSHED_TO: usize = 112;
    pub(crate) const PUSHED_KNOWN: usize = 113;
    pub(crate) const PUSHED_VERSION: usize = 114;
    /// One more than the highest number.
    pub(crate) const END: usize = 115;
}

/// A frame that is written.
#[derive(Debug)]
pub(super) struct Out {
    columns: Vec<Packer>,
    blobs: Vec<Vec<u8>>,
    last: Vec<Vec<u8>>,
}

impl Default for Out {
    fn default() -> Self {
        let mut columns = Vec::new();
        columns.resize_with(field::END, Packer::default);
        Self { columns, blobs: vec![Vec::new(); field::END], last: vec![Vec::new(); field::END] }
    }
}

impl Out {
    /// Appends a number to a column.
    pub(super) fn push(&mut self, column: usize, number: u64) {
        self.columns[column].push(number);
    }

    /// A blob's bytes so far.
    pub(super) fn blob(&mut self, number: usize) -> &mut Vec<u8> {
        &mut self.blobs[number]
    }

    /// Appends a floating point number to a column: 0 where it is as expected, 1 where its bits
    /// stand apart, else a whole number and two.
    pub(super) fn push_float(&mut self, column: usize, value: f64, expected: f64) {
        if value.to_bits() == expected.to_bits() {
            self.push(column, 0);
        } else if let Some(n) = float::whole(value) {
            self.push(column, n + 2);
        } else {
            self.push(column, 1);
            self.push_raw(value);
        }
    }

    /// Keeps a number's bits apart.
    pub(super) fn push_raw(&mut self, value: f64) {
        self.blob(field::RAW).extend(value.to_bits().to_le_bytes());
    }

    /// Appends the frame's fields and begins the next one's.
    pub(super) fn finish(&mut self, body: &mut Vec<u8>) {
        for number in 0..field::END {
            let mut new = self.columns[number].finish();
            if new.is_empty() {
                new = std::mem::take(&mut self.blobs[number]);
            }
            if new.is_empty() {
                continue;
            }
            if new == self.last[number] {
                bytes::put(body, (number as u64) << 1 | 1);
            } else {
                bytes::put(body, (number as u64) << 1);
                bytes::put_sized(body, &new);
                self.last[number] = new;
            }
        }
    }
}

/// A frame that is read.
#[derive(Debug)]
pub(super) struct In {
    columns: Vec<Column>,
    /// How far each blob is read.
    places: Vec<usize>,
}

impl Default for In {
    fn default() -> Self {
        let mut columns = Vec::new();
        columns.resize_with(field::END, Column::default);
        Self { columns, places: vec![0; field::END] }
    }
}

impl In {
    /// Takes in a frame's fields.
    pub(super) fn open(&mut self, mut body: &[u8]) -> Result<(), Corrupt> {
        self.columns.iter_mut().for_each(Column::leave_out);
        self.places.fill(0);
        while !body.is_empty() {
            self.take_field(&mut body).ok_or(Corrupt("the list of fields"))?;
        }
        Ok(())
    }

    fn take_field(&mut self, body: &mut &[u8]) -> Option<()> {
        let head = bytes::varint(body)?;
        let known = usize::try_from(head >> 1).ok().and_then(|at| self.columns.get_mut(at));
        if head & 1 == 1 {
            if let Some(column) = known {
                column.again();
            }
            return Some(());
        }
        let new = bytes::sized(body)?;
        if let Some(column) = known {
            column.set(new);
        }
        Some(())
    }

    /// A column's next number.
    pub(super) fn next(&mut self, column: usize) -> u64 {
        self.columns[column].next()
    }

    /// A column's next number, of 32 bits.
    pub(super) fn next_u32(&mut self, column: usize) -> u32 {
        self.columns[column].next_u32()
    }

    /// A column's next number, of 8 bits.
    pub(super) fn next_u8(&mut self, column: usize) -> u8 {
        self.columns[column].next_u8()
    }

    /// A column's next floating point number.
    pub(super) fn next_float(&mut self, column: usize, expected: f64) -> Result<f64, Corrupt> {
        match self.next(column) {
            0 => Ok(expected),
            1 => self.next_raw(),
            n => Ok((n - 2) as f64),
        }
    }

    /// The next number whose bits stand apart.
    pub(super) fn next_raw(&mut self) -> Result<f64, Corrupt> {
        self.take_from(field::RAW, bytes::float).ok_or(Corrupt("a number's bits"))
    }

    /// Takes something from where a blob was read to.
    pub(super) fn take_from<T>(
        &mut self,
        number: usize,
        take: impl FnOnce(&mut &[u8]) -> Option<T>,
    ) -> Option<T> {
        let blob = self.columns[number].bytes().unwrap_or_default();
        let mut rest = blob.get(self.places[number]..)?;
        let taken = take(&mut rest)?;
        self.places[number] = blob.len() - rest.len();
        Some(taken)
    }

    /// Whether a blob is not read to its end.
    pub(super) fn is_left(&self, number: usize) -> bool {
        self.blob(number).is_some_and(|blob| self.places[number] < blob.len())
    }

    /// A blob, if it is there.
    pub(super) fn blob(&self, number: usize) -> Option<&[u8]> {
        self.columns[number].bytes()
    }

    /// Whether every column could be read.
    pub(super) fn check(&self) -> Result<(), Corrupt> {
        self.columns.iter().try_for_each(Column::check)
    }
}
