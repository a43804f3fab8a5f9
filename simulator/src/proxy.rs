//! A proxy's choice of a backend, as Envoy makes it.
//!
//! A locality by weight (smooth weighted round robin over effective weights w x min(1, 1.4 x
//! healthy part)), then the one with fewer own requests in flight of two picked at random. Below
//! the panic threshold health and weights are ignored. A backend that changes its locality is a
//! new host: its in-flight count and its outlier state start anew.

use weir_engine::decision::{Group, Health};
use weir_engine::names::Locality;

use crate::random::Random;
use crate::world::index_of;

/// Envoy's defaults.
const OVERPROVISIONING: f64 = 1.4;
const PANIC_BELOW: f64 = 0.5;
const CONSECUTIVE_ERRORS: u32 = 5;
const EJECTION_MICROS: u64 = 30_000_000;
const EJECTED_MOST: f64 = 0.1;

/// What a proxy knows of one backend.
#[derive(Clone, Debug, Default)]
struct Host {
    locality: Option<Locality>,
    healthy: bool,
    /// Counts replacements: answers to an earlier host say nothing of this one.
    life: u32,
    in_flight: u32,
    consecutive: u32,
    ejections: u32,
    ejected_until: u64,
}

#[derive(Clone, Debug)]
struct Place {
    weight: f64,
    members: Vec<usize>,
    credit: f64,
}

/// One proxy.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    hosts: Vec<Host>,
    places: Vec<Place>,
    random: Random,
    detects_outliers: bool,
}

/// A pick: which backend, and which life of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) backend: usize,
    life: u32,
}

impl Proxy {
    pub(crate) fn new(backends: usize, random: Random, detects_outliers: bool) -> Self {
        Self {
            hosts: vec![Host::default(); backends],
            places: Vec::new(),
            random,
            detects_outliers,
        }
    }

    /// Takes in an assignment.
    pub(crate) fn assign(&mut self, groups: &[Group]) {
        let mut locality: Vec<Option<(&Locality, bool)>> = vec![None; self.hosts.len()];
        self.places.clear();
        let total: f64 = groups.iter().map(|group| f64::from(group.weight.get())).sum();
        for group in groups {
            let members = group.members.iter().filter_map(|member| {
                let index = index_of(&member.address)?;
                *locality.get_mut(index)? =
                    Some((&group.locality, member.health == Health::Healthy));
                Some(index)
            });
            let members: Vec<usize> = members.collect();
            // A random start: proxies of a fleet do not walk in step.
            let credit = total * self.random.unit();
            self.places.push(Place { weight: f64::from(group.weight.get()), members, credit });
        }
        for (host, locality) in self.hosts.iter_mut().zip(locality) {
            let place = locality.map(|(place, _)| place.clone());
            if host.locality != place {
                *host = Host { locality: place, life: host.life + 1, ..Host::default() };
            }
            host.healthy = locality.is_some_and(|(_, healthy)| healthy);
        }
    }

    /// Picks a backend; nothing if there is none.
    pub(crate) fn pick(&mut self, now: u64) -> Option<Pick> {
        let usable = |host: &Host| host.healthy && host.ejected_until <= now;
        let parts: Vec<f64> = self
            .places
            .iter()
            .map(|place| {
                let healthy = place.members.iter().filter(|&&index| usable(&self.hosts[index]));
                healthy.count() as f64 / place.members.len().max(1) as f64
            })
            .collect();
        let all: usize = self.places.iter().map(|place| place.members.len()).sum();
        let healthy: f64 =
            self.places.iter().zip(&parts).map(|(p, part)| part * p.members.len() as f64).sum();
        let panicking = healthy < PANIC_BELOW * all as f64;
        let candidates: Vec<usize> = if panicking {
            self.places.iter().flat_map(|place| place.members.iter().copied()).collect()
        } else {
            let place = self.place(&parts)?;
            let members = self.places[place].members.iter().copied();
            members.filter(|&index| usable(&self.hosts[index])).collect()
        };
        let one = *candidates.get(self.random.below(candidates.len()))?;
        let two = *candidates.get(self.random.below(candidates.len()))?;
        let fewer = self.hosts[two].in_flight < self.hosts[one].in_flight;
        let backend = if fewer { two } else { one };
        let host = &mut self.hosts[backend];
        host.in_flight += 1;
        Some(Pick { backend, life: host.life })
    }

    fn place(&mut self, parts: &[f64]) -> Option<usize> {
        let mut total = 0.0;
        let mut best: Option<(usize, f64)> = None;
        for (index, (place, part)) in self.places.iter_mut().zip(parts).enumerate() {
            let weight = place.weight * (OVERPROVISIONING * part).min(1.0);
            if weight > 0.0 {
                place.credit += weight;
                total += weight;
                if best.is_none_or(|(_, credit)| place.credit > credit) {
                    best = Some((index, place.credit));
                }
            }
        }
        let (index, _) = best?;
        self.places[index].credit -= total;
        Some(index)
    }

    /// An answer, or the end of patience.
    pub(crate) fn ended(&mut self, pick: Pick, failed: bool, now: u64) {
        let present = self.hosts.iter().filter(|host| host.locality.is_some()).count() as f64;
        let out = self.hosts.iter().filter(|host| host.ejected_until > now).count() as f64;
        let host = &mut self.hosts[pick.backend];
        if host.life != pick.life {
            return;
        }
        host.in_flight = host.in_flight.saturating_sub(1);
        host.consecutive = if failed { host.consecutive + 1 } else { 0 };
        let due = self.detects_outliers && host.consecutive >= CONSECUTIVE_ERRORS;
        if due && host.ejected_until <= now && out + 1.0 <= EJECTED_MOST * present {
            host.ejections += 1;
            host.consecutive = 0;
            host.ejected_until = now + EJECTION_MICROS * u64::from(host.ejections);
        }
    }

    /// What it thinks of its backends: none of those that it does not know.
    pub(crate) fn opinions(&self, now: u64) -> impl Iterator<Item = (usize, bool)> {
        let known = self.hosts.iter().enumerate().filter(|(_, host)| host.locality.is_some());
        known.map(move |(index, host)| (index, host.ejected_until > now))
    }
}
