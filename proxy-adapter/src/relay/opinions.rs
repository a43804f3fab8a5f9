//! All that Weir thinks of a foreign server's resources at one time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::assignment::{Key, Opinion, Stand};
use super::parts::Parts;
use super::route::Split;
use super::{Floor, Patched};

/// How long opinions stand that nobody renews.
pub const HELD: Duration = Duration::from_secs(5 * 60);

/// Over which time they go back to nothing after that.
pub const DECAY: Duration = Duration::from_secs(10 * 60);

/// Opinions of everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opinions {
    /// Of assignments whose clusters are known by name.
    pub named: BTreeMap<String, Arc<Opinion>>,
    /// Of all others: subsets, and rules of a gateway, hold the same endpoints under other names.
    pub anywhere: Arc<Opinion>,
    /// How requests are to be split over clusters.
    pub splits: Arc<[Split]>,
    /// The same where versions share a cluster.
    pub parts: Arc<[Parts]>,
    /// The part of endpoints of each priority that stays healthy in any case, 0 to 1.
    pub healthy: f64,
}

impl Opinions {
    /// The opinion of an assignment.
    pub fn of(&self, name: &str) -> &Arc<Opinion> {
        self.named.get(name).unwrap_or(&self.anywhere)
    }

    /// An assignment with all of them in it but those of some endpoints.
    pub fn patch(
        &self,
        name: &str,
        assignment: &Bytes,
        floor: Floor,
        except: impl Fn(&Key) -> bool,
    ) -> Patched {
        let opinion = self.of(name);
        let patched = if opinion.stands.keys().any(&except) {
            opinion.without(except).apply(assignment, floor)
        } else {
            opinion.apply(assignment, floor)
        };
        self.parts
            .iter()
            .fold(patched, |patched, parts| patched.then(assignment, |it| parts.apply(it)))
    }

    /// Routes with every split in them that they have a place for.
    pub fn patch_routes(&self, routes: &Bytes) -> Patched {
        self.splits
            .iter()
            .fold(Patched::Same, |patched, split| patched.then(routes, |it| split.apply(it)))
    }

    /// What is left of opinions that nobody has renewed for so long: all, then less and less of the weights
    /// and none of the ejections, then nothing. Splits between versions stay: they are no repair, and taking
    /// them back would send people to a version that nobody has chosen for them.
    #[must_use]
    pub fn aged(&self, age: Duration) -> Self {
        let Some(over) = age.checked_sub(HELD).filter(|over| !over.is_zero()) else {
            return self.clone();
        };
        let left = 1.0 - (over.as_secs_f64() / DECAY.as_secs_f64()).min(1.0);
        let faded = |opinion: &Arc<Opinion>| Arc::new(opinion.faded(left));
        Self {
            named: self.named.iter().map(|(name, one)| (name.clone(), faded(one))).collect(),
            anywhere: faded(&self.anywhere),
            splits: Arc::clone(&self.splits),
            parts: Arc::clone(&self.parts),
            healthy: self.healthy,
        }
    }
}

impl Opinion {
    /// With so much of each weight's difference left, 0 to 1, and everybody in.
    fn faded(&self, left: f64) -> Self {
        let faded =
            |stand: &Stand| Stand { multiplier: 1.0 + (stand.multiplier - 1.0) * left, out: false };
        let stands = self.stands.iter().map(|(key, stand)| (key.clone(), faded(stand)));
        Self { stands: stands.filter(|(_, stand)| !stand.is_neutral()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinions(multiplier: f64, out: bool) -> Opinions {
        let stands = [((Arc::from("10.0.0.1"), 80), Stand { multiplier, out })];
        let opinion = Arc::new(Opinion { stands: stands.into() });
        Opinions { named: [("a".to_owned(), opinion)].into(), ..Opinions::default() }
    }

    #[test]
    fn what_nobody_renews_fades_after_a_while() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(opinions(3.0, true).aged(minutes(5)), opinions(3.0, true));
        assert_eq!(opinions(3.0, true).aged(minutes(10)), opinions(2.0, false));
        for age in [minutes(15), minutes(600)] {
            assert!(opinions(3.0, true).aged(age).of("a").stands.is_empty());
        }
    }

    #[test]
    fn a_cluster_that_is_not_named_is_judged_by_addresses() {
        let anywhere = Arc::clone(opinions(2.0, false).of("a"));
        let opinions = Opinions { anywhere, ..opinions(3.0, false) };
        let of = |name| opinions.of(name).stands.values().next().map(|stand| stand.multiplier);
        assert_eq!((of("a"), of("a|subset")), (Some(3.0), Some(2.0)));
    }
}
