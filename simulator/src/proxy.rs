//! A proxy: who is usable, which locality is next, and what its balancer is told.
//!
//! As Envoy does it: a locality by weight (smooth weighted round robin over effective weights
//! w x min(1, 1.4 x healthy part)), then the balancer's pick within it. Below the panic threshold
//! health and weights are ignored. A backend that changes its locality is a new host: its
//! in-flight count and its outlier state start anew.

use weir_engine::decision::{Group, Health};
use weir_engine::names::Locality;
use weir_engine::units::Ratio;

use crate::balancer::{Balancer, Ended, Look, Member, Probe, Truth};
use crate::random::Random;
use crate::rivals::Rival;
use crate::rivals::limits::Limiter;
use crate::rivals::outliers::Outliers;
use crate::world::index_of;

/// Envoy's defaults.
const OVERPROVISIONING: f64 = 1.4;
const PANIC_BELOW: f64 = 0.5;

/// A retry's host is picked anew so many times to avoid those tried (Envoy's
/// `host_selection_retry_max_attempts`, one by default; its documentation's example has three).
const RESELECTIONS: usize = 3;

/// What a proxy knows of one backend.
#[derive(Clone, Debug, Default)]
struct Host {
    locality: Option<Locality>,
    healthy: bool,
    weight: f64,
    /// Counts replacements: answers to an earlier host say nothing of this one.
    life: u32,
}

#[derive(Clone, Debug)]
struct Place {
    weight: f64,
    members: Vec<usize>,
    credit: f64,
    /// Weight as the usable part of its members leaves it.
    effective: f64,
}

/// One proxy.
pub(crate) struct Proxy {
    hosts: Vec<Host>,
    in_flight: Vec<u32>,
    places: Vec<Place>,
    panicking: bool,
    /// Something changed that says who is usable.
    stale: bool,
    random: Random,
    balancer: Box<dyn Balancer>,
    outliers: Option<Outliers>,
    limiter: Option<Box<dyn Limiter>>,
    /// The part of the requests that it turns away.
    shed: Ratio,
    /// All requests in flight, to hosts of earlier lives as well.
    open: u32,
}

/// A pick: which backend, and which life of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) backend: usize,
    life: u32,
}

impl Proxy {
    pub(crate) fn new(backends: usize, random: Random, rival: Rival) -> Self {
        Self {
            hosts: vec![Host::default(); backends],
            in_flight: vec![0; backends],
            places: Vec::new(),
            panicking: false,
            stale: true,
            random,
            balancer: rival.balancer(backends),
            outliers: rival.outliers(backends),
            limiter: rival.limiter(random),
            shed: Ratio::ZERO,
            open: 0,
        }
    }

    /// Takes in an assignment.
    pub(crate) fn assign(&mut self, groups: &[Group]) {
        let mut seen: Vec<Option<(&Locality, bool, f64)>> = vec![None; self.hosts.len()];
        self.places.clear();
        let total: f64 = groups.iter().map(|group| f64::from(group.weight.get())).sum();
        for group in groups {
            let members = group.members.iter().filter_map(|member| {
                let index = index_of(&member.address)?;
                let healthy = member.health == Health::Healthy;
                *seen.get_mut(index)? =
                    Some((&group.locality, healthy, f64::from(member.weight.get())));
                Some(index)
            });
            let members: Vec<usize> = members.collect();
            // A random start: proxies of a fleet do not walk in step.
            let credit = total * self.random.unit();
            let weight = f64::from(group.weight.get());
            self.places.push(Place { weight, members, credit, effective: 0.0 });
        }
        for (index, seen) in seen.into_iter().enumerate() {
            self.meet(index, seen);
        }
        if let Some(outliers) = &mut self.outliers {
            let members: Vec<usize> = self.places.iter().flat_map(|p| p.members.clone()).collect();
            outliers.set_members(&members);
        }
        self.stale = true;
    }

    fn meet(&mut self, index: usize, seen: Option<(&Locality, bool, f64)>) {
        let host = &mut self.hosts[index];
        let place = seen.map(|(place, ..)| place.clone());
        if host.locality != place {
            *host = Host { locality: place, life: host.life + 1, ..Host::default() };
            self.in_flight[index] = 0;
            if let Some(outliers) = &mut self.outliers {
                outliers.reset(index);
            }
        }
        host.healthy = seen.is_some_and(|(_, healthy, _)| healthy);
        host.weight = seen.map_or(1.0, |(.., weight)| weight);
    }

    fn is_usable(&self, index: usize) -> bool {
        let out = self.outliers.as_ref().is_some_and(|outliers| outliers.is_out(index));
        self.hosts[index].healthy && !out
    }

    /// Works out who is usable, and tells the balancer.
    fn settle(&mut self, now: u64, truth: &[Truth]) {
        self.stale = false;
        let all: usize = self.places.iter().map(|place| place.members.len()).sum();
        let mut usable: Vec<Vec<Member>> = self
            .places
            .iter()
            .map(|place| {
                let members = place.members.iter().filter(|&&index| self.is_usable(index));
                members.map(|&index| self.member(index)).collect()
            })
            .collect();
        let healthy: usize = usable.iter().map(Vec::len).sum();
        self.panicking = (healthy as f64) < PANIC_BELOW * all as f64;
        for (place, usable) in self.places.iter_mut().zip(&usable) {
            let part = usable.len() as f64 / place.members.len().max(1) as f64;
            place.effective = place.weight * (OVERPROVISIONING * part).min(1.0);
        }
        if self.panicking {
            let everybody = self.places.iter().flat_map(|place| place.members.iter().copied());
            usable = vec![everybody.map(|index| self.member(index)).collect()];
        }
        self.ask(now, truth, |balancer, look| balancer.members(&usable, look));
    }

    fn member(&self, index: usize) -> Member {
        Member { backend: index, weight: self.hosts[index].weight }
    }

    /// Picks a backend; nothing if there is none. One that was tried already is picked only where
    /// picking anew did not find another.
    pub(crate) fn pick(&mut self, now: u64, truth: &[Truth], tried: &[usize]) -> Option<Pick> {
        if self.outliers.as_mut().is_some_and(|outliers| outliers.sweep(now)) {
            self.stale = true;
        }
        if self.stale {
            self.settle(now, truth);
        }
        if self.shed > Ratio::ZERO && self.random.unit() < self.shed.value() {
            return None;
        }
        if self.limiter.as_mut().is_some_and(|limiter| !limiter.admit(self.open, now)) {
            return None;
        }
        let mut backend = self.choose(now, truth)?;
        for _ in 0..RESELECTIONS {
            if !tried.contains(&backend) {
                break;
            }
            backend = self.choose(now, truth)?;
        }
        self.in_flight[backend] += 1;
        self.open += 1;
        Some(Pick { backend, life: self.hosts[backend].life })
    }

    /// Asks the balancer, or tells it something, with what it may look at.
    fn ask<T>(
        &mut self,
        now: u64,
        truth: &[Truth],
        question: impl FnOnce(&mut dyn Balancer, &mut Look<'_>) -> T,
    ) -> T {
        let look = &mut Look { now, in_flight: &self.in_flight, truth, random: &mut self.random };
        question(self.balancer.as_mut(), look)
    }

    fn choose(&mut self, now: u64, truth: &[Truth]) -> Option<usize> {
        let place = if self.panicking { 0 } else { self.place()? };
        self.ask(now, truth, |balancer, look| balancer.pick(place, look))
    }

    /// Its requests under way, by backend.
    pub(crate) fn in_flight(&self) -> &[u32] {
        &self.in_flight
    }

    /// Turns away a part of the requests from now on.
    pub(crate) fn turn_away(&mut self, part: Ratio) {
        self.shed = part;
    }

    /// All its requests under way.
    pub(crate) fn open(&self) -> u32 {
        self.open
    }

    /// A picked request waits for a connection: until it goes, balancers do not see it.
    pub(crate) fn waits(&mut self, pick: Pick) {
        if self.hosts[pick.backend].life == pick.life {
            let in_flight = &mut self.in_flight[pick.backend];
            *in_flight = in_flight.saturating_sub(1);
        }
    }

    /// A request that waited goes.
    pub(crate) fn goes(&mut self, pick: Pick) {
        if self.hosts[pick.backend].life == pick.life {
            self.in_flight[pick.backend] += 1;
        }
    }

    /// A picked request is not sent; `waited` says whether it waited for a connection.
    pub(crate) fn dropped(&mut self, pick: Pick, waited: bool) {
        self.open = self.open.saturating_sub(1);
        if !waited {
            self.waits(pick);
        }
    }

    fn place(&mut self) -> Option<usize> {
        let mut total = 0.0;
        let mut best: Option<(usize, f64)> = None;
        for (index, place) in self.places.iter_mut().enumerate() {
            if place.effective > 0.0 {
                place.credit += place.effective;
                total += place.effective;
                if best.is_none_or(|(_, credit)| place.credit > credit) {
                    best = Some((index, place.credit));
                }
            }
        }
        let (index, _) = best?;
        self.places[index].credit -= total;
        Some(index)
    }

    /// Backends to probe as a request is picked for.
    pub(crate) fn probes(&mut self, now: u64, truth: &[Truth]) -> Vec<usize> {
        self.ask(now, truth, |balancer, look| balancer.probes(look))
    }

    /// A probe came back.
    pub(crate) fn probed(&mut self, backend: usize, probe: Probe, now: u64, truth: &[Truth]) {
        self.ask(now, truth, |balancer, look| balancer.probed(backend, probe, look));
    }

    /// An answer, or the end of patience.
    pub(crate) fn ended(&mut self, pick: Pick, ended: &Ended, now: u64, truth: &[Truth]) {
        if let Some(limiter) = &mut self.limiter {
            limiter.ended(ended.latency, self.open, ended.timed_out, now);
        }
        self.open = self.open.saturating_sub(1);
        if self.hosts[pick.backend].life != pick.life {
            return;
        }
        let in_flight = &mut self.in_flight[pick.backend];
        *in_flight = in_flight.saturating_sub(1);
        if let Some(outliers) = &mut self.outliers
            && outliers.ended(pick.backend, ended.failed, now)
        {
            self.stale = true;
        }
        self.ask(now, truth, |balancer, look| balancer.ended(pick.backend, ended, look));
    }

    /// What it thinks of its backends: none of those that it does not know.
    pub(crate) fn opinions(&self) -> impl Iterator<Item = (usize, bool)> {
        let known = self.hosts.iter().enumerate().filter(|(_, host)| host.locality.is_some());
        let out = |index| self.outliers.as_ref().is_some_and(|outliers| outliers.is_out(index));
        known.map(move |(index, _)| (index, out(index)))
    }
}
