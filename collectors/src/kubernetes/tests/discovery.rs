use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use weir_engine::names::ServiceId;
use weir_engine::units::Moment;

use super::script::{Answer, client, event, events, list, node, refusal, service, slice};
use crate::Now;
use crate::endpoints::{Discovered, plain};
use crate::kubernetes::catalog::Port;
use crate::kubernetes::discovery::{Config, Discovery, Found, Namespaces, Wanted};

fn web() -> ServiceId {
    ServiceId::new("shop", "web")
}

fn wanted(port: &str) -> Wanted {
    Wanted {
        service: web(),
        of: web(),
        port: Some(Port::Name(port.to_owned())),
        last_known: Vec::new(),
    }
}

/// A cluster with Service `web`; the test speaks on its watch of slices.
struct Cluster {
    slices: Vec<Value>,
    services: Answers,
    nodes: Answers,
}

#[derive(Clone, Copy)]
enum Answers {
    Usual,
    Refused(u16),
}

struct Rig {
    seconds: Arc<AtomicU64>,
    wanted: watch::Sender<Arc<Vec<Wanted>>>,
    found: Found,
    discovery: Discovery,
    speak: mpsc::Sender<Value>,
}

impl Cluster {
    fn rig(self, first: Vec<Wanted>) -> Rig {
        let (speak, heard) = mpsc::channel(64);
        let mut heard = Some(heard);
        let mut quiet = Vec::new();
        let (client, _) = client(move |path| {
            let is_watch = path.contains("watch=true");
            let is_slices = is_watch && path.contains("endpointslices");
            if let Some(heard) = heard.take_if(|_| is_slices) {
                return Answer::Events(heard);
            }
            if is_watch {
                let (speak, answer) = events();
                quiet.push(speak);
                return answer;
            }
            let (answers, items) = match path {
                _ if path.contains("endpointslices") => (Answers::Usual, self.slices.clone()),
                _ if path.contains("nodes") => (self.nodes, vec![node("n1", "eu", "eu-1")]),
                _ => (self.services, vec![service("web", json!([{ "name": "http", "port": 80 }]))]),
            };
            match answers {
                Answers::Usual => list("7", &items),
                Answers::Refused(code) => refusal(code, "no"),
            }
        });
        let seconds = Arc::new(AtomicU64::new(1));
        let clock = Arc::clone(&seconds);
        let now: Now = Arc::new(move || Moment::from_millis(clock.load(Ordering::Relaxed) * 1_000));
        let (wanted, wants) = watch::channel(Arc::new(first));
        let (discovery, found) =
            Config { namespaces: Namespaces::All, wanted: wants }.build(&client, now);
        Rig { seconds, wanted, found, discovery, speak }
    }
}

fn one(host: u8) -> Value {
    slice("web-1", json!([{ "addresses": [format!("10.0.0.{host}")], "nodeName": "n1" }]))
}

fn usual() -> Cluster {
    Cluster { slices: vec![one(1)], services: Answers::Usual, nodes: Answers::Usual }
}

async fn beside(discovery: Discovery, steps: impl Future<Output = ()>) {
    let stop = CancellationToken::new();
    let stopping = async {
        timeout(Duration::from_secs(600), steps).await.expect("the condition comes true");
        stop.cancel();
    };
    tokio::join!(discovery.run(stop.clone()), stopping);
}

impl Found {
    /// Waits until this holds of the service.
    async fn until(&mut self, mut holds: impl FnMut(&Discovered) -> bool) -> Discovered {
        let found = self
            .endpoints
            .wait_for(|all| all.get(&web()).is_some_and(|found| holds(found)))
            .await
            .unwrap();
        (*found[&web()]).clone()
    }

    async fn says(&mut self, words: &str) {
        self.statuses
            .wait_for(|all| {
                let mut errors = all.iter().filter_map(|status| status.last_error.as_ref());
                errors.any(|error| error.text.contains(words))
            })
            .await
            .unwrap();
    }
}

fn shown(found: &Discovered) -> Vec<String> {
    let shown = |e: &weir_engine::topology::Endpoint| format!("{} {}", e.address, e.locality);
    found.endpoints.iter().map(shown).collect()
}

#[tokio::test(start_paused = true)]
async fn endpoints_come_with_their_places_and_follow_what_happens() {
    let Rig { mut found, discovery, speak, wanted: _wanted, .. } =
        usual().rig(vec![wanted("http")]);
    beside(discovery, async {
        let first = found.until(|found| found.listed).await;
        assert_eq!(shown(&first), ["10.0.0.1:8080 eu/eu-1/"]);
        let more =
            slice("web-2", json!([{ "addresses": ["10.0.0.2"] }, { "addresses": ["10.0.0.1"] }]));
        speak.send(event("ADDED", &more)).await.unwrap();
        let both = found.until(|found| found.endpoints.len() == 2).await;
        assert_eq!(both.duplicates, 1);
        speak.send(event("DELETED", &one(1))).await.unwrap();
        found.until(|found| found.duplicates == 0).await;
    })
    .await;
}

/// An emptied slice looks like a service whose pods went away, and is believed after a minute.
#[tokio::test(start_paused = true)]
async fn most_endpoints_do_not_leave_on_one_word() {
    let Rig { mut found, discovery, speak, seconds, wanted: _wanted, .. } =
        usual().rig(vec![wanted("http")]);
    beside(discovery, async {
        found.until(|found| found.listed).await;
        speak.send(event("MODIFIED", &slice("web-1", json!([])))).await.unwrap();
        let kept = found.until(|found| found.withheld == 1).await;
        assert_eq!(kept.endpoints.len(), 1);
        seconds.fetch_add(60, Ordering::Relaxed);
        found.until(|found| found.endpoints.is_empty()).await;
    })
    .await;
}

/// What may not be read says so, and takes nothing from anybody.
#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_not_nothing() {
    let last_known = vec![plain("10.0.0.7:8080".parse().unwrap())];
    let cluster = Cluster { services: Answers::Refused(403), ..usual() };
    let Rig { mut found, discovery, wanted: _wanted, .. } =
        cluster.rig(vec![Wanted { last_known, ..wanted("http") }]);
    beside(discovery, async {
        found.says("may not list services in the whole cluster: give the service account").await;
        let known = found.until(|found| !found.endpoints.is_empty()).await;
        assert_eq!((shown(&known), known.listed), (vec!["10.0.0.7:8080 //".to_owned()], false));
        assert!(found.services.borrow().is_none());
    })
    .await;
}

/// Nodes only say where endpoints stand: without them everything else works.
#[tokio::test(start_paused = true)]
async fn nodes_are_a_help_and_no_need() {
    let cluster = Cluster { nodes: Answers::Refused(403), ..usual() };
    let Rig { mut found, discovery, wanted: _wanted, .. } = cluster.rig(vec![wanted("http")]);
    beside(discovery, async {
        let first = found.until(|found| found.listed).await;
        assert_eq!(shown(&first), ["10.0.0.1:8080 //"]);
        found.says("may not list nodes").await;
    })
    .await;
}

/// A port that the Service no longer has is somebody's slip of the pen, not the pods' end.
#[tokio::test(start_paused = true)]
async fn a_port_that_is_not_there_keeps_what_was() {
    let Rig { mut found, discovery, wanted: _wanted, seconds, .. } = usual().rig(vec![Wanted {
        last_known: vec![plain("10.0.0.7:8080".parse().unwrap())],
        ..wanted("grpc")
    }]);
    beside(discovery, async {
        found.says("has no TCP port grpc; it has http (80)").await;
        seconds.fetch_add(600, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(20)).await;
        let known = found.until(|found| !found.listed).await;
        assert_eq!(shown(&known), ["10.0.0.7:8080 //"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_is_wanted_may_change() {
    let Rig { mut found, discovery, wanted: want, .. } = usual().rig(Vec::new());
    beside(discovery, async {
        found.services.wait_for(Option::is_some).await.unwrap();
        want.send_replace(Arc::new(vec![wanted("http")]));
        found.until(|found| found.listed).await;
        want.send_replace(Arc::new(Vec::new()));
        found.endpoints.wait_for(|all| all.is_empty()).await.unwrap();
        let absent = ServiceId::new("shop", "gone");
        want.send_replace(Arc::new(vec![Wanted { of: absent, ..wanted("http") }]));
        found.says("there is no Service shop/gone").await;
        assert_eq!(found.until(|found| found.listed).await.endpoints, []);
    })
    .await;
}
