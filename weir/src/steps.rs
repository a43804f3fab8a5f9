//! One step after another: what was seen goes in, the decision goes out, and both are recorded.
//!
//! No judgement here. A step gathers, folds, decides, records, sends and shows, in this order:
//! what could not be recorded is not followed by another move.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use weir_collectors::access_log;
use weir_collectors::endpoints::{Discovered, telemetry::Named};
use weir_collectors::prometheus::objectives::Wanted;
use weir_dashboard::board::{Board, Step as Shown};
use weir_engine::decision::{Decision, Realisation};
use weir_engine::goal::Goals;
use weir_engine::names::{ClusterName, ServiceId};
use weir_engine::observation::{Fitted, Indicated, LogVolume, Observation, Report, fold};
use weir_engine::rollout::Phase;
use weir_engine::state::State;
use weir_engine::topology::Topology;
use weir_engine::units::{Moment, Ratio};
use weir_journal::Step;
use weir_models::reference::{Memory, Reference};
use weir_policies::check::Services;
use weir_policies::in_force::InForce;
use weir_proxy_adapter::native::Native;
use weir_proxy_adapter::relay::{Opinions, server as relay};
use weir_proxy_adapter::resource::Snapshot;
use weir_proxy_adapter::server::{Publisher, Urgency};
use weir_proxy_adapter::translate::translate;

use crate::clock::Clock;
use crate::config::{self, Endpoints};
use crate::control::Said;
use crate::governed::{Governed, Sources};
use crate::kubernetes::others::AtWork;
use crate::kubernetes::telling::Shown as Decided;
use crate::patterns::Seen;
use crate::replicas::{Heard, Replicas};
use crate::store::journal::Journal;
use crate::store::last_good::LastGood;
use crate::topology;

mod kept;
mod objectives;
mod pushes;
mod relayed;
mod said;
mod told;
mod turns;
mod wanted;

use told::Told;

/// At most so many reports and receipts are taken into one step; more wait for the next.
const TAKEN_MAX: usize = 100_000;

/// What comes in.
#[derive(Debug)]
pub struct Inputs {
    /// Reports of all sources.
    pub reports: mpsc::Receiver<Report>,
    /// The access log.
    pub log: access_log::Handle,
    /// What queries of the user's own counted for objectives.
    pub indicated: mpsc::Receiver<Indicated>,
    /// Patterns that were fitted apart.
    pub fitted: mpsc::Receiver<Fitted>,
    /// What people say to offers.
    pub said: mpsc::Receiver<Said>,
    /// Policies in force.
    pub policies: watch::Receiver<InForce>,
    /// Which rollouts wait for other controllers; none where nobody looks.
    pub at_work: Option<watch::Receiver<Arc<AtWork>>>,
    /// What is governed.
    pub governed: watch::Receiver<Arc<Governed>>,
    /// Other replicas, of which one decides; none where there are no others.
    pub replicas: Option<Replicas>,
    /// The discovered endpoints.
    pub discovered: Sources,
}

/// Where it goes.
#[derive(Debug)]
pub struct Outputs {
    /// The journal, unless it is switched off.
    pub journal: Option<Journal>,
    /// The last good state.
    pub last_good: Option<LastGood>,
    /// The page.
    pub board: Arc<Board>,
    /// The proxies.
    pub publisher: Publisher,
    /// What each step shows of services, for fitting.
    pub seen: mpsc::Sender<Seen>,
    /// Whether proxies are answered.
    pub serving: watch::Sender<bool>,
    /// Names of the clusters whose load reports are wanted.
    pub clusters: watch::Sender<Arc<Vec<String>>>,
    /// Who tells the cluster of decisions; none where there is no cluster.
    pub cluster: Option<watch::Sender<Option<Arc<Decided>>>>,
    /// Objectives that queries of the user's own count; none where no Prometheus is asked.
    pub objectives: Option<watch::Sender<Arc<Vec<Wanted>>>>,
    /// Proxies of another control plane.
    pub relay: Option<relay::Handle>,
    /// What is decided of what another control plane lists, for whoever asks.
    pub opinions: watch::Sender<Arc<Opinions>>,
}

/// What is fixed for a process's life.
#[derive(Debug)]
pub struct Setup {
    /// The clusters that Weir writes.
    pub native: Native,
    /// Access log entries per second over all proxies.
    pub log_budget: u32,
    /// The clock.
    pub clock: Clock,
}

/// The loop's memory.
#[derive(Debug)]
pub struct Steps {
    setup: Setup,
    governed: Arc<Governed>,
    known: Services,
    served: BTreeSet<ServiceId>,
    /// Services of which an earlier life's decision is known.
    restored: BTreeSet<ServiceId>,
    inputs: Inputs,
    outputs: Outputs,
    state: State<Memory>,
    model: Reference,
    topology: Arc<Topology>,
    found: BTreeMap<ServiceId, Arc<Discovered>>,
    named: Named,
    unclaimed: BTreeSet<ServiceId>,
    goals: Arc<Goals>,
    first: bool,
    unrecorded: bool,
    told: Told,
    saved: Moment,
    synced: Moment,
    last: Option<Arc<Snapshot>>,
    /// The number of what was served last of what another replica decided.
    adopted: (u64, u64),
}

impl Steps {
    /// A loop that goes on from a state: the last good one, or an empty one.
    pub fn new(setup: Setup, inputs: Inputs, outputs: Outputs, state: State<Memory>) -> Self {
        let known = state.services.iter().map(|service| service.topology.clone());
        let topology = Topology { services: known.collect() };
        let governed = Arc::clone(&inputs.governed.borrow());
        Self {
            known: config::known(&governed.services),
            served: topology::served(&governed.services),
            governed,
            restored: BTreeSet::new(),
            saved: state.at,
            synced: state.at,
            topology: Arc::new(topology),
            found: BTreeMap::new(),
            named: Named::default(),
            unclaimed: BTreeSet::new(),
            goals: Arc::default(),
            model: Reference,
            first: true,
            unrecorded: false,
            told: Told::default(),
            last: None,
            adopted: (0, 0),
            setup,
            inputs,
            outputs,
            state,
        }
    }

    /// Serves what an earlier life sent last, as it was, before anything else is known.
    pub fn begin(&mut self) {
        self.ask_for_reports();
        if self.state.services.iter().any(|service| service.last.is_some()) {
            self.restore();
        }
    }

    /// Serves what was decided last, as far as the state knows.
    fn restore(&mut self) {
        let decided: Vec<_> =
            self.state.services.iter().filter_map(|service| service.last.clone()).collect();
        let decision = Decision {
            sequence: self.state.sequence,
            at: self.state.at,
            services: decided,
            rollouts: self.state.rollouts.iter().filter_map(|one| one.last.clone()).collect(),
            sampling: self.state.sampling.rates(),
        };
        tracing::info!(sequence = decision.sequence, "serving the last good state");
        self.restored = decision.services.iter().map(|service| service.service.clone()).collect();
        let snapshot = self.translated(&decision);
        self.send(snapshot);
        self.relay(&decision);
        self.open_once_known();
    }

    /// Lets proxies be answered from the moment on at which every served service is known, from
    /// its source or from an earlier life. Before, an answer would take from proxies what they
    /// have of a service that Weir does not know yet.
    fn open_once_known(&self) {
        let known = |id: &ServiceId| {
            self.restored.contains(id) || self.found.get(id).is_some_and(|found| found.listed)
        };
        // What else is served is not known yet, unless an earlier life knew it.
        let settled = self.governed.settled || !self.restored.is_empty();
        if settled && self.served.iter().all(known) {
            self.outputs.publisher.open();
            self.outputs.serving.send_replace(true);
        }
    }

    /// Takes one step.
    pub fn step(&mut self) {
        let at = self.setup.clock.now();
        if !self.decides(at) {
            return self.follow(at);
        }
        if self.first {
            // What another replica served is over.
            self.served = topology::served(&self.governed.services);
        }
        let mut observation = self.observe(at);
        let prepared = self.prepare(at);
        let said = taken(&mut self.inputs.said);
        let recording = prepared.is_ok() && !self.unrecorded;
        let heard = said::heard(said, &self.state, recording);
        observation.words = heard.words();
        let before = self.changing();
        let decision = weir_engine::decide(&mut self.state, &observation, &self.model);
        let after = self.changing();
        let snapshot = self.translated(&decision);
        let step = Step {
            pushed: pushes::news(&snapshot, self.last.as_deref()),
            ..Step::of(observation, &decision)
        };
        let recorded = prepared.and_then(|()| self.record(at, &step));
        self.noted(recorded);
        heard.answer();
        self.told.tell(&decision);
        if before.rollouts != after.rollouts {
            // First, so that a restart never takes back what proxies were told.
            self.save(at, true);
        }
        // A step that took too long is another leader's by now.
        if self.decides(self.setup.clock.now()) {
            self.send(snapshot);
            self.relay(&decision);
            self.publish(at, !step.pushed.is_empty() || before.rollouts != after.rollouts);
        }
        self.tell_cluster(&decision);
        self.open_once_known();
        self.outputs.board.record(&Shown {
            decision: &decision,
            observation: &step.observation,
            topology: &self.topology,
            goals: &self.goals,
        });
        // A fitter that is behind misses a sample: nothing waits for it.
        drop(self.outputs.seen.try_send(Seen::of(&self.state)));
        self.save(at, before.services != after.services);
    }

    /// What a restart must know: everything that proxies are told, who is out until when, and how
    /// far new versions have come.
    fn changing(&self) -> Changing {
        let services = self.state.services.iter();
        Changing {
            services: services
                .map(|s| {
                    let standings = s.guard.standings.iter();
                    let ejections = standings.map(|standing| standing.ejections).sum();
                    (s.realised.last.clone(), ejections)
                })
                .collect(),
            rollouts: self
                .state
                .rollouts
                .iter()
                .filter_map(|one| one.last.as_ref())
                .map(|last| (last.service.clone(), last.weight, last.phase, last.failures))
                .collect(),
        }
    }

    /// Gathers everything since the last step.
    fn observe(&mut self, at: Moment) -> Observation {
        let Heard { reports, volumes: logged, receipts } = self.hear(at);
        let indicated = taken(&mut self.inputs.indicated);
        let others = self.take_over();
        let topology = self.declared(&reports, at);
        let goals = self.wanted(others);
        Observation {
            at,
            traffic: fold(&reports, topology.as_deref().unwrap_or(&self.topology)),
            topology: topology.map(|topology| (*topology).clone()),
            goals: goals.map(|goals| (*goals).clone()),
            logs: volumes(logged, &reports),
            receipts,
            indicated,
            log_budget: std::mem::take(&mut self.first).then_some(self.setup.log_budget),
            unrecorded: self.unrecorded,
            fitted: taken(&mut self.inputs.fitted),
            words: Vec::new(),
        }
    }

    /// What proxies said since the last step: this replica's own, and those of its followers.
    fn hear(&mut self, at: Moment) -> Heard {
        let drained = self.inputs.log.drain(at);
        let mut heard = Heard {
            reports: taken(&mut self.inputs.reports),
            volumes: drained.volumes,
            receipts: taken(&mut self.outputs.publisher.receipts),
        };
        heard.reports.extend(drained.reports);
        heard.receipts.extend(self.relayed());
        for mut other in self.heard_by_followers() {
            heard.reports.append(&mut other.reports);
            heard.volumes.append(&mut other.volumes);
            heard.receipts.append(&mut other.receipts);
        }
        heard
    }

    /// Has proxies report on the clusters of what is governed.
    fn ask_for_reports(&self) {
        let services = self.governed.services.iter();
        let clusters = services.flat_map(|s| s.clusters.iter().map(ToString::to_string));
        let clusters: Vec<String> = clusters.collect();
        // Each change is told to every proxy.
        self.outputs.clusters.send_if_modified(|last| {
            let news = **last != clusters;
            *last = Arc::new(clusters);
            news
        });
    }

    /// Takes over what is governed, if that changed; says whether it did.
    fn take_over(&mut self) -> bool {
        if !self.inputs.governed.has_changed().unwrap_or(false) {
            return false;
        }
        let governed = Arc::clone(&self.inputs.governed.borrow_and_update());
        if governed.services != self.governed.services {
            self.known = config::known(&governed.services);
            self.served = topology::served(&governed.services);
        }
        self.governed = governed;
        let services = self.governed.services.iter();
        let claimed: BTreeSet<_> = services.flat_map(|s| s.clusters.clone()).collect();
        let found = &mut self.found;
        self.unclaimed.retain(|id| {
            let stays = !claimed.contains(&ClusterName::from(&*id.name));
            if !stays {
                found.remove(id);
            }
            stays
        });
        self.ask_for_reports();
        true
    }

    /// The topology, if it changed.
    fn declared(&mut self, reports: &[Report], at: Moment) -> Option<Arc<Topology>> {
        self.named.absorb(reports, at);
        self.inputs.discovered.read(&self.governed.services, &mut self.found);
        self.unclaimed.extend(topology::unclaimed(
            &self.governed.services,
            reports,
            &self.topology,
            &self.found,
        ));
        let by_telemetry =
            self.governed.services.iter().filter(|s| s.endpoints == Endpoints::Telemetry);
        let named: Vec<(ServiceId, Vec<ClusterName>)> = by_telemetry
            .map(|service| (service.id.clone(), service.clusters.clone()))
            .chain(self.unclaimed.iter().map(|id| (id.clone(), vec![ClusterName::from(&*id.name)])))
            .collect();
        for (id, clusters) in named {
            let endpoints = self.named.endpoints(&clusters);
            if endpoints.is_empty() {
                self.unclaimed.remove(&id);
                self.found.remove(&id);
            } else {
                let known = Discovered { endpoints, listed: true, ..Discovered::default() };
                self.found.insert(id, Arc::new(known));
            }
        }
        let topology = topology::topology(&self.governed.services, &self.found, &self.topology);
        if topology == *self.topology && !self.first {
            return None;
        }
        self.topology = Arc::new(topology);
        Some(Arc::clone(&self.topology))
    }

    /// A decision in the proxies' words.
    fn translated(&self, decision: &Decision) -> Arc<Snapshot> {
        let (decision, topology) = topology::only_served(decision, &self.topology, &self.served);
        let translation = translate(&decision, &topology, &self.setup.native);
        for withheld in &translation.withheld {
            tracing::error!(%withheld, "not sent: the last good one stays");
        }
        match &self.last {
            Some(last) => Arc::new(translation.over(last)),
            None => Arc::new(translation.snapshot),
        }
    }

    /// Publishes a snapshot at once, if it is another one.
    fn send(&mut self, snapshot: Arc<Snapshot>) {
        if self.last.as_ref() != Some(&snapshot) {
            self.outputs.publisher.publish(Arc::clone(&snapshot), Urgency::Now);
        }
        self.last = Some(snapshot);
    }
}

/// See [`Steps::changing`].
struct Changing {
    services: Vec<(Vec<Arc<Realisation>>, u32)>,
    rollouts: Vec<(ServiceId, Ratio, Phase, u32)>,
}

/// What waits, as far as one step takes it.
fn taken<T>(waiting: &mut mpsc::Receiver<T>) -> Vec<T> {
    std::iter::from_fn(|| waiting.try_recv().ok()).take(TAKEN_MAX).collect()
}

/// How much was logged, with a nothing for each node that reports otherwise: a proxy opens its log
/// stream with the first entry, and logs none before it is told a rate.
fn volumes(mut drained: Vec<LogVolume>, reports: &[Report]) -> Vec<LogVolume> {
    let heard: BTreeSet<_> = drained.iter().map(|volume| volume.node.clone()).collect();
    let reporting: BTreeSet<_> = reports.iter().map(|report| report.reporter.clone()).collect();
    drained.extend(reporting.difference(&heard).map(|node| LogVolume {
        node: node.clone(),
        entries: 0,
        requests: None,
        window: Duration::ZERO,
    }));
    drained
}

#[cfg(test)]
mod tests;
