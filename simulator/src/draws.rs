//! The chance that requests meet, by their number: when they arrive, how much work they are,
//! whether an error hits them. Whoever plays a scenario with these meets the same requests.

use crate::random::Random;
use crate::scenario::Scenario;

/// Streams of randomness, one per purpose.
const ARRIVAL: u64 = 1;
pub(crate) const SERVICE: u64 = 2;
pub(crate) const ERROR: u64 = 3;
pub(crate) const CHOICE: u64 = 5;

/// One request's arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// The proxy that its client goes through.
    pub proxy: usize,
    /// Seconds until the next request arrives.
    pub gap: f64,
}

/// The arrival of a request at a second.
pub fn arrival(scenario: &Scenario, number: u64, second: f64) -> Arrival {
    let mut random = Random::of(scenario.seed, ARRIVAL, number);
    let gap = random.exponential() / scenario.load.at(second).max(1e-3);
    Arrival { proxy: client(scenario, &mut random), gap }
}

/// The proxy that a request comes through: of the client's zone.
fn client(scenario: &Scenario, random: &mut Random) -> usize {
    let zones = scenario.zones.len();
    let all: f64 = scenario.zones.iter().map(|(_, part)| part).sum();
    let mut rest = random.unit() * all;
    let zone = scenario.zones.iter().position(|(_, part)| {
        rest -= part;
        rest < 0.0
    });
    let zone = zone.unwrap_or(0);
    let proxies = (scenario.proxies + zones - 1 - zone) / zones;
    (zone + zones * random.below(proxies)).min(scenario.proxies - 1)
}

/// How much work a request is, in mean ones.
pub fn work(scenario: &Scenario, number: u64) -> f64 {
    Random::of(scenario.seed, SERVICE, number).lognormal(scenario.service.1)
}

/// A request fails where this is below the part of requests that fail.
pub fn luck(scenario: &Scenario, number: u64) -> f64 {
    Random::of(scenario.seed, ERROR, number).unit()
}

/// What a proxy's choices are drawn from.
pub fn choices(scenario: &Scenario, proxy: usize) -> Random {
    Random::of(scenario.seed, CHOICE, proxy as u64)
}
