//! What to do: a pure function from state and observation to a decision.
//!
//! `no_std`, so that the compiler itself refuses clocks, files and sockets here. Live, replayed
//! and simulated runs call the same [`decide`].
#![cfg_attr(not(test), no_std)]

extern crate alloc;

// In the order of the flow.
pub mod observation;
pub mod topology;
pub mod state;
pub mod history;
pub mod model;
pub mod assessment;
pub mod warning;
pub mod comparison;
pub mod plan;
pub mod guard;
pub mod realise;
pub mod approval;
pub mod rollout;
pub mod decision;
pub mod sampling;
// What steers it, and what it is measured in.
pub mod goal;
pub mod budget;
pub mod latency;
pub mod names;
pub mod units;
pub mod zones;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use decision::{Decision, ServiceDecision};
use guard::{Granted, Mesh};
use model::{Model, View};
use observation::Observation;
use state::{ServiceState, State};
use units::Ratio;

/// One step: what was seen becomes what is safe to do now.
///
/// The whole flow of Weir. The same state, observation and model give the same decision, byte for
/// byte; everything that happens outside is in the observation.
pub fn decide<M: Model>(
    state: &mut State<M::Memory>,
    observation: &Observation,
    model: &M,
) -> Decision {
    let elapsed = state.absorb(observation, model);
    let at = state.at;
    let now = approval::Now { sequence: state.sequence, at };
    let step = Step { now, elapsed, unrecorded: observation.unrecorded };
    let mesh = &mut state.mesh;
    let services = state.services.iter_mut();
    let services: Vec<_> =
        services.map(|service| decide_service(service, mesh, step, model)).collect();
    let given =
        rollout::Given { at, sequence: now.sequence, elapsed, observation, services: &services };
    let rollouts = rollout::decide(&mut state.rollouts, &state.goals, &given, model);
    Decision { sequence: state.sequence, at, services, rollouts, sampling: state.sampling.rates() }
}

/// What all services of a step share.
#[derive(Clone, Copy)]
struct Step {
    now: approval::Now,
    elapsed: Duration,
    unrecorded: bool,
}

fn decide_service<M: Model>(
    service: &mut ServiceState<M::Memory>,
    mesh: &mut Mesh,
    step: Step,
    model: &M,
) -> Arc<ServiceDecision> {
    let Step { now, unrecorded, .. } = step;
    let at = now.at;
    if let Some(last) = service.not_due(at) {
        return last;
    }
    let standings = service.guard.standings.clone();
    let elapsed = service.elapsed(at, step.elapsed);
    let view = View {
        at,
        elapsed,
        topology: &service.topology,
        goal: &service.goal,
        history: &service.history,
        standings: &standings,
        acting: service.acts(),
        unrecorded,
    };
    let assessment = model.assess(&view, &mut service.memory);
    let plan = model.share(&view, &assessment, &mut service.memory);
    let realised = &service.realised;
    service.guard.mismatch =
        guard::truth::mismatch(&realised.last, view.topology, view.history, realised.changed);
    let allowed = guard::allow(&plan, &assessment, &view, &mut service.guard, mesh);
    let by_proxies = guard::out_at_proxies(&allowed.endpoints, &view);
    let before = service.last.as_ref();
    service.approval.offer(approval::wanted(&allowed, &plan, &view), now);
    let in_force = service.approval.in_force(view.goal.mode, &allowed, view.topology);
    let wanted = realise::Wanted {
        endpoints: &in_force.endpoints,
        ejected_by_proxies: &by_proxies,
        shed: in_force.shed,
        zones: in_force.zones,
        at,
    };
    let realisations = realise::realise(wanted, view.topology, &mut service.realised);
    let decision = Arc::new(ServiceDecision {
        service: view.topology.service.clone(),
        policy: view.goal.policy.clone(),
        mode: view.goal.mode,
        stance: allowed.stance,
        load: assessment.load,
        capacity: plan.capacity,
        shed: allowed.shed,
        objectives: service.budgets.status(at, view.goal),
        moved: before
            .map_or(Ratio::ZERO, |before| before.moved_to(&allowed.endpoints, view.topology)),
        endpoints: described(&allowed.endpoints, &view),
        zones: allowed.zones,
        realisations,
        warnings: assessment.warnings,
        offer: service.approval.offer.clone(),
        approval: service.approval.approval.clone(),
    });
    service.decided = Some(at);
    service.last = Some(Arc::clone(&decision));
    decision
}

/// The granted endpoints with their names and shares.
fn described(granted: &[Granted], view: &View<'_>) -> Vec<decision::EndpointDecision> {
    let shares = guard::shares(granted);
    let declared = view.topology.endpoints.iter();
    let granted = granted.iter().zip(shares).zip(declared);
    granted
        .map(|((granted, share), endpoint)| decision::EndpointDecision {
            address: endpoint.address.clone(),
            weight: granted.weight,
            share: Ratio::clamped(share),
            state: granted.state,
            reason: granted.reason.clone(),
            bound: granted.bound,
        })
        .collect()
}
