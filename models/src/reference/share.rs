//! Sharing a service's traffic: who differs, who shall go, and what each one's weight should be.

use core::time::Duration;

use weir_engine::assessment::{Assessment, Expectation};
use weir_engine::decision::{EndpointState, Reason, Slow};
use weir_engine::model::{Standing, View};
use weir_engine::observation::Row;
use weir_engine::plan::{Plan, Wish};
use weir_engine::units::{Millis, PerSecond, Ratio};
use weir_engine::zones::ZoneSplit;

use super::{Memory, zones};
use crate::imbalance::Difference;
use crate::kinds::{self, Edge, Level};
use crate::overload::Load;
use crate::queue::Queue;
use crate::waterfill::{self, Demand, Server};
use crate::weights::{self, Range};
use crate::{middle, tail};

/// Shares are solved for at least this part of the capacity: a load that rises finds them ready.
/// More would give slow endpoints more than their answers are worth: at 0.85 the tail with one
/// endpoint of ten three times as slow is a tenth longer.
const LOAD_LEAST: f64 = 0.70;

/// And at most for this part: beyond it every split is bad.
pub(super) const LOAD_MOST: f64 = 0.93;

/// An endpoint of unknown capacity is not raised above this multiple of what it has sustained.
const SUSTAINED_MOST: f64 = 1.3;

/// Up to this part of their capacity endpoints answer quickly: taking out a slow one must not make
/// the others slow.
const COMFORTABLE: f64 = 0.75;

/// At most this part of the endpoints (and at least one) is out for slowness or coming back from
/// it: slow endpoints still carry something, and others may become slow too.
const SLOW_MOST: f64 = 0.1;

/// While returning from an ejection an endpoint gets at most this part of an equal share.
const PROBATION_MOST: f64 = 0.1;

pub(super) fn share(view: &View<'_>, assessment: &Assessment, memory: &mut Memory) -> Plan {
    let service = Service { view, assessment, elapsed: memory.elapsed };
    let main = differ(service, memory);
    let steering = main.and_then(|main| service.targets(main, memory));
    let own = |index: usize| steering.as_ref().and_then(|targets| targets.get(index)).copied();
    let equal_rate = service.equal_rate();
    let mut endpoints: Vec<Wish> = (0..view.topology.endpoints.len())
        .map(|index| service.wish(index, own(index).unwrap_or(1.0), equal_rate))
        .collect();
    accuse(&mut endpoints, service, memory);
    if steering.is_some() {
        settle(&mut endpoints, service);
        explain(&mut endpoints, service, memory);
    }
    let zones = main.map(|main| service.zones(&endpoints, main, memory)).unwrap_or_default();
    let capacity = service.capacity();
    let most = view.goal.guardrails.max_shed.value();
    let shed = Ratio::clamped(memory.shedding.step(service.load(), most, view.at));
    Plan { endpoints, steering: steering.is_some(), capacity, shed, zones }
}

/// A service and what is known of it.
#[derive(Clone, Copy)]
struct Service<'a> {
    view: &'a View<'a>,
    assessment: &'a Assessment,
    /// Since the last judgement.
    elapsed: Duration,
}

/// Finds which endpoints differ from their peers; returns the main kind's level.
fn differ(service: Service<'_>, memory: &mut Memory) -> Option<f64> {
    let serves = |index: usize| service.standing(index).state == EndpointState::Serving;
    let known = memory.endpoints.iter().enumerate().filter_map(|(index, endpoint)| {
        let deviation = service.expectation(index).filter(|_| serves(index))?.deviation;
        let main = !endpoint.difference.stands();
        let variance = deviation * deviation + memory.wander * memory.wander;
        Some(Level { index, level: endpoint.level, variance, main })
    });
    let known = known.collect();
    let mut endpoints = memory.endpoints.iter().enumerate();
    let away = endpoints.any(|(index, endpoint)| endpoint.difference.stands() && serves(index));
    let kinds = kinds::kinds(known, Edge::of(away, memory.lasts()))?;
    let mut seen = vec![0.0; memory.endpoints.len()];
    for &(index, difference) in &kinds.others {
        seen[index] = difference;
    }
    let (at, lasts, trusted) = (service.view.at, memory.lasts(), memory.trusted());
    let experienced = memory.experienced();
    for (index, (endpoint, seen)) in memory.endpoints.iter_mut().zip(seen).enumerate() {
        let passing = is_passing(service.standing(index).state);
        match service.expectation(index) {
            None => endpoint.difference.see_nothing(),
            Some(known) if passing && lasts => {
                endpoint.difference.adopt(endpoint.level - kinds.main, known.deviation);
            }
            Some(_) if !lasts && seen == 0.0 => endpoint.difference = Difference::default(),
            // Where differences wander, or may for all that is known, none is adopted.
            Some(_) if !(endpoint.difference.stands() || lasts && experienced) => {
                endpoint.difference.see_nothing();
            }
            Some(_) => {
                // Who shows its limit is not well because little is asked of it now.
                let limited = endpoint.knee.limit().is_some();
                let own =
                    if limited { endpoint.difference.adopted } else { endpoint.level - kinds.main };
                endpoint.difference.see(seen, own, trusted, at);
            }
        }
    }
    Some(kinds.main)
}

fn is_passing(state: EndpointState) -> bool {
    matches!(state, EndpointState::Joining | EndpointState::Probation)
}

impl Service<'_> {
    fn expectation(&self, index: usize) -> Option<&Expectation> {
        self.assessment.endpoints.get(index)?.expectation.as_ref()
    }

    fn standing(&self, index: usize) -> Standing {
        self.view.standings.get(index).copied().unwrap_or_default()
    }

    fn takes_part(&self, index: usize) -> bool {
        let ready = self.view.topology.endpoints.get(index).is_some_and(|e| e.ready);
        ready && !matches!(self.standing(index).state, EndpointState::Ejected { .. })
    }

    fn members(&self) -> impl Iterator<Item = usize> {
        (0..self.view.topology.endpoints.len()).filter(|&index| self.takes_part(index))
    }

    /// Requests per second of an equal share.
    fn equal_rate(&self) -> f64 {
        self.assessment.load.value() / (self.members().count().max(1) as f64)
    }

    /// The capacity of the endpoints that take part, where that of each is known.
    fn capacity(&self) -> Option<PerSecond> {
        let mut sum = 0.0;
        for index in self.members() {
            sum += Some(self.expectation(index)?.capacity.value()).filter(|c| *c > 0.0)?;
        }
        Some(PerSecond::clamped(sum))
    }

    /// How the service stands, if anything new was seen of it.
    fn load(&self) -> Option<Load> {
        let window = self.view.history.current(self.view.at)?;
        let rows = || window.rows.iter().filter(|row| row.clients > 0);
        let ending: f64 = rows().filter_map(Row::rate).sum();
        let timed = |row: &Row| row.latency.mean().map_or(0.0, Millis::value) / 1_000.0;
        // What proxies have under way now or, where they do not say, what was there by Little's law.
        let inside = |row: &Row| row.in_flight.unwrap_or(timed(row) * row.rate().unwrap_or(0.0));
        let inside: f64 = rows().map(inside).sum();
        let members = || self.members().map(|index| self.expectation(index));
        let workers = members().flatten().map(|known| known.concurrency).sum();
        let present = |known: &Expectation| Some(known.present.value()).filter(|now| *now > 0.0);
        let capacity = members().map(|known| known.and_then(present)).sum();
        (ending > 0.0).then_some(Load { ending, inside, capacity, workers })
    }

    /// The rate at which an endpoint still answers quickly.
    fn comfortable(&self, index: usize) -> f64 {
        let Some(known) = self.expectation(index) else { return 0.0 };
        let most = match known.surely() {
            capacity if capacity > 0.0 => COMFORTABLE * capacity,
            _ => SUSTAINED_MOST * known.sustained.value(),
        };
        let standing = self.standing(index);
        if is_passing(standing.state) { most * standing.weight.min(1.0) } else { most }
    }

    fn range(&self, equal_rate: f64) -> Range {
        let balancing = &self.view.goal.balancing;
        Range { least: balancing.weight_min, most: balancing.weight_max }.with_probe(equal_rate)
    }

    /// Where the clients of each zone should go, where the policy keeps traffic near.
    fn zones(&self, endpoints: &[Wish], main: f64, memory: &Memory) -> Vec<ZoneSplit> {
        let members: Vec<usize> = self.members().collect();
        let servers = self.servers(&members, main, memory);
        let all: f64 = members.iter().map(|&index| endpoints[index].weight).sum();
        let load = self.assessment.load.value();
        let members = members.into_iter().zip(servers);
        let members = members.map(|(index, server)| {
            let weight = endpoints[index].weight;
            // Who has not shown what it can carry gets no more than of an average client.
            let shown = self.expectation(index).is_some_and(|known| known.surely() > 0.0);
            let most = if shown { f64::INFINITY } else { load * weight / all };
            let zone = &self.view.topology.endpoints[index].locality.zone;
            zones::Member { zone, weight, server: Server { most, ..server } }
        });
        memory.zones.splits(self.assessment.load.value(), self.view, &members.collect::<Vec<_>>())
    }

    /// The weights that are best where endpoints differ; nothing at rest.
    fn targets(&self, main: f64, memory: &Memory) -> Option<Vec<f64>> {
        let difference = |index: usize| memory.endpoints[index].difference;
        let members: Vec<usize> = self.members().collect();
        if !members.iter().any(|&index| difference(index).stands()) {
            return None;
        }
        let rates = self.fill(&members, main, memory);
        let range = self.range(self.equal_rate());
        let wished: Vec<f64> =
            weights::relative(&rates).into_iter().map(|weight| range.bound(weight)).collect();
        if weights::near_equal(wished.iter().copied()) {
            return None;
        }
        let mut targets = vec![1.0; memory.endpoints.len()];
        for (&index, weight) in members.iter().zip(wished) {
            let unknown = self.expectation(index).is_none() && difference(index).stands();
            let kept = range.bound(self.standing(index).weight);
            targets[index] = if unknown { kept } else { weight };
        }
        Some(targets)
    }

    /// The best rate of each member. Members of one kind are poured as one.
    fn fill(&self, members: &[usize], main: f64, memory: &Memory) -> Vec<f64> {
        let (servers, group_of) = waterfill::alike(&self.servers(members, main, memory));
        let capacity: f64 = servers.iter().map(|server| server.capacity * server.count).sum();
        let load = self.assessment.load.value().max(LOAD_LEAST * capacity);
        let demand = Demand { rate: load.min(LOAD_MOST * capacity), ways: vec![0.0] };
        let filled = waterfill::fill(&servers, &[demand]);
        group_of.into_iter().map(|group| filled.rates[group]).collect()
    }

    /// The members as queues, all in one zone.
    fn servers(&self, members: &[usize], main: f64, memory: &Memory) -> Vec<Server> {
        let server = |&index: &usize| Server {
            queue: Queue::of(self.workers(index, memory)),
            capacity: 1_000.0 * libm::exp(main + memory.endpoints[index].difference.adopted),
            most: f64::INFINITY,
            count: 1.0,
            zone: 0,
        };
        members.iter().map(server).collect()
    }

    /// The workers that shape its queue: declared, or as the median of its peers.
    fn workers(&self, index: usize, memory: &Memory) -> f64 {
        let declared = self.view.topology.endpoints[index].concurrency;
        declared.map_or(memory.busy.middle, |declared| f64::from(declared.get()))
    }

    /// What to wish for one endpoint, whose weight should become `target`.
    fn wish(&self, index: usize, target: f64, equal_rate: f64) -> Wish {
        let standing = self.standing(index);
        let weight = if self.takes_part(index) {
            let target = self.sustainable(index, target, equal_rate);
            let passing = self.passing_most(standing);
            let slewed = weights::slew(standing.weight, target.min(passing), self.elapsed);
            slewed.min(passing)
        } else {
            standing.weight
        };
        let ready = self.view.topology.endpoints.get(index).is_some_and(|e| e.ready);
        let reason = match standing.state {
            _ if !ready => Reason::NotReady,
            EndpointState::Joining | EndpointState::Probation => {
                Reason::Proving { age: self.view.at.since(standing.since) }
            }
            _ if self.expectation(index).is_none() => Reason::Unknown,
            EndpointState::Serving | EndpointState::Ejected { .. } | EndpointState::NotReady => {
                Reason::Equal
            }
        };
        Wish { weight, eject: false, reason }
    }

    /// The most that a new or returning endpoint should get by now.
    fn passing_most(&self, standing: Standing) -> f64 {
        let age = self.view.at.since(standing.since);
        match standing.state {
            EndpointState::Joining => weights::ramp(age, self.view.goal.balancing.slow_start),
            EndpointState::Probation => PROBATION_MOST,
            EndpointState::Serving | EndpointState::Ejected { .. } | EndpointState::NotReady => {
                f64::INFINITY
            }
        }
    }

    /// Bounds a rise where the capacity is not known.
    fn sustainable(&self, index: usize, target: f64, equal_rate: f64) -> f64 {
        let standing = self.standing(index).weight;
        match self.expectation(index) {
            Some(known) if known.capacity.value() <= 0.0 && target > standing.max(1.0) => {
                let most = SUSTAINED_MOST * known.sustained.value() / equal_rate;
                // Written so that NaN (no load) bounds to what is.
                if target <= most { target } else { most.max(standing).max(1.0).min(target) }
            }
            Some(_) | None => target,
        }
    }
}

/// Wishes out who is proven to fail, and who is too slow as far as the others have room.
fn accuse(endpoints: &mut [Wish], service: Service<'_>, memory: &mut Memory) {
    let judgements = &service.assessment.endpoints;
    for (wish, judgement) in endpoints.iter_mut().zip(judgements) {
        if let Some(failing) = judgement.failing {
            (wish.eject, wish.reason) = (true, Reason::Failing(failing));
        }
    }
    if !memory.ejects_slow() {
        return;
    }
    let proof = |index: usize| {
        let judgement = judgements.get(index).filter(|judgement| judgement.failing.is_none())?;
        judgement.slow.filter(|slow| slow.windows >= tail::WINDOWS)
    };
    let mut slow: Vec<(usize, Slow)> =
        service.members().filter_map(|index| Some((index, proof(index)?))).collect();
    slow.sort_by(|(_, a), (_, b)| b.bound.value().total_cmp(&a.bound.value()));
    let staying = service.members().filter(|&index| !endpoints[index].eject);
    let mut room: f64 = staying.map(|index| service.comfortable(index)).sum();
    let mut absent = 0.0;
    for (index, endpoint) in memory.endpoints.iter_mut().enumerate() {
        endpoint.slow_out &= service.standing(index).state != EndpointState::Serving;
        absent += f64::from(u8::from(endpoint.slow_out));
    }
    let most = (SLOW_MOST * endpoints.len() as f64).max(1.0);
    for (index, proof) in slow {
        let left = room - service.comfortable(index);
        let out = &mut memory.endpoints[index].slow_out;
        let more = f64::from(u8::from(!*out));
        if service.assessment.load.value() <= left && absent + more <= most {
            (room, absent, *out) = (left, absent + more, true);
            (endpoints[index].eject, endpoints[index].reason) = (true, Reason::Slow(proof));
        }
    }
}

/// Keeps all weights where no change is worth a push.
fn settle(endpoints: &mut [Wish], service: Service<'_>) {
    let changes = |(index, wish): (usize, &Wish)| {
        service.takes_part(index)
            && weights::worth_a_push(service.standing(index).weight, wish.weight)
    };
    if !endpoints.iter().enumerate().any(changes) {
        for (index, wish) in endpoints.iter_mut().enumerate() {
            wish.weight = service.standing(index).weight;
        }
    }
}

/// Says why each endpoint gets what it gets while shares are unequal.
fn explain(endpoints: &mut [Wish], service: Service<'_>, memory: &Memory) {
    let known = |index| service.expectation(index).map(|known| known.service_time.value());
    let mut times: Vec<f64> = (0..endpoints.len()).filter_map(known).collect();
    let peers = Millis::clamped(middle::lower(&mut times).unwrap_or(0.0));
    for (index, wish) in endpoints.iter_mut().enumerate() {
        if wish.reason != Reason::Equal {
            continue;
        }
        wish.reason = match service.expectation(index) {
            Some(known) if memory.endpoints[index].difference.stands() => Reason::ServiceTime {
                own: known.service_time,
                peers,
                persistence: service.assessment.persistence,
            },
            Some(_) | None => Reason::Remainder,
        };
    }
}
