//! What happens to a request: it is sent, reaches a backend, is served and answered.

use super::tier::second;
use super::{ARRIVAL, ERROR, ERROR_MICROS, Event, LOG, SERVICE, World, micros, of};
use crate::backend::Number;
use crate::balancer::Ended;
use crate::proxy::Pick;
use crate::random::Random;
use crate::telemetry::End;
use weir_engine::units::Millis;

/// A request at its proxy.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) tier: usize,
    proxy: usize,
    pick: Pick,
    pub(super) sent: u64,
    /// Whoever sent it still waits.
    pub(super) open: bool,
}

impl World<'_> {
    /// A client's request comes.
    pub(super) fn arrive(&mut self) {
        let mut random = Random::of(self.scenario.seed, ARRIVAL, self.arrivals);
        self.arrivals += 1;
        let load = self.scenario.load.at(second(self.now)).max(1e-3);
        self.schedule(micros(random.exponential() / load), Event::Arrival);
        let proxy = self.client(&mut random);
        let counted = self.is_counted(self.now);
        self.score.requests += u64::from(counted);
        if !self.ask(0, proxy) {
            self.score.errors += u64::from(counted);
        }
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
        let proxies = (self.scenario.proxies + zones - 1 - zone) / zones;
        (zone + zones * random.below(proxies)).min(self.scenario.proxies - 1)
    }

    /// Sends a request; false if the proxy has nowhere to send it.
    fn ask(&mut self, tier: usize, proxy: usize) -> bool {
        let now = self.now;
        let place = &mut self.tiers[tier];
        let Some(pick) = place.proxies[proxy].pick(now, &place.truth) else {
            return false;
        };
        for backend in place.proxies[proxy].probes(now, &place.truth) {
            let way = self.tiers[tier].way(proxy, backend);
            self.schedule(way, Event::Probing { tier, proxy, backend });
        }
        let place = &mut self.tiers[tier];
        if tier == 0 && self.scenario.is_counted(now) {
            self.score.by_backend[pick.backend] += 1;
            self.score.cross_zone += u64::from(place.is_far(proxy, pick.backend));
        }
        let number = self.calls.len();
        self.calls.push(Call { tier, proxy, pick, sent: now, open: true });
        let way = place.way(proxy, pick.backend);
        place.patience.push_back(number);
        self.schedule(way, Event::Reach(number));
        true
    }

    /// A request reaches its backend.
    pub(super) fn reach(&mut self, number: Number) {
        let Call { tier, proxy, pick, .. } = self.calls[number];
        let index = pick.backend;
        let place = &mut self.tiers[tier];
        let draw = Random::of(self.scenario.seed, ERROR, number as u64).unit();
        if draw < place.errors(index, self.now) {
            let back = ERROR_MICROS + place.way(proxy, index);
            place.queues[index].failed(self.now);
            self.schedule(back, Event::End(number, End::Error));
        } else if place.queues[index].take(number, self.now) {
            self.serve(number);
        }
        let place = &mut self.tiers[tier];
        place.truth[index].inside = place.queues[index].inside();
    }

    fn serve(&mut self, number: Number) {
        let Call { tier, pick, .. } = self.calls[number];
        let (mean, sigma) = self.scenario.service;
        let draw = Random::of(self.scenario.seed, SERVICE, number as u64).lognormal(sigma);
        let slowness = self.tiers[tier].slowness(pick.backend, self.now);
        self.schedule(micros(mean.as_secs_f64() * draw * slowness), Event::Served(number));
    }

    /// A worker is done with a request.
    pub(super) fn served(&mut self, number: Number) {
        let Call { tier, proxy, pick, .. } = self.calls[number];
        let index = pick.backend;
        let way = self.tiers[tier].way(proxy, index);
        self.schedule(way, Event::End(number, End::Success));
        let (calls, place) = (&self.calls, &mut self.tiers[tier]);
        // Whoever has hung up is not served any more; work that is under way goes on.
        let next = place.queues[index].next(self.now, |number| calls[number].open);
        place.truth[index].inside = place.queues[index].inside();
        if let Some(next) = next {
            self.serve(next);
        }
    }

    /// An answer, or the end of patience.
    pub(super) fn end(&mut self, number: Number, end: End) {
        let call = &mut self.calls[number];
        if !core::mem::take(&mut call.open) {
            return;
        }
        let Call { tier, proxy, pick, sent, .. } = *call;
        let ms = (self.now - sent) as f64 / 1e3;
        let draw = Random::of(self.scenario.seed, LOG, number as u64).unit();
        let timed = (draw < self.scenario.telemetry.sampled).then(|| Millis::clamped(ms));
        let place = &mut self.tiers[tier];
        let ended = Ended {
            failed: end != End::Success,
            timed_out: end == End::Timeout,
            latency: self.now - sent,
            load: (end != End::Timeout).then(|| place.queues[pick.backend].load()),
        };
        place.proxies[proxy].ended(pick, &ended, self.now, &place.truth);
        place.counters[proxy].count(pick.backend, end, timed);
        if self.is_counted(sent) {
            self.score.errors += u64::from(end != End::Success);
            if end != End::Error {
                self.score.latencies_ms.push(ms);
            }
        }
    }

    /// The next request whose client has no more patience, and when.
    pub(super) fn impatient(&mut self) -> Option<(u64, Number)> {
        let calls = &self.calls;
        let patience = of(self.scenario.timeout);
        let waiting = self.tiers.iter_mut().filter_map(|tier| {
            let number = tier.longest_waiting(|number| calls[number].open)?;
            Some((calls[number].sent + patience, number))
        });
        waiting.min()
    }

    fn is_counted(&self, sent: u64) -> bool {
        self.scenario.is_counted(sent)
    }
}
