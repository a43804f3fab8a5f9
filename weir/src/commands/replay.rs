//! `weir replay`: a journal decided again, by its own goals or by others.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use weir_journal::Damage;
use weir_policies::check::check;
use weir_policies::problem::{Code, Colour, Problem, render};

use super::{BAD_INPUT, FINDINGS, OK};
use crate::cli::{Output, Replay};
use crate::recording::{ReadError, Recording};
use crate::replay::{BUILD, Part, ReplayError, Turn, segment};
use crate::times::shown;
use crate::{cores, goals};

mod anew;
mod beside;

/// Runs the command.
pub fn run(asked: &Replay, colour: Colour) -> anyhow::Result<u8> {
    let recording = match Recording::open(&asked.journal) {
        Ok(recording) => recording,
        Err(error) => return unreadable(&error.into()),
    };
    match (&asked.policy, &asked.write) {
        (Some(policy), _) => other(&recording, policy, (asked.output, colour)),
        (None, Some(folder)) => anew::run(&recording, folder, asked.output),
        (None, None) => identical(&recording, asked.output),
    }
}

/// Proves that every decision is the same.
fn identical(recording: &Recording, output: Output) -> anyhow::Result<u8> {
    let began = Instant::now();
    let paths = recording.segments();
    let parts =
        cores::on_all(paths.len(), "segments", |job| segment(&paths[job], &mut |_: Turn<'_>| {}));
    let took = began.elapsed();
    let parts: Vec<Part> = match parts.into_iter().collect() {
        Ok(parts) => parts,
        Err(error) => return unreadable(&error),
    };
    let breaks = breaks(&parts);
    let different: u64 = parts.iter().map(|part| part.different).sum();
    match output {
        Output::Json => {
            let document = document(&parts, &breaks, took.as_secs_f64());
            writeln!(anstream::stdout(), "{document:#}")?;
        }
        Output::Table => tell(&parts, &breaks, took.as_secs_f64())?,
    }
    Ok(if different == 0 && breaks.is_empty() { OK } else { FINDINGS })
}

/// Where the chain between segments is broken, and where one that is not the last is torn.
fn breaks(parts: &[Part]) -> Vec<String> {
    let mut breaks = Vec::new();
    for pair in parts.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        if let Some(torn) = &before.torn {
            breaks.push(format!("{}: {torn}, and another segment follows", before.path.display()));
        } else if before.links.1 != after.links.0 {
            breaks.push(broken(&before.path, &after.path));
        }
    }
    breaks
}

/// Says that one segment does not continue another.
pub(super) fn broken(before: &Path, after: &Path) -> String {
    format!(
        "{} does not continue {}: a segment between them is missing, or one was changed",
        after.display(),
        before.display()
    )
}

/// Says what a torn end means.
pub(super) fn killed(torn: &str) -> String {
    format!("{torn}: its process was killed while it wrote; all before is whole")
}

fn tell(parts: &[Part], breaks: &[String], took: f64) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    let steps: u64 = parts.iter().map(|part| part.steps).sum();
    let different: u64 = parts.iter().map(|part| part.different).sum();
    if let (Some(first), Some(last)) = (parts.first(), parts.last()) {
        writeln!(
            out,
            "journal   {}, {} to {}",
            counted(parts.len(), "segment"),
            shown(first.from),
            shown(last.until)
        )?;
        writeln!(
            out,
            "replayed  {steps} steps of {} and {} in {took:.1} s",
            counted(last.services, "service"),
            counted(last.endpoints, "endpoint")
        )?;
        if let Some(torn) = &last.torn {
            writeln!(out, "torn      {}", killed(torn))?;
        }
    }
    for broken in breaks {
        writeln!(out, "broken    {broken}")?;
    }
    let first = parts.iter().find_map(|part| Some((part, part.first.as_ref()?)));
    let Some((part, first)) = first else {
        writeln!(out, "identical every decision is the same, byte for byte")?;
        return Ok(());
    };
    writeln!(
        out,
        "different {different} of {steps} decisions; the first is {} at {}",
        first.sequence,
        shown(first.at)
    )?;
    for what in &first.what {
        writeln!(out, "          {what}")?;
    }
    writeln!(out, "          {}", why(part))?;
    Ok(())
}

/// Why decisions may differ.
fn why(part: &Part) -> String {
    let (build, model) = (&part.build, &part.model);
    if part.is_of_another() {
        format!(
            "decided by weir {build} with {model}; this is weir {BUILD}, which may decide otherwise"
        )
    } else {
        format!(
            "weir {build} with {model} decided it too: either a build between releases, or deciding \
             is not deterministic, which is a mistake in weir to report with this journal"
        )
    }
}

fn document(parts: &[Part], breaks: &[String], took: f64) -> serde_json::Value {
    let segments = parts.iter().map(|part| {
        json!({
            "path": part.path.display().to_string(),
            "from": shown(part.from),
            "until": shown(part.until),
            "build": part.build,
            "model": part.model,
            "steps": part.steps,
            "endpoint_steps": part.endpoint_steps,
            "different": part.different,
            "torn": part.torn,
            "first": part.first.as_ref().map(|first| json!({
                "at": shown(first.at), "decision": first.sequence, "what": first.what,
                "why": why(part),
            })),
        })
    });
    json!({
        "identical": parts.iter().all(|part| part.different == 0),
        "seconds": took,
        "broken": breaks,
        "segments": segments.collect::<Vec<_>>(),
    })
}

/// Decides by other goals beside the recorded ones.
fn other(recording: &Recording, policy: &Path, told: (Output, Colour)) -> anyhow::Result<u8> {
    let goals = match goals::documents(&[policy.to_owned()]).and_then(|documents| check(&documents))
    {
        Ok(checked) => checked.goals,
        Err(problems) => {
            anstream::eprintln!("{}", render(&problems, told.1));
            return Ok(BAD_INPUT);
        }
    };
    let compared = match crate::replay::compare::compare(recording, &goals) {
        Ok(compared) => compared,
        Err(error) => return unreadable(&error),
    };
    let named: Vec<_> = goals.services.iter().map(|goal| &goal.service).collect();
    let unknown: Vec<_> = named.iter().filter(|name| !compared.contains_key(**name)).collect();
    if !unknown.is_empty() {
        let known = compared.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let problems: Vec<Problem> = unknown
            .iter()
            .map(|name| {
                let what = format!("governs {name}, which is not in the journal");
                let mend = format!("name one of {known} under targetRefs");
                Problem::of_file(&policy.display().to_string(), Code::Unreadable, &what, &mend)
            })
            .collect();
        anstream::eprintln!("{}", render(&problems, told.1));
        return Ok(BAD_INPUT);
    }
    beside::print(&compared, policy, told.0)?;
    Ok(OK)
}

/// A journal that cannot be read, or not be decided again.
pub(super) fn unreadable(error: &ReplayError) -> anyhow::Result<u8> {
    writeln!(anstream::stderr(), "error: {error}")?;
    if let Some(help) = help(error) {
        writeln!(anstream::stderr(), "  = help: {help}")?;
    }
    Ok(BAD_INPUT)
}

/// How to mend it, where something can be done.
pub(super) fn help(error: &ReplayError) -> Option<&'static str> {
    match error {
        ReplayError::Read(ReadError::Damaged { cause: Damage::Newer { .. }, .. }) => None,
        ReplayError::Read(ReadError::Damaged { cause: Damage::Foreign, .. }) => {
            Some("name a .weir file that weir wrote, or a folder of them")
        }
        ReplayError::Read(ReadError::Damaged { .. }) => {
            Some("`weir journal verify` says what is whole")
        }
        ReplayError::Read(_) | ReplayError::Headless(_) | ReplayError::State { .. } => None,
    }
}

pub(super) fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
