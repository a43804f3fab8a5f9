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
pub(in crate::commands) struct Step {
    /// Seconds from the start.
    pub(in crate::commands) at: f64,
    /// Parts of the traffic; nothing of what is not declared.
    pub(in crate::commands) shares: Vec<Option<f64>>,
    /// Who is out.
    pub(in crate::commands) out: Vec<bool>,
}

impl Step {
    /// Of a decision about so many backends.
    pub(in crate::commands) fn of(at: f64, decision: &ServiceDecision, backends: usize) -> Self {
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
        let assignment = governors.step(tick);
        let decided = governors.last(tier).filter(|_| tier == 0);
        steps.extend(decided.map(|decision| Step::of(at, decision, backends)));
        assignment
    });
    let (_, peer) = world::trace(&scenario, PEER, |_| None);
    Story { weir, peer, steps }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Story {
        let plan = Plan::from_bytes("a", "a.yaml", text.as_bytes()).unwrap();
        let goal = crate::scenarios::Policy::of(None).unwrap().goal;
        tell(&plan, (1, 20), &goal)
    }

    #[test]
    fn weir_holds_while_nothing_is_heard() {
        let story = told(
            "load: [{rps: 1200}]
backends: [{count: 1, faults: [{from: 20s, until: 60s, errors: 0.5}]}, {count: 9}]
faults: [{from: 32s, until: 40s, errors: 0.2}]
telemetry: {lost: 0.2, silent: [{from: 30s, until: 40s}]}
length: 60s
counted_from: 20s
counted_until: 50s
",
        );
        let during = |from: f64, until: f64| {
            story.steps.iter().filter(move |step| (from..until).contains(&step.at))
        };
        let before = during(29.0, 30.0).next().unwrap();
        assert_eq!(before.out.iter().filter(|out| **out).count(), 1, "the failing one is out");
        assert!(before.out[0]);
        for step in during(31.0, 41.0) {
            assert_eq!((&step.out, &step.shares), (&before.out, &before.shares), "{}", step.at);
        }
        let weir: u32 = story.weir.seconds[26..30].iter().map(|second| second.errors).sum();
        let peer: u32 = story.peer.seconds[26..30].iter().map(|second| second.errors).sum();
        assert!(weir * 5 < peer, "a fifth of reports lost does not blind it");
    }
}
