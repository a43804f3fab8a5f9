//! A recording on an even grid of time: one cell for each endpoint and tick.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use weir_engine::decision::{EndpointState, ServiceDecision};
use weir_engine::goal::Mode;
use weir_engine::latency::Latency;
use weir_engine::names::{Address, Place};
use weir_engine::observation::{Row, ServiceTraffic};
use weir_engine::topology::{BalancerPolicy, ServiceTopology};
use weir_engine::units::Moment;

use super::seen::Seen;

/// How late reports are where nothing tells: they come up to a tick late.
const TICKS_LATE: usize = 1;

/// Reports that are later than this many ticks are not looked for.
const TICKS_LATE_MAX: usize = 3;

/// An endpoint that ever stood in the recording.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) address: Address,
    pub(super) zone: Place,
    pub(super) concurrency: Option<u32>,
    /// From which second until which it may take traffic.
    pub(super) present: Vec<(f64, f64)>,
}

/// One tick.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    /// Clients that reported.
    pub(super) clients: f64,
    /// The part of the requests that was turned away.
    pub(super) shed: f64,
    /// By endpoint; nothing where nothing is known.
    pub(super) cells: Vec<Option<Cell>>,
}

/// What was seen of one endpoint in one tick.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub(super) requests: f64,
    pub(super) errors: f64,
    pub(super) timeouts: f64,
    /// Seconds that one client reports on, times clients.
    pub(super) exposure: f64,
    pub(super) latency: Latency,
    /// The part of the requests from other zones.
    pub(super) far: f64,
    /// By how much requests from other zones took longer, and the weight of that.
    pub(super) further_ms: (f64, f64),
}

/// The recording.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub(super) start: Moment,
    pub(super) tick: Duration,
    pub(super) ticks_late: usize,
    pub(super) places: Vec<Spot>,
    /// Zones of clients, with their requests.
    pub(super) zones: Vec<(Place, f64)>,
    pub(super) clients: u32,
    pub(super) policy: BalancerPolicy,
    /// By tick; nothing where no telemetry arrived.
    pub(super) slots: Vec<Option<Slot>>,
}

/// The tick of a step.
pub(super) fn slot_of(at: Moment, start: Moment, tick: Duration) -> usize {
    let half = tick / 2;
    let index = (at.since(start) + half).as_millis() / tick.as_millis().max(1);
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The time from one step to the next, in the middle.
pub(super) fn tick_of(steps: &[Seen]) -> Duration {
    let mut gaps: Vec<Duration> =
        steps.windows(2).map(|pair| pair[1].at.since(pair[0].at)).collect();
    gaps.sort_unstable();
    let middle = gaps.get(gaps.len() / 2).copied().unwrap_or(Duration::from_secs(1));
    middle.clamp(Duration::from_millis(100), Duration::from_secs(60))
}

impl Grid {
    /// Lays a recording out; nothing where its steps are spread so wide that there is no grid.
    pub(super) fn of(steps: &[Seen]) -> Option<Self> {
        let (first, last) = (steps.first()?, steps.last()?);
        let (start, tick) = (first.at, tick_of(steps));
        let count = slot_of(last.at, start, tick) + 1;
        if count > SLOTS_MAX {
            return None;
        }
        let places = places(steps, start);
        let mut grid = Self {
            start,
            tick,
            ticks_late: ticks_late(steps, (start, tick)),
            places,
            zones: Vec::new(),
            clients: 0,
            policy: policy(steps),
            slots: vec![None; count],
        };
        grid.fill(steps);
        Some(grid)
    }

    fn fill(&mut self, steps: &[Seen]) {
        let mut zones: BTreeMap<Place, f64> = BTreeMap::new();
        let mut topology: Option<&ServiceTopology> = None;
        let mut shed = 0.0;
        for step in steps {
            topology = step.topology.as_ref().or(topology);
            let (Some(topology), Some(traffic)) = (topology, &step.traffic) else { continue };
            if traffic.rows.iter().any(|row| row.clients > 0) {
                let index = slot_of(step.at, self.start, self.tick);
                let slot = self.slot(topology, traffic, shed);
                self.clients = self.clients.max(traffic.clients);
                for zone in &traffic.zones {
                    let requests: u64 = zone.rows.iter().map(|row| row.requests).sum();
                    *zones.entry(zone.zone.clone()).or_default() += requests as f64;
                }
                if let Some(place) = self.slots.get_mut(index) {
                    *place = Some(slot);
                }
            }
            shed = step.decided.as_ref().map_or(shed, |decided| turned_away(decided));
        }
        self.zones = zones.into_iter().collect();
    }

    fn slot(&self, topology: &ServiceTopology, traffic: &ServiceTraffic, shed: f64) -> Slot {
        let mut cells = vec![None; self.places.len()];
        for row in traffic.rows.iter().filter(|row| row.clients > 0) {
            let Some(endpoint) = topology.endpoints.get(row.endpoint as usize) else { continue };
            let Some(place) = self.index_of(&endpoint.address) else { continue };
            cells[place] = Some(Cell::of(row, traffic, &endpoint.locality.zone));
        }
        Slot { clients: f64::from(traffic.clients), shed, cells }
    }

    pub(super) fn index_of(&self, address: &Address) -> Option<usize> {
        self.places.binary_search_by(|place| place.address.cmp(address)).ok()
    }

    /// The time that the counts of a tick are of, in seconds.
    pub(super) fn window(&self, slot: usize) -> (f64, f64) {
        let tick = self.tick.as_secs_f64();
        let end = (slot as f64 - self.ticks_late as f64) * tick;
        (end - tick, end)
    }

    /// How long it is, in seconds.
    pub(super) fn length(&self) -> f64 {
        self.slots.len() as f64 * self.tick.as_secs_f64()
    }
}

/// No recording has more ticks: four days of seconds are looked at in parts.
const SLOTS_MAX: usize = 400_000;

impl Cell {
    fn of(row: &Row, traffic: &ServiceTraffic, own: &Place) -> Self {
        let (mut near, mut far) = (Row::default(), Row::default());
        for zone in &traffic.zones {
            if let Some(part) = zone.row(row.endpoint as usize) {
                if zone.zone == *own { near.add(part) } else { far.add(part) }
            }
        }
        let all = (near.requests + far.requests).max(1) as f64;
        Self {
            requests: row.requests as f64,
            errors: row.errors as f64,
            timeouts: row.timeouts as f64,
            exposure: row.exposure.as_secs_f64(),
            latency: row.latency.clone(),
            far: far.requests as f64 / all,
            further_ms: further(&near, &far).unwrap_or_default(),
        }
    }
}

fn further(near: &Row, far: &Row) -> Option<(f64, f64)> {
    let (close, away) = (near.latency.mean()?.value(), far.latency.mean()?.value());
    let (own, other) = (near.latency.count, far.latency.count);
    (near.errors + far.errors == 0).then(|| (away - close, own * other / (own + other)))
}

/// The part of the requests that a decision turns away.
pub(super) fn turned_away(decided: &ServiceDecision) -> f64 {
    decided.realisations.first().map_or(0.0, |made| made.shed.value())
}

fn places(steps: &[Seen], start: Moment) -> Vec<Spot> {
    let mut places: BTreeMap<Address, Spot> = BTreeMap::new();
    let mut open: BTreeSet<Address> = BTreeSet::new();
    for step in steps {
        let Some(topology) = &step.topology else { continue };
        let second = step.at.since(start).as_secs_f64();
        let ready = topology.endpoints.iter().filter(|endpoint| endpoint.ready);
        let now: BTreeSet<Address> = ready.map(|endpoint| endpoint.address.clone()).collect();
        for gone in open.difference(&now) {
            let last = places.get_mut(gone).and_then(|place| place.present.last_mut());
            if let Some(last) = last {
                last.1 = second;
            }
        }
        for endpoint in &topology.endpoints {
            let place = places.entry(endpoint.address.clone()).or_insert_with(|| Spot {
                address: endpoint.address.clone(),
                zone: endpoint.locality.zone.clone(),
                concurrency: None,
                present: Vec::new(),
            });
            place.concurrency = endpoint.concurrency.map(u32::from).or(place.concurrency);
            if endpoint.ready && !open.contains(&endpoint.address) {
                place.present.push((second, f64::INFINITY));
            }
        }
        open = now;
    }
    places.into_values().collect()
}

fn policy(steps: &[Seen]) -> BalancerPolicy {
    let mut clusters = steps.iter().filter_map(|step| step.topology.as_ref()?.clusters.first());
    clusters.next_back().map_or(BalancerPolicy::LeastRequest, |cluster| cluster.form.policy)
}

/// How many ticks late reports are: those after which endpoints that were taken out are seen to
/// get less.
fn ticks_late(steps: &[Seen], (start, tick): (Moment, Duration)) -> usize {
    let mut by_slot: BTreeMap<usize, BTreeMap<Address, f64>> = BTreeMap::new();
    let mut topology: Option<&ServiceTopology> = None;
    for step in steps {
        topology = step.topology.as_ref().or(topology);
        let (Some(topology), Some(traffic)) = (topology, &step.traffic) else { continue };
        let named = traffic.rows.iter().filter_map(|row| {
            let endpoint = topology.endpoints.get(row.endpoint as usize)?;
            Some((endpoint.address.clone(), row.requests as f64))
        });
        by_slot.insert(slot_of(step.at, start, tick), named.collect());
    }
    let mut after = [0.0; TICKS_LATE_MAX + 1];
    let mut before = 0.0;
    for (slot, address) in taken_out(steps, (start, tick)) {
        let of = |slot: usize| by_slot.get(&slot).and_then(|all| all.get(&address)).copied();
        let (Some(usual), true) = (of(slot), of(slot + TICKS_LATE_MAX + 1).is_some()) else {
            continue;
        };
        before += usual;
        for (later, sum) in after.iter_mut().enumerate() {
            *sum += of(slot + later + 1).unwrap_or(usual);
        }
    }
    if before <= 0.0 {
        return TICKS_LATE;
    }
    after.iter().take_while(|sum| **sum > before / 2.0).count().min(TICKS_LATE_MAX)
}

/// Which endpoints were ejected by a decision that proxies followed, and at which ticks.
fn taken_out(steps: &[Seen], (start, tick): (Moment, Duration)) -> Vec<(usize, Address)> {
    let mut last: Option<&ServiceDecision> = None;
    let mut found = Vec::new();
    for step in steps {
        let Some(decided) = step.decided.as_deref() else { continue };
        let before = last.filter(|last| last.mode == Mode::Enforce);
        for endpoint in &decided.endpoints {
            let was_in = before.is_some_and(|last| {
                let mut known = last.endpoints.iter();
                known.any(|one| one.address == endpoint.address && !is_out(one.state))
            });
            if was_in && is_out(endpoint.state) {
                found.push((slot_of(step.at, start, tick), endpoint.address.clone()));
            }
        }
        last = Some(decided);
    }
    found
}

/// Whether an endpoint is ejected.
pub(super) fn is_out(state: EndpointState) -> bool {
    matches!(state, EndpointState::Ejected { .. })
}
