//! The world: events on virtual time.

use core::time::Duration;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use weir_engine::decision::Group;
use weir_engine::names::{Address, ServiceId};
use weir_engine::observation::Report;
use weir_engine::topology::ServiceTopology;
use weir_engine::units::Moment;

use crate::backend::Number;
use crate::balancer::Probe;
use crate::rivals::Rival;
use crate::scenario::Scenario;
use crate::score::Score;
use crate::telemetry::End;

mod calls;
mod tier;

use calls::Call;
use tier::{Tier, second};

pub(crate) use tier::equal;

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
    /// Which tier's governor this is for, counted from the clients' side.
    pub tier: usize,
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
    world.play(&mut govern);
    world.score.sort();
    world.score
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Reach(Number),
    Served(Number),
    End(Number, End),
    Probing { tier: usize, proxy: usize, backend: usize },
    Probed { tier: usize, proxy: usize, backend: usize, probe: Probe },
    Look,
    Tick,
}

struct World<'a> {
    scenario: &'a Scenario,
    now: u64,
    sequence: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    calls: Vec<Call>,
    arrivals: u64,
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
            arrivals: 0,
            tiers: vec![Tier::first(scenario, rival)],
            score: Score { by_backend: vec![0; count], ..Score::default() },
        };
        world.look();
        world.schedule(0, Event::Tick);
        world.schedule(0, Event::Arrival);
        world
    }

    fn play(&mut self, govern: &mut dyn FnMut(Tick) -> Option<Vec<Group>>) {
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
                Event::Look => self.look(),
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
            return Some((at, Event::End(number, End::Timeout)));
        }
        self.events.pop().map(|Reverse((at, _, event))| (at, event))
    }

    fn look(&mut self) {
        self.tiers.iter_mut().for_each(|tier| tier.look(self.now));
        self.schedule(LOOK_EVERY, Event::Look);
    }

    fn tick(&mut self, govern: &mut dyn FnMut(Tick) -> Option<Vec<Group>>) {
        self.schedule(of(self.scenario.telemetry.tick), Event::Tick);
        for tier in &mut self.tiers {
            let tick = tier.tick(self.now);
            if let Some(groups) = govern(tick) {
                tier.follow(groups);
            }
        }
    }
}

fn of(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn micros(seconds: f64) -> u64 {
    of(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).max(1)
}

#[cfg(test)]
mod tests;
