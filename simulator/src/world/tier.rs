//! One tier of the mesh: backends, the proxies in front of them, what governs these.

use core::time::Duration;
use std::collections::VecDeque;
use std::num::NonZeroU32;

use weir_engine::decision::{Group, Health, Member};
use weir_engine::names::Locality;
use weir_engine::observation::{Report, Source};
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology};
use weir_engine::units::Moment;

use super::{Assignment, CLUSTER, LOSS, TIER, Tick, address_of, micros, of, service};
use crate::autoscaler::Scaling;
use crate::backend::{Number, Queue};
use crate::balancer::{Probe, Truth};
use crate::draws::CHOICE;
use crate::pool::Connections;
use crate::proxy::Proxy;
use crate::random::Random;
use crate::rivals::Rival;
use crate::scenario::{Backend, Chain, Class, Pool, Retries, Scenario};
use crate::telemetry::Counters;

/// A tier as it stands.
pub(super) struct Tier<'a> {
    scenario: &'a Scenario,
    /// By how much requests cost more than the service time, on average.
    mean_cost: f64,
    /// Counts from the clients' side.
    level: usize,
    pub(super) backends: &'a [Backend],
    pub(super) service: (Duration, f64),
    pub(super) timeout: Duration,
    pub(super) retries: Option<&'a Retries>,
    /// The zones of proxies, as indices into the scenario's.
    zones: Vec<usize>,
    pub(super) queues: Vec<Queue>,
    pub(super) truth: Vec<Truth>,
    pub(super) proxies: Vec<Proxy>,
    pub(super) counters: Vec<Counters>,
    /// By proxy; nothing where connections are not limited.
    pub(super) connections: Vec<Connections>,
    /// Retries under way by proxy.
    pub(super) retrying: Vec<u32>,
    scaling: Vec<Scaling>,
    /// When each backend joined the running fleet, in microseconds.
    joined: Vec<Option<u64>>,
    /// Requests whose client still waits, in order of sending: all have the same patience.
    pub(super) patience: VecDeque<Number>,
    late: VecDeque<Vec<Report>>,
    present: Vec<bool>,
    governed: bool,
    assigned: Assignment,
}

impl<'a> Tier<'a> {
    /// The tier that clients call: its proxies take turns among zones.
    pub(super) fn first(scenario: &'a Scenario, rival: Rival) -> Self {
        let zones = (0..scenario.proxies).map(|proxy| proxy % scenario.zones.len());
        let scaling = scenario.autoscalers.iter().map(Scaling::new);
        Self {
            service: scenario.service,
            timeout: scenario.timeout,
            retries: scenario.retries.as_ref(),
            scaling: scaling.collect(),
            mean_cost: mean_cost(&scenario.classes),
            ..Self::new(scenario, rival, 0, (&scenario.backends, scenario.pool.as_ref()), zones)
        }
    }

    /// The tier that the first one calls: each backend there is a proxy here.
    pub(super) fn second(scenario: &'a Scenario, chain: &'a Chain, rival: Rival) -> Self {
        let zones = scenario.backends.iter().map(|backend| backend.zone);
        Self {
            service: chain.service,
            timeout: chain.timeout,
            retries: chain.retries.as_ref(),
            ..Self::new(scenario, rival, 1, (&chain.backends, chain.pool.as_ref()), zones)
        }
    }

    fn new(
        scenario: &'a Scenario,
        rival: Rival,
        level: usize,
        (backends, pool): (&'a [Backend], Option<&Pool>),
        zones: impl Iterator<Item = usize>,
    ) -> Self {
        let count = backends.len();
        let zones: Vec<usize> = zones.collect();
        let proxy = |proxy: usize| {
            let stream = CHOICE + TIER * level as u64;
            Proxy::new(count, Random::of(scenario.seed, stream, proxy as u64), rival)
        };
        let counters =
            |(proxy, &zone): (usize, &usize)| Counters::new(proxy, &scenario.zones[zone].0, count);
        let connections = |pool: &Pool| {
            let fresh = Connections::new(pool.clone(), count);
            vec![fresh; zones.len()]
        };
        Self {
            scenario,
            mean_cost: 1.0,
            level,
            backends,
            service: scenario.service,
            timeout: scenario.timeout,
            retries: None,
            queues: backends.iter().map(|one| Queue::of(one.workers)).collect(),
            truth: vec![Truth::default(); count],
            proxies: (0..zones.len()).map(proxy).collect(),
            counters: zones.iter().enumerate().map(counters).collect(),
            connections: pool.map(connections).unwrap_or_default(),
            retrying: vec![0; zones.len()],
            scaling: Vec::new(),
            joined: vec![None; count],
            zones,
            patience: VecDeque::new(),
            late: VecDeque::new(),
            present: Vec::new(),
            governed: false,
            assigned: Assignment::default(),
        }
    }

    /// Whether a proxy's request to a backend leaves its zone.
    pub(super) fn is_far(&self, proxy: usize, backend: usize) -> bool {
        self.zones[proxy] != self.backends[backend].zone
    }

    /// Microseconds from a proxy to a backend.
    pub(super) fn way(&self, proxy: usize, backend: usize) -> u64 {
        let further = self.scenario.cross_zone / 2;
        of(self.scenario.one_way) + if self.is_far(proxy, backend) { of(further) } else { 0 }
    }

    /// By how much a backend's service is slower than the scenario's.
    pub(super) fn slowness(&self, backend: usize, now: u64) -> f64 {
        let one = &self.backends[backend];
        let usual = one.slowness.at(second(now));
        match (&one.cold, self.joined[backend]) {
            (Some(cold), Some(joined)) => usual * cold.at(second(now - joined)),
            _ => usual,
        }
    }

    /// The part of a backend's requests that fail.
    pub(super) fn errors(&self, backend: usize, now: u64) -> f64 {
        self.backends[backend].errors.at(second(now))
    }

    /// Works out how backends truly stand.
    pub(super) fn look(&mut self, now: u64) {
        let mean = self.service.0.as_secs_f64() * self.mean_cost;
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
        let silent = telemetry.is_silent(second(now));
        for (index, counters) in self.counters.iter_mut().enumerate() {
            if now > 0 {
                let fresh = counters.report(at, telemetry.tick, self.proxies[index].in_flight());
                let opinions = counters.opinions(at, self.proxies[index].opinions());
                if !silent && !is_lost(self.scenario, (self.level, index), now) {
                    reports.extend(fresh);
                    reports.extend(opinions);
                }
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
            (0..self.backends.len()).map(|backend| self.is_present(backend, now)).collect();
        if present == self.present {
            return None;
        }
        for (index, joined) in self.joined.iter_mut().enumerate() {
            // Whoever is there from the start is warm.
            if self.present.get(index) == Some(&false) && present[index] {
                *joined = Some(now);
            }
        }
        self.present = present;
        let topology = self.declared();
        if !self.governed {
            self.push(Assignment { groups: equal(&topology), ..Assignment::default() });
        }
        Some(topology)
    }

    fn is_present(&self, backend: usize, now: u64) -> bool {
        let mut scaling = self.scaling.iter().zip(&self.scenario.autoscalers);
        let runs = scaling.find_map(|(scaling, settings)| scaling.runs(settings, backend, now));
        runs.unwrap_or(true) && self.backends[backend].is_present(second(now))
    }

    /// Lets an autoscaler look.
    pub(super) fn scale(&mut self, scaler: usize, now: u64) {
        let settings = &self.scenario.autoscalers[scaler];
        let queues = self.queues[settings.members.clone()].iter_mut();
        let workers = self.backends[settings.members.clone()].iter().map(|one| one.workers);
        let members = queues.map(|queue| queue.busy_seconds(now)).zip(workers);
        self.scaling[scaler].look(settings, members, now);
    }

    /// Follows its governor's decision.
    pub(super) fn follow(&mut self, assignment: Assignment) {
        self.governed = true;
        for proxy in &mut self.proxies {
            proxy.turn_away(assignment.shed);
        }
        self.push(assignment);
    }

    /// Gives all proxies an assignment. The same once more is no push.
    fn push(&mut self, assignment: Assignment) {
        if assignment.groups == self.assigned.groups && assignment.zones == self.assigned.zones {
            return;
        }
        let zones = self.scenario.zones.iter();
        let groups: Vec<Vec<Group>> = zones.map(|(zone, _)| assignment.of_zone(zone)).collect();
        for (proxy, &zone) in self.proxies.iter_mut().zip(&self.zones) {
            proxy.assign(&groups[zone]);
        }
        self.assigned = assignment;
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

fn mean_cost(classes: &[Class]) -> f64 {
    let shares: f64 = classes.iter().map(|class| class.share).sum();
    let costs: f64 = classes.iter().map(|class| class.share * class.cost).sum();
    if shares > 0.0 { costs / shares } else { 1.0 }
}

/// Whether a proxy's reports of a tick never arrive.
fn is_lost(scenario: &Scenario, (level, proxy): (usize, usize), now: u64) -> bool {
    let lost = scenario.telemetry.lost;
    let stream = LOSS + TIER * level as u64;
    lost > 0.0 && Random::of(scenario.seed, stream, now << 16 | proxy as u64).unit() < lost
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
