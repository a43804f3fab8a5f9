//! First steps of new versions. A version that gets no requests can prove nothing, and a tool that asks before
//! each step asks before the first too: that one is let go, once. If nothing is seen of it then, the tool waits:
//! a version whose requests Weir does not see must not come through unseen.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use weir_engine::names::ServiceId;
use weir_engine::units::Moment;

/// How long after a first step another may go where nothing was seen of the one before: whoever asked may not
/// have been able to take it.
pub(crate) const AGAIN: Duration = Duration::from_secs(15 * 60);

/// Versions that are remembered; beyond, no first step is let go until one is forgotten.
const VERSIONS_MAX: usize = 1_024;

/// When first steps were let go, by version.
#[derive(Debug, Default)]
pub(crate) struct FirstSteps(Mutex<BTreeMap<ServiceId, Moment>>);

impl FirstSteps {
    /// Whether a version of which nothing is seen may be tried now.
    pub(crate) fn may_go(&self, version: &ServiceId, now: Moment) -> bool {
        let mut gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|_, at| now.since(*at) < AGAIN);
        if gone.contains_key(version) || gone.len() >= VERSIONS_MAX {
            return false;
        }
        gone.insert(version.clone(), now);
        true
    }

    /// Requests of a version are seen: after a pause its next first step is another.
    pub(crate) fn seen(&self, version: &ServiceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_tried_unseen_once() {
        let (steps, version) = (FirstSteps::default(), ServiceId::new("shop", "search-canary"));
        let at = |seconds: u64| Moment::from_millis(seconds * 1_000);
        assert!(steps.may_go(&version, at(0)));
        assert!(!steps.may_go(&version, at(10)));
        assert!(steps.may_go(&ServiceId::new("shop", "till-canary"), at(10)));
        assert!(!steps.may_go(&version, at(899)));
        assert!(steps.may_go(&version, at(900)));
        steps.seen(&version);
        assert!(steps.may_go(&version, at(910)));
    }
}
