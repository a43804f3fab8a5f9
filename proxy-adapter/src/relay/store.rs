//! What servers sent, kept once for all streams that got the same bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::assignment::{self, Key};

/// A resource as its server sent it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Original {
    /// Its bytes.
    pub(super) body: Bytes,
    /// Endpoints in it; none where it has no endpoints or is not understood.
    pub(super) endpoints: Vec<Key>,
}

/// Originals by the hash of their bytes, for as long as a stream has them.
#[derive(Debug, Default)]
pub struct Store {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    originals: HashMap<[u8; 32], Weak<Original>>,
    /// How many there may be before those that nobody has any more are looked for.
    sweep_at: usize,
}

/// So many are never too many to look through.
const SWEEP_MIN: usize = 1_024;

impl Store {
    /// The original of these bytes, which are copied where nobody has them yet.
    pub(super) fn keep(&self, body: &[u8], is_assignment: bool) -> Arc<Original> {
        let hash: [u8; 32] = Sha256::digest(body).into();
        // A stream that panicked left the map whole: it is changed by single calls only.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(original) = known.originals.get(&hash).and_then(Weak::upgrade) {
            return original;
        }
        let endpoints = is_assignment.then(|| assignment::endpoints(body).unwrap_or_default());
        let original = Arc::new(Original {
            body: Bytes::copy_from_slice(body),
            endpoints: endpoints.unwrap_or_default(),
        });
        known.originals.insert(hash, Arc::downgrade(&original));
        if known.originals.len() >= known.sweep_at.max(SWEEP_MIN) {
            known.originals.retain(|_, original| original.strong_count() > 0);
            known.sweep_at = 2 * known.originals.len();
        }
        original
    }

    /// How many different originals streams have.
    pub fn len(&self) -> usize {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.originals.values().filter(|original| original.strong_count() > 0).count()
    }

    /// Whether no stream has any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_kept_once_and_no_longer_than_somebody_has_them() {
        let store = Store::default();
        let first = store.keep(b"\x0a\x01a", true);
        let second = store.keep(b"\x0a\x01a", true);
        let other = store.keep(b"\x0a\x01b", true);
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(store.len(), 2);
        drop((first, second, other));
        assert!(store.is_empty());
    }

    #[test]
    fn what_nobody_has_is_swept_out() {
        let store = Store::default();
        for number in 0..10_000_u32 {
            drop(store.keep(&number.to_le_bytes(), false));
        }
        assert!(store.known.lock().unwrap().originals.len() <= 2 * SWEEP_MIN);
    }
}
