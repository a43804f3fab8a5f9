//! Names by number: each stands in a segment once, where it is first used.
//!
//! A column of names holds 0 for the one after the last one's in the same column, 1 for a new one,
//! else the number and two. Lists that come in the same order every step are zeros like that.

use std::collections::HashMap;
use std::sync::Arc;

use super::bytes::{self, Corrupt};
use super::sheet::{In, Out, field};

/// So many are kept by number; what comes later is written out every time. Ten times the nodes
/// and services of a large mesh.
const NAMES_MAX: usize = 1 << 17;

/// Names that were written.
#[derive(Debug, Default)]
pub(super) struct Written {
    numbers: HashMap<Arc<str>, u64>,
}

/// Names that were read.
#[derive(Debug, Default)]
pub(super) struct Read {
    names: Vec<Arc<str>>,
}

/// A place in a column of names.
#[derive(Debug)]
pub(super) struct Cursor {
    column: usize,
    expected: u64,
}

impl Cursor {
    pub(super) fn new(column: usize) -> Self {
        Self { column, expected: 0 }
    }

    pub(super) fn push(&mut self, (out, written): (&mut Out, &mut Written), name: &str) {
        if let Some(&number) = written.numbers.get(name) {
            out.push(self.column, if number == self.expected { 0 } else { number + 2 });
            self.expected = number + 1;
            return;
        }
        out.push(self.column, 1);
        bytes::put_sized(out.blob(field::NAMES), name.as_bytes());
        let number = written.numbers.len();
        if number < NAMES_MAX {
            written.numbers.insert(Arc::from(name), number as u64);
            self.expected = number as u64 + 1;
        }
    }

    pub(super) fn next(&mut self, from: &mut In, read: &mut Read) -> Result<Arc<str>, Corrupt> {
        let number = match from.next(self.column) {
            0 => self.expected,
            1 => {
                let number = read.names.len();
                let name = next_new(from).ok_or(Corrupt("a new name"))?;
                if number < NAMES_MAX {
                    read.names.push(Arc::clone(&name));
                    self.expected = number as u64 + 1;
                }
                return Ok(name);
            }
            number => number - 2,
        };
        let at = usize::try_from(number).ok();
        let name = at.and_then(|at| read.names.get(at)).ok_or(Corrupt("a name's number"))?;
        self.expected = number + 1;
        Ok(Arc::clone(name))
    }
}

fn next_new(from: &mut In) -> Option<Arc<str>> {
    from.take_from(field::NAMES, |rest| {
        Some(Arc::from(std::str::from_utf8(bytes::sized(rest)?).ok()?))
    })
}
