//! What a journal tells of one service.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;
use weir_engine::decision::ServiceDecision;
use weir_engine::goal::{Goal, Goals};
use weir_engine::names::ServiceId;
use weir_engine::observation::Observation;
use weir_engine::state::State;
use weir_engine::topology::{ServiceTopology, Topology};
use weir_engine::units::Moment;
use weir_journal::{Damage, Record, Step, Unreadable};
use weir_models::reference::Memory;
use weir_simulator::twin::Seen;

use super::study::Recorded;
use crate::recording::{Pages, ReadError, Recording};

/// Why a journal gives no recording of a service.
#[derive(Debug, Error)]
pub(super) enum JournalError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its states are another model's.
    #[error(
        "{path}: the state was written by {build} with model {model}, which this weir cannot \
         read; use the weir that wrote it"
    )]
    Foreign {
        path: String,
        build: String,
        model: String,
        #[source]
        cause: Box<Unreadable>,
    },
    /// It holds no step at all.
    #[error("the journal holds no steps{0}; let weir run for a minute or more, then ask again")]
    Empty(&'static str),
    /// It has several services.
    #[error("the journal has {}; name one with --service", listed(.0))]
    Several(BTreeSet<ServiceId>),
    /// It does not have the service that was asked for.
    #[error("the journal does not have {asked}; it has {}", listed(has))]
    Unknown { asked: ServiceId, has: BTreeSet<ServiceId> },
}

fn listed(services: &BTreeSet<ServiceId>) -> String {
    /// More names are not read by anybody.
    const NAMES_MAX: usize = 10;
    let names: Vec<String> = services.iter().take(NAMES_MAX).map(ToString::to_string).collect();
    match services.len().saturating_sub(NAMES_MAX) {
        0 if names.is_empty() => "no service".to_owned(),
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// Which part of a journal is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) service: Option<ServiceId>,
    pub(super) from: Option<Moment>,
    pub(super) until: Option<Moment>,
}

/// A recording of a service, and what to know of it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) service: ServiceId,
    pub(super) recorded: Recorded,
    /// What was left out, in words.
    pub(super) notes: Vec<String>,
}

/// Reads a journal's part.
pub(super) fn read(path: &Path, part: &Part) -> Result<Told, JournalError> {
    let recording = Recording::open(path)?;
    let service = match &part.service {
        Some(service) => service.clone(),
        None => only_service(&recording)?,
    };
    let mut listener = Listener::new(service.clone(), part);
    let mut notes = Vec::new();
    each(&recording, &mut notes, |entry| listener.hear(entry))?;
    if !listener.known.contains(&service) {
        return Err(if listener.heard {
            JournalError::Unknown { asked: service, has: listener.known }
        } else {
            JournalError::Empty("")
        });
    }
    if listener.steps.is_empty() {
        return Err(JournalError::Empty(" of the service between --from and --to"));
    }
    Ok(Told { service, recorded: listener.recorded(), notes })
}

/// What a journal holds, as far as it matters here.
enum Entry {
    State(Box<State<Memory>>),
    Step(Box<Step>),
}

/// Hands over all entries in order. A torn end is a process that was stopped, or that still
/// writes.
fn each(
    recording: &Recording,
    notes: &mut Vec<String>,
    mut hear: impl FnMut(Entry),
) -> Result<(), JournalError> {
    for path in recording.segments() {
        let pages = Pages::read(path).map_err(ReadError::from)?;
        for record in pages.records()? {
            match record {
                Ok(Record::Opened { build, model, state, .. }) => {
                    let state = state.read().map_err(|cause| JournalError::Foreign {
                        path: path.display().to_string(),
                        build,
                        model,
                        cause: Box::new(cause),
                    })?;
                    hear(Entry::State(Box::new(state)));
                }
                Ok(Record::Step(step)) => hear(Entry::Step(step)),
                Ok(Record::Closed { .. }) => {}
                Err(ReadError::Damaged { path, cause: cause @ Damage::Torn { .. } }) => {
                    notes.push(format!("{}: {cause}; read up to there", path.display()));
                }
                Err(wrong) => return Err(wrong.into()),
            }
        }
    }
    Ok(())
}

/// The service of a journal that has one.
fn only_service(recording: &Recording) -> Result<ServiceId, JournalError> {
    let mut services: BTreeSet<ServiceId> = BTreeSet::new();
    each(recording, &mut Vec::new(), |entry| match entry {
        Entry::State(state) => {
            services.extend(state.services.into_iter().map(|one| one.topology.service));
        }
        Entry::Step(step) => {
            let topologies = step.observation.topology.into_iter();
            services.extend(topologies.flat_map(|all| all.services).map(|one| one.service));
        }
    })?;
    let mut names = services.iter();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(JournalError::Empty("")),
        (Some(_), Some(_)) => Err(JournalError::Several(services)),
    }
}

/// What was heard of the service so far.
struct Listener {
    service: ServiceId,
    from: Option<Moment>,
    until: Option<Moment>,
    known: BTreeSet<ServiceId>,
    heard: bool,
    topology: Option<ServiceTopology>,
    decided: Option<Arc<ServiceDecision>>,
    goals: Vec<(Moment, Goal)>,
    steps: Vec<Seen>,
}

impl Listener {
    fn new(service: ServiceId, part: &Part) -> Self {
        Self {
            service,
            from: part.from,
            until: part.until,
            known: BTreeSet::new(),
            heard: false,
            topology: None,
            decided: None,
            goals: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn hear(&mut self, entry: Entry) {
        match entry {
            Entry::State(state) => self.know(*state),
            Entry::Step(step) => self.step(*step),
        }
    }

    /// A segment begins with all that is in force.
    fn know(&mut self, state: State<Memory>) {
        if state.sequence > 0 {
            self.aim(state.at, &state.goals);
        }
        for known in state.services {
            self.known.insert(known.topology.service.clone());
            if known.topology.service == self.service {
                self.topology = Some(known.topology);
                self.decided = known.last.or(self.decided.take());
            }
        }
    }

    fn step(&mut self, Step { observation, changed, .. }: Step) {
        self.heard = true;
        let Observation { at, topology, goals, traffic, .. } = observation;
        if let Some(goals) = &goals {
            self.aim(at, goals);
        }
        let declared = topology.and_then(|topology| self.declared(topology));
        let decided = changed.into_iter().find(|one| one.service == self.service);
        if let Some(decided) = &decided {
            self.decided = Some(Arc::clone(decided));
        }
        let wanted =
            self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at <= until);
        if !wanted || self.topology.is_none() {
            return;
        }
        // The first step tells what was in force already.
        let first = self.steps.is_empty();
        self.steps.push(Seen {
            at,
            topology: if first { self.topology.clone() } else { declared },
            traffic: traffic.into_iter().find(|one| one.service == self.service),
            decided: if first { self.decided.clone() } else { decided },
        });
    }

    /// The service's own topology, if it changed.
    fn declared(&mut self, topology: Topology) -> Option<ServiceTopology> {
        self.known.extend(topology.services.iter().map(|one| one.service.clone()));
        let mut services = topology.services.into_iter();
        let now = services.find(|one| one.service == self.service)?;
        if self.topology.as_ref() == Some(&now) {
            return None;
        }
        self.topology = Some(now.clone());
        Some(now)
    }

    fn aim(&mut self, at: Moment, goals: &Goals) {
        let unclaimed = || Goal::of_unclaimed(self.service.clone());
        let goal = goals.of(&self.service).cloned().unwrap_or_else(unclaimed);
        if self.goals.last().is_none_or(|(_, last)| *last != goal) {
            self.goals.push((at, goal));
        }
    }

    fn recorded(self) -> Recorded {
        let start = self.steps.first().map_or(Moment::default(), |first| first.at);
        // Goals that were in force before the first step count from it, the last of them.
        let before = self.goals.iter().filter(|(at, _)| *at <= start).count();
        let goals = self.goals.into_iter().skip(before.saturating_sub(1));
        let mut plan: Vec<(f64, Goal)> =
            goals.map(|(at, goal)| (at.since(start).as_secs_f64(), goal)).collect();
        if plan.is_empty() {
            plan.push((0.0, Goal::of_unclaimed(self.service)));
        }
        Recorded { steps: self.steps, plan }
    }
}
