//! L3 in its loop: windows of telemetry in, a traffic split out.

use weir_engine::decision::Group;
use weir_engine::observation::{Report, Source};
use weir_engine::topology::ServiceTopology;

use super::l3::{L3, Window};
use crate::world::{Assignment, Tick, equal, index_of};

/// Time from one split to the next.
const PERIOD_MS: u64 = 5_000;

/// Weights are whole numbers: this many are one of L3's.
const SCALE: f64 = 100.0;

/// The controller and what it has heard since its last split.
#[derive(Debug)]
pub struct Split {
    l3: L3,
    windows: Vec<Window>,
    topology: Option<ServiceTopology>,
    due: u64,
}

impl Split {
    /// Over so many backends.
    pub fn new(backends: usize) -> Self {
        let windows = vec![Window::default(); backends];
        Self { l3: L3::new(backends), windows, topology: None, due: PERIOD_MS }
    }

    /// Takes in a tick; a split when one is due.
    pub fn step(&mut self, tick: Tick) -> Option<Assignment> {
        let changed = tick.topology.is_some();
        self.topology = tick.topology.or(self.topology.take());
        tick.reports.iter().for_each(|report| self.hear(report));
        let due = tick.at.millis() >= self.due;
        if due {
            self.due += PERIOD_MS;
            for (backend, window) in self.windows.iter_mut().enumerate() {
                // Little's law: time spent inside per second is the number inside.
                window.in_flight = window.latency_sum as f64 / 1e3 / PERIOD_MS as f64;
                self.l3.observe(backend, window);
                *window = Window::default();
            }
        }
        if !due && !changed {
            return None;
        }
        let weights = if due { self.l3.weights() } else { vec![1.0; self.windows.len()] };
        let groups = split(self.topology.as_ref()?, &weights);
        Some(Assignment { groups, ..Assignment::default() })
    }

    fn hear(&mut self, report: &Report) {
        for sample in &report.samples {
            let Some(index) = index_of(&sample.endpoint) else { continue };
            let Some(window) = self.windows.get_mut(index) else { continue };
            if report.source == Source::LoadReport {
                window.requests += sample.requests.unwrap_or(0);
                window.failed += sample.errors.unwrap_or(0);
            }
            if let Some(latency) = &sample.latency {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a sum of latencies"
                )]
                let micros = (latency.sum_ms * 1e3) as u64;
                window.latency_sum += micros;
            }
        }
    }
}

fn split(topology: &ServiceTopology, weights: &[f64]) -> Vec<Group> {
    let mut groups = equal(topology);
    for member in groups.iter_mut().flat_map(|group| &mut group.members) {
        let weight = index_of(&member.address).and_then(|index| weights.get(index));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded before"
        )]
        let whole = (weight.copied().unwrap_or(1.0) * SCALE).clamp(1.0, 1e6) as u32;
        member.weight = std::num::NonZeroU32::new(whole).unwrap_or(member.weight);
    }
    groups
}
