//! The world: events on virtual time.

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::num::NonZeroU32;

use weir_engine::decision::{Group, Health, Member};
use weir_engine::names::{Address, Locality, ServiceId};
use weir_engine::observation::{Report, Source};
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology};
use weir_engine::units::{Millis, Moment};

use crate::backend::{Number, Queue};
use crate::balancer::{Ended, Probe, Truth};
use crate::proxy::{Pick, Proxy};
use crate::random::Random;
use crate::rivals::Rival;
use crate::scenario::Scenario;
use crate::score::Score;
use crate::telemetry::{Counters, End};

/// The client cluster through which every proxy reaches the service.
pub const CLUSTER: &str = "shop";

/// An injected error is answered after this time.
const ERROR_MICROS: u64 = 1_000;

/// Streams of randomness, one per purpose.
const ARRIVAL: u64 = 1;
const SERVICE: u64 = 2;
const ERROR: u64 = 3;
const LOG: u64 = 4;
const CHOICE: u64 = 5;

/// How often it is worked out how fast and how sick backends are, for those who may know.
const LOOK_EVERY: u64 = 100_000;

/// What the governor sees at a tick.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Now.
    pub at: Moment,
    /// Reports that arrive now.
    pub reports: Vec<Report>,
    /// The topology, if it changed (and at first).
    pub topology: Option<ServiceTopology>,
}

/// The service that every scenario is about.
pub fn service() -> ServiceId {
    ServiceId::new("demo", "shop")
}

/// A backend's address. Their order is the order of numbers.
pub fn address_of(backend: usize) -> Address {
    format!("10.0.0.{backend:03}:8080").into()
}

/// The backend of an address.
pub fn index_of(address: &Address) -> Option<usize> {
    address.as_str().strip_prefix("10.0.0.")?.strip_suffix(":8080")?.parse().ok()
}

/// Plays a scenario behind a rival's proxies. The governor returns the localities that all proxies
/// shall use, or nothing to leave them as they are; before it has said anything, all present
/// backends are equal.
pub fn run(
    scenario: &Scenario,
    rival: Rival,
    mut govern: impl FnMut(Tick) -> Option<Vec<Group>>,
) -> Score {
    let mut world = World::new(scenario, rival);
    while let Some((now, event)) = world.next() {
        world.now = now;
        match event {
            Event::Arrival => world.arrive(),
            Event::Reach(request) => world.reach(request),
            Event::Served(request) => world.served(request),
            Event::End(request, end) => world.end(request, end),
            Event::Probing { proxy, backend } => world.probing(proxy, backend),
            Event::Probed { proxy, backend, probe } => {
                world.proxies[proxy].probed(backend, probe, world.now, &world.truth);
            }
            Event::Look => world.look(),
            Event::Tick => {
                let tick = world.tick();
                if let Some(groups) = govern(tick) {
                    world.governed = true;
                    world.push(groups);
                }
            }
        }
        if world.second() >= scenario.length {
            break;
        }
    }
    world.score.sort();
    world.score
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Reach(Number),
    Served(Number),
    End(Number, End),
    Probing { proxy: usize, backend: usize },
    Probed { proxy: usize, backend: usize, probe: Probe },
    Look,
    Tick,
}

#[derive(Clone, Copy)]
struct Request {
    proxy: usize,
    pick: Pick,
    sent: u64,
    open: bool,
}

struct World<'a> {
    scenario: &'a Scenario,
    now: u64,
    sequence: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    requests: Vec<Request>,
    /// Requests whose client still waits, in order of sending: all have the same patience.
    patience: VecDeque<Number>,
    arrivals: u64,
    backends: Vec<Queue>,
    truth: Vec<Truth>,
    proxies: Vec<Proxy>,
    counters: Vec<Counters>,
    late: VecDeque<Vec<Report>>,
    present: Vec<bool>,
    governed: bool,
    assigned: Vec<Group>,
    score: Score,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, rival: Rival) -> Self {
        let count = scenario.backends.len();
        let proxies = 0..scenario.proxies;
        let mut world = Self {
            scenario,
            now: 0,
            sequence: 0,
            events: BinaryHeap::new(),
            requests: Vec::new(),
            patience: VecDeque::new(),
            arrivals: 0,
            backends: scenario.backends.iter().map(|one| Queue::of(one.workers)).collect(),
            truth: vec![Truth::default(); count],
            proxies: proxies
                .clone()
                .map(|proxy| {
                    let random = Random::of(scenario.seed, CHOICE, proxy as u64);
                    Proxy::new(count, random, rival)
                })
                .collect(),
            counters: proxies
                .map(|proxy| {
                    let zone = &scenario.zones[proxy % scenario.zones.len()].0;
                    Counters::new(proxy, zone, count)
                })
                .collect(),
            late: VecDeque::new(),
            present: Vec::new(),
            governed: false,
            assigned: Vec::new(),
            score: Score { by_backend: vec![0; count], ..Score::default() },
        };
        world.look();
        world.schedule(0, Event::Tick);
        world.schedule(0, Event::Arrival);
        world
    }

    fn second(&self) -> f64 {
        self.now as f64 / 1e6
    }

    fn schedule(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((self.now + after, self.sequence, event)));
    }

    /// The next event: of the schedule, or that somebody's patience ends.
    fn next(&mut self) -> Option<(u64, Event)> {
        while self.patience.front().is_some_and(|&number| !self.requests[number].open) {
            self.patience.pop_front();
        }
        let timeout = of(self.scenario.timeout);
        let impatient = self.patience.front().map(|&number| self.requests[number].sent + timeout);
        let scheduled = self.events.peek().map(|Reverse((at, ..))| *at);
        if let Some(at) = impatient.filter(|at| scheduled.is_none_or(|next| *at < next)) {
            let number = self.patience.pop_front()?;
            return Some((at, Event::End(number, End::Timeout)));
        }
        self.events.pop().map(|Reverse((at, _, event))| (at, event))
    }

    /// Works out how backends truly stand.
    fn look(&mut self) {
        let second = self.second();
        let mean = self.scenario.service.0.as_secs_f64();
        let backends = self.scenario.backends.iter().zip(&mut self.backends);
        for ((backend, queue), truth) in backends.zip(&mut self.truth) {
            queue.look(self.now);
            truth.workers = backend.workers;
            truth.service = mean * backend.slowness.at(second);
            truth.errors = backend.errors.at(second);
        }
        self.schedule(LOOK_EVERY, Event::Look);
    }

    fn probing(&mut self, proxy: usize, backend: usize) {
        let truth = self.truth[backend];
        let waits =
            f64::from(truth.inside.saturating_sub(truth.workers)) / f64::from(truth.workers);
        let latency = micros(truth.service * (1.0 + waits));
        let probe = Probe { inside: truth.inside, latency };
        self.schedule(self.way(proxy, backend), Event::Probed { proxy, backend, probe });
    }

    fn arrive(&mut self) {
        let mut random = Random::of(self.scenario.seed, ARRIVAL, self.arrivals);
        self.arrivals += 1;
        let load = self.scenario.load.at(self.second()).max(1e-3);
        self.schedule(micros(random.exponential() / load), Event::Arrival);
        let proxy = self.client(&mut random);
        let counted = self.is_counted(self.now);
        self.score.requests += u64::from(counted);
        let Some(pick) = self.proxies[proxy].pick(self.now, &self.truth) else {
            self.score.errors += u64::from(counted);
            return;
        };
        for backend in self.proxies[proxy].probes(self.now, &self.truth) {
            self.schedule(self.way(proxy, backend), Event::Probing { proxy, backend });
        }
        self.score.by_backend[pick.backend] += u64::from(counted);
        let far = self.zone_of(proxy) != self.scenario.backends[pick.backend].zone;
        self.score.cross_zone += u64::from(counted && far);
        let request = self.requests.len();
        self.requests.push(Request { proxy, pick, sent: self.now, open: true });
        self.schedule(self.way(proxy, pick.backend), Event::Reach(request));
        self.patience.push_back(request);
    }

    /// The proxy that a request comes through: of the client's zone.
    fn client(&self, random: &mut Random) -> usize {
        let zones = self.scenario.zones.len();
        let all: f64 = self.scenario.zones.iter().map(|(_, part)| part).sum();
        let mut rest = random.unit() * all;
        let zone = self.scenario.zones.iter().position(|(_, part)| {
            rest -= part;
            rest < 0.0
        });
        let zone = zone.unwrap_or(0);
        let proxies = (self.proxies.len() + zones - 1 - zone) / zones;
        (zone + zones * random.below(proxies)).min(self.proxies.len() - 1)
    }

    /// Proxies take turns among zones.
    fn zone_of(&self, proxy: usize) -> usize {
        proxy % self.scenario.zones.len()
    }

    /// Microseconds from a proxy to a backend.
    fn way(&self, proxy: usize, backend: usize) -> u64 {
        let far = self.zone_of(proxy) != self.scenario.backends[backend].zone;
        let further = if far { self.scenario.cross_zone / 2 } else { Duration::ZERO };
        of(self.scenario.one_way + further)
    }

    fn reach(&mut self, request: Number) {
        let Request { proxy, pick, .. } = self.requests[request];
        let index = pick.backend;
        let backend = &self.scenario.backends[index];
        let draw = Random::of(self.scenario.seed, ERROR, request as u64).unit();
        if draw < backend.errors.at(self.second()) {
            let back = ERROR_MICROS + self.way(proxy, index);
            self.backends[index].failed(self.now);
            self.schedule(back, Event::End(request, End::Error));
        } else if self.backends[index].take(request, self.now) {
            self.serve(request);
        }
        self.truth[index].inside = self.backends[index].inside();
    }

    fn serve(&mut self, request: Number) {
        let backend = &self.scenario.backends[self.requests[request].pick.backend];
        let (mean, sigma) = self.scenario.service;
        let draw = Random::of(self.scenario.seed, SERVICE, request as u64).lognormal(sigma);
        let seconds = mean.as_secs_f64() * draw * backend.slowness.at(self.second());
        self.schedule(micros(seconds), Event::Served(request));
    }

    fn served(&mut self, request: Number) {
        let Request { proxy, pick, .. } = self.requests[request];
        let index = pick.backend;
        self.schedule(self.way(proxy, index), Event::End(request, End::Success));
        let requests = &self.requests;
        // Whoever has hung up is not served any more; work that is under way goes on.
        if let Some(next) = self.backends[index].next(self.now, |number| requests[number].open) {
            self.serve(next);
        }
        self.truth[index].inside = self.backends[index].inside();
    }

    fn end(&mut self, number: Number, end: End) {
        let request = &mut self.requests[number];
        if !core::mem::take(&mut request.open) {
            return;
        }
        let (proxy, pick, sent) = (request.proxy, request.pick, request.sent);
        let ms = (self.now - sent) as f64 / 1e3;
        let draw = Random::of(self.scenario.seed, LOG, number as u64).unit();
        let timed = (draw < self.scenario.telemetry.sampled).then(|| Millis::clamped(ms));
        let ended = Ended {
            failed: end != End::Success,
            timed_out: end == End::Timeout,
            latency: self.now - sent,
            load: (end != End::Timeout).then(|| self.backends[pick.backend].load()),
        };
        self.proxies[proxy].ended(pick, &ended, self.now, &self.truth);
        self.counters[proxy].count(pick.backend, end, timed);
        if self.is_counted(sent) {
            self.score.errors += u64::from(end != End::Success);
            if end != End::Error {
                self.score.latencies_ms.push(ms);
            }
        }
    }

    fn is_counted(&self, sent: u64) -> bool {
        let (from, until) = self.scenario.counted;
        (from..until).contains(&(sent as f64 / 1e6))
    }

    fn tick(&mut self) -> Tick {
        let telemetry = &self.scenario.telemetry;
        let at = Moment::from_millis(self.now / 1_000);
        self.schedule(of(telemetry.tick), Event::Tick);
        let mut reports = Vec::new();
        for (counters, proxy) in self.counters.iter_mut().zip(&self.proxies) {
            if self.now > 0 {
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
        Tick { at, reports, topology: self.topology() }
    }

    /// The declared backends, if they changed. Nobody governing, proxies learn of them at once.
    fn topology(&mut self) -> Option<ServiceTopology> {
        let second = self.second();
        let present: Vec<bool> =
            self.scenario.backends.iter().map(|backend| backend.is_present(second)).collect();
        if present == self.present {
            return None;
        }
        self.present = present;
        let topology = declared(self.scenario, &self.present);
        if !self.governed {
            self.push(equal(&topology));
        }
        Some(topology)
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
}

/// The service as discovery would declare it.
fn declared(scenario: &Scenario, present: &[bool]) -> ServiceTopology {
    let backends = scenario.backends.iter().enumerate().zip(present);
    ServiceTopology {
        service: service(),
        endpoints: backends
            .filter(|(_, present)| **present)
            .map(|((index, backend), _)| Endpoint {
                address: address_of(index),
                locality: Locality {
                    zone: scenario.zones[backend.zone].0.as_str().into(),
                    ..Locality::default()
                },
                concurrency: scenario
                    .telemetry
                    .declares_workers
                    .then(|| NonZeroU32::new(backend.workers))
                    .flatten(),
                ready: true,
            })
            .collect(),
        clusters: vec![ClientCluster { name: CLUSTER.into(), form: ClusterForm::native() }],
        counts: Source::LoadReport,
    }
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

fn of(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn micros(seconds: f64) -> u64 {
    of(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).max(1)
}

#[cfg(test)]
mod tests;
