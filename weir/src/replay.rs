//! Deciding again what a journal recorded, by the same function, on the same state.
//!
//! Every segment begins with the whole state, so each replays by itself and they replay side by
//! side. A decision is the same if its bytes are: their digest stands in the journal.

use std::path::{Path, PathBuf};

use thiserror::Error;
use weir_engine::decision::Decision;
use weir_engine::model::Model;
use weir_engine::state::State;
use weir_engine::units::Moment;
use weir_journal::{Damage, Link, Record, Step, Unreadable, digest};
use weir_models::reference::{Memory, Reference};

use crate::recording::{Pages, ReadError, Recording, Records};

pub mod anew;
pub mod compare;
pub mod explain;

/// This build, as segments name it.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

/// Why a segment cannot be decided again.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It does not begin with a state.
    #[error("{}: the first record is not a state: the segment was not written by weir", .0.display())]
    Headless(PathBuf),
    /// Its state is laid out otherwise than this build's.
    #[error(
        "{}: its state was written by weir {build} and cannot be read by weir {BUILD}: \
         replay it with that version; `weir journal` reads it all the same", path.display()
    )]
    State {
        /// Which file.
        path: PathBuf,
        /// Who wrote it.
        build: String,
        /// What does not fit.
        #[source]
        cause: Unreadable,
    },
}

/// How a segment begins: who wrote it, and the whole state.
#[derive(Clone, Debug)]
pub struct Opening {
    /// When.
    pub at: Moment,
    /// The build that decided.
    pub build: String,
    /// The model that judged.
    pub model: String,
    /// In which epoch of a lease, where there were several replicas.
    pub epoch: Option<u64>,
    /// What was remembered.
    pub state: State<Memory>,
}

impl Opening {
    /// Takes the first record.
    pub fn read(path: &Path, records: &mut Records<'_>) -> Result<Self, ReplayError> {
        let first = records.next().transpose()?;
        let Some(Record::Opened { at, build, model, epoch, state }) = first else {
            return Err(ReplayError::Headless(path.to_owned()));
        };
        match state.read() {
            Ok(state) => Ok(Self { at, build, model, epoch, state }),
            Err(cause) => Err(ReplayError::State { path: path.to_owned(), build, cause }),
        }
    }
}

/// One step decided again.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// What was recorded.
    pub step: &'a Step,
    /// What is decided now.
    pub decision: &'a Decision,
    /// The state after it.
    pub state: &'a State<Memory>,
    /// In which epoch of a lease, where there were several replicas.
    pub epoch: Option<u64>,
}

impl Turn<'_> {
    /// Whether it is the recorded decision, byte for byte.
    pub fn is_same(&self) -> bool {
        digest(self.decision) == self.step.decision
    }
}

/// A decision that is not the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// When.
    pub at: Moment,
    /// Which decision.
    pub sequence: u64,
    /// What differs, one line for each service; empty where the journal does not say.
    pub what: Vec<String>,
}

/// What came of one segment.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its file.
    pub path: PathBuf,
    /// Bytes in it.
    pub bytes: u64,
    /// When it begins.
    pub from: Moment,
    /// When its last step was.
    pub until: Moment,
    /// Who wrote it.
    pub build: String,
    /// The model.
    pub model: String,
    /// In which epoch of a lease, where there were several replicas.
    pub epoch: Option<u64>,
    /// Steps.
    pub steps: u64,
    /// Services at its end.
    pub services: usize,
    /// Endpoints at its end.
    pub endpoints: usize,
    /// Endpoints, summed over steps.
    pub endpoint_steps: u64,
    /// How many decisions differ.
    pub different: u64,
    /// The first of them.
    pub first: Option<Difference>,
    /// The chain's link that it continues, and the one it ends with.
    pub links: (Link, Link),
    /// Whether the process ended in order.
    pub closed: bool,
    /// A torn end: a process that was killed while it wrote.
    pub torn: Option<String>,
}

impl Part {
    /// One of which no step was decided yet.
    pub(crate) fn of(path: &Path, bytes: usize, link: Link, opening: &Opening) -> Self {
        Self {
            path: path.to_owned(),
            bytes: bytes as u64,
            from: opening.at,
            until: opening.at,
            build: opening.build.clone(),
            model: opening.model.clone(),
            epoch: opening.epoch,
            steps: 0,
            services: opening.state.services.len(),
            endpoints: 0,
            endpoint_steps: 0,
            different: 0,
            first: None,
            links: (link, link),
            closed: false,
            torn: None,
        }
    }

    /// Whether another build or model wrote it.
    pub fn is_of_another(&self) -> bool {
        self.build != BUILD || self.model != Reference.version()
    }

    /// Decides the steps that are left again, until they end or are damaged.
    pub(crate) fn follow(
        &mut self,
        records: &mut Records<'_>,
        state: &mut State<Memory>,
        eye: &mut impl Eye,
    ) -> Result<(), ReplayError> {
        for record in records.by_ref() {
            match record {
                Ok(Record::Step(step)) => {
                    let decision = weir_engine::decide(state, &step.observation, &Reference);
                    let turn = Turn { step: &step, decision: &decision, state, epoch: self.epoch };
                    self.note(turn);
                    eye.see(turn);
                }
                Ok(Record::Closed { .. }) => self.closed = true,
                Ok(Record::Opened { .. }) => return Err(ReplayError::Headless(self.path.clone())),
                Err(ReadError::Damaged { cause: cause @ Damage::Torn { .. }, .. }) => {
                    self.torn = Some(cause.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.links.1 = records.link();
        Ok(())
    }

    fn note(&mut self, turn: Turn<'_>) {
        self.steps += 1;
        self.until = turn.decision.at;
        self.services = turn.decision.services.len();
        self.endpoints = turn.decision.services.iter().map(|one| one.endpoints.len()).sum();
        self.endpoint_steps += self.endpoints as u64;
        if !turn.is_same() {
            self.different += 1;
            self.first.get_or_insert_with(|| difference(turn));
        }
    }
}

/// Who looks on while a segment is decided again.
pub trait Eye {
    /// It begins.
    fn begin(&mut self, _opening: &Opening) {}

    /// A step was decided again.
    fn see(&mut self, turn: Turn<'_>);

    /// It ends, with this state.
    fn end(&mut self, _state: State<Memory>) {}
}

impl<F: FnMut(Turn<'_>)> Eye for F {
    fn see(&mut self, turn: Turn<'_>) {
        self(turn);
    }
}

/// Decides all steps of a journal again, in order, while `eye` looks on.
pub fn all(recording: &Recording, eye: &mut impl Eye) -> Result<Vec<Part>, ReplayError> {
    recording.segments().iter().map(|path| segment(path, eye)).collect()
}

/// Decides a segment's steps again while `eye` looks on.
pub fn segment(path: &Path, eye: &mut impl Eye) -> Result<Part, ReplayError> {
    let pages = Pages::read(path).map_err(ReadError::from)?;
    let mut records = pages.records()?;
    let link = records.segment.link;
    let opening = Opening::read(path, &mut records)?;
    let mut part = Part::of(path, pages.size(), link, &opening);
    eye.begin(&opening);
    let mut state = opening.state;
    part.follow(&mut records, &mut state, eye)?;
    eye.end(state);
    Ok(part)
}

/// What differs, as far as the journal holds the recorded decision.
fn difference(turn: Turn<'_>) -> Difference {
    let decided = &turn.decision.services;
    let mut what = Vec::new();
    for recorded in &turn.step.changed {
        let now = decided.iter().find(|now| now.service == recorded.service);
        let Some(now) = now else {
            what.push(format!("{}: decided then, unknown now", recorded.service));
            continue;
        };
        if now == recorded {
            continue;
        }
        let pairs = recorded.endpoints.iter().zip(&now.endpoints).filter(|(then, now)| then != now);
        let mut lines: Vec<String> = pairs
            .map(|(then, now)| {
                format!(
                    "{} {}: then {:.3} x, {}; now {:.3} x, {}",
                    recorded.service,
                    then.address,
                    then.weight,
                    then.sentence(turn.decision.at),
                    now.weight,
                    now.sentence(turn.decision.at)
                )
            })
            .collect();
        if lines.is_empty() {
            lines.push(format!("then {}; now {}", recorded.summary(), now.summary()));
        }
        what.extend(lines);
    }
    Difference { at: turn.decision.at, sequence: turn.decision.sequence, what }
}

#[cfg(test)]
mod tests;
