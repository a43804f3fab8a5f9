//! The layout of the last text: which line stood where, and the key of its series.
//!
//! A line's *prefix* is everything before its value (of a comment: the whole line). Comparing it
//! with the last text's is a `memcmp`; hashing and taking apart are left to lines that moved.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::{Key, Sink, value};

/// Lines that were read along the layout.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) bytes: usize,
    pub(super) samples: u64,
    pub(super) comments: u64,
}

/// Where a prefix stood in the last text.
#[derive(PartialEq, Eq)]
pub(super) enum Found {
    /// Just here: nothing needs recording.
    Here,
    /// At another place, or here in a text that has diverged before.
    Elsewhere(Key),
    /// It is new.
    Nowhere,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    end: u32,
    key: Key,
}

/// Prefixes in the order of their lines, end to end in one buffer.
#[derive(Debug, Default)]
struct Layout {
    entries: Vec<Entry>,
    text: Vec<u8>,
}

impl Layout {
    fn prefix(&self, at: usize) -> Option<&[u8]> {
        let end = self.entries.get(at)?.end as usize;
        self.text.get(self.start(at)..end)
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.entries[before].end as usize)
    }

    fn push(&mut self, prefix: &[u8], key: Key) {
        // A text of 4 GiB is beyond every cap; were there one, its rest would stay unmemorised.
        if let Ok(end) = u32::try_from(self.text.len() + prefix.len()) {
            self.text.extend_from_slice(prefix);
            self.entries.push(Entry { end, key });
        }
    }

    fn up_to(&self, at: usize) -> Self {
        Self { entries: self.entries[..at].to_vec(), text: self.text[..self.start(at)].to_vec() }
    }
}

/// The last text's layout, and the present one's as soon as it differs.
#[derive(Debug, Default)]
pub(super) struct Memo {
    last: Layout,
    /// Hash of a prefix to its place in `last`; the prefix itself is compared before use.
    places: HashMap<u64, u32>,
    hasher: RandomState,
    cursor: usize,
    next: Option<Layout>,
}

impl Memo {
    /// Back to the first line; an unfinished text's layout is forgotten.
    pub(super) fn rewind(&mut self) {
        self.cursor = 0;
        self.next = None;
    }

    /// Reads lines for as long as they are whole and stand where they stood.
    pub(super) fn follow(&mut self, text: &[u8], sink: &mut impl Sink) -> Followed {
        let mut followed = Followed::default();
        let mut start = self.last.start(self.cursor);
        let first = self.cursor;
        for entry in &self.last.entries[first..] {
            let prefix = &self.last.text[start..entry.end as usize];
            let Some(rest) = text[followed.bytes..].strip_prefix(prefix) else { break };
            if entry.key == Key::COMMENT {
                if rest.first() != Some(&b'\n') {
                    break;
                }
                followed.bytes += prefix.len() + 1;
                followed.comments += 1;
            } else {
                let Some((value, length)) = whole_value(rest) else { break };
                if entry.key != Key::IGNORED {
                    sink.value(entry.key, value, None);
                }
                followed.bytes += prefix.len() + length + 1;
                followed.samples += 1;
            }
            if let Some(next) = &mut self.next {
                next.push(prefix, entry.key);
            }
            start = entry.end as usize;
            self.cursor += 1;
        }
        followed
    }

    /// Looks a prefix up, first at the cursor, then anywhere; the cursor goes to the line after.
    pub(super) fn find(&mut self, prefix: &[u8]) -> Found {
        if self.last.prefix(self.cursor) == Some(prefix) {
            self.cursor += 1;
            let key = self.last_key();
            return if self.next.is_none() { Found::Here } else { Found::Elsewhere(key) };
        }
        if self.next.is_none() {
            self.next = Some(self.last.up_to(self.cursor));
        }
        let place = self.places.get(&self.hasher.hash_one(prefix)).map(|&place| place as usize);
        match place.filter(|&place| self.last.prefix(place) == Some(prefix)) {
            Some(place) => {
                self.cursor = place + 1;
                Found::Elsewhere(self.last_key())
            }
            None => Found::Nowhere,
        }
    }

    /// The key of the line before the cursor.
    pub(super) fn last_key(&self) -> Key {
        self.cursor
            .checked_sub(1)
            .and_then(|at| self.last.entries.get(at))
            .map_or(Key::IGNORED, |entry| entry.key)
    }

    /// Notes a line of a text that has diverged.
    pub(super) fn record(&mut self, prefix: &[u8], key: Key) {
        if let Some(next) = &mut self.next {
            next.push(prefix, key);
        }
    }

    /// The text ended: its layout is the last one now.
    pub(super) fn settle(&mut self) {
        if self.next.is_none() && self.cursor < self.last.entries.len() {
            self.next = Some(self.last.up_to(self.cursor));
        }
        if let Some(next) = self.next.take() {
            self.last = next;
            self.places.clear();
            for at in 0..self.last.entries.len() {
                if let (Some(prefix), Ok(place)) = (self.last.prefix(at), u32::try_from(at)) {
                    self.places.insert(self.hasher.hash_one(prefix), place);
                }
            }
        }
        self.cursor = 0;
    }
}

/// The value that a line ends with, and its length; nothing if the line goes on or is cut.
#[inline]
fn whole_value(rest: &[u8]) -> Option<(f64, usize)> {
    if let Some((value, length)) = value::integer(rest)
        && rest.get(length) == Some(&b'\n')
    {
        return Some((value, length));
    }
    let length = memchr::memchr(b'\n', rest)?;
    Some((value::parse(rest.get(..length)?)?, length))
}
