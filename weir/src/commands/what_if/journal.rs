//! What a journal tells of one service.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;
use weir_engine::decision::ServiceDecision;
use weir_engine::goal::{Goal, Goals};
use weir_engine::names::ServiceId;
use weir_engine::topology::{ServiceTopology, Topology};
use weir_engine::units::Moment;
use weir_simulator::twin::Seen;

use super::study::Recorded;
use crate::recording::{ReadError, Recording};
use crate::replay::{self, Eye, Opening, ReplayError, Turn};

/// Why a journal gives no recording of a service.
#[derive(Debug, Error)]
pub(super) enum JournalError {
    /// It cannot be read, or not be decided again.
    #[error(transparent)]
    Replay(#[from] ReplayError),
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

impl From<ReadError> for JournalError {
    fn from(error: ReadError) -> Self {
        Self::Replay(error.into())
    }
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

/// Reads a journal's part. It is decided again: steps at which a service rests are recorded without
/// their decision.
pub(super) fn read(path: &Path, part: &Part) -> Result<Told, JournalError> {
    let recording = Recording::open(path)?;
    let mut listener = Listener::new(part);
    let mut notes = Vec::new();
    for part in replay::all(&recording, &mut listener)? {
        if let Some(torn) = part.torn {
            // A process that was stopped, or that still writes.
            notes.push(format!("{}: {torn}; read up to there", part.path.display()));
        }
        if part.different > 0 {
            notes.push(format!(
                "{}: {} of {} decisions are not this weir's: where it rested then is not known",
                part.path.display(),
                part.different,
                part.steps
            ));
        }
    }
    listener.told(part, notes)
}

/// What was heard of a service so far.
struct Listener {
    /// The one that was asked for, or else the first that the journal tells of.
    service: Option<ServiceId>,
    from: Option<Moment>,
    until: Option<Moment>,
    known: BTreeSet<ServiceId>,
    heard: bool,
    topology: Option<ServiceTopology>,
    decided: Option<Arc<ServiceDecision>>,
    goals: Vec<(Moment, Goal)>,
    steps: Vec<Seen>,
}

impl Eye for Listener {
    /// A segment begins with all that is in force.
    fn begin(&mut self, opening: &Opening) {
        let state = &opening.state;
        self.know(state.services.iter().map(|known| &known.topology.service));
        if state.sequence > 0 {
            self.aim(state.at, &state.goals);
        }
        let mut services = state.services.iter();
        if let Some(own) = services.find(|known| self.is_own(&known.topology.service)) {
            self.topology = Some(own.topology.clone());
            self.decided = own.last.clone().or(self.decided.take());
        }
    }

    fn see(&mut self, turn: Turn<'_>) {
        self.heard = true;
        let observation = &turn.step.observation;
        let at = observation.at;
        let topology = observation.topology.as_ref();
        self.know(topology.iter().flat_map(|all| &all.services).map(|one| &one.service));
        self.aim(at, &turn.state.goals);
        let declared = topology.and_then(|topology| self.declared(topology));
        let decided = self.newly_decided(turn);
        let wanted =
            self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at <= until);
        if !wanted || self.topology.is_none() {
            return;
        }
        // The first step tells what was in force already.
        let first = self.steps.is_empty();
        let mut traffic = observation.traffic.iter();
        self.steps.push(Seen {
            at,
            topology: if first { self.topology.clone() } else { declared },
            traffic: traffic.find(|one| self.is_own(&one.service)).cloned(),
            decided: if first { self.decided.clone() } else { decided },
        });
    }
}

impl Listener {
    fn new(part: &Part) -> Self {
        Self {
            service: part.service.clone(),
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

    fn is_own(&self, service: &ServiceId) -> bool {
        self.service.as_ref() == Some(service)
    }

    fn know<'a>(&mut self, services: impl Iterator<Item = &'a ServiceId>) {
        self.known.extend(services.cloned());
        if self.service.is_none() {
            self.service = self.known.first().cloned();
        }
    }

    /// What was decided of the service, if it is not what was decided before. What a journal leaves
    /// out is what is decided now, if all else is decided alike.
    fn newly_decided(&mut self, turn: Turn<'_>) -> Option<Arc<ServiceDecision>> {
        let now = turn.is_same().then_some(&turn.decision.services).into_iter().flatten();
        let mut all = turn.step.changed.iter().chain(now);
        let decided = all.find(|one| self.is_own(&one.service))?;
        if self.decided.as_ref() == Some(decided) {
            return None;
        }
        self.decided = Some(Arc::clone(decided));
        self.decided.clone()
    }

    /// The service's own topology, if it changed.
    fn declared(&mut self, topology: &Topology) -> Option<ServiceTopology> {
        let now = topology.services.iter().find(|one| self.is_own(&one.service))?;
        if self.topology.as_ref() == Some(now) {
            return None;
        }
        self.topology = Some(now.clone());
        self.topology.clone()
    }

    fn aim(&mut self, at: Moment, goals: &Goals) {
        let Some(service) = &self.service else { return };
        let unclaimed = || Goal::of_unclaimed(service.clone());
        let goal = goals.of(service).cloned().unwrap_or_else(unclaimed);
        if self.goals.last().is_none_or(|(_, last)| *last != goal) {
            self.goals.push((at, goal));
        }
    }

    fn told(self, part: &Part, notes: Vec<String>) -> Result<Told, JournalError> {
        let Some(service) = self.service.clone() else { return Err(JournalError::Empty("")) };
        if part.service.is_none() && self.known.len() > 1 {
            return Err(JournalError::Several(self.known));
        }
        if !self.known.contains(&service) {
            return Err(if self.heard {
                JournalError::Unknown { asked: service, has: self.known }
            } else {
                JournalError::Empty("")
            });
        }
        if self.steps.is_empty() {
            return Err(JournalError::Empty(" of the service between --from and --to"));
        }
        let recorded = self.recorded(&service);
        Ok(Told { service, recorded, notes })
    }

    fn recorded(self, service: &ServiceId) -> Recorded {
        let start = self.steps.first().map_or(Moment::default(), |first| first.at);
        // Goals that were in force before the first step count from it, the last of them.
        let before = self.goals.iter().filter(|(at, _)| *at <= start).count();
        let goals = self.goals.into_iter().skip(before.saturating_sub(1));
        let mut plan: Vec<(f64, Goal)> =
            goals.map(|(at, goal)| (at.since(start).as_secs_f64(), goal)).collect();
        if plan.is_empty() {
            plan.push((0.0, Goal::of_unclaimed(service.clone())));
        }
        Recorded { steps: self.steps, plan }
    }
}
