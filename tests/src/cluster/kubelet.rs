//! A kubelet that pretends: nodes that are one machine, pods that are backends in this process.
//!
//! To the rest of Kubernetes it does what a kubelet does: nodes report that they are ready and
//! renew their leases, a pod bound to a node gets an address and becomes ready, a pod that is
//! being deleted serves on for a moment and then goes. A zone is a node; one that falls silent
//! ([`Kubelet::lose`]) is found out by Kubernetes itself.

mod node;
mod pod;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watching};
use kube::{Api, Client};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_stream::StreamExt;
use weir_testbed::backends::Behaviour;

use super::soon;
use crate::traffic::Traffic;

use pod::{Addresses, Running};

pub use pod::PORT;

/// The zones; each has one node, named after it.
pub const ZONES: [&str; 3] = ["north-1a", "north-1b", "north-1c"];

/// One more zone, for tests that lose one: pods come here only if they tolerate it
/// ([`super::workload::Workload::spare`]), so that no other test notices.
pub const SPARE: &str = "north-1d";

/// The key of what keeps pods away from it.
pub(super) const TAINT: &str = "weir.dev/spare";

/// All nodes.
const NODES: [&str; 4] = [ZONES[0], ZONES[1], ZONES[2], SPARE];

/// The region that all zones lie in.
pub const REGION: &str = "north-1";

/// After so long a silence a node is not ready. Kubernetes waits 50 s by default, which would
/// only make tests longer.
pub const GRACE: Duration = Duration::from_secs(12);

/// How often a node says that it is there.
const BEAT: Duration = Duration::from_secs(2);

/// How long a pod serves on after its deletion began, as well-behaved servers do: proxies have
/// to hear of it first.
const LEAVING: Duration = Duration::from_secs(2);

/// A pod's namespace and name.
type Name = (String, String);

/// All nodes and pods. They go when it is dropped.
pub struct Kubelet {
    ours: Arc<Ours>,
    _tasks: JoinSet<()>,
}

/// What its tasks share.
struct Ours {
    client: Client,
    running: Mutex<BTreeMap<Name, Running>>,
    silent: Mutex<BTreeSet<String>>,
    addresses: Mutex<Addresses>,
}

impl Kubelet {
    /// Makes the nodes and waits until pods are placed on them.
    pub(super) async fn start(client: Client) -> Self {
        let (running, silent, addresses) = (Mutex::default(), Mutex::default(), Mutex::default());
        let ours = Arc::new(Ours { client, running, silent, addresses });
        for zone in NODES {
            node::create(&ours.client, zone).await;
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(beat(Arc::clone(&ours)));
        tasks.spawn(follow(Arc::clone(&ours)));
        // Kubernetes keeps pods away from nodes of which it has not heard yet.
        for zone in NODES {
            soon("pods may come to a node", async || node::open(&ours.client, zone).await).await;
        }
        Self { ours, _tasks: tasks }
    }

    /// How many requests each pod of a namespace has taken, by the pod's name.
    pub async fn taken(&self, namespace: &str) -> BTreeMap<String, u64> {
        let running = self.ours.running.lock().await;
        let own = running.iter().filter(|((space, _), _)| space == namespace);
        own.map(|((_, name), pod)| (name.clone(), pod.backend.counts().taken)).collect()
    }

    /// How many requests the pods of a namespace have failed.
    pub async fn failed(&self, namespace: &str) -> u64 {
        let running = self.ours.running.lock().await;
        let own = running.iter().filter(|((space, _), _)| space == namespace);
        own.map(|(_, pod)| pod.backend.counts().failed).sum()
    }

    /// Where each pod of a namespace listens, by the pod's name.
    pub async fn addresses(&self, namespace: &str) -> BTreeMap<String, SocketAddr> {
        let running = self.ours.running.lock().await;
        let own = running.iter().filter(|((space, _), _)| space == namespace);
        own.map(|((_, name), pod)| (name.clone(), pod.backend.address())).collect()
    }

    /// How many of the next `count` or more requests each pod of a namespace takes.
    pub async fn taking(
        &self,
        namespace: &str,
        traffic: &Traffic,
        count: u64,
    ) -> BTreeMap<String, u64> {
        let before = self.taken(namespace).await;
        traffic.more(count).await;
        let mut taken = self.taken(namespace).await;
        for (name, taken) in &mut taken {
            *taken -= before.get(name).copied().unwrap_or(0);
        }
        taken
    }

    /// Sets how a pod behaves from now on.
    ///
    /// # Panics
    ///
    /// When there is no such pod.
    pub async fn behave(&self, namespace: &str, pod: &str, behaviour: Behaviour) {
        let running = self.ours.running.lock().await;
        let name = (namespace.to_owned(), pod.to_owned());
        running.get(&name).expect("a pod that runs").backend.behave(behaviour);
    }

    /// A pod says whether it takes requests; it answers either way.
    ///
    /// # Panics
    ///
    /// When there is no such pod.
    pub async fn ready(&self, namespace: &str, pod: &str, ready: bool) {
        let name = (namespace.to_owned(), pod.to_owned());
        let mut running = self.ours.running.lock().await;
        let pod = running.get_mut(&name).expect("a pod that runs");
        pod.ready = ready;
        pod::tell(&self.ours.client, &name, pod).await;
    }

    /// A zone's power fails: its pods are gone at once, its node says no more.
    pub async fn lose(&self, zone: &str) {
        self.ours.silent.lock().await.insert(zone.to_owned());
        for pod in self.ours.running.lock().await.values_mut().filter(|pod| pod.zone == zone) {
            pod.backend.leave().await;
        }
    }

    /// It comes back.
    pub async fn regain(&self, zone: &str) {
        for pod in self.ours.running.lock().await.values_mut().filter(|pod| pod.zone == zone) {
            pod.backend.join().unwrap();
        }
        self.ours.silent.lock().await.remove(zone);
        for (name, pod) in self.ours.running.lock().await.iter().filter(|(_, pod)| pod.zone == zone)
        {
            pod::tell(&self.ours.client, name, pod).await;
        }
    }
}

/// Keeps the nodes alive.
async fn beat(ours: Arc<Ours>) {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let silent = ours.silent.lock().await.clone();
        for zone in NODES.into_iter().filter(|zone| !silent.contains(*zone)) {
            node::beat(&ours.client, zone).await;
        }
    }
}

/// Does what becomes of pods.
async fn follow(ours: Arc<Ours>) {
    let bound = watcher::Config::default().fields("spec.nodeName!=");
    let pods: Api<Pod> = Api::all(ours.client.clone());
    let mut events = pin!(watching(pods, bound).default_backoff());
    let mut leaving = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = leaving.join_next() => {}
            event = events.next() => match event {
                Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) => {
                    if pod.metadata.deletion_timestamp.is_none() {
                        settle(&ours, &pod).await;
                    } else {
                        leaving.spawn(leave(Arc::clone(&ours), pod));
                    }
                }
                Some(Ok(Event::Delete(pod))) => drop(ours.running.lock().await.remove(&name(&pod))),
                // The watcher starts again by itself.
                Some(Ok(Event::Init | Event::InitDone) | Err(_)) => {}
                None => return,
            }
        }
    }
}

fn name(pod: &Pod) -> Name {
    let metadata = &pod.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// Starts a pod that was bound to a node.
async fn settle(ours: &Ours, pod: &Pod) {
    let name = name(pod);
    let zone = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let mut running = ours.running.lock().await;
    if !running.contains_key(&name) && !ours.silent.lock().await.contains(&zone) {
        let started = Running::start(pod, &zone, ours.addresses.lock().await.next());
        pod::tell(&ours.client, &name, &started).await;
        running.insert(name, started);
    }
}

/// Ends a pod that is being deleted: the API server keeps its object until its kubelet says that
/// nothing of it runs any more. A silent node says nothing.
async fn leave(ours: Arc<Ours>, pod: Pod) {
    sleep(LEAVING).await;
    let name = name(&pod);
    let zone = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    if ours.silent.lock().await.contains(&zone) {
        return;
    }
    ours.running.lock().await.remove(&name);
    let pods: Api<Pod> = Api::namespaced(ours.client.clone(), &name.0);
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    // Several events of one deletion come here; the later ones find it done.
    pods.delete(&name.1, &at_once).await.ok();
}
