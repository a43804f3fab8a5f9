//! What is declared and wanted of the story's services.

use std::num::NonZeroU32;
use std::time::Duration;

use weir_engine::goal::{Goal, Indicator, Mode, Objective};
use weir_engine::names::{Locality, PolicyName};
use weir_engine::observation::Source;
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology};
use weir_engine::units::{Millis, Ratio};

use super::Cast;

pub(super) fn topology(cast: &Cast) -> ServiceTopology {
    let zone = |index: usize| ["a", "b"][index % 2];
    let endpoints = cast.endpoints.iter().enumerate();
    ServiceTopology {
        service: cast.id.clone(),
        endpoints: endpoints
            .map(|(index, address)| Endpoint {
                address: address.as_str().into(),
                locality: Locality {
                    region: "eu-1".into(),
                    zone: format!("eu-1{}", zone(index)).as_str().into(),
                    sub_zone: "".into(),
                },
                concurrency: NonZeroU32::new(8),
                ready: true,
            })
            .collect(),
        clusters: vec![ClientCluster {
            name: cast.id.name.as_ref().into(),
            form: ClusterForm::native(),
        }],
        counts: Source::LoadReport,
    }
}

pub(super) fn policy(cast: &Cast) -> PolicyName {
    match cast.mode {
        Mode::Observe => PolicyName::default(),
        Mode::Recommend | Mode::Enforce => cast.id.to_string().into(),
    }
}

pub(super) fn goal(cast: &Cast) -> Goal {
    let mut goal = Goal::of_unclaimed(cast.id.clone());
    goal.mode = cast.mode;
    goal.policy = policy(cast);
    if cast.mode != Mode::Observe {
        let window = Duration::from_secs(28 * 86_400);
        goal.objectives = vec![
            Objective {
                name: "availability".into(),
                target: Ratio::clamped(0.999),
                window,
                indicator: Indicator::Availability,
            },
            Objective {
                name: "latency".into(),
                target: Ratio::clamped(0.99),
                window,
                indicator: Indicator::Latency { threshold: Millis::clamped(500.0) },
            },
        ];
    }
    goal
}
