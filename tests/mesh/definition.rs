//! The custom resource's definition, in a real API server: what it takes, what it refuses and in
//! which words, and who may write which part.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, ValidationDirective};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use weir_policies::crd::PLURAL;
use weir_policies::document::{GROUP, KIND, VERSION};
use weir_tests::cluster::identity::Identity;
use weir_tests::cluster::{Cluster, soon};
use weir_tests::root;

use crate::governed::definition;
use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("definition::it_is_established", &[], it_is_established),
        Test::new("definition::every_example_is_taken", &[], every_example_is_taken),
        Test::new("definition::mistakes_are_refused", &[], mistakes_are_refused),
        Test::new("definition::status_is_a_part_of_its_own", &[], status_is_a_part_of_its_own),
        Test::new("definition::strangers_may_not_look", &[], strangers_may_not_look),
    ]
}

fn kind() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), PLURAL)
}

/// The definition's name.
fn name() -> String {
    format!("{PLURAL}.{GROUP}")
}

/// Installs the definition, which does nothing where it is there already, and makes a namespace.
async fn policies_in(cluster: &Cluster, namespace: &str) -> Api<DynamicObject> {
    cluster.define(&definition()).await;
    cluster.namespace(namespace).await;
    Api::namespaced_with(cluster.admin.clone(), namespace, &kind())
}

/// A policy of a file, for another namespace than it names.
fn policy(text: &str) -> DynamicObject {
    let mut policy: DynamicObject = serde_saphyr::from_str(text).unwrap();
    policy.metadata.namespace = None;
    policy
}

/// What the API server says of a policy when nothing is to be written.
async fn said(policies: &Api<DynamicObject>, policy: &DynamicObject) -> Result<(), String> {
    let name = policy.metadata.name.clone().unwrap_or_default();
    let strict = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("people").dry_run()
    };
    match policies.patch(&name, &strict, &Patch::Apply(policy)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

async fn it_is_established(cluster: Arc<Cluster>) {
    policies_in(&cluster, "definition").await;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.admin.clone());
    let status = definitions.get(&name()).await.unwrap().status.unwrap();
    let conditions = status.conditions.unwrap_or_default();
    let states: Vec<_> = conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str())).collect();
    assert!(states.contains(&("Established", "True")), "{states:?}");
    assert!(!states.contains(&("NonStructuralSchema", "True")), "{conditions:?}");
    let listed = cluster.kubectl(&["get", "atp", "--all-namespaces"], "").await;
    listed.expect("its short name is known");
}

async fn every_example_is_taken(cluster: Arc<Cluster>) {
    let policies = policies_in(&cluster, "examples").await;
    let mut seen = 0;
    for entry in root().join("policies/examples").read_dir().unwrap() {
        let path = entry.unwrap().path();
        let taken = said(&policies, &policy(&std::fs::read_to_string(&path).unwrap())).await;
        taken.unwrap_or_else(|refusal| panic!("{}: {refusal}", path.display()));
        seen += 1;
    }
    assert!(seen >= 5, "examples are there and are found");
}

/// A mistake in the example that says most: the text, what stands there instead, and words of the
/// refusal.
const MISTAKES: [(&str, &str, &str); 19] = [
    ("mode: Enforce", "mode: enforce", "spec.mode: Unsupported value: \"enforce\""),
    ("mode: Enforce", "mood: Enforce", ".spec.mood: field not declared in schema"),
    ("mode: Enforce", "suspend: 1", "spec.suspend"),
    ("kind: Service", "kind: HTTPRoute", "Unsupported value: \"HTTPRoute\""),
    ("name: payments\n  mode", "name: pay/ments\n  mode", "spec.targetRefs[0].name"),
    ("name: availability", "name: Availability", "spec.objectives[0].name"),
    ("name: latency", "name: availability", "two objectives have one name"),
    ("targetPercent: 99.95", "targetPercent: 100", "should be less than 100"),
    ("targetPercent: 99\n", "# none\n", "spec.objectives[1].targetPercent: Required value"),
    ("isRolling: true", "isRolling: false", "isRolling: Unsupported value"),
    ("threshold: 250ms", "threshold: 250", "threshold"),
    ("type: Latency", "type: Availability", "an indicator needs the field of its type"),
    ("        latency: { threshold: 250ms }\n", "", "an indicator needs the field of its type"),
    ("interval: 1s", "interval: 1 second", "spec.evaluation.interval"),
    ("minSamples: 150", "minSamples: 0", "greater than or equal to 1"),
    ("onStale: Fallback", "onStale: Hold", "spec.evaluation.onStale"),
    ("maxStepPercent: 25", "maxStepPercent: 51", "less than or equal to 50"),
    ("minHealthPercent: 70", "minHealthPercent: 59", "greater than or equal to 60"),
    (
        "  ejection:\n",
        "  unsafe: { maxEjectionPercent: 50 }\n  ejection:\n",
        "maxEjectionPercent stands under both ejection and unsafe: keep one of the two",
    ),
];

async fn mistakes_are_refused(cluster: Arc<Cluster>) {
    let policies = policies_in(&cluster, "mistakes").await;
    let path = root().join("policies/examples/protect-slo.yaml");
    let good = std::fs::read_to_string(path).unwrap();
    assert_eq!(said(&policies, &policy(&good)).await, Ok(()));
    let mut wrong = Vec::new();
    for (part, by, words) in MISTAKES {
        assert!(good.contains(part), "{part:?} is not in the example");
        match said(&policies, &policy(&good.replacen(part, by, 1))).await {
            Err(refusal) if refusal.contains(words) => {}
            other => wrong.push(format!("{by:?}: {other:?}, not {words:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let zones = std::fs::read_to_string(root().join("policies/examples/zones-and-cost.yaml"));
    let more = zones.unwrap().replacen("minEndpointsThreshold: 6", "minEndpointsThreshold: 1", 1);
    let refusal = said(&policies, &policy(&more)).await.unwrap_err();
    assert!(refusal.contains("more endpoints are asked for in the zone than in all"), "{refusal}");
}

async fn status_is_a_part_of_its_own(cluster: Arc<Cluster>) {
    let policies = policies_in(&cluster, "status").await;
    let people = PatchParams::apply("people");
    let text = std::fs::read_to_string(root().join("policies/examples/minimal.yaml")).unwrap();
    let written = policies.patch("cart", &people, &Patch::Apply(policy(&text))).await.unwrap();
    let generation = written.metadata.generation;

    let weir = PatchParams::apply("weir");
    let own = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": KIND,
        "spec": {"mode": "Enforce"},
        "status": status(generation.unwrap()),
    });
    policies.patch_status("cart", &weir, &Patch::Apply(&own)).await.unwrap();
    let read = policies.get("cart").await.unwrap();
    assert_eq!(read.metadata.generation, generation, "a status is no new wish");
    assert_eq!(read.data["spec"].get("mode"), None, "a status changes nothing else");
    assert_eq!(read.data["status"]["endpoints"], json!({"total": 4, "ejected": 1}));

    let shown = cluster.kubectl(&["get", "atp", "cart", "-n", "status", "-o", "wide"], "").await;
    let shown = shown.unwrap();
    for words in ["cart", "True", "ejected 10.0.0.1:8080"] {
        assert!(shown.contains(words), "{words:?} is not in\n{shown}");
    }
    // A controller that other programs wait for.
    let waited = ["wait", "-n", "status", "--timeout=10s", "atp/cart"];
    let condition = "--for=jsonpath={.status.ancestors[0].conditions[0].status}=True";
    cluster.kubectl(&[&waited[..], &[condition]].concat(), "").await.unwrap();
}

/// What Weir writes beside a policy.
fn status(generation: i64) -> Value {
    let condition = |kind: &str| {
        json!({
            "type": kind,
            "status": "True",
            "reason": kind,
            "message": "",
            "observedGeneration": generation,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        })
    };
    let target = json!({"group": "", "kind": "Service", "namespace": "status", "name": "cart"});
    json!({
        "ancestors": [{
            "ancestorRef": target,
            "controllerName": "weir.dev/weir",
            "conditions": [condition("Accepted"), condition("Programmed")],
        }],
        "objectives": [{"name": "availability", "budgetRemaining": "99.1", "burnRate1h": "0.2"}],
        "endpoints": {"total": 4, "ejected": 1},
        "lastDecision": {
            "id": "7",
            "time": "2026-01-02T03:04:05Z",
            "summary": "ejected 10.0.0.1:8080",
        },
    })
}

async fn strangers_may_not_look(cluster: Arc<Cluster>) {
    policies_in(&cluster, "strangers").await;
    let client = cluster.client(Identity::Stranger).await;
    let policies: Api<DynamicObject> = Api::namespaced_with(client, "strangers", &kind());
    let refusal = policies.list(&ListParams::default()).await.unwrap_err();
    assert!(refusal.to_string().contains("cannot list"), "{refusal}");
    // Leave comes with a role, and soon.
    let role = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: strangers}
rules:
  - {apiGroups: [weir.dev], resources: [adaptivetrafficpolicies], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: strangers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: stranger}
";
    cluster.apply(role).await;
    soon("a reader may list", async || policies.list(&ListParams::default()).await.is_ok()).await;
}
