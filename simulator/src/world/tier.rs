//! One tier of the mesh: backends, the proxies in front of them, what governs these.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use weir_engine::decision::{Group, Health, Member};
use weir_engine::names::Locality;
use weir_engine::observation::{Report, Source};
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology};
use weir_engine::units::Moment;

use super::{CHOICE, CLUSTER, Tick, address_of, micros, of, service};
use crate::backend::{Number, Queue};
use crate::balancer::{Probe, Truth};
use crate::proxy::Proxy;
use crate::random::Random;
use crate::rivals::Rival;
use crate::scenario::{Backend, Scenario};
use crate::telemetry::Counters;

/// A tier as it stands.
pub(super) struct Tier<'a> {
    scenario: &'a Scenario,
    /// Counts from the clients' side.
    level: usize,
    pub(super) backends: &'a [Backend],
    pub(super) queues: Vec<Queue>,
    pub(super) truth: Vec<Truth>,
    pub(super) proxies: Vec<Proxy>,
    pub(super) counters: Vec<Counters>,
    /// Requests whose client still waits, in order of sending: all have the same patience.
    pub(super) patience: VecDeque<Number>,
    late: VecDeque<Vec<Report>>,
    present: Vec<bool>,
    governed: bool,
    assigned: Vec<Group>,
}

impl<'a> Tier<'a> {
    /// The tier that clients call.
    pub(super) fn first(scenario: &'a Scenario, rival: Rival) -> Self {
        let count = scenario.backends.len();
        let proxies = 0..scenario.proxies;
        let proxy = |proxy: usize| {
            let random = Random::of(scenario.seed, CHOICE, proxy as u64);
            Proxy::new(count, random, rival)
        };
        let counters = |proxy: usize| {
            let zone = &scenario.zones[proxy % scenario.zones.len()].0;
            Counters::new(proxy, zone, count)
        };
        Self {
            scenario,
            level: 0,
            backends: &scenario.backends,
            queues: scenario.backends.iter().map(|one| Queue::of(one.workers)).collect(),
            truth: vec![Truth::default(); count],
            proxies: proxies.clone().map(proxy).collect(),
            counters: proxies.map(counters).collect(),
            patience: VecDeque::new(),
            late: VecDeque::new(),
            present: Vec::new(),
            governed: false,
            assigned: Vec::new(),
        }
    }

    /// Proxies take turns among zones.
    pub(super) fn zone_of(&self, proxy: usize) -> usize {
        proxy % self.scenario.zones.len()
    }

    /// Whether a proxy's request to a backend leaves its zone.
    pub(super) fn is_far(&self, proxy: usize, backend: usize) -> bool {
        self.zone_of(proxy) != self.backends[backend].zone
    }

    /// Microseconds from a proxy to a backend.
    pub(super) fn way(&self, proxy: usize, backend: usize) -> u64 {
        let further = self.scenario.cross_zone / 2;
        of(self.scenario.one_way) + if self.is_far(proxy, backend) { of(further) } else { 0 }
    }

    /// By how much a backend's service is slower than the scenario's.
    pub(super) fn slowness(&self, backend: usize, now: u64) -> f64 {
        self.backends[backend].slowness.at(second(now))
    }

    /// The part of a backend's requests that fail.
    pub(super) fn errors(&self, backend: usize, now: u64) -> f64 {
        self.backends[backend].errors.at(second(now))
    }

    /// Works out how backends truly stand.
    pub(super) fn look(&mut self, now: u64) {
        let mean = self.scenario.service.0.as_secs_f64();
        for index in 0..self.backends.len() {
            self.queues[index].look(now);
            self.truth[index] = Truth {
                workers: self.backends[index].workers,
                service: mean * self.slowness(index, now),
                errors: self.errors(index, now),
                ..self.truth[index]
            };
        }
    }

    /// What a backend answers a probe.
    pub(super) fn probe(&self, backend: usize) -> Probe {
        let truth = self.truth[backend];
        let waits =
            f64::from(truth.inside.saturating_sub(truth.workers)) / f64::from(truth.workers);
        Probe { inside: truth.inside, latency: micros(truth.service * (1.0 + waits)) }
    }

    /// Who waits longest, if anybody does; `waits` says of whom that is still true.
    pub(super) fn longest_waiting(&mut self, waits: impl Fn(Number) -> bool) -> Option<Number> {
        while self.patience.front().is_some_and(|&number| !waits(number)) {
            self.patience.pop_front();
        }
        self.patience.front().copied()
    }

    /// What the governor of this tier sees now.
    pub(super) fn tick(&mut self, now: u64) -> Tick {
        let telemetry = &self.scenario.telemetry;
        let at = Moment::from_millis(now / 1_000);
        let mut reports = Vec::new();
        for (counters, proxy) in self.counters.iter_mut().zip(&self.proxies) {
            if now > 0 {
                reports.extend(counters.report(at, telemetry.tick));
                reports.extend(counters.opinions(at, proxy.opinions()));
            }
        }
        self.late.push_back(reports);
        let reports = if self.late.len() > telemetry.ticks_late {
            self.late.pop_front().unwrap_or_default()
        } else {
            Vec::new()
        };
        Tick { tier: self.level, at, reports, topology: self.topology(now) }
    }

    /// The declared backends, if they changed. Nobody governing, proxies learn of them at once.
    fn topology(&mut self, now: u64) -> Option<ServiceTopology> {
        let present: Vec<bool> =
            self.backends.iter().map(|backend| backend.is_present(second(now))).collect();
        if present == self.present {
            return None;
        }
        self.present = present;
        let topology = self.declared();
        if !self.governed {
            self.push(equal(&topology));
        }
        Some(topology)
    }

    /// Follows its governor's decision.
    pub(super) fn follow(&mut self, groups: Vec<Group>) {
        self.governed = true;
        self.push(groups);
    }

    /// Gives all proxies an assignment. The same once more is no push.
    fn push(&mut self, groups: Vec<Group>) {
        if groups != self.assigned {
            for proxy in &mut self.proxies {
                proxy.assign(&groups);
            }
            self.assigned = groups;
        }
    }

    /// The service as discovery would declare it.
    fn declared(&self) -> ServiceTopology {
        let declares = self.scenario.telemetry.declares_workers;
        let endpoint = |(index, backend): (usize, &Backend)| Endpoint {
            address: address_of(index),
            locality: Locality {
                zone: self.scenario.zones[backend.zone].0.as_str().into(),
                ..Locality::default()
            },
            concurrency: declares.then(|| NonZeroU32::new(backend.workers)).flatten(),
            ready: true,
        };
        let present = self.backends.iter().enumerate().filter(|(index, _)| self.present[*index]);
        ServiceTopology {
            service: service(),
            endpoints: present.map(endpoint).collect(),
            clusters: vec![ClientCluster { name: CLUSTER.into(), form: ClusterForm::native() }],
            counts: Source::LoadReport,
        }
    }
}

/// Seconds of virtual time.
pub(super) fn second(now: u64) -> f64 {
    now as f64 / 1e6
}

/// All endpoints in their localities, with equal weights.
pub(crate) fn equal(topology: &ServiceTopology) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for endpoint in &topology.endpoints {
        let address = endpoint.address.clone();
        let member = Member { address, weight: NonZeroU32::MIN, health: Health::Healthy };
        match groups.iter_mut().find(|group| group.locality == endpoint.locality) {
            Some(group) => {
                group.members.push(member);
                group.weight = group.weight.saturating_add(1);
            }
            None => groups.push(Group {
                locality: endpoint.locality.clone(),
                weight: NonZeroU32::MIN,
                members: vec![member],
            }),
        }
    }
    groups
}
