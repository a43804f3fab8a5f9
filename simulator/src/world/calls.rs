//! What happens to a request: it is sent, reaches a backend, is served and answered.

use weir_engine::units::Millis;

use super::tier::second;
use super::{CLASS, ERROR_MICROS, Event, LOG, TIER, World, micros, of};
use crate::backend::Number;
use crate::balancer::Ended;
use crate::draws::{self, Arrival, ERROR, SERVICE};
use crate::pool::Admission;
use crate::proxy::Pick;
use crate::random::Random;
use crate::scenario::Class;
use crate::telemetry::End;

/// One try of a request, at its proxy.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) tier: usize,
    pub(super) proxy: usize,
    pub(super) pick: Pick,
    pub(super) sent: u64,
    /// Its proxy still waits for it.
    pub(super) open: bool,
    /// It waits for a connection.
    pub(super) waiting: bool,
    /// Of the request's first try: whoever sent the request still waits.
    pub(super) asked: bool,
    /// The request's first try; itself, if it is no retry.
    pub(super) first: Number,
    /// The call of the tier before that it is work for.
    pub(super) parent: Number,
    /// What its draws are made from: the same whoever balances.
    pub(super) key: u64,
}

/// Who sends a request: a client, or a backend of the tier before as work for a call.
#[derive(Clone, Copy)]
struct Asker {
    tier: usize,
    proxy: usize,
    parent: Number,
    key: u64,
}

impl World<'_> {
    /// A client's request comes.
    pub(super) fn arrive(&mut self) {
        let Arrival { proxy, gap } = draws::arrival(self.scenario, self.arrivals, second(self.now));
        self.arrivals += 1;
        self.schedule(micros(gap), Event::Arrival);
        self.score.requests += u64::from(self.scenario.is_counted(self.now));
        if let Some(second) = self.traced(self.now) {
            second.requests += 1;
        }
        let key = self.drawn;
        if self.ask(Asker { tier: 0, proxy, parent: 0, key }) {
            self.drawn += 1;
        } else {
            self.tally(self.now, End::Error);
        }
    }

    /// Sends a request; false if its proxy refuses it or has nowhere to send it.
    fn ask(&mut self, Asker { tier, proxy, parent, key }: Asker) -> bool {
        let Some(pick) = self.pick(tier, proxy, &[]) else { return false };
        let number = self.calls.len();
        let call = Call {
            tier,
            proxy,
            pick,
            sent: self.now,
            open: true,
            waiting: false,
            asked: true,
            first: number,
            parent,
            key,
        };
        self.calls.push(call);
        let far = self.tiers[tier].is_far(proxy, pick.backend);
        self.score.cross_zone += u64::from(far && tier == 0 && self.scenario.is_counted(self.now));
        if !self.send(number) {
            return false;
        }
        self.tiers[tier].patience.push_back(number);
        true
    }

    /// A backend for one try, other than those tried, and probes along with it.
    pub(super) fn pick(&mut self, tier: usize, proxy: usize, tried: &[usize]) -> Option<Pick> {
        let place = &mut self.tiers[tier];
        let pick = place.proxies[proxy].pick(self.now, &place.truth, tried)?;
        for backend in place.proxies[proxy].probes(self.now, &place.truth) {
            let way = self.tiers[tier].way(proxy, backend);
            self.schedule(way, Event::Probing { tier, proxy, backend });
        }
        Some(pick)
    }

    /// Sends one try on its way, or lets it wait for a connection; false if it is refused.
    pub(super) fn send(&mut self, number: Number) -> bool {
        let Call { tier, proxy, pick, .. } = self.calls[number];
        let place = &mut self.tiers[tier];
        let admission = match place.connections.get_mut(proxy) {
            None => Admission::Goes,
            Some(connections) => connections.admit(pick.backend, number),
        };
        match admission {
            Admission::Goes => self.go(number),
            Admission::Waits { connects } => {
                place.proxies[proxy].waits(pick);
                self.calls[number].waiting = true;
                if connects {
                    self.connect(tier, proxy, pick.backend);
                }
            }
            Admission::Overflows => {
                self.refuse(number);
                return false;
            }
        }
        let tier = &self.tiers[tier];
        if let Some(per_try) = tier.retries.and_then(|retries| retries.per_try) {
            self.schedule(of(per_try), Event::TryEnd(number));
        }
        true
    }

    fn go(&mut self, number: Number) {
        let Call { tier, proxy, pick, .. } = self.calls[number];
        if tier == 0 {
            let counted = self.scenario.is_counted(self.now);
            self.score.by_backend[pick.backend] += u64::from(counted);
            if let Some(second) = self.traced(self.now) {
                second.by_backend[pick.backend] += 1;
            }
        }
        self.schedule(self.tiers[tier].way(proxy, pick.backend), Event::Reach(number));
    }

    /// Its proxy answers by itself.
    fn refuse(&mut self, number: Number) {
        let Call { tier, proxy, pick, sent, waiting, .. } = self.calls[number];
        self.calls[number].open = false;
        self.tiers[tier].proxies[proxy].dropped(pick, waiting);
        self.score.overflows += u64::from(tier == 0 && self.scenario.is_counted(sent));
    }

    /// A connection is made: there and back once.
    fn connect(&mut self, tier: usize, proxy: usize, backend: usize) {
        let way = self.tiers[tier].way(proxy, backend);
        self.schedule(2 * way, Event::Connected { tier, proxy, backend });
    }

    pub(super) fn connected(&mut self, tier: usize, proxy: usize, backend: usize) {
        if let Some(connections) = self.tiers[tier].connections.get_mut(proxy) {
            connections.connected(backend);
        }
        self.use_connection(tier, proxy, backend);
    }

    /// Whoever waits for a free connection goes out on it, or is refused.
    fn use_connection(&mut self, tier: usize, proxy: usize, backend: usize) {
        loop {
            let calls = &self.calls;
            let connections = self.tiers[tier].connections.get_mut(proxy);
            let next = connections.and_then(|all| all.next(backend, |number| calls[number].open));
            match next {
                None => return,
                Some((number, true)) => {
                    let pick = self.calls[number].pick;
                    self.calls[number].waiting = false;
                    self.tiers[tier].proxies[proxy].goes(pick);
                    return self.go(number);
                }
                Some((number, false)) => {
                    self.refuse(number);
                    self.settle(self.calls[number].first, End::Error);
                }
            }
        }
    }

    /// A call reaches its backend.
    pub(super) fn reach(&mut self, number: Number) {
        let Call { tier, proxy, pick, key, .. } = self.calls[number];
        let index = pick.backend;
        let draw = self.draws(tier, ERROR, key).unit();
        let place = &mut self.tiers[tier];
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
        let Call { tier, pick, key, .. } = self.calls[number];
        let place = &self.tiers[tier];
        let (mean, sigma) = place.service;
        let draw = self.draws(tier, SERVICE, key).lognormal(sigma);
        let mut seconds = mean.as_secs_f64() * draw * place.slowness(pick.backend, self.now);
        if tier == 0 && !self.scenario.classes.is_empty() {
            seconds *= cost(&self.scenario.classes, self.draws(tier, CLASS, key).unit());
        }
        self.schedule(micros(seconds), Event::Served(number));
    }

    /// The randomness of one purpose of one call of a tier.
    pub(super) fn draws(&self, tier: usize, purpose: u64, key: u64) -> Random {
        Random::of(self.scenario.seed, purpose + TIER * tier as u64, key)
    }

    /// A worker has done its own work on a call: it answers, or calls the next tier.
    pub(super) fn served(&mut self, number: Number) {
        let Call { tier, pick, key, .. } = self.calls[number];
        let next = Asker { tier: tier + 1, proxy: pick.backend, parent: number, key };
        if next.tier == self.tiers.len() {
            self.finish(number, End::Success);
        } else if !self.ask(next) {
            self.finish(number, End::Error);
        }
    }

    /// A worker is done with a call, and free.
    fn finish(&mut self, number: Number, end: End) {
        let Call { tier, proxy, pick, .. } = self.calls[number];
        let index = pick.backend;
        let way = self.tiers[tier].way(proxy, index);
        self.schedule(way, Event::End(number, end));
        let (calls, place) = (&self.calls, &mut self.tiers[tier]);
        // Whoever has hung up is not served any more; work that is under way goes on.
        let next = place.queues[index].next(self.now, |number| calls[number].open);
        if end != End::Success {
            place.queues[index].spoiled();
        }
        place.truth[index].inside = place.queues[index].inside();
        if let Some(next) = next {
            self.serve(next);
        }
    }

    /// An answer to one try, or its proxy gives it up.
    pub(super) fn end(&mut self, number: Number, end: End) {
        if !self.calls[number].open {
            return;
        }
        self.close(number, end);
        let first = self.calls[number].first;
        if !self.tries_again(first, end) {
            self.settle(first, end);
        }
    }

    /// Tells those whom it concerns how one try ended.
    pub(super) fn close(&mut self, number: Number, end: End) {
        self.calls[number].open = false;
        let Call { tier, proxy, pick, sent, waiting, key, .. } = self.calls[number];
        let place = &mut self.tiers[tier];
        if waiting {
            // No backend has heard of it.
            place.proxies[proxy].dropped(pick, waiting);
            place.connections[proxy].left();
            return;
        }
        let ended = Ended {
            failed: end != End::Success,
            timed_out: end == End::Timeout,
            latency: self.now - sent,
            load: (end != End::Timeout).then(|| place.queues[pick.backend].load()),
        };
        place.proxies[proxy].ended(pick, &ended, self.now, &place.truth);
        self.report(number, end, key);
        let Some(connections) = self.tiers[tier].connections.get_mut(proxy) else { return };
        if end == End::Timeout {
            if connections.broke(pick.backend) {
                self.connect(tier, proxy, pick.backend);
            }
        } else {
            connections.answered(pick.backend);
            self.use_connection(tier, proxy, pick.backend);
        }
    }

    /// The proxy counts, and tells of it as it does.
    fn report(&mut self, number: Number, end: End, key: u64) {
        let Call { tier, proxy, pick, sent, .. } = self.calls[number];
        let sampled = self.scenario.telemetry.sampled;
        let is_timed = sampled >= 1.0 || self.draws(tier, LOG, key).unit() < sampled;
        let (mut end, mut ms) = (end, (self.now - sent) as f64 / 1e3);
        if let Some(lies) = self.lies(tier, proxy, pick.backend) {
            ms *= lies.latency;
            let invents = self.draws(tier, super::LIE, key).unit() < lies.errors;
            end = if end == End::Success && invents { End::Error } else { end };
        }
        let timed = is_timed.then(|| Millis::clamped(ms));
        self.tiers[tier].counters[proxy].count(pick.backend, end, timed);
    }

    /// A request has its outcome: its client hears of it, or the call that it was work for ends.
    pub(super) fn settle(&mut self, first: Number, end: End) {
        let call = &mut self.calls[first];
        if !core::mem::take(&mut call.asked) {
            return;
        }
        let Call { tier, sent, parent, .. } = *call;
        self.forget(first);
        if tier == 0 {
            self.tally(sent, end);
        } else {
            self.finish(parent, if end == End::Success { end } else { End::Error });
        }
    }

    /// A client's request has its outcome.
    fn tally(&mut self, sent: u64, end: End) {
        let ms = (self.now - sent) as f64 / 1e3;
        if self.scenario.is_counted(sent) {
            self.score.errors += u64::from(end != End::Success);
            if end != End::Error {
                self.score.latencies_ms.push(ms);
            }
        }
        if let Some(second) = self.traced(sent) {
            second.errors += u32::from(end != End::Success);
            if end != End::Error {
                second.latencies_ms.push(ms);
            }
        }
    }

    /// The next request whose sender has no more patience, and when.
    pub(super) fn impatient(&mut self) -> Option<(u64, Number)> {
        let calls = &self.calls;
        let waiting = self.tiers.iter_mut().filter_map(|tier| {
            let number = tier.longest_waiting(|number| calls[number].asked)?;
            Some((calls[number].sent + of(tier.timeout), number))
        });
        waiting.min()
    }
}

/// By how much a request takes longer, by a draw in 0 to 1.
fn cost(classes: &[Class], draw: f64) -> f64 {
    let mut rest = draw * classes.iter().map(|class| class.share).sum::<f64>();
    let class = classes.iter().find(|class| {
        rest -= class.share;
        rest < 0.0
    });
    class.or(classes.last()).map_or(1.0, |class| class.cost)
}
