//! What stands in `examples/` is right, and means what its comments say.

use std::time::Duration;

use weir_engine::goal::{Indicator, Mode, OnFailure, OnStale};
use weir_engine::names::ServiceId;
use weir_engine::units::{Millis, Ratio};
use weir_policies::check::{Document, check};
use weir_policies::problem::Code;

/// Every example as it stands on the disk.
pub(crate) fn all() -> Vec<Document> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut documents: Vec<Document> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            Document::new(name, std::fs::read(path).unwrap())
        })
        .collect();
    documents.sort_by(|one, other| one.path.cmp(&other.path));
    documents
}

#[test]
fn every_example_is_taken() {
    let documents = all();
    assert!(documents.len() >= 5);
    let checked = check(&documents).unwrap();
    assert_eq!(checked.policies.len(), documents.len());
    assert!(checked.goals.services.is_sorted_by(|one, other| one.service < other.service));
}

#[test]
fn every_field_reaches_the_goal() {
    let checked = super::check_one(super::GOOD).unwrap();
    let goal = checked.goals.of(&ServiceId::new("shop", "payments")).unwrap();
    assert_eq!(goal.policy.as_str(), "shop/payments");
    assert_eq!((goal.mode, goal.suspended), (Mode::Enforce, false));
    let [availability, latency] = goal.objectives.as_slice() else { panic!("two objectives") };
    assert!((availability.target.value() - 0.9995).abs() < 1e-12);
    assert_eq!(availability.window, Duration::from_secs(28 * 86_400));
    let threshold = Millis::clamped(250.0);
    assert_eq!(latency.indicator, Indicator::Latency { threshold });
    assert_eq!(goal.evaluation.interval, Some(Duration::from_secs(1)));
    assert_eq!(goal.evaluation.stale_after, Some(Duration::from_secs(20)));
    assert_eq!((goal.evaluation.min_samples, goal.evaluation.on_stale), (150, OnStale::Fallback));
    assert_eq!(goal.balancing.slow_start, Duration::from_secs(60));
    assert!((goal.balancing.weight_min - 0.1).abs() < 1e-12);
    assert!((goal.balancing.weight_max - 2.0).abs() < 1e-12);
    assert_eq!(goal.balancing.max_step, Ratio::clamped(0.25));
    assert_eq!(goal.ejection.min_health, Ratio::clamped(0.7));
    assert!(goal.is_about_the_tail());
}

#[test]
fn what_is_left_out_is_the_engines_default() {
    let spec = "targetRefs: [{kind: Service, name: a}]";
    let checked = super::check_one(&super::policy("p", spec)).unwrap();
    let goal = checked.goals.services.first().unwrap();
    let mut default = weir_engine::goal::Goal::of_unclaimed(ServiceId::new("default", "a"));
    default.policy = "default/p".into();
    assert_eq!(*goal, default);
}

#[test]
fn limits_under_unsafe_reach_the_goal() {
    let documents = all();
    let loose: Vec<Document> =
        documents.into_iter().filter(|document| document.path == "looser-limits.yaml").collect();
    let checked = check(&loose).unwrap();
    let goal = checked.goals.services.first().unwrap();
    assert_eq!(goal.ejection.max_ejected, Ratio::clamped(0.5));
    assert_eq!(goal.ejection.min_health, Ratio::clamped(0.4));
    let codes: Vec<Code> = checked.warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(codes, [Code::Unsafe, Code::Unsafe]);
}

#[test]
fn what_comes_later_is_said_not_swallowed() {
    let warnings = check(&all()).unwrap().warnings;
    let fields: Vec<&str> = warnings
        .iter()
        .filter(|warning| warning.code == Code::NotYetActive)
        .map(|warning| warning.field.as_str())
        .collect();
    let expected = ["spec.objectives[1].indicator.type", "spec.cost"];
    assert_eq!(fields, expected);
}

#[test]
fn a_rollout_reaches_the_goals() {
    let checked = check(&all()).unwrap();
    let [rollout] = checked.goals.rollouts.as_slice() else { panic!("one example has a rollout") };
    let id = |name: &str| ServiceId::new("shop", name);
    assert_eq!(rollout.service, id("search"));
    assert_eq!((&rollout.stable, &rollout.canary), (&id("search-v6"), &id("search-v7")));
    assert_eq!(rollout.policy.as_str(), "shop/search-v7");
    assert_eq!((rollout.mode, rollout.suspended), (Mode::Enforce, false));
    assert_eq!(rollout.steps, [0.02, 0.1, 0.3, 0.5].map(Ratio::clamped));
    assert_eq!((rollout.failures_max, rollout.on_failure), (2, OnFailure::Rollback));
    assert_eq!(rollout.deadline, Duration::from_secs(45 * 60));
    assert_eq!(rollout.interval, Some(Duration::from_secs(30)));
    assert_eq!(rollout.stale_after, Some(Duration::from_secs(120)));
    assert_eq!((rollout.min_samples, rollout.objectives.len()), (500, 2));
}

#[test]
fn what_a_rollout_leaves_out_has_a_default() {
    let spec = "\
targetRefs: [{kind: Service, name: a}]
rollout:
  stableRef: {name: a}
  canaryRef: {name: b}
  stepWeights: [5, 20]
  maxWeight: 40
";
    let checked = super::check_one(&super::policy("p", spec)).unwrap();
    let rollout = checked.goals.rollouts.first().unwrap();
    assert_eq!(rollout.steps, [0.05, 0.2, 0.4].map(Ratio::clamped), "the largest part is a step");
    assert_eq!((rollout.failures_max, rollout.on_failure), (2, OnFailure::Rollback));
    assert_eq!((rollout.deadline, rollout.mode), (Duration::from_secs(1_800), Mode::Observe));
}

#[test]
fn the_older_policys_rollout_counts() {
    let with = |name: &str, canary: &str| {
        let rollout = format!(
            "rollout: {{stableRef: {{name: v1}}, canaryRef: {{name: {canary}}}, stepWeights: [5]}}"
        );
        super::policy(name, &format!("targetRefs: [{{kind: Service, name: a}}]\n{rollout}"))
    };
    let documents = [("p1.yaml", with("p1", "v2")), ("p2.yaml", with("p2", "v3"))];
    let documents = documents.map(|(path, text)| Document::new(path, text));
    let goals = check(&documents).unwrap().goals;
    let [rollout] = goals.rollouts.as_slice() else { panic!("one rollout of a service") };
    assert_eq!(rollout.canary, ServiceId::new("default", "v2"));
}

#[test]
fn json_is_read_as_well() {
    let json = r#"{
	"apiVersion": "weir.dev/v1alpha1", "kind": "AdaptiveTrafficPolicy",
	"metadata": {"name": "p", "annotations": {"note": "a \/ b \u00e9 \ud83d\ude00"}},
	"spec": {"targetRefs": [{"group":"","kind":"Service","name":"a"}], "suspend":true, "mode":"Enforce"}
}"#;
    let checked = check(&[Document::new("p.json", json)]).unwrap();
    let policy = checked.policies.first().unwrap();
    assert_eq!((policy.mode, policy.suspended, policy.line), (Mode::Enforce, true, 3));
}

#[test]
fn what_kubernetes_exports_is_read() {
    let text = "\
apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {}
  creationTimestamp: \"2026-03-01T10:00:00Z\"
  finalizers: [a.b/c]
  generation: 3
  managedFields: [{manager: kubectl, operation: Update}]
  name: p
  namespace: shop
  ownerReferences: []
  resourceVersion: \"1234\"
  uid: 00000000-0000-0000-0000-000000000000
spec:
  targetRefs:
  - group: \"\"
    kind: Service
    name: a
status:
  ancestors: []
";
    assert_eq!(super::check_one(text).unwrap().warnings, []);
}
