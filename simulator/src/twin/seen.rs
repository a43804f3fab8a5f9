//! What a recording of one service is made of, and the same told of a simulated world.

use std::sync::Arc;

use weir_engine::decision::ServiceDecision;
use weir_engine::observation::{ServiceTraffic, fold};
use weir_engine::topology::{ServiceTopology, Topology};
use weir_engine::units::Moment;

use crate::rivals::Rival;
use crate::scenario::Scenario;
use crate::world::{self, Assignment, Tick};

/// One step: what was seen, and what was decided upon it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// When the step was taken.
    pub at: Moment,
    /// What is declared, if it changed; always at the first step.
    pub topology: Option<ServiceTopology>,
    /// Folded telemetry; nothing where none arrived.
    pub traffic: Option<ServiceTraffic>,
    /// What was decided, if it is not what was decided before.
    pub decided: Option<Arc<ServiceDecision>>,
}

/// Makes steps of a world's ticks.
#[derive(Clone, Debug, Default)]
pub struct Ear {
    topology: Topology,
}

impl Ear {
    /// A tick as a recording would have it, but for the decision.
    pub fn hear(&mut self, tick: &Tick) -> Seen {
        if let Some(service) = &tick.topology {
            self.topology = Topology { services: vec![service.clone()] };
        }
        Seen {
            at: tick.at,
            topology: tick.topology.clone(),
            traffic: fold(&tick.reports, &self.topology).pop(),
            decided: None,
        }
    }
}

/// What governs a world step by step.
pub trait Govern {
    /// One step; what proxies shall do from now on.
    fn step(&mut self, tick: Tick) -> Option<Assignment>;

    /// What was decided last, if anything was.
    fn last(&self) -> Option<Arc<ServiceDecision>>;
}

/// Plays a scenario and records it.
pub fn record(scenario: &Scenario, rival: Rival, govern: &mut impl Govern) -> Vec<Seen> {
    let (mut ear, mut steps) = (Ear::default(), Vec::new());
    world::run(scenario, rival, |tick| {
        let seen = (tick.tier == 0).then(|| ear.hear(&tick));
        let assignment = govern.step(tick);
        steps.extend(seen.map(|seen| Seen { decided: govern.last(), ..seen }));
        assignment
    });
    steps
}
