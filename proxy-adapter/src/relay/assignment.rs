//! Endpoint weights and health in a foreign `ClusterLoadAssignment`.
//!
//! Opinions are multipliers of the weights that stand there, never weights: the server's own scale
//! may be one, a percentage or anything else. As soon as one endpoint of an assignment is changed all
//! of them are scaled alike, so that one that nobody has an opinion of keeps its fair share.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::fields::{
    Fields, Malformed, last, put_bytes, put_number, rewritten, with_wrapped, wrapped,
};
use super::{Patched, Refusal};

// Field numbers of envoy.config.endpoint.v3 and envoy.config.core.v3.
pub(super) const LOCALITIES: u32 = 2;
pub(super) const ENDPOINTS: u32 = 2;
const PRIORITY: u32 = 5;
const ENDPOINT: u32 = 1;
const HEALTH: u32 = 2;
const WEIGHT: u32 = 4;
const ADDRESS: u32 = 1;
const SOCKET_ADDRESS: u32 = 1;
const HOST: u32 = 2;
const PORT: u32 = 3;

/// `HealthStatus`: what the server leaves to the proxy, and what it calls healthy, may be lowered. All
/// else the server knows better.
const UNKNOWN: u64 = 0;
const HEALTHY: u64 = 1;
const UNHEALTHY: u64 = 2;
const DEGRADED: u64 = 5;

/// The finest step of a weight: a thousandth of what stood there.
const SCALE: f64 = 1_000.0;

/// What Weir thinks of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stand {
    /// So many times the weight that the server gives it. What is no number counts 1.
    pub multiplier: f64,
    /// Whether it is out.
    pub out: bool,
}

impl Stand {
    /// Whether it is as if nothing were thought.
    pub fn is_neutral(&self) -> bool {
        !self.out && (!self.multiplier.is_finite() || (self.multiplier - 1.0).abs() <= 1e-9)
    }
}

/// What Weir thinks of the endpoints of a cluster, by address and port.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opinion {
    /// Those that stand unlike others.
    pub stands: BTreeMap<Key, Stand>,
}

/// An endpoint's address and port.
pub type Key = (Arc<str>, u16);

/// How many must stay healthy, whatever is thought: a proxy with a panic threshold of zero, as Istio
/// sets it, has nobody to send requests to where all are out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// The part of the endpoints of each priority, 0 to 1; at least one of them in any case.
    pub healthy: f64,
}

/// An endpoint as it stands in the assignment.
struct Seen {
    priority: u32,
    weight: u64,
    health: u64,
    stand: Option<Stand>,
}

impl Seen {
    fn takes_requests(health: u64) -> bool {
        matches!(health, UNKNOWN | HEALTHY | DEGRADED)
    }

    fn new_health(&self) -> u64 {
        let out = self.stand.is_some_and(|stand| stand.out);
        if out && matches!(self.health, UNKNOWN | HEALTHY) { UNHEALTHY } else { self.health }
    }

    fn new_weight(&self) -> f64 {
        let multiplier = self.stand.map_or(1.0, |stand| stand.multiplier);
        let multiplier = if multiplier.is_finite() { multiplier.max(0.0) } else { 1.0 };
        (self.weight as f64 * multiplier * SCALE).round().max(1.0)
    }
}

impl Opinion {
    /// The same of all but some endpoints.
    #[must_use]
    pub fn without(&self, some: impl Fn(&Key) -> bool) -> Self {
        let stands = self.stands.iter().filter(|(key, _)| !some(key));
        Self { stands: stands.map(|(key, stand)| (key.clone(), *stand)).collect() }
    }

    /// The assignment with this opinion in it.
    pub fn apply(&self, assignment: &Bytes, floor: Floor) -> Patched {
        match self.patched(assignment, floor) {
            Ok(None) => Patched::Same,
            Ok(Some(bytes)) => Patched::Changed(bytes.into()),
            Err(refusal) => Patched::Refused(refusal),
        }
    }

    fn patched(&self, assignment: &[u8], floor: Floor) -> Result<Option<Vec<u8>>, Refusal> {
        let seen = self.seen(assignment)?;
        let reweighted = seen
            .iter()
            .filter_map(|one| one.stand)
            .any(|stand| stand.multiplier.is_finite() && (stand.multiplier - 1.0).abs() > 1e-9);
        let lowered = seen.iter().any(|one| one.new_health() != one.health);
        if !reweighted && !lowered {
            return Ok(None);
        }
        keeps(&seen, floor)?;
        if reweighted {
            fits(&seen)?;
        }
        let mut seen = seen.iter();
        let patched = rewritten(assignment, |field, out| {
            if field.number != LOCALITIES {
                return Ok::<_, Refusal>(false);
            }
            let locality = rewritten(field.bytes()?, |field, out| {
                if field.number != ENDPOINTS {
                    return Ok::<_, Refusal>(false);
                }
                let Some(one) = seen.next() else { return Ok(false) };
                put_bytes(out, ENDPOINTS, &endpoint(field.bytes()?, one, reweighted)?);
                Ok(true)
            })?;
            put_bytes(out, LOCALITIES, &locality);
            Ok(true)
        })?;
        Ok(Some(patched))
    }

    /// All endpoints in the order in which they stand.
    fn seen(&self, assignment: &[u8]) -> Result<Vec<Seen>, Malformed> {
        let mut seen = Vec::new();
        for field in Fields::of(assignment) {
            let field = field?;
            if field.number != LOCALITIES {
                continue;
            }
            let locality = field.bytes()?;
            let priority = match last(locality, PRIORITY)? {
                Some(priority) => u32::try_from(priority.varint()?).unwrap_or(u32::MAX),
                None => 0,
            };
            for field in Fields::of(locality) {
                let field = field?;
                if field.number == ENDPOINTS {
                    seen.push(self.endpoint(field.bytes()?, priority)?);
                }
            }
        }
        Ok(seen)
    }

    fn endpoint(&self, endpoint: &[u8], priority: u32) -> Result<Seen, Malformed> {
        let health = last(endpoint, HEALTH)?.map_or(Ok(UNKNOWN), |health| health.varint())?;
        let weight = wrapped(endpoint, WEIGHT)?.unwrap_or(1);
        let known = address(endpoint)?;
        let stand =
            known.and_then(|(host, port)| self.stands.get(&(Arc::from(host), port)).copied());
        Ok(Seen { priority, weight, health, stand })
    }
}

/// All endpoints of an assignment that have an address and a port.
pub(super) fn endpoints(assignment: &[u8]) -> Result<Vec<Key>, Malformed> {
    let mut found = Vec::new();
    for locality in Fields::of(assignment) {
        let locality = locality?;
        if locality.number != LOCALITIES {
            continue;
        }
        for field in Fields::of(locality.bytes()?) {
            let field = field?;
            if field.number == ENDPOINTS {
                found.extend(key(field.bytes()?)?);
            }
        }
    }
    Ok(found)
}

/// An endpoint's address and port, if it has them.
pub(super) fn key(endpoint: &[u8]) -> Result<Option<Key>, Malformed> {
    Ok(address(endpoint)?.map(|(host, port)| (Arc::from(host), port)))
}

/// An endpoint's address and port; none of a pipe or an internal listener, which no opinion is about.
fn address(endpoint: &[u8]) -> Result<Option<(&str, u16)>, Malformed> {
    let mut message = endpoint;
    for number in [ENDPOINT, ADDRESS, SOCKET_ADDRESS] {
        match last(message, number)? {
            Some(field) => message = field.bytes()?,
            None => return Ok(None),
        }
    }
    let Some(host) = last(message, HOST)? else { return Ok(None) };
    let port = last(message, PORT)?.map_or(Ok(0), |port| port.varint())?;
    let host = host.text()?;
    Ok(u16::try_from(port).ok().map(|port| (host, port)))
}

fn endpoint(endpoint: &[u8], seen: &Seen, reweighted: bool) -> Result<Vec<u8>, Malformed> {
    let mut patched = endpoint.to_vec();
    if reweighted {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least one, and their sum fits in 32 bits"
        )]
        let weight = seen.new_weight() as u64;
        patched = with_wrapped(&patched, WEIGHT, weight)?;
    }
    let health = seen.new_health();
    if health != seen.health {
        let mut out = rewritten(&patched, |field, _| Ok::<_, Malformed>(field.number == HEALTH))?;
        put_number(&mut out, HEALTH, health);
        patched = out;
    }
    Ok(patched)
}

/// Whether enough of each priority stay healthy in which anybody is put out.
fn keeps(seen: &[Seen], floor: Floor) -> Result<(), Refusal> {
    let mut priorities: Vec<u32> =
        seen.iter().filter(|one| one.new_health() != one.health).map(|one| one.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    for priority in priorities {
        let of = seen.iter().filter(|one| one.priority == priority);
        let all = of.clone().count();
        let healthy = of.filter(|one| Seen::takes_requests(one.new_health())).count();
        let least = (floor.healthy.clamp(0.0, 1.0) * all as f64).max(1.0);
        if (healthy as f64) < least {
            return Err(Refusal::Floor { priority, healthy, all });
        }
    }
    Ok(())
}

/// Proxies refuse weights whose sum over a priority is more than 32 bits.
fn fits(seen: &[Seen]) -> Result<(), Refusal> {
    let mut sums: BTreeMap<u32, f64> = BTreeMap::new();
    for one in seen {
        *sums.entry(one.priority).or_default() += one.new_weight();
    }
    let fits = sums.values().all(|sum| *sum <= f64::from(u32::MAX));
    if fits { Ok(()) } else { Err(Refusal::TooLarge) }
}

#[cfg(test)]
pub(super) mod tests;
