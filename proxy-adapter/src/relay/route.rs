//! How a foreign `RouteConfiguration` splits requests over clusters.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::fields::{Fields, Malformed, put_bytes, rewritten, text, with_wrapped, wrapped};
use super::{Patched, Refusal};

// Field numbers of envoy.config.route.v3.
const HOSTS: u32 = 2;
const ROUTES: u32 = 3;
const ACTION: u32 = 2;
const WEIGHTED: u32 = 3;
const CLUSTERS: u32 = 1;
const TOTAL: u32 = 3;
const NAME: u32 = 1;
const WEIGHT: u32 = 2;

/// How requests are to be split over clusters: wherever a route weighs exactly these, in any order, it
/// gets these weights. A route that lists others as well is somebody else's, and stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Weights by cluster; not all of them zero.
    pub weights: BTreeMap<String, u32>,
}

/// How often the split was met.
#[derive(Debug, Default)]
struct Met {
    changed: bool,
    /// A cluster that a route lists some of its siblings without.
    missing: Option<String>,
    matched: bool,
}

impl Split {
    /// The routes with this split in them.
    pub fn apply(&self, routes: &Bytes) -> Patched {
        let mut met = Met::default();
        match self.configuration(routes, &mut met) {
            Err(error) => Patched::Refused(error.into()),
            Ok(patched) if met.changed => Patched::Changed(patched.into()),
            Ok(_) => match met.missing.filter(|_| !met.matched) {
                Some(missing) => Patched::Refused(Refusal::NotListed(missing)),
                None => Patched::Same,
            },
        }
    }

    fn configuration(&self, routes: &[u8], met: &mut Met) -> Result<Vec<u8>, Malformed> {
        self.within(routes, &[HOSTS, ROUTES, ACTION, WEIGHTED], met)
    }

    /// The message with whatever stands at the end of this path of fields changed.
    fn within(&self, message: &[u8], path: &[u32], met: &mut Met) -> Result<Vec<u8>, Malformed> {
        let Some((&number, rest)) = path.split_first() else {
            return self.weighted(message, met);
        };
        rewritten(message, |field, out| {
            if field.number != number {
                return Ok(false);
            }
            put_bytes(out, number, &self.within(field.bytes()?, rest, met)?);
            Ok(true)
        })
    }

    /// Whether these weights come to the same parts.
    fn is_met(&self, listed: &[(String, u32)]) -> bool {
        let wanted = |name| u64::from(self.weights.get(name).copied().unwrap_or_default());
        let sum: u64 = listed.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let sum_wanted: u64 = listed.iter().map(|(name, _)| wanted(name)).sum();
        listed.iter().all(|(name, weight)| u64::from(*weight) * sum_wanted == wanted(name) * sum)
    }

    /// Clusters with their weights.
    fn weighted(&self, message: &[u8], met: &mut Met) -> Result<Vec<u8>, Malformed> {
        let listed = listed(message)?;
        let names = || listed.iter().map(|(name, _)| name);
        if !names().any(|name| self.weights.contains_key(name)) {
            return Ok(message.to_vec());
        }
        let lists = |name: &String| names().any(|one| one == name);
        // Servers leave out what gets nothing.
        let mut needed = self.weights.iter().filter(|(_, weight)| **weight > 0);
        if let Some((missing, _)) = needed.find(|(name, _)| !lists(name)) {
            met.missing = Some(missing.clone());
            return Ok(message.to_vec());
        }
        if listed.len() != self.weights.keys().filter(|name| lists(name)).count() {
            return Ok(message.to_vec());
        }
        met.matched = true;
        if self.is_met(&listed) {
            return Ok(message.to_vec());
        }
        met.changed = true;
        rewritten(message, |field, out| match field.number {
            CLUSTERS => {
                let cluster = field.bytes()?;
                let weight = self.weights.get(text(cluster, NAME)?).copied().unwrap_or_default();
                put_bytes(out, CLUSTERS, &with_wrapped(cluster, WEIGHT, weight.into())?);
                Ok(true)
            }
            // A total that is not their sum is refused: without one proxies take the sum.
            TOTAL => Ok(true),
            _ => Ok(false),
        })
    }
}

fn listed(weighted: &[u8]) -> Result<Vec<(String, u32)>, Malformed> {
    let mut listed = Vec::new();
    for field in Fields::of(weighted) {
        let field = field?;
        if field.number == CLUSTERS {
            let cluster = field.bytes()?;
            let weight = wrapped(cluster, WEIGHT)?.unwrap_or(0);
            listed
                .push((text(cluster, NAME)?.to_owned(), u32::try_from(weight).unwrap_or(u32::MAX)));
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests;
