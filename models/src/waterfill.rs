//! Which rate each endpoint should carry so that requests spend the least time in all.
//!
//! The time that all requests spend is the sum of the numbers inside (Little), convex in each
//! rate, so the best split is where one more request costs the same everywhere (the water level).
//! Demand is poured in small and ever smaller chunks, each where it costs least at the moment;
//! with zones, a chunk of one client zone sees the way to each endpoint zone as a further cost,
//! and zones take turns. The last chunks are tiny, so what the first ones missed is evened out.
//! Bisecting for the level would be as fast for one zone, and has no form for several.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

use crate::queue::Queue;

/// Endpoints are filled to this part of their capacity at most.
const USED_MOST: f64 = 0.98;

/// Chunks of demand per group: enough for a split that costs at most half a per cent more than the
/// best, and hardly ever a thousandth.
const CHUNKS_PER_GROUP: usize = 60;

/// So many suffice for more groups, of which each is small ...
const CHUNKS_FINE: usize = 300;

/// ... as long as there are several chunks per group.
const CHUNKS_PER_SMALL_GROUP: usize = 4;

/// A group takes at most this part of its room at once, lest a chunk drown a small one ...
const AT_ONCE: f64 = 0.25;

/// ... until its room is less than this part of its capacity.
const FULL: f64 = 0.01;

/// Endpoints that are alike, to be filled evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Server {
    /// The queue of each.
    pub(crate) queue: Queue,
    /// Requests per second that each can carry.
    pub(crate) capacity: f64,
    /// Requests per second that each gets at most, whatever it can carry.
    pub(crate) most: f64,
    /// How many they are.
    pub(crate) count: f64,
    /// The endpoint zone that they stand in: an index into each demand's ways.
    pub(crate) zone: usize,
}

/// What the clients of one zone ask for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Demand {
    /// Requests per second.
    pub(crate) rate: f64,
    /// What the way to each endpoint zone costs, in seconds.
    pub(crate) ways: Vec<f64>,
}

/// Who gets what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Filled {
    /// The rate of one endpoint of each group.
    pub(crate) rates: Vec<f64>,
    /// What each demand sends to each zone.
    pub(crate) flows: Vec<Vec<f64>>,
}

/// Puts those that are alike together; returns them and the group of each.
pub(crate) fn alike(servers: &[Server]) -> (Vec<Server>, Vec<usize>) {
    let mut known: BTreeMap<[u64; 4], usize> = BTreeMap::new();
    let mut groups: Vec<Server> = Vec::new();
    let group_of = servers.iter().map(|server| {
        let (capacity, workers) = (server.capacity.to_bits(), server.queue.workers().to_bits());
        let key = [capacity, workers, server.most.to_bits(), server.zone as u64];
        let group = *known.entry(key).or_insert_with(|| {
            groups.push(Server { count: 0.0, ..*server });
            groups.len() - 1
        });
        groups[group].count += server.count;
        group
    });
    let group_of = group_of.collect();
    (groups, group_of)
}

/// Splits the demand. What exceeds 98 % of all capacity is left out.
pub(crate) fn fill(servers: &[Server], demands: &[Demand]) -> Filled {
    let zones = servers.iter().map(|server| server.zone + 1).max().unwrap_or(0);
    let mut filling = Filling {
        servers,
        rates: vec![0.0; servers.len()],
        flows: vec![vec![0.0; zones]; demands.len()],
        levels: vec![BinaryHeap::new(); zones],
    };
    for (index, server) in servers.iter().enumerate() {
        if server.capacity.is_finite() && server.capacity > 0.0 && server.count > 0.0 {
            filling.offer(index);
        }
    }
    let groups = servers.len();
    let chunks = (CHUNKS_PER_GROUP * groups).min(CHUNKS_FINE).max(CHUNKS_PER_SMALL_GROUP * groups);
    let steps = chunks as f64;
    for chunk in 0..chunks {
        // Sizes fall linearly; their parts of the whole sum to one.
        let part = 2.0 * (steps - chunk as f64) / (steps * (steps + 1.0));
        for (index, demand) in demands.iter().enumerate() {
            filling.pour((index, demand), part * demand.rate);
        }
    }
    Filled { rates: filling.rates, flows: filling.flows }
}

/// A group and what one more request costs there now.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Level {
    cost: f64,
    index: usize,
}

impl Eq for Level {}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Level {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cost.total_cmp(&other.cost).then(self.index.cmp(&other.index))
    }
}

struct Filling<'a> {
    servers: &'a [Server],
    rates: Vec<f64>,
    /// By demand and zone.
    flows: Vec<Vec<f64>>,
    /// Groups with room, by endpoint zone, the cheapest on top.
    levels: Vec<BinaryHeap<Reverse<Level>>>,
}

impl Filling<'_> {
    /// Makes a group available at its present cost.
    fn offer(&mut self, index: usize) {
        let server = self.servers[index];
        let utilization = self.rates[index] / server.capacity;
        let cost = server.queue.slope(utilization) / server.capacity;
        self.levels[server.zone].push(Reverse(Level { cost, index }));
    }

    /// Pours a chunk, spilling over where a group is full.
    fn pour(&mut self, (asking, demand): (usize, &Demand), mut rest: f64) {
        while rest > 0.0 {
            let Some(zone) = self.cheapest(demand) else { return };
            let Some(Reverse(level)) = self.levels[zone].pop() else { return };
            let capacity = self.servers[level.index].capacity;
            let rate = &mut self.rates[level.index];
            let room = (USED_MOST * capacity).min(self.servers[level.index].most) - *rate;
            let most = if room > FULL * capacity { AT_ONCE * room } else { room };
            let count = self.servers[level.index].count;
            let part = rest.min(most * count);
            *rate += part / count;
            self.flows[asking][zone] += part;
            rest -= part;
            if part < room * count {
                self.offer(level.index);
            }
        }
    }

    fn cheapest(&self, demand: &Demand) -> Option<usize> {
        let tops = self.levels.iter().enumerate().filter_map(|(zone, levels)| {
            let Reverse(top) = levels.peek()?;
            Some((zone, top.cost + demand.ways.get(zone).copied().unwrap_or(0.0)))
        });
        tops.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(zone, _)| zone)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;

    fn server(workers: f64, ms: f64) -> Server {
        Server {
            queue: Queue::of(workers),
            capacity: 1_000.0 * workers / ms,
            most: f64::INFINITY,
            count: 1.0,
            zone: 0,
        }
    }

    fn one_zone(servers: &[Server], used: f64) -> Vec<f64> {
        let capacity: f64 = servers.iter().map(|server| server.capacity).sum();
        fill(servers, &[Demand { rate: used * capacity, ways: vec![0.0] }]).rates
    }

    fn cost(servers: &[Server], rates: &[f64]) -> f64 {
        let inside = |(server, rate): (&Server, &f64)| server.queue.inside(rate / server.capacity);
        servers.iter().zip(rates).map(inside).sum()
    }

    fn servers() -> impl Strategy<Value = Vec<Server>> {
        prop::collection::vec((1.0..32.0_f64, 1.0..500.0_f64), 1..12)
            .prop_map(|all| all.into_iter().map(|(workers, ms)| server(workers, ms)).collect())
    }

    proptest! {
        #[test]
        fn pours_all_of_the_demand_and_overfills_nobody(servers in servers(), used in 0.01..0.97_f64) {
            let rates = one_zone(&servers, used);
            let capacity: f64 = servers.iter().map(|server| server.capacity).sum();
            let poured: f64 = rates.iter().sum();
            prop_assert!((poured - used * capacity).abs() < 1e-6 * capacity);
            for (server, rate) in servers.iter().zip(&rates) {
                prop_assert!(*rate >= 0.0 && *rate <= USED_MOST * server.capacity * (1.0 + 1e-12));
            }
        }

        #[test]
        fn no_move_between_two_endpoints_helps(servers in servers(), used in 0.05..0.95_f64) {
            let rates = one_zone(&servers, used);
            let best = cost(&servers, &rates);
            for from in 0..servers.len() {
                for to in 0..servers.len() {
                    let step = 0.02 * rates[from];
                    if from == to || rates[to] + step > USED_MOST * servers[to].capacity {
                        continue;
                    }
                    let mut moved = rates.clone();
                    moved[from] -= step;
                    moved[to] += step;
                    prop_assert!(cost(&servers, &moved) > best * (1.0 - 5e-3));
                }
            }
        }

        #[test]
        fn order_hardly_matters(servers in servers(), used in 0.05..0.95_f64, turn in 0_usize..12) {
            let mut turned = servers.clone();
            let turn = turn % servers.len();
            turned.rotate_left(turn);
            let mut rates = one_zone(&servers, used);
            rates.rotate_left(turn);
            let demand: f64 = rates.iter().sum();
            for (a, b) in rates.iter().zip(one_zone(&turned, used)) {
                prop_assert!((a - b).abs() < 0.002 * demand, "{a} {b}");
            }
        }

        #[test]
        fn any_number_is_poured(capacity in any::<f64>(), rate in any::<f64>(), way in any::<f64>()) {
            let odd = Server { capacity, zone: 1, ..server(8.0, 40.0) };
            let rates = fill(&[odd, server(8.0, 40.0)], &[Demand { rate, ways: vec![way] }]).rates;
            prop_assert!(rates.iter().all(|rate| *rate >= 0.0));
        }
    }

    #[test]
    fn two_endpoints_match_an_exhaustive_search() {
        let servers = [server(8.0, 40.0), server(4.0, 100.0)];
        let rates = one_zone(&servers, 0.8);
        let demand: f64 = rates.iter().sum();
        let best = (0..=10_000)
            .map(|part| demand * f64::from(part) / 10_000.0)
            .filter(|rate| *rate < servers[0].capacity && demand - rate < servers[1].capacity)
            .min_by(|a, b| {
                cost(&servers, &[*a, demand - a]).total_cmp(&cost(&servers, &[*b, demand - b]))
            })
            .unwrap();
        assert!((rates[0] / best - 1.0).abs() < 0.005, "{} for {best}", rates[0]);
    }

    #[test]
    fn alike_endpoints_may_be_poured_as_one() {
        let (fast, slow) = (server(8.0, 40.0), server(8.0, 80.0));
        let apart = one_zone(&[fast, fast, fast, slow, slow], 0.8);
        let grouped = [Server { count: 3.0, ..fast }, Server { count: 2.0, ..slow }];
        let rates = fill(&grouped, &[Demand { rate: apart.iter().sum(), ways: vec![0.0] }]).rates;
        assert!((rates[0] / apart[0] - 1.0).abs() < 0.005, "{rates:?} {apart:?}");
        assert!((rates[1] / apart[3] - 1.0).abs() < 0.005, "{rates:?} {apart:?}");
    }

    #[test]
    fn far_endpoints_take_what_the_near_ones_should_not() {
        let near = server(8.0, 40.0);
        let far = Server { zone: 1, ..near };
        let asked = |rate: f64| {
            let way = vec![0.0, 0.020];
            let rates = fill(&[near, far], &[Demand { rate, ways: way }]).rates;
            rates[1] / rates[0]
        };
        assert!(asked(60.0) < 1e-9, "idle near endpoints are cheaper than the way");
        assert!((0.5..1.0).contains(&asked(340.0)), "{}", asked(340.0));
    }

    #[test]
    fn zones_share_what_both_need() {
        let near = server(8.0, 40.0);
        let servers = [near, near, Server { zone: 1, ..near }];
        let Filled { rates, flows } = fill(
            &servers,
            &[
                Demand { rate: 100.0, ways: vec![0.0, 0.020] },
                Demand { rate: 250.0, ways: vec![0.020, 0.0] },
            ],
        );
        assert!((rates.iter().sum::<f64>() - 350.0).abs() < 1e-6);
        assert!(rates[2] > rates[0] && rates[2] < 0.98 * 200.0, "{rates:?}");
        assert!(flows[0][1] < 1e-9 && flows[1][0] > 1.0, "{flows:?}");
        let sent: f64 = flows.iter().flatten().sum();
        assert!((sent - 350.0).abs() < 1e-6);
    }
}
