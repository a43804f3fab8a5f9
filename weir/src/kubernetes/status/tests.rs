use super::*;
use std::sync::Arc;

use serde_json::json;
use weir_engine::observation::{Observation, Source};
use weir_engine::state::State;
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology, Topology};
use weir_engine::units::Moment;
use weir_models::reference::{Memory, Reference};
use weir_policies::check::Document;
use weir_policies::parts::{Part, Parts};

use crate::config::{Endpoints, Service};
use crate::governed::Governed;
use crate::kubernetes::events::Told;

const NOW: &str = "2026-11-30T10:00:00Z";

fn id(name: &str) -> ServiceId {
    ServiceId::new("shop", name)
}

fn policy(name: &str) -> PolicyName {
    PolicyName::from(format!("shop/{name}"))
}

/// Objects by name, what each says, and what is governed.
struct Rig {
    parts: Parts,
    objects: ByName,
    shown: Option<Shown>,
}

impl Rig {
    fn new() -> Self {
        let mut parts = Parts::default();
        parts.all_read(true);
        Self { parts, objects: ByName::new(), shown: None }
    }

    fn says(&mut self, name: &str, made: u32, spec: &str) -> &mut Self {
        let text = format!(
            "apiVersion: weir.dev/v1alpha1\nkind: AdaptiveTrafficPolicy\nmetadata: {{name: {name}, \
             namespace: shop, creationTimestamp: \"20{made}-01-01T00:00:00Z\"}}\nspec: {{targetRefs: \
             [{{kind: Service, name: web}}], {spec}}}\n"
        );
        let document = Document::new(format!("{KIND} shop/{name}"), text);
        self.parts.offer(Part::Object(policy(name)), Ok(vec![document]));
        self.parts.settle();
        let object = Object {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            generation: 3,
            targets: vec!["web".to_owned()],
            ..Object::default()
        };
        self.objects.insert(policy(name), object);
        self
    }

    /// One decision with one endpoint of `web`, which is governed or not.
    fn decides(&mut self, governed: bool) -> &mut Self {
        let endpoint = Endpoint {
            address: "10.0.0.1:80".into(),
            locality: weir_engine::names::Locality::default(),
            concurrency: None,
            ready: true,
        };
        let form = ClusterForm::native();
        let topology = ServiceTopology {
            service: id("web"),
            endpoints: vec![endpoint],
            clusters: vec![ClientCluster { name: "web".into(), form }],
            counts: Source::LoadReport,
        };
        let observation = Observation {
            at: Moment::from_millis(1_000),
            topology: Some(Topology { services: vec![topology] }),
            goals: Some(self.parts.in_force().goals().clone()),
            ..Observation::default()
        };
        let mut state = State::<Memory>::default();
        let decision = weir_engine::decide(&mut state, &observation, &Reference);
        let service = Service {
            id: id("web"),
            clusters: vec!["web".into()],
            form,
            writes_clusters: false,
            per_endpoint_stats: false,
            endpoints: Endpoints::Kubernetes { of: id("web"), port: None },
            counts: Source::LoadReport,
        };
        let services = if governed { vec![service] } else { Vec::new() };
        let governed = Arc::new(Governed { services, settled: true });
        self.shown = Some(Shown { decision, governed, balanced: Vec::new(), serving: true });
        self
    }

    fn statuses(&self) -> BTreeMap<PolicyName, Status> {
        statuses(&Facts {
            in_force: self.parts.in_force(),
            objects: &self.objects,
            shown: self.shown.as_ref(),
            last: &Last::default(),
            now: NOW,
        })
    }

    /// The conditions of a policy, as `type=status/reason`.
    #[track_caller]
    fn check(&self, name: &str, expected: [&str; 2]) {
        let status = &self.statuses()[&policy(name)];
        let conditions = &status.ancestors[0].conditions;
        let shown = |one: &Condition| format!("{}={:?}/{}", one.kind, one.status, one.reason);
        let shown: Vec<String> = conditions.iter().map(shown).collect();
        assert_eq!(shown, expected, "{conditions:#?}");
        assert!(conditions.iter().all(|one| one.observed_generation == 3));
        assert!(conditions.iter().all(|one| !one.message.is_empty()));
    }
}

#[test]
fn what_is_in_force_and_done_is_accepted_and_programmed() {
    let mut rig = Rig::new();
    rig.says("web", 20, "mode: Enforce");
    rig.check("web", ["Accepted=Unknown/Pending", "Programmed=Unknown/Reconciling"]);
    rig.decides(true);
    rig.check("web", ["Accepted=True/Accepted", "Programmed=True/Programmed"]);
    let status = &rig.statuses()[&policy("web")];
    assert_eq!(status.endpoints, Some(EndpointCounts { total: 1, ejected: 0 }));
    assert_eq!(status.ancestors[0].controller_name, "weir.dev/weir");
}

#[test]
fn what_is_only_shown_says_so() {
    for (spec, reason) in [
        ("mode: Observe", "NotEnforced"),
        ("mode: Recommend", "NotEnforced"),
        ("mode: Enforce, suspend: true", "Suspended"),
    ] {
        let mut rig = Rig::new();
        rig.says("web", 20, spec).decides(true);
        rig.check("web", ["Accepted=True/Accepted", &format!("Programmed=False/{reason}")]);
    }
}

#[test]
fn the_younger_of_two_hears_who_governs() {
    let mut rig = Rig::new();
    rig.says("old", 20, "mode: Enforce").says("young", 21, "mode: Enforce").decides(true);
    rig.check("old", ["Accepted=True/Accepted", "Programmed=True/Programmed"]);
    rig.check("young", ["Accepted=False/Conflicted", "Programmed=False/Conflicted"]);
    let young = &rig.statuses()[&policy("young")];
    assert!(young.ancestors[0].conditions[0].message.contains("shop/old"));
}

#[test]
fn a_mistake_is_told_and_what_was_good_goes_on() {
    let mut rig = Rig::new();
    rig.says("web", 20, "mode: Enforced").decides(true);
    rig.check("web", ["Accepted=False/Invalid", "Programmed=False/Invalid"]);
    rig.says("web", 20, "mode: Enforce").says("web", 20, "mode: Enforced").decides(true);
    rig.check("web", ["Accepted=False/Invalid", "Programmed=True/Programmed"]);
    let status = &rig.statuses()[&policy("web")];
    let message = &status.ancestors[0].conditions[0].message;
    assert!(message.contains("Enforced") && message.contains("spec.mode"), "{message}");
    assert!(message.ends_with("what it said before stays in force"), "{message}");
}

#[test]
fn a_target_that_is_not_there_is_said() {
    let mut rig = Rig::new();
    rig.says("web", 20, "mode: Observe").decides(false);
    rig.check("web", ["Accepted=False/TargetNotFound", "Programmed=False/NotEnforced"]);
}

/// What stands in the object already is not new.
#[test]
fn a_condition_keeps_its_time_until_it_changes() {
    let mut rig = Rig::new();
    rig.says("web", 20, "mode: Observe").decides(true);
    let mut written = serde_json::to_value(&rig.statuses()[&policy("web")]).unwrap();
    let then = "2026-01-01T00:00:00Z";
    for index in 0..2 {
        written["ancestors"][0]["conditions"][index]["lastTransitionTime"] = json!(then);
    }
    rig.objects.get_mut(&policy("web")).unwrap().status = written.clone();
    let again = serde_json::to_value(&rig.statuses()[&policy("web")]).unwrap();
    assert_eq!(again, written, "nothing to write");
    rig.says("web", 20, "mode: Enforce").decides(true);
    rig.objects.get_mut(&policy("web")).unwrap().status = written;
    let conditions = &rig.statuses()[&policy("web")].ancestors[0].conditions;
    let times: Vec<&str> = conditions.iter().map(|one| one.last_transition_time.as_str()).collect();
    assert_eq!(times, [then, NOW]);
}

/// A status with counts in it would be written with every request.
#[test]
fn the_last_decision_is_the_last_that_one_would_notice() {
    let mut rig = Rig::new();
    rig.says("web", 20, "mode: Enforce").decides(true);
    let mut decision = rig.shown.as_ref().unwrap().decision.clone();
    let mut last = Last::default();
    last.remember(&decision, |_| NOW.to_owned());
    decision.sequence = 9;
    last.remember(&decision, |_| "later".to_owned());
    assert_eq!(last.of(&id("web")).unwrap().time, NOW);
    let service = Arc::make_mut(&mut decision.services[0]);
    service.stance = Stance::Steering;
    last.remember(&decision, |_| "later".to_owned());
    assert_eq!(last.of(&id("web")).unwrap().id, "9-0");
}

#[test]
fn what_becomes_of_a_policy_is_an_event_once() {
    let mut rig = Rig::new();
    let mut told = Told::default();
    rig.says("old", 20, "mode: Enforce").decides(true);
    assert_eq!(told.of_statuses(&rig.statuses()), []);
    rig.says("young", 21, "mode: Enforce");
    let notes = told.of_statuses(&rig.statuses());
    let reasons: Vec<(&str, &str)> =
        notes.iter().map(|note| (note.policy.as_str(), note.reason)).collect();
    assert_eq!(reasons, [("shop/young", "PolicyConflicted")]);
    assert_eq!(told.of_statuses(&rig.statuses()), []);
    rig.says("old", 20, "mode: Wrong");
    assert_eq!(told.of_statuses(&rig.statuses())[0].reason, "PolicyInvalid");
}
