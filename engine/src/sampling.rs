//! How much of the access log each node sends: what fits the budget of all nodes together.
//!
//! Access log entries are the only latency per endpoint that Envoy has, and they cost both sides.
//! Every node gets the same rate, so that a busy proxy weighs as much as its traffic.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::decision::Sampling;
use crate::names::Node;
use crate::observation::LogVolume;

/// Entries per second over all nodes, unless configured.
const BUDGET: u32 = 2_000;

/// The rate before anything is known.
const FIRST: u8 = 10;

/// A rate that is within this factor of the right one stays.
const TOLERATED: f64 = 1.25;

/// At most so many nodes are told a rate.
const NODES_MAX: usize = 4_096;

/// What sampling remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    budget: u32,
    percent: u8,
    nodes: Vec<Node>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { budget: BUDGET, percent: FIRST, nodes: Vec::new() }
    }
}

impl Memory {
    /// Takes in how much the nodes logged, and how many requests per second there are in all, if
    /// that is known.
    pub fn absorb(&mut self, logs: &[LogVolume], load: Option<f64>, budget: Option<u32>) {
        self.budget = budget.unwrap_or(self.budget);
        for log in logs {
            if self.nodes.len() < NODES_MAX
                && let Err(at) = self.nodes.binary_search(&log.node)
            {
                self.nodes.insert(at, log.node.clone());
            }
        }
        let entries: f64 = logs.iter().map(per_second).sum();
        let requests = load.unwrap_or(0.0).max(entries * 100.0 / f64::from(self.percent.max(1)));
        if requests <= 0.0 {
            return;
        }
        let right = (100.0 * f64::from(self.budget) / requests).clamp(1.0, 100.0);
        let now = f64::from(self.percent);
        if right > now * TOLERATED || right < now / TOLERATED || right >= 100.0 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and 100"
            )]
            let percent = right as u8;
            self.percent = percent;
        }
    }

    /// The rates in force.
    pub fn rates(&self) -> Vec<Sampling> {
        let node = |node: &Node| Sampling { node: node.clone(), percent: self.percent };
        self.nodes.iter().map(node).collect()
    }
}

fn per_second(log: &LogVolume) -> f64 {
    let seconds = log.window.as_secs_f64();
    if seconds > 0.0 { log.entries as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[track_caller]
    fn check(budget: u32, load: f64, expected: u8) {
        let mut memory = Memory::default();
        let log = LogVolume {
            node: "n".into(),
            entries: 0,
            requests: None,
            window: Duration::from_secs(1),
        };
        memory.absorb(&[log], Some(load), Some(budget));
        assert_eq!(memory.rates(), [Sampling { node: "n".into(), percent: expected }]);
    }

    #[test]
    fn the_rate_is_what_fits_the_budget() {
        check(2_000, 1_200.0, 100);
        check(2_000, 40_000.0, 5);
        check(2_000, 10_000_000.0, 1);
        check(2_000, 0.0, FIRST);
        check(2_000, 20_000.0, FIRST);
    }

    #[test]
    fn entries_alone_tell_the_load() {
        let mut memory = Memory::default();
        let log = LogVolume {
            node: "n".into(),
            entries: 4_000,
            requests: None,
            window: Duration::from_secs(1),
        };
        memory.absorb(&[log], None, None);
        assert_eq!(memory.percent, 5);
    }
}
