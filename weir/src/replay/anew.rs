//! A journal decided anew: what was seen stays, what this build decides on it is written.
//!
//! Decisions, their digests, states and every link of the chain follow from deciding, so that it is
//! another journal: its chain begins anew, and a link that was noted of the recorded one proves nothing
//! of it. The recorded one is only read.

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;
use weir_engine::model::Model;
use weir_engine::state::State;
use weir_journal::{Damage, Link, Record, StateImage, Step, Writer, digest};
use weir_models::reference::{Memory, Reference};

use super::{BUILD, Opening, ReplayError};
use crate::recording::{Pages, ReadError, Recording, segments};
use crate::store::{StoreError, doing};

/// Why a journal cannot be decided anew.
#[derive(Debug, Error)]
pub enum AnewError {
    /// The recorded one cannot be decided again.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The new one cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is a journal already.
    #[error("{} holds a journal already: name another folder, or take its .weir files away", .0.display())]
    Occupied(PathBuf),
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anew {
    /// Segments.
    pub segments: usize,
    /// Steps.
    pub steps: u64,
    /// Steps whose decision is not the recorded one.
    pub different: u64,
    /// What a torn end of the recorded one left out.
    pub torn: Option<String>,
    /// The new chain's last link.
    pub link: Link,
}

/// Decides a journal anew and writes it into a folder: all of it, or nothing.
pub fn write(recording: &Recording, folder: &Path) -> Result<Anew, AnewError> {
    doing("make the folder", folder, fs::create_dir_all(folder))?;
    if !segments(folder)?.is_empty() {
        return Err(AnewError::Occupied(folder.to_owned()));
    }
    let mut parts = Vec::new();
    let written = write_parts(recording, folder, &mut parts).and_then(|anew| {
        for part in &parts {
            doing("rename", part, fs::rename(part, part.with_extension("weir")))?;
        }
        Ok(anew)
    });
    if written.is_err() {
        for part in &parts {
            // Some may be renamed already, or not be there.
            fs::remove_file(part).unwrap_or_default();
            fs::remove_file(part.with_extension("weir")).unwrap_or_default();
        }
    }
    written
}

/// Writes the segments by names that nobody reads as a journal's.
fn write_parts(
    recording: &Recording,
    folder: &Path,
    parts: &mut Vec<PathBuf>,
) -> Result<Anew, AnewError> {
    let mut course = Course::default();
    for path in recording.segments() {
        let bytes = course.segment(path)?;
        let part = folder.join(path.file_name().unwrap_or_default()).with_extension("part");
        parts.push(part.clone());
        doing("write", &part, fs::write(&part, bytes))?;
    }
    Ok(course.anew)
}

/// This build's own course through the recording.
#[derive(Default)]
struct Course {
    anew: Anew,
    state: State<Memory>,
    /// Whether the last segment's process ended in order.
    closed: bool,
}

impl Course {
    /// A segment's bytes anew.
    fn segment(&mut self, path: &Path) -> Result<Vec<u8>, ReplayError> {
        let pages = Pages::read(path).map_err(ReadError::from)?;
        let mut records = pages.records()?;
        let opening = Opening::read(path, &mut records)?;
        let (at, epoch) = (opening.at, opening.epoch);
        self.begin(opening);
        let mut writer = Writer::new(self.anew.link);
        let mut bytes = writer.header();
        bytes.extend(writer.frame(&Record::Opened {
            at,
            build: BUILD.to_owned(),
            model: Reference.version().to_owned(),
            epoch,
            state: StateImage::of(&self.state),
        }));
        for record in records {
            match record {
                Ok(Record::Step(step)) => bytes.extend(writer.frame(&self.step(*step))),
                Ok(closed @ Record::Closed { .. }) => {
                    self.closed = true;
                    bytes.extend(writer.frame(&closed));
                }
                Ok(Record::Opened { .. }) => return Err(ReplayError::Headless(path.to_owned())),
                Err(ReadError::Damaged { cause: cause @ Damage::Torn { .. }, .. }) => {
                    self.anew.torn = Some(format!("{}: {cause}", path.display()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.anew.segments += 1;
        self.anew.link = writer.link();
        Ok(bytes)
    }

    /// Goes on with its own state where the recording goes on; a process that was started again has
    /// forgotten what it saw, and begins with the state that was recorded then.
    fn begin(&mut self, opening: Opening) {
        let (own, recorded) = (&self.state, &opening.state);
        let histories = own.services.iter().map(|service| &service.history);
        let goes_on = !self.closed
            && own.sequence == recorded.sequence
            && histories.eq(recorded.services.iter().map(|service| &service.history));
        if !goes_on {
            self.state = opening.state;
        }
        self.closed = false;
    }

    fn step(&mut self, step: Step) -> Record {
        let decision = weir_engine::decide(&mut self.state, &step.observation, &Reference);
        self.anew.steps += 1;
        self.anew.different += u64::from(digest(&decision) != step.decision);
        Record::Step(Box::new(Step::of(step.observation, &decision)))
    }
}

#[cfg(test)]
mod tests;
