//! How a foreign `ClusterLoadAssignment` splits requests over versions of a service, where it is one cluster
//! for all of them.
//!
//! Envoy Gateway makes one cluster of a route's rule and one locality of each of its backends; the
//! backends' weights are the localities' (with `locality_weighted_lb_config`).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::assignment::{ENDPOINTS, Key, LOCALITIES, key};
use super::fields::{Fields, Malformed, inner, put_bytes, rewritten, text, with_wrapped, wrapped};
use super::{Patched, Refusal};

// Field numbers of envoy.config.endpoint.v3.LocalityLbEndpoints and envoy.config.core.v3.Locality.
const LOCALITY: u32 = 1;
const WEIGHT: u32 = 3;
const REGION: u32 = 1;

/// What stands in the region of a locality that is one of a rule's backends.
const BACKEND: &str = "/backend/";

/// How requests are to be split over versions that are known by their endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Of each version its endpoints and its weight; not all of them zero.
    pub sides: Vec<(Arc<BTreeSet<Key>>, u32)>,
}

/// A locality of the assignment: whose it is, and its weight.
type Seen = Option<(usize, u64)>;

impl Parts {
    /// The assignment with this split in it.
    pub fn apply(&self, assignment: &Bytes) -> Patched {
        let seen = match self.seen(assignment) {
            Ok(Some(seen)) => seen,
            Ok(None) => return Patched::Same,
            Err(error) => return Patched::Refused(error.into()),
        };
        let side = |index: usize| seen.iter().flatten().filter(move |one| one.0 == index);
        let present = (0..self.sides.len()).filter(|index| side(*index).next().is_some()).count();
        if present < 2 || seen.iter().any(Option::is_none) {
            return Patched::Same;
        }
        let missing = |(index, (_, weight)): (usize, &(_, u32))| {
            (*weight > 0 && side(index).next().is_none()).then(|| format!("backend {index}"))
        };
        if let Some(missing) = self.sides.iter().enumerate().find_map(missing) {
            return Patched::Refused(Refusal::NotListed(missing));
        }
        let wanted = |(index, own): (usize, u64)| {
            let all: u64 = side(index).map(|one| one.1).sum();
            u64::from(self.sides[index].1) * own / all.max(1)
        };
        let wanted: Vec<u64> = seen.iter().flatten().map(|one| wanted(*one)).collect();
        if is_met(&seen, &wanted) {
            return Patched::Same;
        }
        rewrite(assignment, &wanted).map_or_else(
            |error| Patched::Refused(error.into()),
            |patched| Patched::Changed(patched.into()),
        )
    }

    /// Whose each locality is, in their order; none for an assignment that is no rule's.
    fn seen(&self, assignment: &[u8]) -> Result<Option<Vec<Seen>>, Malformed> {
        let mut seen = Vec::new();
        for field in Fields::of(assignment) {
            let field = field?;
            if field.number != LOCALITIES {
                continue;
            }
            let locality = field.bytes()?;
            if !is_backend(locality)? {
                return Ok(None);
            }
            let weight = wrapped(locality, WEIGHT)?.unwrap_or(0);
            seen.push(self.owner(locality)?.map(|side| (side, weight)));
        }
        Ok(Some(seen))
    }

    /// The version that has all endpoints of a locality.
    fn owner(&self, locality: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut keys = Vec::new();
        for field in Fields::of(locality) {
            let field = field?;
            if field.number == ENDPOINTS {
                keys.push(key(field.bytes()?)?);
            }
        }
        let owns = |(endpoints, _): &(Arc<BTreeSet<Key>>, u32)| {
            !keys.is_empty()
                && keys.iter().all(|key| key.as_ref().is_some_and(|key| endpoints.contains(key)))
        };
        Ok(self.sides.iter().position(owns))
    }
}

fn is_backend(locality: &[u8]) -> Result<bool, Malformed> {
    Ok(text(inner(locality, LOCALITY)?, REGION)?.contains(BACKEND))
}

/// Whether the weights come to the same parts.
fn is_met(seen: &[Seen], wanted: &[u64]) -> bool {
    let has = || seen.iter().flatten().map(|one| one.1);
    let (sum, sum_wanted) = (has().sum::<u64>(), wanted.iter().sum::<u64>());
    has().zip(wanted).all(|(has, wanted)| has * sum_wanted == wanted * sum)
}

fn rewrite(assignment: &[u8], weights: &[u64]) -> Result<Vec<u8>, Malformed> {
    let mut weights = weights.iter();
    rewritten(assignment, |field, out| {
        if field.number != LOCALITIES {
            return Ok(false);
        }
        // A locality without a weight gets nothing; one of zero is refused by some clients.
        match weights.next() {
            Some(0) => {
                let without = rewritten(field.bytes()?, |field, _| {
                    Ok::<_, Malformed>(field.number == WEIGHT)
                })?;
                put_bytes(out, LOCALITIES, &without);
            }
            Some(&weight) => {
                put_bytes(out, LOCALITIES, &with_wrapped(field.bytes()?, WEIGHT, weight)?);
            }
            None => return Ok(false),
        }
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::Locality;
    use envoy_types::pb::envoy::config::endpoint::v3::{
        ClusterLoadAssignment, LocalityLbEndpoints,
    };
    use envoy_types::pb::google::protobuf::UInt32Value;
    use prost::Message;

    use super::super::assignment::tests::lb_endpoint;
    use super::*;

    fn assignment(localities: &[(&str, &[usize], u32)]) -> ClusterLoadAssignment {
        let locality = |(region, endpoints, weight): &(&str, &[usize], u32)| LocalityLbEndpoints {
            locality: Some(Locality { region: (*region).to_owned(), ..Default::default() }),
            load_balancing_weight: Some(UInt32Value { value: *weight }),
            lb_endpoints: endpoints.iter().map(|n| lb_endpoint(*n, None, 1)).collect(),
            ..Default::default()
        };
        ClusterLoadAssignment {
            endpoints: localities.iter().map(locality).collect(),
            ..Default::default()
        }
    }

    fn parts(sides: &[(&[usize], u32)]) -> Parts {
        let side = |(endpoints, weight): &(&[usize], u32)| {
            let keys = endpoints.iter().map(|n| (Arc::from(format!("10.0.0.{n}")), 80));
            (Arc::new(keys.collect()), *weight)
        };
        Parts { sides: sides.iter().map(side).collect() }
    }

    fn apply(parts: &Parts, assignment: &ClusterLoadAssignment) -> Option<Vec<u32>> {
        match parts.apply(&assignment.encode_to_vec().into()) {
            Patched::Same => None,
            Patched::Changed(bytes) => {
                let read = ClusterLoadAssignment::decode(bytes).unwrap();
                let weight = |one: &LocalityLbEndpoints| {
                    one.load_balancing_weight.map_or(0, |weight| weight.value)
                };
                Some(read.endpoints.iter().map(weight).collect())
            }
            Patched::Refused(why) => panic!("{why}"),
        }
    }

    const RULE: [&str; 2] = ["httproute/a/b/rule/0/backend/0", "httproute/a/b/rule/0/backend/1"];

    #[test]
    fn backends_get_their_versions_weights() {
        let rule = assignment(&[(RULE[0], &[1, 2], 50), (RULE[1], &[3], 50)]);
        let wanted = |first, second| parts(&[(&[1, 2], first), (&[3], second)]);
        assert_eq!(apply(&wanted(9_000, 1_000), &rule), Some(vec![9_000, 1_000]));
        assert_eq!(apply(&wanted(10_000, 0), &rule), Some(vec![10_000, 0]));
        assert_eq!(apply(&wanted(5_000, 5_000), &rule), None, "it is split so already");
    }

    #[test]
    fn what_is_no_rules_or_has_others_in_it_stays() {
        let wanted = parts(&[(&[1], 9), (&[3], 1)]);
        for localities in [
            &[("eu", &[1][..], 50), ("us", &[3], 50)][..],
            &[(RULE[0], &[1], 50), (RULE[1], &[3, 4], 50)],
            &[(RULE[0], &[1], 50)],
            &[(RULE[0], &[1, 3], 50), (RULE[1], &[3], 50)],
        ] {
            assert_eq!(apply(&wanted, &assignment(localities)), None, "{localities:?}");
        }
    }
}
