//! Tries of new versions, as a tool that asks before each step tells them apart.
//!
//! What an earlier try came to says nothing of the next, which is another version behind the same name. And a
//! version that gets no requests can prove nothing, so the first step of each try is let go, once. If nothing is
//! seen of it then, the tool waits: a version whose requests Weir does not see must not come through unseen.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use weir_engine::names::ServiceId;
use weir_engine::units::Moment;

/// How long after a first step another may go where nothing was seen of the one before: whoever asked may not
/// have been able to take it.
pub(crate) const AGAIN: Duration = Duration::from_secs(15 * 60);

/// Versions that are remembered; of more, the one that was heard of longest ago is forgotten.
const VERSIONS_MAX: usize = 1_024;

/// The last try of each version's service.
#[derive(Debug, Default)]
pub(crate) struct Tries(Mutex<BTreeMap<ServiceId, Try>>);

#[derive(Debug)]
struct Try {
    /// What the tool calls it: a hash of what is tried.
    name: String,
    since: Moment,
    heard: Moment,
    let_go: Option<Moment>,
}

impl Tries {
    /// When the try of this name began: now, if it is another than before.
    pub(crate) fn since(&self, version: &ServiceId, name: &str, now: Moment) -> Moment {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tries.get_mut(version).filter(|known| known.name == name) {
            known.heard = now;
            return known.since;
        }
        // Asked for the first time since this process began: what is known of the version may be of this try.
        let since = if tries.contains_key(version) { now } else { Moment::from_millis(0) };
        if tries.len() >= VERSIONS_MAX {
            let oldest = tries.iter().min_by_key(|(_, known)| known.heard);
            let oldest = oldest.map(|(version, _)| version.clone());
            oldest.map(|version| tries.remove(&version));
        }
        let name = name.chars().take(128).collect();
        tries.insert(version.clone(), Try { name, since, heard: now, let_go: None });
        since
    }

    /// Whether a try of which nothing is seen may take a step now.
    pub(crate) fn may_go(&self, version: &ServiceId, now: Moment) -> bool {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = tries.get_mut(version) else { return false };
        let may = known.let_go.is_none_or(|at| now.since(at) >= AGAIN);
        if may {
            known.let_go = Some(now);
        }
        may
    }

    /// Requests of it are seen: after a pause its next first step is another.
    pub(crate) fn seen(&self, version: &ServiceId) {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tries.get_mut(version) {
            known.let_go = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_version_is_tried_unseen_once() {
        let (tries, version) = (Tries::default(), ServiceId::new("shop", "search-canary"));
        tries.since(&version, "a", at(100));
        assert!(tries.may_go(&version, at(100)));
        assert!(!tries.may_go(&version, at(110)));
        assert!(!tries.may_go(&version, at(999)));
        assert!(tries.may_go(&version, at(1_000)));
        tries.seen(&version);
        assert!(tries.may_go(&version, at(1_010)));
        tries.since(&version, "b", at(1_020));
        assert!(tries.may_go(&version, at(1_020)), "another is let go for itself");
    }

    #[test]
    fn another_try_begins_anew() {
        let (tries, version) = (Tries::default(), ServiceId::new("shop", "search-canary"));
        assert_eq!(tries.since(&version, "a", at(100)), at(0), "it may have begun before");
        assert_eq!(tries.since(&version, "a", at(110)), at(0));
        assert_eq!(tries.since(&version, "b", at(200)), at(200));
        assert_eq!(tries.since(&version, "b", at(300)), at(200));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let tries = Tries::default();
        let version = |n: usize| ServiceId::new("shop", &format!("v{n}"));
        for n in 0..VERSIONS_MAX + 10 {
            tries.since(&version(n), "a", at(n as u64));
        }
        assert!(!tries.may_go(&version(0), at(5_000)));
        assert!(tries.may_go(&version(10), at(5_000)));
    }
}
