//! `weir what-if`: what other policies would have come to, tried on a twin of a recording.
//!
//! Decisions change the world, so a journal alone cannot answer for another policy. A twin is
//! fitted to it ([`weir_simulator::twin`]), checked, and governed by each policy in closed loop.

use std::io::Write;

use weir_engine::goal::Goal;
use weir_engine::units::Moment;
use weir_policies::problem::{Colour, render};
use weir_simulator::twin::{REQUESTS_MAX, Seen};

use super::{BAD_INPUT, FINDINGS, OK};
use crate::cli::{Report, WhatIf};

mod journal;
mod page;
mod policies;
mod report;
pub(super) mod study;
mod table;

use journal::{Part, Told};
use policies::Tried;
use report::{Answer, Named, Price};
use study::{Recorded, Study, study};

/// Runs the command.
pub fn run(asked: &WhatIf, colour: Colour) -> anyhow::Result<u8> {
    let moment =
        |at: &jiff::Timestamp| Moment::from_millis(u64::try_from(at.as_millisecond()).unwrap_or(0));
    let part = Part {
        service: asked.service.clone(),
        from: asked.from.as_ref().map(moment),
        until: asked.to.as_ref().map(moment),
    };
    let mut told = match journal::read(&asked.journal, &part) {
        Ok(told) => told,
        Err(wrong) => {
            anstream::eprintln!("error: {wrong}");
            return Ok(BAD_INPUT);
        }
    };
    let tried = match policies::read(&asked.policies, &told.service) {
        Ok(tried) => tried,
        Err(problems) => {
            anstream::eprintln!("{}", render(&problems, colour));
            return Ok(BAD_INPUT);
        }
    };
    shorten(&mut told);
    told.notes.extend(changes(&told.recorded.steps));
    let (answer, study) =
        answer(&told, &tried, (asked.seeds, Price(asked.cost_per_million_cross_zone)));
    let mut out = anstream::stdout();
    match asked.output {
        Report::Table => write!(out, "{}", table::text(&answer))?,
        Report::Json => writeln!(out, "{:#}", serde_json::to_value(&answer)?)?,
        Report::Html => {
            let study = study.as_ref().map(|study| (study, &told.recorded));
            writeln!(out, "{}", page::page(&answer, study))?;
        }
    }
    Ok(if answer.conclusive { OK } else { FINDINGS })
}

/// Tries policies, and says what they came to.
fn answer(told: &Told, tried: &[Tried], (seeds, price): (u16, Price)) -> (Answer, Option<Study>) {
    let Told { service, recorded, notes } = told;
    let plans: Vec<_> = tried.iter().map(|one| vec![(0.0, one.goal.clone())]).collect();
    let name = |goal: &Goal| match goal.policy.as_str() {
        "" => "no policy".to_owned(),
        policy => format!("{policy} (recorded)"),
    };
    let base = recorded.plan.last().map(|(_, goal)| Named { name: name(goal), goal });
    let others = tried.iter().map(|one| Named { name: one.name.clone(), goal: &one.goal });
    let names: Vec<Named<'_>> = base.into_iter().chain(others).collect();
    match study(recorded, &plans, seeds) {
        Ok(study) => {
            let price = (seeds, price);
            let answer =
                report::of_study(service.to_string(), &study, &names, price, notes.clone());
            (answer, Some(study))
        }
        Err(doubt) => (report::of_doubt(service.to_string(), &doubt, seeds, notes.clone()), None),
    }
}

/// What endpoints that come and go mean for an answer.
fn changes(steps: &[Seen]) -> Option<String> {
    let declared = steps.iter().filter(|step| step.topology.is_some()).count();
    (declared > 1).then(|| {
        "endpoints changed in the recording, and change alike on the twin: an autoscaler that \
         follows load would do otherwise under another policy"
            .to_owned()
    })
}

/// Keeps the newest stretch that can be played.
fn shorten(told: &mut Told) {
    let Recorded { steps, plan } = &mut told.recorded;
    let requests = |step: &Seen| {
        let rows = step.traffic.iter().flat_map(|traffic| traffic.rows.iter());
        rows.map(|row| row.requests as f64).sum::<f64>()
    };
    let mut sum = 0.0;
    let fits = |step: &&Seen| {
        sum += requests(step);
        sum < REQUESTS_MAX
    };
    let kept = steps.iter().rev().take_while(fits).count();
    if kept == steps.len() || kept == 0 {
        return;
    }
    let cut = steps.split_off(steps.len() - kept);
    let before = std::mem::replace(steps, cut);
    let Some(first) = steps.first_mut() else { return };
    // What was in force stays in force.
    let declared = before.iter().rev().find_map(|step| step.topology.clone());
    let decided = before.iter().rev().find_map(|step| step.decided.clone());
    first.topology = first.topology.take().or(declared);
    first.decided = first.decided.take().or(decided);
    let start = before.first().map_or(first.at, |old| old.at);
    let gone = first.at.since(start).as_secs_f64();
    let in_force = plan.iter().rposition(|(from, _)| *from <= gone).unwrap_or(0);
    plan.drain(..in_force);
    for (from, _) in plan {
        *from = (*from - gone).max(0.0);
    }
    told.notes.push(format!(
        "{gone:.0} s at the beginning are left out: at most {REQUESTS_MAX:.0} requests are played; \
         --from and --to name another stretch"
    ));
}

#[cfg(test)]
mod tests;
