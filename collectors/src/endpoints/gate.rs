//! The gate that endpoint sets pass on their way out of discovery: they may grow at once, but not
//! lose most of their endpoints on one word.
//!
//! An emptied file, a resolver with half its zone and a registry that has just restarted all look
//! like a service whose endpoints went away, and a proxy that is given an empty set answers every
//! request with 503. So what would remove more than half of the endpoints that were named within
//! the last minute is withheld until they have been missing for that whole minute; smaller
//! removals, additions and changes pass at once. Half is counted over a minute and not from one
//! set to the next, or three small steps would do what one large one may not.
//!
//! While a removal is withheld the new endpoints are added beside the old ones: if all were
//! replaced, half of the traffic would otherwise go nowhere for a minute, or all of it.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_engine::names::Address;
use weir_engine::topology::Endpoint;
use weir_engine::units::Moment;

/// How long endpoints must be missing before most of them may go: past a restart of whatever
/// names them, short against the life of a deployment.
pub const STABLE: Duration = Duration::from_secs(60);

/// The gate of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gate {
    known: BTreeMap<Address, Known>,
}

/// An endpoint that was named within the last minute.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    endpoint: Endpoint,
    missing_since: Option<Moment>,
    served: bool,
}

/// What the gate lets through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passed {
    /// The endpoints to serve, in ascending order of address.
    pub endpoints: Vec<Endpoint>,
    /// How many of these are served although they are no longer named.
    pub withheld: usize,
}

impl Gate {
    /// A gate behind which these endpoints are already served: the last known good of an earlier
    /// run, so that a restart is no way around it.
    pub fn serving(endpoints: &[Endpoint]) -> Self {
        let known = endpoints.iter().map(|endpoint| (endpoint.address.clone(), named(endpoint)));
        Self { known: known.collect() }
    }

    /// The gate and what it lets through, once discovery names `proposed` at `now`. The same
    /// endpoints have to be proposed again from time to time for a withheld removal to pass.
    #[must_use]
    pub fn pass(mut self, proposed: &[Endpoint], now: Moment) -> (Self, Passed) {
        for known in self.known.values_mut() {
            known.missing_since = known.missing_since.or(Some(now));
        }
        for endpoint in proposed {
            self.known.insert(endpoint.address.clone(), named(endpoint));
        }
        self.known
            .retain(|_, known| known.missing_since.is_none_or(|since| now.since(since) < STABLE));
        if !self.shrinks_too_far() {
            for known in self.known.values_mut() {
                known.served = known.missing_since.is_none();
            }
        }
        let passed = self.passed();
        (self, passed)
    }

    /// Whether more than half of the endpoints are missing. That all are missing is more than
    /// half, also of one endpoint.
    fn shrinks_too_far(&self) -> bool {
        let missing = self.known.values().filter(|known| known.missing_since.is_some()).count();
        2 * missing > self.known.len()
    }

    fn passed(&self) -> Passed {
        let served: Vec<&Known> = self.known.values().filter(|known| known.served).collect();
        Passed {
            withheld: served.iter().filter(|known| known.missing_since.is_some()).count(),
            endpoints: served.into_iter().map(|known| known.endpoint.clone()).collect(),
        }
    }
}

fn named(endpoint: &Endpoint) -> Known {
    Known { endpoint: endpoint.clone(), missing_since: None, served: true }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

    use super::*;
    use crate::endpoints::plain;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(ports: impl IntoIterator<Item = u16>) -> Vec<Endpoint> {
        ports.into_iter().map(|port| plain(([10, 0, 0, 1], port).into())).collect()
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    /// Feeds (second, ports named) to a gate; says (ports served, withheld) after the last.
    #[track_caller]
    fn check(steps: &[(u64, &[u16])], served: &[u16], withheld: usize) {
        let mut gate = Gate::default();
        let mut passed = Passed::default();
        for &(second, ports) in steps {
            (gate, passed) = gate.pass(&set(ports.iter().copied()), at(second));
        }
        assert_eq!(passed, Passed { endpoints: set(served.iter().copied()), withheld });
    }

    #[test]
    fn growth_and_small_removals_pass_at_once() {
        check(&[(0, &[1, 2])], &[1, 2], 0);
        check(&[(0, &[1, 2]), (1, &[1, 2, 3])], &[1, 2, 3], 0);
        check(&[(0, &[1, 2]), (1, &[1])], &[1], 0);
        check(&[(0, &[1, 2, 3, 4]), (1, &[3, 4])], &[3, 4], 0);
    }

    #[test]
    fn an_empty_first_list_is_believed() {
        check(&[(0, &[])], &[], 0);
    }

    #[test]
    fn large_removals_wait_for_a_minute() {
        check(&[(0, &[1, 2, 3]), (1, &[1])], &[1, 2, 3], 2);
        check(&[(0, &[1, 2, 3]), (1, &[1]), (60, &[1])], &[1, 2, 3], 2);
        check(&[(0, &[1, 2, 3]), (1, &[1]), (61, &[1])], &[1], 0);
        check(&[(0, &[1]), (1, &[])], &[1], 1);
        check(&[(0, &[1]), (1, &[]), (61, &[])], &[], 0);
    }

    #[test]
    fn a_minute_without_any_list_confirms_nothing() {
        check(&[(0, &[1, 2, 3]), (600, &[1])], &[1, 2, 3], 2);
    }

    #[test]
    fn an_endpoint_that_comes_back_starts_its_minute_anew() {
        check(&[(0, &[1, 2, 3]), (1, &[1]), (50, &[1, 2, 3]), (61, &[1])], &[1, 2, 3], 2);
    }

    #[test]
    fn replaced_endpoints_are_served_beside_the_new_ones_until_they_are_surely_gone() {
        check(&[(0, &[1, 2]), (1, &[3])], &[1, 2, 3], 2);
        check(&[(0, &[1, 2]), (1, &[3]), (2, &[3, 4])], &[3, 4], 0);
        check(&[(0, &[1, 2]), (1, &[3]), (61, &[3])], &[3], 0);
    }

    #[test]
    fn small_steps_do_not_add_up_to_a_large_one() {
        let steps: &[(u64, &[u16])] = &[(0, &[1, 2, 3, 4]), (5, &[1, 2]), (10, &[1])];
        check(steps, &[1, 2], 1);
    }

    #[test]
    fn what_an_earlier_run_served_is_not_dropped_at_a_restart() {
        let (_, passed) = Gate::serving(&set([1, 2, 3])).pass(&[], at(0));
        assert_eq!(passed, Passed { endpoints: set([1, 2, 3]), withheld: 3 });
    }

    #[test]
    fn changes_of_an_endpoint_pass_at_once() {
        let mut changed = set([1]);
        changed[0].ready = false;
        let (gate, _) = Gate::default().pass(&set([1]), at(0));
        assert_eq!(gate.pass(&changed, at(1)).1.endpoints, changed);
    }

    fn any_steps() -> impl Strategy<Value = Vec<(u64, BTreeSet<u16>)>> {
        let step = (0..40_u64, prop::collection::btree_set(1..9_u16, 0..8));
        prop::collection::vec(step, 1..25)
    }

    proptest! {
        /// Over any history: what is named is served; what is served was served or is named; and
        /// what left had been missing for a minute, or more than half of the last minute's
        /// endpoints are still named.
        #[test]
        fn most_endpoints_never_leave_on_one_word(steps in any_steps()) {
            let mut gate = Gate::default();
            let mut now = 0;
            let mut before: BTreeSet<Address> = BTreeSet::new();
            // For each address: when it was named last, and first missed after that.
            let mut missed: BTreeMap<Address, Option<u64>> = BTreeMap::new();
            for (wait, ports) in steps {
                now += wait;
                let proposed = set(ports);
                let named: BTreeSet<Address> =
                    proposed.iter().map(|endpoint| endpoint.address.clone()).collect();
                for (address, since) in &mut missed {
                    *since = if named.contains(address) { None } else { since.or(Some(now)) };
                }
                missed.extend(named.iter().map(|address| (address.clone(), None)));
                let passed;
                (gate, passed) = gate.pass(&proposed, at(now));
                let served: BTreeSet<Address> =
                    passed.endpoints.iter().map(|endpoint| endpoint.address.clone()).collect();
                prop_assert!(served.is_superset(&named));
                prop_assert!(served.iter().all(|a| before.contains(a) || named.contains(a)));
                prop_assert_eq!(passed.withheld, served.len() - named.len());
                let recent = missed.values().filter(|since| since.is_none_or(|s| now - s < 60));
                let early = before.difference(&served).any(|address| {
                    missed[address].is_some_and(|since| now - since < 60)
                });
                prop_assert!(!early || 2 * named.len() >= recent.count());
                prop_assert!(passed.endpoints.is_sorted_by(|a, b| a.address < b.address));
                before = served;
            }
        }

        /// Proposing the same again changes nothing but the time, and a minute of it is believed.
        #[test]
        fn a_stable_minute_is_believed(first in prop::collection::btree_set(1..9_u16, 0..8), then in prop::collection::btree_set(1..9_u16, 0..8)) {
            let (gate, _) = Gate::default().pass(&set(first), at(0));
            let (gate, once) = gate.pass(&set(then.clone()), at(5));
            let (gate, twice) = gate.pass(&set(then.clone()), at(6));
            prop_assert_eq!(once, twice);
            let (_, last) = gate.pass(&set(then.clone()), at(65));
            prop_assert_eq!(last, Passed { endpoints: set(then), withheld: 0 });
        }
    }
}
