//! What is decided in the story, step by step.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use weir_engine::comparison::{Comparison, Finding, Measured, Signal, Verdict};
use weir_engine::decision::{
    EndpointDecision, EndpointState, Form, Group, Health, Hold, Member, ObjectiveStatus,
    Realisation, ServiceDecision, Stance,
};
use weir_engine::goal::Mode;
use weir_engine::names::{Locality, ServiceId};
use weir_engine::rollout::{self, Phase, RolloutDecision};
use weir_engine::units::{Millis, PerSecond, Ratio};
use weir_engine::warning::{self, Warning};

use super::declared::policy;
use super::plot::{Plot, plot};
use super::{Cast, at};

pub(super) fn decide_service_at(cast: &Cast, step: u64) -> ServiceDecision {
    let plots: Vec<Plot> = (0..cast.endpoints.len()).map(|index| plot(cast, index, step)).collect();
    let sum: f64 = plots.iter().filter(|p| p.takes()).map(|p| p.weight).sum();
    let endpoints: Vec<_> = plots
        .iter()
        .zip(&cast.endpoints)
        .map(|(plot, address)| EndpointDecision {
            address: address.as_str().into(),
            weight: plot.weight,
            share: Ratio::of(if plot.takes() { plot.weight } else { 0.0 }, sum),
            state: plot.state,
            reason: plot.reason.clone(),
            bound: None,
        })
        .collect();
    let steering = plots.iter().any(|p| !p.takes() || (p.weight - 1.0).abs() > 1e-9);
    let ledger_is_blind = &*cast.id.name == "ledger" && step > 240;
    let stance = if ledger_is_blind {
        Stance::Holding(Hold::Stale { age: Duration::from_secs(step - 240) })
    } else if steering {
        Stance::Steering
    } else {
        Stance::Resting
    };
    ServiceDecision {
        warnings: warnings(cast, step),
        shed: weir_engine::units::Ratio::ZERO,
        zones: vec![],
        service: cast.id.clone(),
        policy: policy(cast),
        mode: cast.mode,
        stance,
        load: PerSecond::clamped(cast.rps),
        capacity: PerSecond::new(cast.rps * 1.66),
        realisations: match endpoints.len() {
            0 => Vec::new(),
            _ => vec![Arc::new(realisation(&endpoints, cast))],
        },
        endpoints,
        objectives: objectives(cast, step),
        moved: Ratio::ZERO,
        offer: None,
        approval: None,
    }
}

/// The rollout at a step: a minute at 2 %, half a minute on the way to 10 %, then given up.
pub(super) fn rollout(step: u64) -> RolloutDecision {
    let (phase, weight, reason, failures) = match step {
        0..60 => (Phase::Stepping { step: 0 }, 0.02, rollout::Reason::Gathering, 0),
        60..90 => (Phase::Stepping { step: 1 }, 0.1, rollout::Reason::Gathering, 0),
        90.. => (Phase::GivenUp, 0.0, rollout::Reason::Worse, 1),
    };
    let worse = failures > 0;
    let part = |events: f64, requests| Measured::Part { events, requests };
    let typical = |ms, requests| Measured::Typical { latency: Millis::clamped(ms), requests };
    let errors = Comparison {
        signal: Signal::Errors,
        finding: if worse { Finding::Fail } else { Finding::Inconclusive },
        canary: part(if worse { 61.0 } else { 1.0 }, 1_200.0),
        stable: part(11.0, 10_800.0),
        ratio: Some(if worse { 49.91 } else { 0.82 }),
        lower: if worse { 20.4 } else { 0.02 },
        upper: (!worse).then_some(18.3),
        chance: Ratio::clamped(if worse { 0.000_01 } else { 1.0 }),
        at_most: Some(Ratio::clamped(0.07)),
    };
    let latency = Comparison {
        signal: Signal::Latency,
        finding: Finding::Pass,
        canary: typical(20.4, 900.0),
        stable: typical(20.1, 8_100.0),
        ratio: Some(1.01),
        lower: 0.93,
        upper: Some(1.11),
        chance: Ratio::ONE,
        at_most: None,
    };
    RolloutDecision {
        service: ServiceId::new("shop", "search"),
        policy: "shop/search".into(),
        mode: Mode::Enforce,
        stable: ServiceId::new("shop", "search-v6"),
        canary: ServiceId::new("shop", "search-v7"),
        weight: Ratio::clamped(weight),
        phase,
        steps: [0.02, 0.1, 0.5].map(Ratio::clamped).to_vec(),
        failures,
        verdict: Verdict { finding: errors.finding, comparisons: vec![errors, latency] },
        reason,
        yields: None,
        offer: None,
    }
}

/// From eight seconds after the shop begins to fail.
fn warnings(cast: &Cast, step: u64) -> Vec<Warning> {
    const BEGUN: u64 = 240;
    if &*cast.id.name != "shop" || step < BEGUN {
        return Vec::new();
    }
    let errors = warning::Finding::Unusual {
        signal: warning::Signal::Errors,
        value: 0.038,
        usual: 0.000_4,
        deviations: 11.2,
    };
    let apart =
        warning::Finding::Apart { value: 96.1, siblings: 41.0, deviations: 8.7, samples: 5 };
    let about = |endpoint, finding| Warning { endpoint, since: at(BEGUN), finding };
    vec![about(None, errors), about(Some(3), apart)]
}

fn objectives(cast: &Cast, step: u64) -> Vec<ObjectiveStatus> {
    if cast.mode == Mode::Observe {
        return Vec::new();
    }
    let spent =
        if cast.mode == Mode::Enforce { (step.min(260).saturating_sub(232)) as f64 } else { 0.0 };
    vec![
        ObjectiveStatus {
            name: "availability".into(),
            target: Ratio::clamped(0.999),
            good: Some(Ratio::clamped(0.999_71 - spent * 1e-6)),
            budget_left: 0.71 - spent * 0.006,
            burn_rate: 0.4 + spent * 0.07,
        },
        ObjectiveStatus {
            name: "latency".into(),
            target: Ratio::clamped(0.99),
            good: Some(Ratio::clamped(0.9962)),
            budget_left: 0.62,
            burn_rate: 0.4,
        },
    ]
}

fn realisation(endpoints: &[EndpointDecision], cast: &Cast) -> Realisation {
    let light = endpoints.iter().filter(|e| e.weight < 0.995).count();
    let member = |endpoint: &EndpointDecision| Member {
        address: endpoint.address.clone(),
        weight: NonZeroU32::MIN,
        health: match endpoint.state {
            EndpointState::Ejected { .. } => Health::Unhealthy,
            EndpointState::Serving
            | EndpointState::Joining
            | EndpointState::Probation
            | EndpointState::NotReady => Health::Healthy,
        },
    };
    let locality = |class: &str| Locality {
        region: "eu-1".into(),
        zone: "eu-1a".into(),
        sub_zone: class.into(),
    };
    let group = |class: &str, weight: u32, light: bool| Group {
        locality: locality(class),
        weight: NonZeroU32::new(weight).unwrap(),
        members: endpoints.iter().filter(|e| (e.weight < 0.995) == light).map(member).collect(),
    };
    let mut groups = vec![group("", 1_000, false)];
    if light > 0 {
        groups.push(group("weir-light", 120, true));
    }
    Realisation {
        shed: weir_engine::units::Ratio::ZERO,
        zones: vec![],
        clusters: vec![cast.id.name.as_ref().into()],
        form: if light > 0 { Form::Classes } else { Form::InOut },
        groups,
        predicted: endpoints.iter().map(|endpoint| endpoint.share).collect(),
        panicking: false,
    }
}
