//! What users expect of decisions on their journals: `test.yaml`, read, watched and judged.
//!
//! A test is a folder with a `test.yaml` and, unless it names another one, a journal beside it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_engine::decision::Decision;
use weir_engine::goal::Goals;
use weir_engine::names::{Address, ServiceId};
use weir_engine::units::Moment;
use weir_policies::problem::{Code, Problem};

use crate::recording::Recording;
use crate::replay::compare::{beside, merged};
use crate::replay::{self, Part, ReplayError, Turn};
use crate::times::When;

mod file;
mod watch;

use watch::Watch;

/// The name of a test's file.
pub const FILE: &str = "test.yaml";

/// A journal and what is expected of decisions on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// Its file, as it was named.
    pub path: PathBuf,
    /// What it is about.
    pub description: String,
    /// Where its journal is.
    journal: PathBuf,
    /// Goals to decide by instead of the recorded ones.
    goals: Option<Goals>,
    /// Whether every decision must be the recorded one.
    identical: bool,
    expectations: Vec<Expectation>,
}

/// One thing that must hold of one service in one stretch of time.
#[derive(Clone, Debug, PartialEq)]
struct Expectation {
    service: Option<ServiceId>,
    from: Option<When>,
    until: Option<When>,
    claim: Claim,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq)]
enum Claim {
    /// It is out within so long.
    Ejects(Address, Option<Duration>),
    /// It, or any, is never out.
    NeverEjects(Option<Address>),
    /// It was out and takes traffic again, within so long.
    Returns(Address, Option<Duration>),
    /// No more are out at once.
    EjectedMost(usize),
    /// Steps move no more of the traffic in all: 1 is all of it once.
    MovedMost(f64),
    /// Its weight stays within these.
    Weight(Address, f64, f64),
    /// The objective has budget left.
    Keeps(String),
    /// Shares are equal and nobody is out.
    Rests,
    /// Everything stays as it was, for some reason.
    Holds,
    /// A new version gets no more of the service's requests: 1 is all of them.
    NewVersionMost(f64),
}

/// What came of one expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was expected.
    pub what: String,
    /// How it came about, or how it did not.
    pub came: Result<String, String>,
}

impl Test {
    /// The tests in a folder and those below it, or of one file; all problems at once.
    pub fn find(path: &Path) -> Result<Vec<Self>, Vec<Problem>> {
        let mut files = Vec::new();
        let listed = if path.is_dir() {
            list(path, &mut files)
        } else {
            files.push(path.to_owned());
            Ok(())
        };
        listed.map_err(|cause| wrong(path, &format!("cannot be listed: {cause}")))?;
        if files.is_empty() {
            return Err(wrong(path, "holds no test: no folder there has a test.yaml"));
        }
        let (mut tests, mut problems) = (Vec::new(), Vec::new());
        for file in files {
            match file::read(&file) {
                Ok(test) => tests.push(test),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(tests) } else { Err(problems) }
    }

    /// Decides the journal again and judges what came.
    pub fn run(&self) -> Result<Vec<Outcome>, ReplayError> {
        let recording = Recording::open(&self.journal)?;
        let mut watches: Vec<Watch<'_>> = self.expectations.iter().map(Watch::new).collect();
        let mut see = |decision: &Decision| {
            for watch in &mut watches {
                watch.see(decision);
            }
        };
        let parts: Result<Vec<Part>, ReplayError> = if let Some(goals) = &self.goals {
            beside(&recording, |recorded| merged(recorded, goals), |_, other| see(other))
        } else {
            let mut eye = |turn: Turn<'_>| see(turn.decision);
            replay::all(&recording, &mut eye)
        };
        let parts = parts?;
        let mut outcomes: Vec<Outcome> = Vec::new();
        if self.identical {
            outcomes.push(Outcome {
                what: "every decision is identical".into(),
                came: identical(&parts),
            });
        }
        outcomes.extend(watches.into_iter().map(Watch::outcome));
        Ok(outcomes)
    }
}

fn identical(parts: &[Part]) -> Result<String, String> {
    let steps: u64 = parts.iter().map(|part| part.steps).sum();
    let different: u64 = parts.iter().map(|part| part.different).sum();
    let first = parts.iter().find_map(|part| part.first.as_ref());
    match first {
        None => Ok(format!("{steps} steps")),
        Some(first) => Err(format!(
            "{different} of {steps} are not; the first is decision {} at {}; see `weir replay`",
            first.sequence,
            crate::times::shown(first.at)
        )),
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            list(&entry, files)?;
        } else if entry.file_name().is_some_and(|name| name == FILE) {
            files.push(entry);
        }
    }
    Ok(())
}

fn wrong(path: &Path, what: &str) -> Vec<Problem> {
    let mend = "name a folder with a test.yaml in it or below it, or such a file";
    vec![Problem::of_file(&path.display().to_string(), Code::Unreadable, what, mend)]
}

impl Expectation {
    /// Its stretch, in a journal that begins at `start`.
    fn stretch(&self, start: Moment) -> (Moment, Moment) {
        let from = self.from.map_or(start, |when| when.of(start));
        let until = self.until.map_or(Moment::from_millis(u64::MAX), |when| when.of(start));
        (from, until)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = |within: &Option<Duration>| {
            within.map(|it| format!(" within {it:?}")).unwrap_or_default()
        };
        match self {
            Self::Ejects(endpoint, time) => write!(f, "ejects {endpoint}{}", within(time)),
            Self::NeverEjects(None) => f.write_str("ejects nobody"),
            Self::NeverEjects(Some(endpoint)) => write!(f, "never ejects {endpoint}"),
            Self::Returns(endpoint, time) => write!(f, "{endpoint} returns{}", within(time)),
            Self::EjectedMost(most) => write!(f, "at most {most} ejected at once"),
            Self::MovedMost(most) => {
                write!(f, "moves at most {:.1} % of the traffic", 100.0 * most)
            }
            Self::Weight(endpoint, least, most) => {
                write!(f, "weight of {endpoint} at least {least}")?;
                if most.is_finite() { write!(f, " and at most {most}") } else { Ok(()) }
            }
            Self::Keeps(objective) => write!(f, "keeps {objective}"),
            Self::Rests => f.write_str("rests"),
            Self::Holds => f.write_str("holds"),
            Self::NewVersionMost(most) => {
                write!(f, "gives at most {:.1} % to its new version", 100.0 * most)
            }
        }
    }
}

#[cfg(test)]
mod tests;
