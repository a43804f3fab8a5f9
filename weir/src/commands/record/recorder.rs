//! From a step's reports to its record: as in the live loop, with time from the steps and all
//! endpoints from telemetry.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use weir_collectors::endpoints::Discovered;
use weir_collectors::endpoints::telemetry::{FORGET_AFTER, Named};
use weir_collectors::prometheus::mesh::Mesh;
use weir_engine::goal::Goals;
use weir_engine::names::{ClusterName, ServiceId};
use weir_engine::observation::{Observation, Report, Source, fold};
use weir_engine::state::State;
use weir_engine::topology::{ClusterForm, Topology};
use weir_engine::units::Moment;
use weir_journal::{Record, StateImage, Step};
use weir_models::reference::{Memory, Reference};

use crate::config::{Endpoints, Service};
use crate::recording::{Pages, segments};
use crate::replay::{Opening, Part, ReplayError, Turn};
use crate::store::journal::{Bounds, Journal, Origin};
use crate::store::{StoreError, doing};
use crate::topology;

/// At most so many services: as many as the live loop makes up of clusters.
const SERVICES_MAX: usize = 1_000;

/// Nothing is deleted: a recording has an end of its own.
const BOUNDS: Bounds = Bounds { segment: 16 << 20, total: u64::MAX };

/// What to do about a recording that this build cannot go on with.
const BEGIN_ANEW: &str = "go on with the Weir that began it, or delete the folder and begin anew";

/// How far back reports named what a step knows of endpoints.
pub(super) const NAMED_FOR: Duration = FORGET_AFTER;

/// Writes the journal of a past.
pub(super) struct Recorder {
    journal: Journal,
    state: State<Memory>,
    services: Services,
    named: Named,
    topology: Topology,
    /// What no step has said yet.
    goals: Option<Goals>,
}

/// How far an earlier run came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Its last step.
    pub(super) last: Option<Moment>,
    /// Whether that was the last of all.
    pub(super) finished: bool,
}

impl Recorder {
    /// Goes on with the journal in a folder, or begins it.
    pub(super) fn open(
        folder: &Path,
        mesh: Mesh,
        goals: Goals,
    ) -> anyhow::Result<(Self, Progress)> {
        let services = Services::of(mesh, &goals);
        let restored = restore(folder)?;
        let (journal, _) = Journal::open(folder, BOUNDS, Origin::here())?;
        let recorder = Self {
            journal,
            services,
            goals: restored.progress.last.is_none().then_some(goals),
            state: restored.state,
            named: Named::default(),
            topology: Topology::default(),
        };
        Ok((recorder, restored.progress))
    }

    /// Takes in what a step that is recorded already made known of endpoints.
    pub(super) fn recall(&mut self, reports: &[Report], at: Moment) {
        self.topology = self.declared(reports, at);
    }

    /// Decides a step and writes it down.
    pub(super) fn step(&mut self, reports: &[Report], at: Moment) -> Result<(), StoreError> {
        let topology = self.declared(reports, at);
        let goals = self.goals.take();
        let changed = goals.is_some() || topology != self.topology;
        let observation = Observation {
            at,
            traffic: fold(reports, &topology),
            topology: changed.then(|| topology.clone()),
            goals,
            ..Observation::default()
        };
        self.topology = topology;
        self.prepare(at)?;
        let decision = weir_engine::decide(&mut self.state, &observation, &Reference);
        self.journal.append(&Record::Step(Box::new(Step::of(observation, &decision))))
    }

    /// Makes everything so far durable.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.journal.sync()
    }

    /// Says that nothing follows the last step, which was at `last`.
    pub(super) fn finish(&mut self, last: Moment) -> Result<(), StoreError> {
        // A segment that has to be begun for this must not take the name of the last step's.
        let at = last.plus(Duration::from_millis(1));
        self.prepare(at)?;
        self.journal.append(&Record::Closed { at })?;
        self.journal.sync()
    }

    /// Begins a segment with the state as it is, where one is due.
    fn prepare(&mut self, at: Moment) -> Result<(), StoreError> {
        self.journal.prepare(at, || StateImage::of(&self.state))
    }

    fn declared(&mut self, reports: &[Report], at: Moment) -> Topology {
        self.named.absorb(reports, at);
        let clusters: Vec<ClusterName> =
            self.named.clusters().take(SERVICES_MAX).cloned().collect();
        let mut found = BTreeMap::new();
        let mut services = Vec::new();
        for cluster in clusters {
            let service = self.services.of_cluster(&cluster);
            let endpoints = self.named.endpoints([&cluster]);
            let known = Discovered { endpoints, listed: true, ..Discovered::default() };
            // Two clusters of one name after all: the first stands.
            if let std::collections::btree_map::Entry::Vacant(free) =
                found.entry(service.id.clone())
            {
                free.insert(Arc::new(known));
                services.push(service);
            }
        }
        topology::topology(&services, &found, &self.topology)
    }
}

/// Which service a cluster is.
#[derive(Clone, Debug)]
struct Services {
    mesh: Mesh,
    /// The services that policies govern.
    governed: Vec<ServiceId>,
}

impl Services {
    fn of(mesh: Mesh, goals: &Goals) -> Self {
        Self { mesh, governed: goals.services.iter().map(|goal| goal.service.clone()).collect() }
    }

    fn of_cluster(&self, cluster: &ClusterName) -> Service {
        Service {
            id: self.id(cluster.as_str()),
            clusters: vec![cluster.clone()],
            form: ClusterForm { locality_weighted: false, ..ClusterForm::native() },
            writes_clusters: false,
            per_endpoint_stats: true,
            endpoints: Endpoints::Telemetry,
            counts: Source::Prometheus,
        }
    }

    /// Where the metrics name no namespace, that of the one governed service of this name, or
    /// else `default`.
    fn id(&self, cluster: &str) -> ServiceId {
        if self.mesh != Mesh::Envoy {
            let named = ServiceId::try_from(cluster.to_owned());
            return named.unwrap_or_else(|_| ServiceId::new("default", &plain(cluster)));
        }
        let mut same = self.governed.iter().filter(|id| &*id.name == cluster);
        match (same.next(), same.next()) {
            (Some(one), None) => one.clone(),
            _ => ServiceId::new("default", &plain(cluster)),
        }
    }
}

/// A service's name has no slashes.
fn plain(cluster: &str) -> String {
    cluster.replace('/', "_")
}

/// What an earlier run left.
#[derive(Default)]
struct Restored {
    state: State<Memory>,
    progress: Progress,
}

/// The state after the last recorded step: that of its segment's beginning, and the segment's steps
/// decided again. A segment that was only begun is removed: the next one takes its name.
fn restore(folder: &Path) -> anyhow::Result<Restored> {
    if !folder.is_dir() {
        return Ok(Restored::default());
    }
    let mut finished = false;
    let mut paths = segments(folder)?;
    while let Some(path) = paths.pop() {
        let mut restored = again(&path)?;
        finished |= restored.progress.finished;
        if restored.progress.last.is_some() {
            restored.progress.finished = finished;
            return Ok(restored);
        }
        if !finished {
            doing("delete", &path, std::fs::remove_file(&path))?;
        }
    }
    Ok(Restored::default())
}

fn again(path: &Path) -> anyhow::Result<Restored> {
    let pages = Pages::read(path)?;
    let Ok(mut records) = pages.records() else { return Ok(Restored::default()) };
    let opening = match Opening::read(path, &mut records) {
        Ok(opening) => opening,
        Err(ReplayError::Read(_) | ReplayError::Headless(_)) => return Ok(Restored::default()),
        Err(error @ ReplayError::State { .. }) => return Err(error).context(BEGIN_ANEW),
    };
    let mut part = Part::of(path, pages.size(), records.segment.link, &opening);
    let mut state = opening.state;
    // What is damaged is cut off when the journal is opened; what follows was never there.
    part.follow(&mut records, &mut state, &mut |_: Turn<'_>| {}).unwrap_or_default();
    let same = part.different == 0;
    ensure!(same, "{}: another Weir decided differently; {BEGIN_ANEW}", path.display());
    let last = (part.steps > 0).then_some(part.until);
    Ok(Restored { state, progress: Progress { last, finished: part.closed } })
}

#[cfg(test)]
mod tests;
