//! What pages and the API read: the last minutes of every service, bounded, in memory.
//!
//! The loop writes, everyone else reads. Writing puts together a new [`Snapshot`] and swaps it
//! in; readers take the newest as one pointer and keep it as long as they like, so that no reader
//! ever makes the loop wait, and a page is made of one moment. Several writers (the loop, the
//! policies' watcher, the proxies' registry) share one short lock among themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;
use weir_engine::decision::{Decision, ServiceDecision};
use weir_engine::goal::{Goal, Goals};
use weir_engine::names::{Address, ServiceId};
use weir_engine::observation::{Observation, Outcome, Receipt, ServiceTraffic};
use weir_engine::rollout::RolloutDecision;
use weir_engine::topology::Topology;
use weir_engine::units::Moment;

use crate::metrics::Metrics;
use crate::view::decision::{DecisionDetail, DecisionId, RefusalView};
use crate::view::health::{HealthView, StepEvent, Topic};
use crate::view::mesh::{PolicyView, ProxyView, SourceView};
use crate::view::{Time, plain};

pub(crate) mod beats;
mod feed;
pub(crate) mod log;
pub(crate) mod matrix;
mod offer;
pub(crate) mod read;
pub(crate) mod rollout;
mod tell;
pub(crate) mod track;
pub mod verdict;
pub(crate) mod words;

use beats::Beat;
use feed::{Now, Told};
use log::Log;
use tell::Telling;
use track::{COARSE, Column, FINE, Tick, Track};

/// Decisions that changed something and are still told: hours of a busy mesh.
const FEED_MAX: usize = 1_000;

/// Events that a client may still resume from: with one step a second a quarter of an hour.
const EVENTS_MAX: usize = 1_000;

/// Cells of history over all services, 24 bytes each. Past 2,000 endpoints history gets shorter
/// rather than memory larger.
const CELLS_MAX: usize = 1_000_000;

/// Refusals of one decision that are kept in the proxies' own words.
const REFUSALS_MAX: usize = 8;

/// One step of the loop, as it is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// What was decided.
    pub decision: &'a Decision,
    /// What it was decided on.
    pub observation: &'a Observation,
    /// The topology in force.
    pub topology: &'a Topology,
    /// The goals in force.
    pub goals: &'a Goals,
}

/// The dashboard's memory. Shared: all methods take `&self`.
#[derive(Debug)]
pub struct Board {
    writer: Mutex<Writer>,
    published: watch::Sender<Arc<Snapshot>>,
    metrics: Metrics,
}

/// Everything at one moment. Cheap to make, cheap to hold.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(crate) started: Moment,
    pub(crate) decision: Arc<Decision>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) goals: Arc<Goals>,
    /// Parallel to the decision's services.
    pub(crate) services: Vec<Record>,
    pub(crate) feed: Log<DecisionDetail>,
    pub(crate) events: Log<Event>,
    pub(crate) sources: Arc<[SourceView]>,
    pub(crate) proxies: Arc<[ProxyView]>,
    pub(crate) policies: Arc<[PolicyView]>,
    pub(crate) health: Arc<HealthView>,
}

/// The history of one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) fine: Log<Column>,
    pub(crate) coarse: Log<Column>,
    /// What its requests came to.
    pub(crate) beats: Log<Beat>,
    /// When counts last arrived.
    pub(crate) fresh: Option<Moment>,
}

/// Something that happened, ready to be sent.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) topic: Topic,
    /// JSON on one line.
    pub(crate) data: String,
}

#[derive(Debug)]
struct Writer {
    next: Snapshot,
    services: BTreeMap<ServiceId, Service>,
}

#[derive(Debug)]
struct Service {
    layout: Arc<[Address]>,
    fine: Track,
    coarse: Track,
    beats: Log<Beat>,
    told: Option<Told>,
    fresh: Option<Moment>,
}

impl Board {
    /// An empty board of a process that started at `started`, which no two processes share: event
    /// ids of an earlier process are recognised by it.
    pub fn new(started: Moment) -> Self {
        let next = Snapshot { started, ..Snapshot::default() };
        let (published, _) = watch::channel(Arc::new(next.clone()));
        let writer = Mutex::new(Writer { next, services: BTreeMap::new() });
        Self { writer, published, metrics: Metrics::new() }
    }

    /// Takes in one step.
    pub fn record(&self, step: &Step<'_>) {
        let mut writer = self.write();
        let told = writer.record(step);
        self.metrics.record(step, &told);
        self.publish(&writer);
    }

    /// Takes over how the telemetry sources stand.
    pub fn set_sources(&self, sources: Vec<SourceView>) {
        let mut writer = self.write();
        if *writer.next.sources != *sources {
            let lasting = |sources: &[SourceView]| -> Vec<_> {
                sources.iter().map(SourceView::lasting).collect()
            };
            if lasting(&sources) != lasting(&writer.next.sources) {
                let failing = sources.iter().filter(|source| source.error.is_some()).count();
                writer.announce(Topic::Sources, &Count { total: sources.len(), failing });
            }
            self.metrics.sources(&sources);
            writer.next.sources = sources.into();
            self.publish(&writer);
        }
    }

    /// Takes over how the proxies stand.
    pub fn set_proxies(&self, proxies: Vec<ProxyView>) {
        let mut writer = self.write();
        if *writer.next.proxies != *proxies {
            let lasting = |proxies: &[ProxyView]| -> Vec<_> {
                proxies.iter().map(ProxyView::lasting).collect()
            };
            if lasting(&proxies) != lasting(&writer.next.proxies) {
                let failing = proxies.iter().filter(|proxy| proxy.refuses()).count();
                writer.announce(Topic::Proxies, &Count { total: proxies.len(), failing });
            }
            self.metrics.proxies(&proxies);
            writer.next.proxies = proxies.into();
            self.publish(&writer);
        }
    }

    /// Takes over the policies as they were last read.
    pub fn set_policies(&self, policies: Vec<PolicyView>) {
        let mut writer = self.write();
        if *writer.next.policies != *policies {
            let failing = policies.iter().filter(|policy| policy.is_wrong()).count();
            writer.announce(Topic::Policies, &Count { total: policies.len(), failing });
            self.metrics.policies(&policies);
            writer.next.policies = policies.into();
            self.publish(&writer);
        }
    }

    /// Takes over whether Weir is ready, and why or why not.
    pub fn set_health(&self, health: HealthView) {
        let mut writer = self.write();
        if *writer.next.health != health {
            writer.announce(Topic::Health, &health);
            self.metrics.health(&health);
            writer.next.health = Arc::new(health);
            self.publish(&writer);
        }
    }

    /// Everything as it stands.
    pub fn read(&self) -> Arc<Snapshot> {
        Arc::clone(&self.published.borrow())
    }

    /// Tells of every new snapshot.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.published.subscribe()
    }

    /// The process's own metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A writer that panicked left at worst a step half told; the next one is whole again.
    fn write(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, writer: &Writer) {
        self.published.send_replace(Arc::new(writer.next.clone()));
    }
}

/// The data of an event that says that a list changed.
#[derive(Serialize)]
struct Count {
    total: usize,
    failing: usize,
}

impl Writer {
    /// Takes in a step; the decisions that it told.
    fn record(&mut self, step: &Step<'_>) -> Vec<Arc<DecisionDetail>> {
        self.answered(&step.observation.receipts);
        self.follow(step);
        let endpoints: usize = step.decision.services.iter().map(|s| s.endpoints.len()).sum();
        let columns = CELLS_MAX / endpoints.max(1) / 2;
        let mut told = Vec::new();
        self.next.services.clear();
        for (place, service) in step.decision.services.iter().enumerate() {
            let traffic = traffic_of(step.observation, &service.service);
            told.extend(self.record_service(step, (place, service), (traffic, columns.max(1))));
        }
        let known = &step.decision.services;
        self.services.retain(|id, _| known.binary_search_by(|s| s.service.cmp(id)).is_ok());
        self.announce(
            Topic::Step,
            &StepEvent {
                sequence: step.decision.sequence,
                at: Time(step.decision.at),
                services: u32::try_from(known.len()).unwrap_or(u32::MAX),
            },
        );
        told
    }

    /// Takes over decision, topology and goals; the latter two change rarely.
    fn follow(&mut self, step: &Step<'_>) {
        self.next.decision = Arc::new(step.decision.clone());
        if *self.next.topology != *step.topology {
            self.next.topology = Arc::new(step.topology.clone());
        }
        if *self.next.goals != *step.goals {
            self.next.goals = Arc::new(step.goals.clone());
        }
    }

    fn record_service(
        &mut self,
        step: &Step<'_>,
        (place, decision): (usize, &ServiceDecision),
        (traffic, columns): (Option<&ServiceTraffic>, usize),
    ) -> Option<Arc<DecisionDetail>> {
        let at = step.decision.at;
        let service =
            self.services.entry(decision.service.clone()).or_insert_with(|| Service::new(decision));
        service.add(at, decision, traffic, columns);
        self.next.services.push(Record {
            fine: service.fine.columns(),
            coarse: service.coarse.columns(),
            beats: service.beats.clone(),
            fresh: service.fresh,
        });
        let rollout = rollout_of(step.decision, &decision.service);
        let now = Now { at, layout: &service.layout, service: decision, rollout };
        let changes = feed::changes(service.told.as_ref(), now)?;
        service.told = Some(Told::of(now));
        let unclaimed;
        let goal = if let Some(goal) = step.goals.of(&decision.service) {
            goal
        } else {
            unclaimed = Goal::of_unclaimed(decision.service.clone());
            &unclaimed
        };
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let telling = Telling {
            id: DecisionId { sequence: step.decision.sequence, place },
            at,
            layout: &service.layout,
            service: decision,
            traffic,
            goal,
            rollout,
            fresh: service.fresh,
        };
        let detail = telling.tell(&changes);
        self.announce(Topic::Decision, &detail.decision);
        self.next.feed.push(detail, FEED_MAX);
        self.next.feed.last().map(Arc::clone)
    }

    /// Adds proxies' answers to the decisions that they answer.
    fn answered(&mut self, receipts: &[Receipt]) {
        for receipt in receipts {
            let Some((number, mut detail)) = self.decision_of(receipt) else { continue };
            let answers = &mut detail.answers;
            match &receipt.outcome {
                Outcome::Taken => answers.taken += 1,
                Outcome::Silent => answers.silent += 1,
                Outcome::Refused(text) => {
                    answers.refused += 1;
                    if answers.refusals.len() < REFUSALS_MAX {
                        let node = plain(receipt.node.as_str());
                        answers.refusals.push(RefusalView { node, text: plain(text) });
                    }
                }
            }
            self.next.feed.replace(number, detail);
        }
    }

    /// The told decision that a receipt answers, to be changed.
    fn decision_of(&self, receipt: &Receipt) -> Option<(u64, DecisionDetail)> {
        let newest_first = self.next.feed.iter().rev();
        let mut recent = newest_first
            .take_while(|(_, detail)| detail.decision.id.sequence >= receipt.decision)
            .filter(|(_, detail)| detail.decision.id.sequence == receipt.decision);
        let (number, detail) = recent.find(|(_, detail)| {
            let decision = &detail.decision;
            decision.namespace == *receipt.service.namespace
                && decision.name == *receipt.service.name
        })?;
        Some((number, DecisionDetail::clone(detail)))
    }

    fn announce(&mut self, topic: Topic, data: &impl Serialize) {
        let data = serde_json::to_string(data).expect("views have string keys and finite numbers");
        self.next.events.push(Event { topic, data }, EVENTS_MAX);
    }
}

impl Service {
    fn new(decision: &ServiceDecision) -> Self {
        Self {
            layout: layout(decision),
            fine: Track::new(FINE),
            coarse: Track::new(COARSE),
            beats: Log::default(),
            told: None,
            fresh: None,
        }
    }

    fn add(
        &mut self,
        at: Moment,
        decision: &ServiceDecision,
        traffic: Option<&ServiceTraffic>,
        columns: usize,
    ) {
        let same = self.layout.len() == decision.endpoints.len()
            && self.layout.iter().zip(&decision.endpoints).all(|(a, b)| *a == b.address);
        if !same {
            self.layout = layout(decision);
        }
        if traffic.is_some_and(|traffic| traffic.rows.iter().any(|row| row.clients > 0)) {
            self.fresh = Some(at);
        }
        let tick = Tick { at, layout: &self.layout, decision, traffic };
        self.fine.add(&tick, columns);
        self.coarse.add(&tick, columns);
        if let Some(traffic) = traffic {
            beats::add(&mut self.beats, at, traffic, columns);
        }
    }
}

fn layout(decision: &ServiceDecision) -> Arc<[Address]> {
    decision.endpoints.iter().map(|endpoint| endpoint.address.clone()).collect()
}

/// The rollout of a service that clients call.
fn rollout_of<'a>(decision: &'a Decision, service: &ServiceId) -> Option<&'a RolloutDecision> {
    let found = decision.rollouts.binary_search_by(|rollout| rollout.service.cmp(service));
    Some(decision.rollouts.get(found.ok()?)?)
}

fn traffic_of<'a>(observation: &'a Observation, service: &ServiceId) -> Option<&'a ServiceTraffic> {
    let traffic = &observation.traffic;
    let at = traffic.binary_search_by(|traffic| traffic.service.cmp(service)).ok()?;
    traffic.get(at)
}

#[cfg(test)]
mod tests;
