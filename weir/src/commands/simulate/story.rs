//! How one run of Weir went, second by second, beside the same run without it.

use weir_engine::decision::{EndpointState, ServiceDecision};
use weir_engine::goal::Goal;
use weir_simulator::rivals::Rival;
use weir_simulator::trace::Trace;
use weir_simulator::world::{self, index_of};

use super::{Governors, Plan};

/// What Weir is set beside: what it stands above.
pub(super) const PEER: Rival = Rival::LeastRequestOd;

/// Two runs of a scenario under one seed.
#[derive(Debug)]
pub(super) struct Story {
    /// With Weir.
    pub(super) weir: Trace,
    /// With least request and outlier detection alone.
    pub(super) peer: Trace,
    /// What Weir decided about the tier that clients call, step by step.
    pub(super) steps: Vec<Step>,
}

/// What was decided at one step, by backend.
#[derive(Debug)]
pub(super) struct Step {
    /// Seconds from the start.
    pub(super) at: f64,
    /// Parts of the traffic; nothing of what is not declared.
    pub(super) shares: Vec<Option<f64>>,
    /// Who is out.
    pub(super) out: Vec<bool>,
}

impl Step {
    fn of(at: f64, decision: &ServiceDecision, backends: usize) -> Self {
        let mut step = Self { at, shares: vec![None; backends], out: vec![false; backends] };
        for endpoint in &decision.endpoints {
            let Some(index) = index_of(&endpoint.address).filter(|index| *index < backends) else {
                continue;
            };
            step.shares[index] = Some(endpoint.share.value());
            step.out[index] = matches!(endpoint.state, EndpointState::Ejected { .. });
        }
        step
    }
}

/// Plays both runs.
pub(super) fn tell(plan: &Plan, (seed, proxies): (u64, u16), goal: &Goal) -> Story {
    let scenario = plan.scenario(seed, proxies.into());
    let backends = scenario.backends.len();
    let mut governors = Governors::new(goal);
    let mut steps = Vec::new();
    let (_, weir) = world::trace(&scenario, Rival::Weir, |tick| {
        let (tier, at) = (tick.tier, tick.at.millis() as f64 / 1e3);
        let groups = governors.step(tick);
        let decided = governors.last(tier).filter(|_| tier == 0);
        steps.extend(decided.map(|decision| Step::of(at, decision, backends)));
        groups
    });
    let (_, peer) = world::trace(&scenario, PEER, |_| None);
    Story { weir, peer, steps }
}
