//! The policy that Weir governs a scenario by: a file of the user's, or what most would want.
//!
//! The simulator takes the goal that is compiled from it. A real Weir reads documents, so it gets
//! the user's own with the least changed: the mode, since a Weir that only watches is no rival,
//! and latencies where a run's are scaled.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use weir_engine::goal::{Goal, Indicator, Mode};
use weir_engine::names::ServiceId;
use weir_engine::units::Millis;
use weir_policies::check::{Document, check};
use weir_policies::problem::{Code, Problem};
use weir_simulator::world;

use crate::config::parse_duration;

/// What governs where no policy is given.
const USUAL: &str = "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: { name: shop, namespace: demo }
spec:
  targetRefs:
    - { group: \"\", kind: Service, name: shop }
  mode: Enforce
  objectives:
    - name: available
      targetPercent: 99.9
      timeWindow: { duration: 1h }
      indicator: { type: Availability }
    - name: fast
      targetPercent: 99
      timeWindow: { duration: 1h }
      indicator: { type: Latency, latency: { threshold: 500ms } }
  loadBalancing:
    zoneAware: { preferLocal: {} }
";

/// The longest latency that a policy may promise.
const THRESHOLD_MAX: Duration = Duration::from_secs(600);

/// A policy that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// What it comes to for the service that every scenario is about.
    pub(crate) goal: Goal,
    /// The service that its documents name.
    pub(crate) service: ServiceId,
    /// The documents.
    pub(crate) documents: Vec<Value>,
}

impl Policy {
    /// Reads a policy's file, or takes the usual one.
    pub(crate) fn of(path: Option<&Path>) -> Result<Self, Vec<Problem>> {
        let Some(path) = path else {
            return Self::from_bytes("the usual policy", USUAL.as_bytes().to_vec());
        };
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|cause| {
            wrong(&shown, &format!("cannot be read: {cause}"), "name a policy file")
        })?;
        Self::from_bytes(&shown, bytes)
    }

    fn from_bytes(shown: &str, bytes: Vec<u8>) -> Result<Self, Vec<Problem>> {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let checked = check(&[Document::new(shown, bytes)])?;
        let first = checked.goals.services.into_iter().next();
        let mut goal =
            first.ok_or_else(|| wrong(shown, "governs no service", "name one under targetRefs"))?;
        let documents = serde_saphyr::from_multiple(&text).map_err(|cause| {
            wrong(shown, &format!("cannot be read again: {cause}"), "write plain YAML or JSON")
        })?;
        let service = std::mem::replace(&mut goal.service, world::service());
        goal.mode = Mode::Enforce;
        Ok(Self { goal, service, documents }.enforced())
    }

    fn enforced(mut self) -> Self {
        for document in &mut self.documents {
            document["spec"]["mode"] = json!("Enforce");
        }
        self
    }

    /// The same with all latencies so many times as long.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        let mut scaled = self.clone();
        for objective in &mut scaled.goal.objectives {
            if let Indicator::Latency { threshold } = &mut objective.indicator {
                let longest = THRESHOLD_MAX.as_secs_f64() * 1e3;
                *threshold = Millis::clamped((threshold.value() * factor).min(longest));
            }
        }
        for document in &mut scaled.documents {
            let objectives = document["spec"]["objectives"].as_array_mut();
            for objective in objectives.into_iter().flatten() {
                let Some(latency) = objective["indicator"].get_mut("latency") else { continue };
                let threshold = latency["threshold"].as_str().and_then(parse_duration);
                if let Some(threshold) = threshold {
                    let scaled = threshold.mul_f64(factor).min(THRESHOLD_MAX);
                    let (seconds, millis) = (scaled.as_secs(), scaled.subsec_millis());
                    latency["threshold"] = json!(format!("{seconds}s{millis}ms"));
                }
            }
        }
        scaled
    }
}

fn wrong(shown: &str, what: &str, mend: &str) -> Vec<Problem> {
    vec![Problem::of_file(shown, Code::Unreadable, what, mend)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a real Weir would make of the documents.
    fn read_again(policy: &Policy) -> Goal {
        let documents = policy.documents.iter().map(ToString::to_string).enumerate();
        let documents: Vec<Document> =
            documents.map(|(index, text)| Document::new(format!("{index}.json"), text)).collect();
        let goals = check(&documents).unwrap().goals.services;
        let mut goal = goals.into_iter().find(|goal| goal.service == policy.service).unwrap();
        goal.service = world::service();
        goal
    }

    #[test]
    fn a_real_weir_reads_the_goal_that_the_simulator_gets() {
        let text = "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: { name: p, namespace: payments }
spec:
  targetRefs: [{ group: '', kind: Service, name: cart }]
  mode: Observe
  objectives:
    - name: fast
      targetPercent: 99
      indicator: { type: Latency, latency: { threshold: 1m }}
  ejection: { maxEjectionPercent: 10 }
";
        let own = Policy::from_bytes("p.yaml", text.as_bytes().to_vec()).unwrap();
        assert_eq!(own.service, ServiceId::new("payments", "cart"));
        for policy in [own, Policy::of(None).unwrap()] {
            for factor in [1.0, 4.0, 100.0] {
                let scaled = policy.scaled(factor);
                assert_eq!(read_again(&scaled), scaled.goal);
            }
            assert_ne!(policy.scaled(4.0).goal, policy.goal);
        }
    }

    #[test]
    fn what_governs_nothing_is_told() {
        let problems = Policy::from_bytes("p.yaml", b"{}".to_vec()).unwrap_err();
        assert!(!problems.is_empty());
    }
}
