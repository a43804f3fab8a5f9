//! `weir journal`: what was recorded, for people and for other tools.

use std::io::{self, Write};

use weir_engine::decision::ServiceDecision;
use weir_engine::units::Moment;
use weir_journal::Pushed;

use super::replay::unreadable;
use super::{BAD_INPUT, OK};
use crate::cli::{Journal, Show, Stretch};
use crate::recording::{ReadError, Recording};
use crate::replay::{self, ReplayError, Turn};
use crate::times::shown;

mod export;
mod ls;
mod verify;

/// Runs the command.
pub fn run(asked: &Journal) -> anyhow::Result<u8> {
    let done = match asked {
        Journal::Ls { journal, output } => ls::run(journal, *output),
        Journal::Show(asked) => show(asked),
        Journal::Verify { journal, output } => verify::run(journal, *output),
        Journal::Export { part, format } => export::run(part, *format),
    };
    match done {
        Ok(code) => Ok(code),
        Err(Failed::Reading(error)) => unreadable(&error),
        // Whoever reads has seen enough.
        Err(Failed::Writing(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(OK),
        Err(Failed::Writing(error)) => Err(error.into()),
    }
}

/// What went wrong.
#[derive(Debug)]
enum Failed {
    Reading(ReplayError),
    Writing(io::Error),
}

impl From<ReplayError> for Failed {
    fn from(error: ReplayError) -> Self {
        Self::Reading(error)
    }
}

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Self {
        Self::Reading(error.into())
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Writing(error)
    }
}

/// The steps of a stretch, in order, until writing fails.
fn steps(part: &Stretch, mut each: impl FnMut(Turn<'_>) -> io::Result<()>) -> Result<u64, Failed> {
    let recording = Recording::open(&part.journal)?;
    let start = recording.begins()?;
    let from = part.from.map(|when| when.of(start));
    let until = part.until.map(|when| when.of(start));
    let (mut seen, mut written) = (0, Ok(()));
    let mut eye = |turn: Turn<'_>| {
        let at = turn.decision.at;
        let inside = from.is_none_or(|from| at >= from) && until.is_none_or(|until| at <= until);
        if inside && written.is_ok() {
            seen += 1;
            written = each(turn);
        }
    };
    replay::all(&recording, &mut eye)?;
    written?;
    Ok(seen)
}

/// Whether a decision is about a wanted service.
fn is_wanted(part: &Stretch, decision: &ServiceDecision) -> bool {
    part.service.as_ref().is_none_or(|service| *service == decision.service)
}

/// Prints decisions: those that come to something else than the one before, or all.
fn show(asked: &Show) -> Result<u8, Failed> {
    let mut out = anstream::stdout();
    let mut told = std::collections::BTreeMap::new();
    let mut shown_any = false;
    let seen = steps(&asked.part, |turn| {
        for decision in turn.decision.services.iter().filter(|one| is_wanted(&asked.part, one)) {
            let text = lines(decision, turn.decision.at);
            let before = told.insert(decision.service.clone(), text.1.clone());
            if asked.all || before.as_ref() != Some(&text.1) {
                shown_any = true;
                let (at, sequence) = (shown(turn.decision.at), turn.decision.sequence);
                writeln!(out, "{at}  decision {sequence}  {}", text.0)?;
            }
        }
        if asked.part.service.is_none() && !turn.step.pushed.is_empty() {
            let (at, sequence) = (shown(turn.decision.at), turn.decision.sequence);
            let told: Vec<_> = turn.step.pushed.iter().map(told_anew).collect();
            writeln!(out, "{at}  decision {sequence}  told proxies: {}", told.join(", "))?;
        }
        Ok(())
    })?;
    if !shown_any {
        let what = if seen == 0 { "no step" } else { "no decision about that service" };
        writeln!(anstream::stderr(), "{what} is in that part of the journal")?;
        return Ok(BAD_INPUT);
    }
    Ok(OK)
}

/// One resource that proxies were told anew.
fn told_anew(pushed: &Pushed) -> String {
    let Pushed { kind, name, to, version } = pushed;
    let to = if to.is_empty() { String::new() } else { format!(" for {to}") };
    let version = version.map_or_else(|| "gone".to_owned(), |version| format!("{version:016x}"));
    format!("{kind} {name}{to} {version}")
}

/// A decision as people read it, and what must change for it to be told again: numbers that move
/// with every step do not.
fn lines(decision: &ServiceDecision, at: Moment) -> (String, String) {
    let (mut text, mut key) =
        (decision.summary(), format!("{:?}", std::mem::discriminant(&decision.stance)));
    for endpoint in &decision.endpoints {
        let state = std::mem::discriminant(&endpoint.state);
        let reason = std::mem::discriminant(&endpoint.reason);
        key += &format!(" {} {state:?} {reason:?} {:.1}", endpoint.address, endpoint.weight);
        let unequal = (endpoint.weight - 1.0).abs() > 0.005 || endpoint.is_ejected();
        if unequal || endpoint.bound.is_some() {
            text += &format!(
                "\n    {} at {:.2} x: {}",
                endpoint.address,
                endpoint.weight,
                endpoint.sentence(at)
            );
        }
    }
    (text, key)
}
