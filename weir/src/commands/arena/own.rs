//! Proxies in this process, for rivals that Envoy does not have: the simulator's balancers pick,
//! and requests go to the backends over real sockets.
//!
//! Such a proxy saves its requests the hop through an Envoy, a fraction of a millisecond. What
//! only the simulator could know is asked of the backends, which are in this process too: how many
//! requests are inside, for probes (one way later, as a probe would travel) and for the bound that
//! knows everything.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;
use weir_engine::decision::{Group, Health, Member};
use weir_engine::names::Locality;
use weir_simulator::balancer::{Ended, Probe, Truth};
use weir_simulator::client::{Client, Picked};
use weir_simulator::rivals::Rival;
use weir_simulator::scenario::Scenario;
use weir_simulator::world::address_of;
use weir_testbed::arena::{Backend, Order, Route, Way};
use weir_testbed::load::End;

/// All proxies of a run.
pub(super) struct Own<'a> {
    scenario: &'a Scenario,
    backends: &'a [Backend],
    start: Instant,
    proxies: Vec<Client>,
    truth: Vec<Truth>,
    present: Vec<bool>,
    /// Probes that travel: when they reach their backends, in order.
    probes: VecDeque<(u64, usize, usize)>,
}

impl<'a> Own<'a> {
    /// Proxies whose run begins now.
    pub(super) fn new(scenario: &'a Scenario, backends: &'a [Backend], rival: Rival) -> Self {
        let proxy = |number| Client::new(scenario, number, rival);
        Self {
            scenario,
            backends,
            start: Instant::now(),
            proxies: (0..scenario.proxies).map(proxy).collect(),
            truth: vec![Truth::default(); backends.len()],
            present: Vec::new(),
            probes: VecDeque::new(),
        }
    }

    /// Takes in what happened meanwhile; the moment in microseconds.
    fn now(&mut self) -> u64 {
        let elapsed = self.start.elapsed();
        let (now, second) = (micros(elapsed), elapsed.as_secs_f64());
        let told = self.scenario.backends.iter();
        let present: Vec<bool> = told.clone().map(|told| told.is_present(second)).collect();
        let mean = self.scenario.service.0.as_secs_f64();
        for ((told, backend), truth) in told.zip(self.backends).zip(&mut self.truth) {
            truth.inside = backend.inside();
            truth.workers = told.workers;
            truth.service = mean * told.slowness.at(second);
            truth.errors = told.errors.at(second);
        }
        if present != self.present {
            let groups = groups(self.scenario, &present);
            self.proxies.iter_mut().for_each(|proxy| proxy.assign(&groups));
            self.present = present;
        }
        while let Some((_, proxy, backend)) = self.probes.pop_front_if(|(at, ..)| *at <= now) {
            let probe = probe(self.truth[backend]);
            self.proxies[proxy].probed(backend, probe, now, &self.truth);
        }
        now
    }
}

impl Way for Own<'_> {
    type Pick = (usize, Picked);

    fn pick(&mut self, order: &Order) -> Option<Route<Self::Pick>> {
        let now = self.now();
        let proxy = &mut self.proxies[order.proxy];
        let picked = proxy.pick(now, &self.truth)?;
        let way = micros(self.scenario.one_way);
        let probed = proxy.probes(now, &self.truth);
        self.probes.extend(probed.into_iter().map(|backend| (now + way, order.proxy, backend)));
        let backend = picked.backend();
        Some(Route {
            pick: (order.proxy, picked),
            pool: order.proxy * self.backends.len() + backend,
            address: self.backends[backend].address(),
        })
    }

    fn ended(&mut self, (proxy, picked): Self::Pick, end: End, took: Duration) {
        let now = self.now();
        let ended = Ended {
            failed: !matches!(end, End::Succeeded(_)),
            timed_out: end == End::TimedOut,
            // A limiter subtracts it from the moment, which it cannot exceed.
            latency: micros(took).min(now),
            load: None,
        };
        self.proxies[proxy].ended(picked, &ended, now, &self.truth);
    }
}

/// What a backend answers a probe: its queue, and what a request would take with it.
fn probe(truth: Truth) -> Probe {
    let waits = f64::from(truth.inside.saturating_sub(truth.workers)) / f64::from(truth.workers);
    let latency = Duration::try_from_secs_f64(truth.service * (1.0 + waits));
    Probe { inside: truth.inside, latency: micros(latency.unwrap_or(Duration::MAX)).max(1) }
}

/// All that are present, equal, in a locality per zone.
fn groups(scenario: &Scenario, present: &[bool]) -> Vec<Group> {
    let zones = scenario.zones.iter().enumerate().map(|(zone, (name, _))| {
        let there = scenario.backends.iter().zip(present).enumerate();
        let members = there.filter(|(_, (told, present))| **present && told.zone == zone);
        let member = |(index, _)| Member {
            address: address_of(index),
            weight: NonZeroU32::MIN,
            health: Health::Healthy,
        };
        let members: Vec<Member> = members.map(member).collect();
        let weight = u32::try_from(members.len()).ok().and_then(NonZeroU32::new)?;
        let locality = Locality { zone: name.as_str().into(), ..Locality::default() };
        Some(Group { locality, weight, members })
    });
    zones.flatten().collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_present_stand_in_their_zones() {
        let mut scenario = Scenario::fleet(1);
        scenario.zones = vec![("a".to_owned(), 0.5), ("b".to_owned(), 0.5), ("c".to_owned(), 0.1)];
        scenario.backends[9].zone = 1;
        let mut present = vec![true; 10];
        present[0] = false;
        let groups = groups(&scenario, &present);
        let sizes: Vec<_> =
            groups.iter().map(|group| (group.weight.get(), group.members.len())).collect();
        assert_eq!(sizes, [(8, 8), (1, 1)]);
        assert_eq!(groups[1].members[0].address, address_of(9));
    }

    #[test]
    fn a_probe_tells_of_the_queue() {
        let truth = Truth { inside: 12, workers: 8, service: 0.020, errors: 0.0 };
        assert_eq!(probe(truth), Probe { inside: 12, latency: 30_000 });
    }
}
