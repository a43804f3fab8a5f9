use super::*;
use weir_collectors::kubernetes::catalog::{KnownService, ServicePort};
use weir_collectors::kubernetes::discovery::Namespaces;
use weir_collectors::kubernetes::reach::Reach;
use weir_engine::observation::{Observation, Source};
use weir_engine::topology::{ClientCluster, ClusterForm, Topology};
use weir_engine::units::Moment;
use weir_policies::check::Document;
use weir_policies::parts::{Part, Parts};

use crate::config::ClusterNames;
use crate::kubernetes::writing::Writes;

fn cluster() -> KubernetesConfig {
    KubernetesConfig {
        reach: Reach::default(),
        namespaces: Namespaces::default(),
        clusters: ClusterNames::default(),
        form: ClusterForm::native(),
        counts: Source::Prometheus,
        policies: true,
        writes: Writes::default(),
        lease: None,
    }
}

fn id(name: &str) -> ServiceId {
    ServiceId::new("shop", name)
}

fn there(names: &[&str]) -> Services {
    let ports = vec![ServicePort { name: "http".to_owned(), number: 80 }];
    let known = KnownService { ports, ..KnownService::default() };
    names.iter().map(|name| (id(name), known.clone())).collect()
}

fn policies(names: &[&str]) -> InForce {
    let documents: Vec<Document> = names
        .iter()
        .map(|name| {
            let text = format!(
                "apiVersion: weir.dev/v1alpha1\nkind: AdaptiveTrafficPolicy\n\
                 metadata: {{name: {name}, namespace: shop}}\n\
                 spec: {{targetRefs: [{{group: '', kind: Service, name: {name}, sectionName: http}}]}}\n"
            );
            Document::new(format!("{name}.yaml"), text)
        })
        .collect();
    let mut parts = Parts::default();
    parts.offer(Part::Folder, Ok(documents));
    parts.all_read(true);
    parts.settle();
    parts.in_force().clone()
}

/// Before anything was read.
fn unread() -> InForce {
    let mut parts = Parts::default();
    parts.settle();
    parts.in_force().clone()
}

struct Rig {
    policies: watch::Sender<InForce>,
    services: watch::Sender<Option<Arc<Services>>>,
    endpoints: watch::Sender<Arc<BTreeMap<ServiceId, Arc<Discovered>>>>,
    wanted: watch::Receiver<Arc<Vec<Wanted>>>,
    governing: Governing,
    governed: watch::Receiver<Arc<Governed>>,
}

fn rig(first: InForce, state: &State<Memory>) -> Rig {
    let (policies, reader) = watch::channel(first);
    let (services, known) = watch::channel(None);
    let (endpoints, found) = watch::channel(Arc::default());
    let (_, statuses) = watch::channel(Arc::default());
    let (wants, wanted) = watch::channel(Arc::default());
    let found = Found { endpoints: found, services: known, statuses };
    let ends = Ends { policies: reader, found, wanted: wants };
    let (governing, governed) = Governing::new(Vec::new(), cluster(), state, ends);
    Rig { policies, services, endpoints, wanted, governing, governed }
}

impl Rig {
    fn list(&mut self, names: &[&str]) {
        let listed = Arc::new(Discovered { listed: true, ..Discovered::default() });
        let all = names.iter().map(|name| (id(name), Arc::clone(&listed))).collect();
        self.endpoints.send_replace(Arc::new(all));
        self.governing.settle();
    }

    /// Who is wanted, who is governed, and whether that is all.
    fn shows(&self) -> (Vec<String>, Vec<String>, bool) {
        let governed = self.governed.borrow();
        let clusters = governed.services.iter().flat_map(|s| &s.clusters);
        (
            self.wanted.borrow().iter().map(|wanted| wanted.of.name.to_string()).collect(),
            clusters.map(ToString::to_string).collect(),
            governed.settled,
        )
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

const WEB: &str = "outbound|80||web.shop.svc.cluster.local";

#[test]
fn a_policys_service_is_governed_once_its_endpoints_are_known() {
    let mut rig = rig(policies(&["web"]), &State::default());
    assert_eq!(rig.shows(), (vec![], vec![], false), "nobody knows who there is");
    rig.services.send_replace(Some(Arc::new(there(&["web", "other"]))));
    rig.governing.settle();
    assert_eq!(rig.shows(), (names(&["web"]), vec![], false), "it is looked for");
    rig.list(&["web"]);
    assert_eq!(rig.shows(), (names(&["web"]), names(&[WEB]), true));
    rig.services.send_replace(Some(Arc::new(there(&["other"]))));
    rig.governing.settle();
    assert_eq!(rig.shows().1, names(&[WEB]), "its endpoints go by the gate, not by its name");
    rig.policies.send_replace(policies(&[]));
    rig.governing.settle();
    assert_eq!(rig.shows(), (vec![], vec![], true), "nobody wants it any more");
}

#[test]
fn a_policy_for_a_service_that_is_not_there_holds_nobody_up() {
    let mut rig = rig(policies(&["web"]), &State::default());
    rig.services.send_replace(Some(Arc::new(there(&["other"]))));
    rig.governing.settle();
    assert_eq!(rig.shows(), (vec![], vec![], true));
}

/// Neither the API server nor the policies have answered yet.
#[test]
fn what_an_earlier_life_governed_is_governed_from_the_start() {
    let mut state = State::<Memory>::default();
    let topology = ServiceTopology {
        service: id("web"),
        endpoints: Vec::new(),
        clusters: vec![ClientCluster { name: WEB.into(), form: ClusterForm::native() }],
        counts: Source::Prometheus,
    };
    let observation = Observation {
        at: Moment::from_millis(1_000),
        topology: Some(Topology { services: vec![topology] }),
        goals: Some(policies(&["web"]).goals().clone()),
        ..Observation::default()
    };
    weir_engine::decide(&mut state, &observation, &weir_models::reference::Reference);
    let rig = rig(unread(), &state);
    assert_eq!(rig.shows(), (names(&["web"]), names(&[WEB]), false));
}
