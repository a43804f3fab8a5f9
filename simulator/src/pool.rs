//! A proxy's connections: which request gets one at once, waits for one, or is refused.
//!
//! HTTP/1.1 as Envoy pools it: a connection carries one request at a time and is kept afterwards;
//! a request finds an idle one to its backend, or waits there while a new one is made, unless the
//! breakers are open. A request that is given up takes its connection along. What is refused
//! overflows: an answer of 503 by the proxy itself, which no backend hears of.
//!
//! Source: envoyproxy/envoy, source/common/conn_pool/conn_pool_base.cc (`newStreamImpl`,
//! `tryCreateNewConnection`, `attachStreamToClient`). Left out: prefetching, idle timeouts and
//! connections that break by themselves.

use std::collections::VecDeque;

use crate::backend::Number;
use crate::scenario::Pool;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It goes out on an idle connection.
    Goes,
    /// It waits for a connection.
    Waits {
        /// A new one is to be made.
        connects: bool,
    },
    /// It is refused.
    Overflows,
}

/// One proxy's connections.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    limits: Pool,
    hosts: Vec<Host>,
    /// Over all hosts.
    open: u32,
    pending: u32,
    active: u32,
}

#[derive(Clone, Debug, Default)]
struct Host {
    open: u32,
    idle: u32,
    waiting: VecDeque<Number>,
}

impl Connections {
    pub(crate) fn new(limits: Pool, backends: usize) -> Self {
        Self { limits, hosts: vec![Host::default(); backends], open: 0, pending: 0, active: 0 }
    }

    /// A request is for a host.
    pub(crate) fn admit(&mut self, host: usize, number: Number) -> Admission {
        let lane = &mut self.hosts[host];
        if lane.idle > 0 {
            if self.active >= self.limits.max_requests {
                return Admission::Overflows;
            }
            lane.idle -= 1;
            self.active += 1;
            return Admission::Goes;
        }
        if self.pending >= self.limits.max_pending_requests {
            return Admission::Overflows;
        }
        self.pending += 1;
        lane.waiting.push_back(number);
        Admission::Waits { connects: self.connects(host) }
    }

    /// Whether nobody waits for a connection or uses one.
    #[cfg(test)]
    pub(crate) fn is_quiet(&self) -> bool {
        self.pending == 0
            && self.active == 0
            && self.hosts.iter().all(|host| host.idle == host.open)
            && self.hosts.iter().map(|host| host.open).sum::<u32>() == self.open
    }

    /// Whether a new connection to a host is begun.
    fn connects(&mut self, host: usize) -> bool {
        let lane = &mut self.hosts[host];
        let connects = self.open < self.limits.max_connections || lane.open == 0;
        lane.open += u32::from(connects);
        self.open += u32::from(connects);
        connects
    }

    /// A connection to a host is free, new or used: who goes out on it next, and whether it may.
    /// `waits` says whether a request was not given up meanwhile.
    pub(crate) fn next(
        &mut self,
        host: usize,
        waits: impl Fn(Number) -> bool,
    ) -> Option<(Number, bool)> {
        let lane = &mut self.hosts[host];
        while let Some(number) = lane.waiting.pop_front() {
            if waits(number) {
                self.pending -= 1;
                let may = self.active < self.limits.max_requests;
                if may {
                    lane.idle -= 1;
                    self.active += 1;
                }
                return Some((number, may));
            }
        }
        None
    }

    /// A connection to a host is made.
    pub(crate) fn connected(&mut self, host: usize) {
        self.hosts[host].idle += 1;
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self, host: usize) {
        self.active -= 1;
        self.hosts[host].idle += 1;
    }

    /// A request was given up while it waited.
    pub(crate) fn left(&mut self) {
        self.pending -= 1;
    }

    /// A request was given up under way. Whether a new connection takes its connection's place,
    /// as somebody waits.
    pub(crate) fn broke(&mut self, host: usize) -> bool {
        self.active -= 1;
        self.open -= 1;
        self.hosts[host].open -= 1;
        !self.hosts[host].waiting.is_empty() && self.connects(host)
    }
}

#[cfg(test)]
mod tests {
    use super::Admission::{Goes, Overflows, Waits};
    use super::*;

    fn pool(max_connections: u32, max_pending_requests: u32, max_requests: u32) -> Connections {
        Connections::new(Pool { max_connections, max_pending_requests, max_requests }, 2)
    }

    fn all(_: Number) -> bool {
        true
    }

    #[test]
    fn connections_are_made_up_to_the_limit_and_kept() {
        let mut pool = pool(2, 9, 9);
        assert_eq!(pool.admit(0, 1), Waits { connects: true });
        assert_eq!(pool.admit(0, 2), Waits { connects: true });
        assert_eq!(pool.admit(0, 3), Waits { connects: false });
        pool.connected(0);
        assert_eq!(pool.next(0, all), Some((1, true)));
        pool.connected(0);
        assert_eq!(pool.next(0, all), Some((2, true)));
        pool.answered(0);
        assert_eq!(pool.next(0, all), Some((3, true)));
        pool.answered(0);
        assert_eq!(pool.next(0, all), None);
        assert_eq!(pool.admit(0, 4), Goes);
    }

    #[test]
    fn a_host_without_a_connection_gets_one_beyond_the_limit() {
        let mut pool = pool(1, 9, 9);
        assert_eq!(pool.admit(0, 1), Waits { connects: true });
        assert_eq!(pool.admit(1, 2), Waits { connects: true });
        assert_eq!(pool.admit(1, 3), Waits { connects: false });
    }

    #[test]
    fn too_many_waiting_or_under_way_overflow() {
        let mut pool = pool(9, 1, 1);
        assert_eq!(pool.admit(0, 1), Waits { connects: true });
        assert_eq!(pool.admit(0, 2), Overflows);
        pool.connected(0);
        assert_eq!(pool.next(0, all), Some((1, true)));
        assert_eq!(pool.admit(0, 3), Waits { connects: true });
        pool.connected(0);
        assert_eq!(pool.next(0, all), Some((3, false)), "one is under way");
        assert_eq!(pool.admit(0, 4), Overflows, "although a connection is idle");
        pool.answered(0);
        assert_eq!(pool.admit(0, 5), Goes);
    }

    #[test]
    fn who_gives_up_leaves_room() {
        let mut pool = pool(1, 2, 9);
        assert_eq!(pool.admit(0, 1), Waits { connects: true });
        assert_eq!(pool.admit(0, 2), Waits { connects: false });
        assert_eq!(pool.admit(0, 3), Overflows);
        pool.left();
        assert_eq!(pool.admit(0, 4), Waits { connects: false });
        pool.connected(0);
        assert_eq!(pool.next(0, |number| number != 1), Some((2, true)));
        assert!(pool.broke(0), "for the fourth");
        pool.connected(0);
        assert_eq!(pool.next(0, all), Some((4, true)));
        assert!(!pool.broke(0), "nobody waits");
    }
}
