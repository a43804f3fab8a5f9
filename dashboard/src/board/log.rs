//! A bounded list that is cheap to copy: what lets readers keep a snapshot while the loop goes on.
//!
//! Items stand in shared chunks, so a copy costs one pointer per chunk however long the list is,
//! and a push copies at most the chunk it lands in. A lock around a plain list would make the
//! loop wait for readers; a copy of a plain list costs thousands of pointers a second.

use std::collections::VecDeque;
use std::sync::Arc;

/// Items per chunk: a copy of 1,000 items is 32 pointers, a push moves at most 32.
const CHUNK: usize = 32;

/// The newest items, each with a number that counts on for ever.
#[derive(Debug)]
pub(crate) struct Log<T> {
    chunks: VecDeque<Arc<Vec<Arc<T>>>>,
    /// The number of the first item kept.
    first: u64,
    len: usize,
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone(), first: self.first, len: self.len }
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), first: 0, len: 0 }
    }
}

impl<T> Log<T> {
    /// Adds an item; the oldest chunk goes once `max` items stand without it.
    pub(crate) fn push(&mut self, item: T, max: usize) -> u64 {
        match self.chunks.back_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(Arc::new(item)),
            _ => self.chunks.push_back(Arc::new(vec![Arc::new(item)])),
        }
        self.len += 1;
        self.shrink(max);
        self.next() - 1
    }

    /// Lets the oldest chunks go while `max` items stand without them.
    pub(crate) fn shrink(&mut self, max: usize) {
        while self.chunks.front().is_some_and(|front| self.len - front.len() >= max.max(1)) {
            if let Some(front) = self.chunks.pop_front() {
                self.len -= front.len();
                self.first += front.len() as u64;
            }
        }
    }

    /// Puts another item in the newest one's place.
    pub(crate) fn replace_last(&mut self, item: T) {
        if let Some(place) = self.chunks.back_mut().and_then(|last| Arc::make_mut(last).last_mut())
        {
            *place = Arc::new(item);
        }
    }

    /// Puts another item in the place of the numbered one, if that is kept.
    pub(crate) fn replace(&mut self, number: u64, item: T) {
        let Some(offset) = number.checked_sub(self.first) else { return };
        let Ok(offset) = usize::try_from(offset) else { return };
        // Every chunk but the last is full, for items leave by whole chunks.
        let chunk = self.chunks.get_mut(offset / CHUNK);
        if let Some(place) = chunk.and_then(|chunk| Arc::make_mut(chunk).get_mut(offset % CHUNK)) {
            *place = Arc::new(item);
        }
    }

    /// The number of the oldest item that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next item will get.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.len as u64
    }

    pub(crate) fn last(&self) -> Option<&Arc<T>> {
        self.chunks.back().and_then(|chunk| chunk.last())
    }

    /// The items with their numbers, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Arc<T>)> {
        self.chunks.iter().enumerate().flat_map(move |(index, chunk)| {
            let start = self.first + (index * CHUNK) as u64;
            chunk.iter().enumerate().map(move |(offset, item)| (start + offset as u64, item))
        })
    }

    /// The items from a number on, oldest first.
    pub(crate) fn since(&self, number: u64) -> impl Iterator<Item = (u64, &Arc<T>)> {
        let newer = self.iter().rev().take_while(move |&(at, _)| at >= number).count();
        self.iter().skip(self.len - newer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items(log: &Log<u64>) -> Vec<(u64, u64)> {
        log.iter().map(|(number, item)| (number, **item)).collect()
    }

    proptest! {
        #[test]
        fn keeps_the_newest_and_little_more(count in 0_u64..300, max in 1_usize..100) {
            let mut log = Log::default();
            for value in 0..count {
                prop_assert_eq!(log.push(value, max), value);
            }
            let kept = items(&log);
            prop_assert!(kept.len() < max + CHUNK);
            prop_assert!(kept.len() >= max.min(usize::try_from(count).unwrap()));
            prop_assert!(kept.iter().all(|(number, value)| number == value));
            prop_assert_eq!(log.next(), count);
        }

        #[test]
        fn since_gives_exactly_the_newer(count in 0_u64..200, from in 0_u64..250) {
            let mut log = Log::default();
            for value in 0..count {
                log.push(value, 64);
            }
            let newer: Vec<u64> = log.since(from).map(|(number, _)| number).collect();
            let expected: Vec<u64> = (from.max(log.first())..count).collect();
            prop_assert_eq!(newer, expected);
        }

        #[test]
        fn a_numbered_item_is_replaced_in_its_place(count in 1_u64..200, at in 0_u64..250) {
            let mut log = Log::default();
            for value in 0..count {
                log.push(value, 64);
            }
            let before = items(&log);
            log.replace(at, 1_000_000);
            for ((number, value), (_, old)) in items(&log).into_iter().zip(before) {
                prop_assert_eq!(value, if number == at { 1_000_000 } else { old });
            }
        }
    }

    #[test]
    fn a_copy_stays_as_it_was() {
        let mut log = Log::default();
        log.push(1, 10);
        let copy = log.clone();
        log.push(2, 10);
        log.replace_last(3);
        assert_eq!(items(&copy), [(0, 1)]);
        assert_eq!(items(&log), [(0, 1), (1, 3)]);
    }
}
