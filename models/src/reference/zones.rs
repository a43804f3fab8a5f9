//! Zones: how far they are from one another, and where the clients of each should go.

use core::time::Duration;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_engine::goal::ZoneAware;
use weir_engine::history::Window;
use weir_engine::latency::Latency;
use weir_engine::model::View;
use weir_engine::names::Place;
use weir_engine::observation::Row;
use weir_engine::units::{Millis, Ratio};
use weir_engine::zones::ZoneSplit;

use super::share::LOAD_MOST;
use crate::concurrency;
use crate::waterfill::{self, Demand, Server};

/// What the way to another zone is taken for before it is measured, in seconds: a round trip
/// between zones of one region.
const WAY: f64 = 0.001;

/// What a request to another zone costs beside its time, in seconds: traffic between zones is paid
/// for.
const PRICE: f64 = 0.001;

/// A way counts as measured by so many requests, and follows what is seen as slowly as so many.
const REQUESTS_LEAST: f64 = 500.0;
const REQUESTS_MOST: f64 = 20_000.0;

/// So many requests of an endpoint's own zone tell how long the quick ones take.
const HOME_LEAST: f64 = 20.0;

/// Time constant of the zones' parts in the requests: one window's count is not the demand.
const DEMAND_IN: f64 = 10.0;

/// More zones are not told apart: more than a region of any provider has.
const ZONES_MOST: usize = 64;

/// What is remembered of a service's zones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Zones {
    /// Requests per second of each client zone.
    demands: BTreeMap<Place, f64>,
    /// How much longer endpoints of a zone take for clients of another than for their own:
    /// milliseconds, and the requests behind that.
    ways: Vec<((Place, Place), Measured)>,
}

/// Latencies of timed requests: their number, their sum, and what the quick ones took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Timed {
    pub(super) count: f64,
    pub(super) sum_ms: f64,
    pub(super) quick_ms: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Measured {
    ms: f64,
    requests: f64,
}

impl Zones {
    /// Takes in what clients of each zone saw since the last step.
    pub(super) fn see(&mut self, windows: &[&Window], view: &View<'_>, elapsed: Duration) {
        let zones = windows.first().map_or(0, |window| window.zones.len());
        if view.goal.balancing.zone_aware.is_none() || !(2..=ZONES_MOST).contains(&zones) {
            return;
        }
        let gain = 1.0 - libm::exp(-elapsed.as_secs_f64() / DEMAND_IN);
        let seconds = elapsed.as_secs_f64().max(0.001);
        let mut asked: BTreeMap<Place, f64> = BTreeMap::new();
        for zone in windows.iter().flat_map(|window| &window.zones) {
            let requests: f64 = zone.rows.iter().map(|row| row.requests as f64).sum();
            *asked.entry(zone.zone.clone()).or_default() += requests / seconds;
        }
        for (zone, rate) in &asked {
            let known = self.demands.entry(zone.clone()).or_insert(*rate);
            *known += gain * (rate - *known);
        }
        self.demands.retain(|zone, _| asked.contains_key(zone));
        for window in windows {
            self.measure(window, view);
        }
    }

    /// Compares what an endpoint's own zone sees of it with what the others see.
    fn measure(&mut self, window: &Window, view: &View<'_>) {
        for home in &window.zones {
            for other in window.zones.iter().filter(|other| other.zone != home.zone) {
                let (mut sum, mut weights) = (0.0, 0.0);
                for near in home.rows.iter() {
                    let declared = view.topology.endpoints.get(near.endpoint as usize);
                    if declared.is_none_or(|endpoint| endpoint.locality.zone != home.zone) {
                        continue;
                    }
                    let far = other.row(near.endpoint as usize).map(|row| &row.latency);
                    let Some(far) = far else { continue };
                    let (a, b) = (near.latency.count, far.count);
                    let means = far.mean().zip(near.latency.mean());
                    if let Some((far, near)) = means.filter(|_| a > 0.0 && b > 0.0) {
                        let weight = a * b / (a + b);
                        sum += weight * (far.value() - near.value());
                        weights += weight;
                    }
                }
                if weights > 0.0 {
                    self.learn((&other.zone, &home.zone), sum / weights, weights);
                }
            }
        }
    }

    fn learn(&mut self, (client, zone): (&Place, &Place), ms: f64, requests: f64) {
        let key = (client.clone(), zone.clone());
        let at = match self.ways.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(at) => at,
            Err(at) => {
                if self.ways.len() >= ZONES_MOST * ZONES_MOST {
                    return;
                }
                self.ways.insert(at, (key, Measured::default()));
                at
            }
        };
        let known = &mut self.ways[at].1;
        let sum = known.requests + requests;
        known.ms += (ms - known.ms) * requests / sum;
        known.requests = sum.min(REQUESTS_MOST);
    }

    /// How much longer a request takes to another zone, in seconds.
    fn way(&self, client: &Place, zone: &Place) -> f64 {
        let key = (client, zone);
        let at = self.ways.binary_search_by(|((a, b), _)| (a, b).cmp(&key));
        let measured = at.ok().map(|at| self.ways[at].1);
        match measured.filter(|measured| measured.requests >= REQUESTS_LEAST) {
            Some(measured) => measured.ms.max(0.0) / 1_000.0,
            None => WAY,
        }
    }

    /// What there is to see of an endpoint in a window, without the ways of clients from afar.
    pub(super) fn seen(&self, window: &Window, row: &Row, zone: &Place, learns: bool) -> Timed {
        let Latency { count, sum_ms, .. } = row.latency;
        let quick = |latency: &Latency| {
            let quick = latency.quantile(Ratio::clamped(concurrency::QUICK)).filter(|_| learns);
            quick.map_or(0.0, Millis::value)
        };
        if self.ways.is_empty() {
            return Timed { count, sum_ms, quick_ms: quick(&row.latency) };
        }
        let (mut ways, mut seen, mut home) = (0.0, 0.0, None);
        for own in &window.zones {
            let latency = own.row(row.endpoint as usize).map(|row| &row.latency);
            let Some(latency) = latency else { continue };
            seen += latency.count;
            if own.zone == *zone {
                home = Some(latency);
            } else {
                ways += latency.count * 1_000.0 * self.way(&own.zone, zone);
            }
        }
        let way = if seen > 0.0 { ways / seen } else { 0.0 };
        let quick_ms = match home.filter(|home| home.count >= HOME_LEAST) {
            Some(home) => quick(home),
            None => (quick(&row.latency) - way).max(0.0),
        };
        Timed { count, sum_ms: (sum_ms - count * way).max(0.0), quick_ms }
    }

    /// Where the clients of each zone should go, where the policy keeps traffic near.
    pub(super) fn splits(
        &self,
        load: f64,
        view: &View<'_>,
        members: &[Member<'_>],
    ) -> Vec<ZoneSplit> {
        let aware = view.goal.balancing.zone_aware.as_ref();
        let many =
            |aware: &&ZoneAware| view.topology.endpoints.len() >= aware.min_endpoints as usize;
        let Some(aware) = aware.filter(many) else { return Vec::new() };
        let all: f64 = self.demands.values().sum();
        let zones = Inside::of(members);
        if self.demands.len() < 2 || zones.names.len() < 2 || !(all.is_finite() && all > 0.0) {
            return Vec::new();
        }
        let (servers, _) = waterfill::alike(&zones.servers(members));
        let capacity: f64 = servers.iter().map(|server| server.capacity * server.count).sum();
        let load = load.min(LOAD_MOST * capacity);
        // A zone with too few endpoints of its own is at home everywhere.
        let least = aware.min_endpoints_in_zone.max(1);
        let home = |client| zones.at(client).filter(|&at| zones.counts[at] >= least);
        let demands = self.demands.iter().map(|(client, rate)| {
            let near = |zone: &&Place| *zone == client || home(client).is_none();
            let cost = |zone| if near(zone) { 0.0 } else { self.way(client, zone) + PRICE };
            Demand { rate: load * rate / all, ways: zones.names.iter().map(cost).collect() }
        });
        let mut filled = waterfill::fill(&servers, &demands.collect::<Vec<_>>());
        let homes: Vec<Option<usize>> = self.demands.keys().map(home).collect();
        meet(&homes, &mut filled.flows);
        let split = |((client, rate), flows): ((&Place, &f64), &Vec<f64>)| {
            let sum: f64 = flows.iter().sum();
            let shares: Vec<f64> = flows.iter().map(|flow| flow / sum).collect();
            let part = Ratio::clamped(rate / all);
            let split = ZoneSplit::of_shares(client.clone(), part, &zones.weights, &shares);
            (sum > 0.0).then_some(split)
        };
        self.demands.iter().zip(&filled.flows).filter_map(split).collect()
    }
}

/// An endpoint that takes part.
pub(super) struct Member<'a> {
    pub(super) zone: &'a Place,
    pub(super) weight: f64,
    pub(super) server: Server,
}

/// The zones that endpoints stand in, in ascending order.
struct Inside<'a> {
    names: Vec<&'a Place>,
    counts: Vec<u32>,
    weights: Vec<(Place, f64)>,
}

impl<'a> Inside<'a> {
    fn of(members: &[Member<'a>]) -> Self {
        let mut zones: BTreeMap<&Place, (u32, f64)> = BTreeMap::new();
        for member in members {
            let zone = zones.entry(member.zone).or_default();
            *zone = (zone.0 + 1, zone.1 + member.weight);
        }
        Self {
            names: zones.keys().copied().collect(),
            counts: zones.values().map(|(count, _)| *count).collect(),
            weights: zones.iter().map(|(&name, (_, weight))| (name.clone(), *weight)).collect(),
        }
    }

    fn at(&self, zone: &Place) -> Option<usize> {
        self.names.binary_search(&zone).ok()
    }

    fn servers(&self, members: &[Member<'_>]) -> Vec<Server> {
        let placed = |member: &Member<'_>| Server {
            zone: self.at(member.zone).unwrap_or(0),
            ..member.server
        };
        members.iter().map(placed).collect()
    }
}

/// Lets clients of two zones that visit each other stay at home, as many as there are on both
/// ways: no endpoint gets more or less by that.
fn meet(homes: &[Option<usize>], flows: &mut [Vec<f64>]) {
    for a in 0..flows.len() {
        for b in a + 1..flows.len() {
            let Some((own, other)) = homes[a].zip(homes[b]) else { continue };
            let both = flows[a][other].min(flows[b][own]);
            flows[a][other] -= both;
            flows[b][own] -= both;
            flows[a][own] += both;
            flows[b][other] += both;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::queue::Queue;
    use weir_engine::goal::Goal;
    use weir_engine::history::History;
    use weir_engine::names::{Locality, ServiceId};
    use weir_engine::observation::{ServiceTraffic, Source, ZoneTraffic};
    use weir_engine::topology::{Endpoint, ServiceTopology};
    use weir_engine::units::Moment;

    /// Four endpoints in zone a, four in b, and clients of both; from b to a it is 12 ms, back 30.
    struct Fleet {
        topology: ServiceTopology,
        goal: Goal,
        history: History,
        zones: Zones,
        at: Moment,
    }

    impl Fleet {
        fn new() -> Self {
            let service = ServiceId::new("demo", "shop");
            let endpoint = |index: usize| Endpoint {
                address: format!("e{index}").as_str().into(),
                locality: Locality {
                    zone: if index < 4 { "a" } else { "b" }.into(),
                    ..Locality::default()
                },
                concurrency: None,
                ready: true,
            };
            let mut goal = Goal::of_unclaimed(service.clone());
            goal.balancing.zone_aware = Some(ZoneAware {
                min_endpoints: 6,
                min_endpoints_in_zone: 1,
                failover_priority: Vec::new(),
            });
            Self {
                topology: ServiceTopology {
                    service,
                    endpoints: (0..8).map(endpoint).collect(),
                    clusters: Vec::new(),
                    counts: Source::LoadReport,
                },
                goal,
                history: History::default(),
                zones: Zones::default(),
                at: Moment::from_millis(1_000_000),
            }
        }

        /// A second in which clients of a and b send so many requests to each endpoint.
        fn second(&mut self, requests: [u64; 2]) {
            self.at = self.at.plus(Duration::from_secs(1));
            let row = |client: usize, index: usize| {
                let far = [30.0, 12.0][client] * f64::from(u8::from((index < 4) != (client == 0)));
                let count = requests[client] as f64;
                let mut latency =
                    Latency { count, sum_ms: count * (40.0 + far), buckets: Vec::new() };
                latency.add_to_bucket(
                    weir_engine::latency::bucket_of(Millis::clamped(25.0 + far)),
                    count,
                );
                Row {
                    endpoint: u32::try_from(index).unwrap(),
                    requests: requests[client],
                    clients: 1,
                    exposure: Duration::from_secs(1),
                    latency,
                    ..Row::default()
                }
            };
            let zones = [0, 1].map(|client| ZoneTraffic {
                zone: ["a", "b"][client].into(),
                rows: (0..8).map(|index| row(client, index)).collect(),
            });
            let both = |index: usize| {
                let mut sum = row(0, index);
                sum.add(&row(1, index));
                sum
            };
            let traffic = ServiceTraffic {
                rows: (0..8).map(both).collect(),
                zones: zones.into(),
                ..ServiceTraffic::default()
            };
            self.history.absorb(self.at, 8, Some(&traffic));
            let (view, zones) =
                (view(&self.topology, &self.goal, &self.history, self.at), &mut self.zones);
            let window: Vec<&Window> = self.history.newest_first().take(1).collect();
            zones.see(&window, &view, Duration::from_secs(1));
        }

        /// Where clients go when the load is this; each endpoint carries 200 a second, or nobody
        /// knows what.
        fn homes(&self, load: f64, known: bool) -> Vec<f64> {
            let most = if known { f64::INFINITY } else { load / 8.0 };
            let queue = Queue::of(8.0);
            let server = Server { queue, capacity: 200.0, most, count: 1.0, zone: 0 };
            let endpoints = self.topology.endpoints.iter();
            let members: Vec<Member<'_>> = endpoints
                .map(|endpoint| Member { zone: &endpoint.locality.zone, weight: 1.0, server })
                .collect();
            let view = view(&self.topology, &self.goal, &self.history, self.at);
            let home = |split: ZoneSplit| {
                let way = split.ways.iter().find(|way| way.zone == split.client).unwrap();
                way.share.value()
            };
            self.zones.splits(load, &view, &members).into_iter().map(home).collect()
        }
    }

    fn view<'a>(
        topology: &'a ServiceTopology,
        goal: &'a Goal,
        history: &'a History,
        at: Moment,
    ) -> View<'a> {
        let elapsed = Duration::from_secs(1);
        View {
            at,
            elapsed,
            topology,
            goal,
            history,
            standings: &[],
            acting: true,
            unrecorded: false,
        }
    }

    #[test]
    fn ways_are_what_the_same_endpoints_take_longer_for_others() {
        let mut fleet = Fleet::new();
        let way = |fleet: &Fleet, a: &str, b: &str| fleet.zones.way(&a.into(), &b.into());
        assert!((way(&fleet, "a", "b") - WAY).abs() < 1e-9, "before it is measured");
        for _ in 0..10 {
            fleet.second([100, 40]);
        }
        assert!((way(&fleet, "a", "b") - 0.030).abs() < 1e-6);
        assert!((way(&fleet, "b", "a") - 0.012).abs() < 1e-6);
    }

    #[test]
    fn an_endpoint_is_judged_without_the_ways_to_it() {
        let mut fleet = Fleet::new();
        for _ in 0..10 {
            fleet.second([100, 40]);
        }
        let window = fleet.history.newest_first().next().unwrap();
        for (index, zone) in [(0, "a"), (7, "b")] {
            let seen = fleet.zones.seen(window, &window.rows[index], &zone.into(), true);
            assert!((seen.sum_ms / seen.count - 40.0).abs() < 0.01, "{seen:?}");
            assert!(seen.quick_ms < 27.0, "{seen:?}");
        }
    }

    #[test]
    fn clients_stay_at_home_until_the_queue_there_costs_more_than_the_way() {
        let mut fleet = Fleet::new();
        for _ in 0..10 {
            fleet.second([70, 30]);
        }
        assert_eq!(fleet.homes(400.0, true), [1.0, 1.0]);
        let busy = fleet.homes(1_200.0, true);
        assert!((0.72..0.97).contains(&busy[0]) && busy[1] > 0.999, "{busy:?}");
        let unknown = fleet.homes(1_200.0, false);
        assert!((unknown[0] - 0.5 / 0.7).abs() < 0.01 && unknown[1] > 0.999, "{unknown:?}");
    }

    #[test]
    fn few_endpoints_clients_of_one_zone_or_no_wish_leave_all_alike() {
        let mut fleet = Fleet::new();
        for _ in 0..10 {
            fleet.second([70, 30]);
        }
        fleet.goal.balancing.zone_aware.as_mut().unwrap().min_endpoints = 9;
        assert!(fleet.homes(400.0, true).is_empty());
        fleet.goal.balancing.zone_aware.as_mut().unwrap().min_endpoints = 6;
        fleet.goal.balancing.zone_aware.as_mut().unwrap().min_endpoints_in_zone = 5;
        assert!(fleet.homes(400.0, true).iter().all(|home| (home - 0.5).abs() < 0.02));
        fleet.goal.balancing.zone_aware = None;
        assert!(fleet.homes(400.0, true).is_empty());
    }
}
