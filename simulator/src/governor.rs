//! Weir's own loop, without the wires: telemetry is folded, decided on and realised.

use std::sync::Arc;

use weir_engine::decide;
use weir_engine::decision::{Decision, ServiceDecision};
use weir_engine::goal::{Goal, Goals};
use weir_engine::model::Model;
use weir_engine::observation::{Observation, fold};
use weir_engine::state::State;
use weir_engine::topology::Topology;

use crate::world::{Assignment, Tick};

/// A model that governs a world by a goal.
#[derive(Debug)]
pub struct Governor<M: Model> {
    model: M,
    state: State<M::Memory>,
    topology: Topology,
    goals: Option<Goals>,
    /// The newest decision about the world's service.
    pub last: Option<Arc<ServiceDecision>>,
}

impl<M: Model> Governor<M> {
    /// One that has seen nothing yet.
    pub fn new(model: M, goal: Goal) -> Self {
        Self {
            model,
            state: State::default(),
            topology: Topology::default(),
            goals: Some(Goals { services: vec![goal], ..Goals::default() }),
            last: None,
        }
    }

    /// Governs by another goal from the next step on.
    pub fn follow(&mut self, goal: Goal) {
        self.goals = Some(Goals { services: vec![goal], ..Goals::default() });
    }

    /// One step; what proxies shall use from now on.
    pub fn step(&mut self, tick: Tick) -> Option<Assignment> {
        let observation = self.observe(tick);
        self.decide(&observation);
        self.assignment()
    }

    /// What a tick shows.
    pub fn observe(&mut self, tick: Tick) -> Observation {
        let changed = tick.topology.map(|service| Topology { services: vec![service] });
        if let Some(topology) = &changed {
            self.topology = topology.clone();
        }
        Observation {
            at: tick.at,
            topology: changed,
            goals: self.goals.take(),
            traffic: fold(&tick.reports, &self.topology),
            ..Observation::default()
        }
    }

    /// Decides on what was seen.
    pub fn decide(&mut self, observation: &Observation) -> Decision {
        let decision = decide(&mut self.state, observation, &self.model);
        self.last = decision.services.last().cloned();
        decision
    }

    /// What proxies shall use by the newest decision.
    pub fn assignment(&self) -> Option<Assignment> {
        let made = self.last.as_ref()?.realisations.first()?;
        Some(Assignment { groups: made.groups.clone(), zones: made.zones.clone(), shed: made.shed })
    }

    /// All that it remembers.
    pub fn state(&self) -> &State<M::Memory> {
        &self.state
    }
}
