//! Goals in closed loop on a world: those in force change as they did in the recording.

use std::sync::Arc;

use weir_engine::decision::ServiceDecision;
use weir_engine::goal::Goal;
use weir_engine::model::Model;

use super::seen::Govern;
use crate::governor::Governor;
use crate::world::{Assignment, Tick};

/// Goals from a second on, the first from the start.
pub type Plan = Vec<(f64, Goal)>;

/// A model that governs by goals that change.
#[derive(Debug)]
pub struct Governed<M: Model> {
    governor: Governor<M>,
    /// The last first.
    left: Plan,
}

impl<M: Model> Governed<M> {
    /// Governs by the goals of a plan; nothing is done without any.
    pub fn new(model: M, plan: &Plan) -> Option<Self> {
        let ours = |(from, goal): &(f64, Goal)| {
            (*from, Goal { service: crate::world::service(), ..goal.clone() })
        };
        let mut left: Plan = plan.iter().rev().map(ours).collect();
        let (_, first) = left.pop()?;
        Some(Self { governor: Governor::new(model, first), left })
    }
}

impl<M: Model> Govern for Governed<M> {
    fn step(&mut self, tick: Tick) -> Option<Assignment> {
        let second = tick.at.millis() as f64 / 1e3;
        while self.left.last().is_some_and(|(from, _)| *from <= second) {
            if let Some((_, goal)) = self.left.pop() {
                self.governor.follow(goal);
            }
        }
        self.governor.step(tick)
    }

    fn last(&self) -> Option<Arc<ServiceDecision>> {
        self.governor.last.clone()
    }
}
