//! The requests of one run: each leaves when its time has come, whatever became of those before,
//! and its latency counts from that time.
//!
//! A generator like [`crate::load`]'s, for one side and for requests that others have drawn.

use super::errand::{self, Errand};
use crate::load::wire::{self, Wire};
use crate::load::{End, GRACE, IDLE_MAX, LATE, UNDER_WAY_MAX};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A request to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Order {
    /// When, since the start.
    pub at: Duration,
    /// The proxy that its client goes through.
    pub proxy: usize,
    /// What it asks of a backend.
    pub errand: Errand,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// It left noticeably after its time: the machine fell behind.
    pub late: bool,
}

/// How long a client waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// When a request has failed for being late.
    pub timeout: Duration,
    /// How much longer the generator waits for somebody else, a proxy, to say so.
    pub grace: Duration,
}

impl Patience {
    /// Of a client whose proxy has the same timeout and shall be the first to say so.
    pub fn of_proxys(timeout: Duration) -> Patience {
        Patience { timeout, grace: GRACE }
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Route<P> {
    /// What the way remembers of it.
    pub pick: P,
    /// Whose connections it may use: equal numbers lead to equal addresses.
    pub pool: usize,
    /// The address.
    pub address: SocketAddr,
}

/// What decides where requests go.
pub trait Way {
    /// What it remembers of a request under way.
    type Pick;

    /// Where a request goes whose time has come; nowhere, where it is turned away.
    fn pick(&mut self, order: &Order) -> Option<Route<Self::Pick>>;

    /// A request ended.
    fn ended(&mut self, pick: Self::Pick, end: End, took: Duration);
}

/// To the proxy's own listener, which decides the rest.
#[derive(Clone, Debug)]
pub struct Listeners(pub Vec<SocketAddr>);

impl Way for Listeners {
    type Pick = ();

    fn pick(&mut self, order: &Order) -> Option<Route<()>> {
        let address = *self.0.get(order.proxy)?;
        Some(Route { pick: (), pool: order.proxy, address })
    }

    fn ended(&mut self, (): (), _: End, _: Duration) {}
}

/// Sends all orders, which are in order of time, and returns what became of each.
pub async fn play(orders: &[Order], way: &mut impl Way, patience: Patience) -> Vec<Outcome> {
    let start = Instant::now();
    let mut outcomes = vec![Outcome { end: End::Unsent, late: false }; orders.len()];
    let mut idle: HashMap<usize, Vec<Wire>> = HashMap::new();
    let mut under_way = FuturesUnordered::new();
    let mut next = 0;
    let mut timer = pin!(sleep_until(start));
    while next < orders.len() || !under_way.is_empty() {
        tokio::select! {
            biased;
            () = &mut timer, if next < orders.len() => {
                let now = Instant::now();
                while let Some(order) = orders.get(next).filter(|order| start + order.at <= now) {
                    let due = start + order.at;
                    outcomes[next].late = now >= due + LATE;
                    if now >= due + patience.timeout {
                        outcomes[next].end = End::TimedOut;
                    } else if under_way.len() < UNDER_WAY_MAX && let Some(route) = way.pick(order) {
                        let wire = idle.get_mut(&route.pool).and_then(Vec::pop);
                        let sent = Sent { number: next, due, errand: order.errand };
                        under_way.push(sent.carry_out(route, wire, patience));
                    }
                    next += 1;
                }
                if let Some(order) = orders.get(next) {
                    timer.as_mut().reset(start + order.at);
                }
            }
            Some(done) = under_way.next() => {
                let Done { number, route, end, took, wire } = done;
                outcomes[number].end = end;
                let idle = idle.entry(route.pool).or_default();
                if idle.len() < IDLE_MAX {
                    idle.extend(wire);
                }
                way.ended(route.pick, end, took);
            }
        }
    }
    outcomes
}

struct Sent {
    number: usize,
    due: Instant,
    errand: Errand,
}

struct Done<P> {
    number: usize,
    route: Route<P>,
    end: End,
    took: Duration,
    wire: Option<Wire>,
}

impl Sent {
    async fn carry_out<P>(
        self,
        route: Route<P>,
        wire: Option<Wire>,
        Patience { timeout, grace }: Patience,
    ) -> Done<P> {
        let Sent { number, due, errand } = self;
        let header = (errand::HEADER, errand.header());
        let asked = wire::ask_within((timeout, grace), due, wire, route.address, header);
        let (end, took, wire) = asked.await;
        Done { number, route, end, took, wire }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Backend, Kind};

    const KIND: Kind = Kind { workers: 8, zone: 0, cross_zone: Duration::ZERO };

    fn orders(count: u64, work: Duration) -> Vec<Order> {
        let errand = Errand { work, luck: 0.5, zone: 0, counted: true };
        let at = |number| Duration::from_millis(2 * number);
        (0..count).map(|number| Order { at: at(number), proxy: 0, errand }).collect()
    }

    async fn ends(backend: &Backend, orders: &[Order], timeout: Duration) -> Vec<End> {
        let patience = Patience { timeout, grace: Duration::ZERO };
        let mut way = Listeners(vec![backend.address()]);
        play(orders, &mut way, patience).await.into_iter().map(|outcome| outcome.end).collect()
    }

    #[tokio::test]
    async fn every_order_is_carried_out() {
        let backend = Backend::start(KIND).unwrap();
        let orders = orders(50, Duration::from_millis(1));
        let patience = Duration::from_secs(20);
        let ended = ends(&backend, &orders, patience).await;
        assert!(ended.iter().all(|end| matches!(end, End::Succeeded(_))), "{ended:?}");
        backend.behave(1.0, 1.0);
        assert_eq!(ends(&backend, &orders, patience).await, vec![End::Refused; 50]);
    }

    #[tokio::test]
    async fn patience_ends() {
        let backend = Backend::start(KIND).unwrap();
        let ended =
            ends(&backend, &orders(3, Duration::from_secs(3_600)), Duration::from_millis(50)).await;
        assert_eq!(ended, vec![End::TimedOut; 3]);
    }

    #[tokio::test]
    async fn who_has_no_way_is_not_sent() {
        let mut orders = orders(2, Duration::from_millis(1));
        orders[1].proxy = 7;
        let backend = Backend::start(KIND).unwrap();
        let ended = ends(&backend, &orders, Duration::from_secs(20)).await;
        assert!(matches!(ended[0], End::Succeeded(_)));
        assert_eq!(ended[1], End::Unsent);
    }
}
