//! The world: events on virtual time.

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use weir_engine::decision::{Group, ZoneWeights};
use weir_engine::names::{Address, ServiceId};
use weir_engine::observation::Report;
use weir_engine::topology::ServiceTopology;
use weir_engine::units::{Moment, Ratio};

use crate::backend::Number;
use crate::balancer::Probe;
use crate::rivals::Rival;
use crate::scenario::{Lies, Scenario};
use crate::score::Score;
use crate::telemetry::End;
use crate::trace::{Second, Trace};

mod calls;
mod retrying;
mod tier;

use calls::Call;
use retrying::Retrying;
use tier::{Tier, second};

pub(crate) use tier::equal;

/// The client cluster through which every proxy reaches the service.
pub const CLUSTER: &str = "shop";

/// An injected error is answered after this time.
const ERROR_MICROS: u64 = 1_000;

/// Streams of randomness, one per purpose.
const LOG: u64 = 4;
const CLASS: u64 = 7;
const BACKOFF: u64 = 8;
const LOSS: u64 = 9;
const LIE: u64 = 10;

/// Streams of the second tier are this much further on.
const TIER: u64 = 100;

/// How often it is worked out how fast and how sick backends are, for those who may know.
const LOOK_EVERY: u64 = 100_000;

/// What the governor sees at a tick.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Which tier's governor this is for, counted from the clients' side.
    pub tier: usize,
    /// Now.
    pub at: Moment,
    /// Reports that arrive now.
    pub reports: Vec<Report>,
    /// The topology, if it changed (and at first).
    pub topology: Option<ServiceTopology>,
}

/// What all proxies shall do from now on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assignment {
    /// The localities that they shall use.
    pub groups: Vec<Group>,
    /// What proxies of one zone shall use instead of the localities' weights.
    pub zones: Vec<ZoneWeights>,
    /// The part of the requests that they shall turn away.
    pub shed: Ratio,
}

impl Assignment {
    /// The localities as proxies of a zone shall use them.
    fn of_zone(&self, zone: &str) -> Vec<Group> {
        let own = self.zones.iter().find(|own| own.client.as_str() == zone);
        own.map_or_else(|| self.groups.clone(), |own| own.of_groups(&self.groups))
    }
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

/// Plays a scenario behind a rival's proxies. The governor returns what all proxies shall
/// do, or nothing to leave them as they are; before it has said anything, all present
/// backends are equal.
pub fn run(
    scenario: &Scenario,
    rival: Rival,
    mut govern: impl FnMut(Tick) -> Option<Assignment>,
) -> Score {
    let mut world = World::new(scenario, rival);
    world.play(&mut govern);
    world.score.sort();
    world.score
}

/// Plays a scenario as [`run`] does, and tells it second by second as well.
pub fn trace(
    scenario: &Scenario,
    rival: Rival,
    mut govern: impl FnMut(Tick) -> Option<Assignment>,
) -> (Score, Trace) {
    let mut world = World::new(scenario, rival);
    world.trace = Some(Trace::default());
    world.play(&mut govern);
    world.score.sort();
    (world.score, world.trace.unwrap_or_default())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Reach(Number),
    Served(Number),
    End(Number, End),
    Probing { tier: usize, proxy: usize, backend: usize },
    Probed { tier: usize, proxy: usize, backend: usize, probe: Probe },
    Connected { tier: usize, proxy: usize, backend: usize },
    TryEnd(Number),
    Retry(Number),
    Impatience(Number),
    Look,
    Scale(usize),
    Tick,
}

struct World<'a> {
    scenario: &'a Scenario,
    now: u64,
    sequence: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    calls: Vec<Call>,
    retrying: Retrying,
    arrivals: u64,
    /// Clients' requests that were sent: the keys of their draws.
    drawn: u64,
    trace: Option<Trace>,
    tiers: Vec<Tier<'a>>,
    score: Score,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, rival: Rival) -> Self {
        let count = scenario.backends.len();
        let mut world = Self {
            scenario,
            now: 0,
            sequence: 0,
            events: BinaryHeap::new(),
            calls: Vec::new(),
            retrying: Retrying::default(),
            arrivals: 0,
            drawn: 0,
            trace: None,
            tiers: vec![Tier::first(scenario, rival)],
            score: Score { by_backend: vec![0; count], ..Score::default() },
        };
        world.tiers.extend(scenario.chain.iter().map(|chain| Tier::second(scenario, chain, rival)));
        if rival.looks() {
            world.look();
        }
        for (index, autoscaler) in scenario.autoscalers.iter().enumerate() {
            world.schedule(of(autoscaler.every), Event::Scale(index));
        }
        world.schedule(0, Event::Tick);
        world.schedule(0, Event::Arrival);
        world
    }

    fn play(&mut self, govern: &mut dyn FnMut(Tick) -> Option<Assignment>) {
        while let Some((now, event)) = self.next() {
            self.now = now;
            match event {
                Event::Arrival => self.arrive(),
                Event::Reach(number) => self.reach(number),
                Event::Served(number) => self.served(number),
                Event::End(number, end) => self.end(number, end),
                Event::Probing { tier, proxy, backend } => {
                    let probe = self.tiers[tier].probe(backend);
                    let way = self.tiers[tier].way(proxy, backend);
                    self.schedule(way, Event::Probed { tier, proxy, backend, probe });
                }
                Event::Probed { tier, proxy, backend, probe } => {
                    let tier = &mut self.tiers[tier];
                    tier.proxies[proxy].probed(backend, probe, now, &tier.truth);
                }
                Event::Connected { tier, proxy, backend } => self.connected(tier, proxy, backend),
                Event::TryEnd(number) => self.end(number, End::Timeout),
                Event::Retry(number) => self.retry(number),
                Event::Impatience(number) => self.lose_patience(number),
                Event::Look => self.look(),
                Event::Scale(index) => {
                    self.tiers[0].scale(index, now);
                    self.schedule(of(self.scenario.autoscalers[index].every), Event::Scale(index));
                }
                Event::Tick => self.tick(govern),
            }
            if second(self.now) >= self.scenario.length {
                break;
            }
        }
    }

    fn schedule(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((self.now + after, self.sequence, event)));
    }

    /// The next event: of the schedule, or that somebody's patience ends.
    fn next(&mut self) -> Option<(u64, Event)> {
        let scheduled = self.events.peek().map(|Reverse((at, ..))| *at);
        if let Some((at, number)) = self.impatient()
            && scheduled.is_none_or(|next| at < next)
        {
            return Some((at, Event::Impatience(number)));
        }
        self.events.pop().map(|Reverse((at, _, event))| (at, event))
    }

    /// The second of a trace that something was sent in, if the run is traced.
    fn traced(&mut self, sent: u64) -> Option<&mut Second> {
        let backends = self.scenario.backends.len();
        self.trace.as_mut().map(|trace| trace.second(sent, backends))
    }

    /// What a proxy tells of a backend that is not so.
    fn lies(&self, tier: usize, proxy: usize, backend: usize) -> Option<&Lies> {
        let lies = self.scenario.telemetry.lies.as_ref()?;
        let told = lies.is_told_by(proxy) && lies.is_told_of(backend, second(self.now));
        (tier == 0 && told).then_some(lies)
    }

    fn look(&mut self) {
        self.tiers.iter_mut().for_each(|tier| tier.look(self.now));
        self.schedule(LOOK_EVERY, Event::Look);
    }

    fn tick(&mut self, govern: &mut dyn FnMut(Tick) -> Option<Assignment>) {
        self.schedule(of(self.scenario.telemetry.tick), Event::Tick);
        for tier in &mut self.tiers {
            let tick = tier.tick(self.now);
            if let Some(assignment) = govern(tick) {
                tier.follow(assignment);
            }
        }
    }
}

pub(crate) fn of(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn micros(seconds: f64) -> u64 {
    of(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).max(1)
}

#[cfg(test)]
mod tests;
