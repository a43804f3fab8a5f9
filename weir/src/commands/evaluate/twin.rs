//! `weir evaluate twin`: whether twins of recordings foretell what another policy comes to.
//!
//! Each scenario is played once with Weir acting and once with it watching, and both are recorded.
//! From either recording the other is asked for, and the simulator knows the answer.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use weir_engine::decision::ServiceDecision;
use weir_engine::goal::{Goal, Mode};
use weir_models::reference::Reference;
use weir_simulator::governor::Governor;
use weir_simulator::rivals::Rival;
use weir_simulator::scenario::Scenario;
use weir_simulator::twin::check::{counted_from, is_close};
use weir_simulator::twin::{Doubt, Figure, Govern, Tally, record};
use weir_simulator::world::{Assignment, Tick};

use super::{Found, Report, table};
use crate::commands::what_if::study::{Recorded, Study, study};
use crate::cores;
use crate::scenarios::{Plan, read};

/// The proxies of each scenario.
const PROXIES: usize = 40;

/// The truth is pooled over so many draws of the same faults.
const DRAWS: u64 = 3;

/// Seeds of a study.
const SEEDS: u16 = 3;

/// Weir at each tier of a scenario; the first is the one that is recorded.
struct Tiers([Governor<Reference>; 2]);

impl Tiers {
    /// What is asked for is asked for the first tier: a journal's question is about one service.
    fn new(first: &Goal, second: &Goal) -> Self {
        Self([first, second].map(|goal| Governor::new(Reference, goal.clone())))
    }
}

impl Govern for Tiers {
    fn step(&mut self, tick: Tick) -> Option<Assignment> {
        self.0.get_mut(tick.tier)?.step(tick)
    }

    fn last(&self) -> Option<Arc<ServiceDecision>> {
        self.0[0].last.clone()
    }
}

/// One question: a scenario, recorded in one mode and asked for in the other.
struct Answer {
    scenario: String,
    seed: u64,
    recorded: Mode,
    study: Result<Study, Doubt>,
    truth: Tally,
}

/// Measures.
pub(super) fn evaluate(paths: &[PathBuf], seeds: &Range<u64>) -> Found<Report> {
    let (plans, policy) = read(paths, false, None::<&Path>)?;
    let asked: Vec<(&Plan, u64, Mode)> = plans
        .iter()
        .flat_map(|plan| seeds.clone().map(move |seed| (plan, seed)))
        .flat_map(|(plan, seed)| [Mode::Observe, Mode::Enforce].map(|mode| (plan, seed, mode)))
        .collect();
    let answers: Vec<Answer> =
        asked.iter().map(|&(plan, seed, mode)| answer(plan, seed, mode, &policy.goal)).collect();
    Ok(report(&answers))
}

fn other(mode: Mode) -> Mode {
    if mode == Mode::Enforce { Mode::Observe } else { Mode::Enforce }
}

fn answer(plan: &Plan, seed: u64, mode: Mode, goal: &Goal) -> Answer {
    let scenario = plan.scenario(seed, PROXIES);
    let of = |mode: Mode| Goal { mode, ..goal.clone() };
    let recorded = Recorded {
        steps: record(&scenario, Rival::Weir, &mut Tiers::new(&of(mode), &of(mode))),
        plan: vec![(0.0, of(mode))],
    };
    let study = study(&recorded, &[vec![(0.0, of(other(mode)))]], SEEDS);
    let from = counted_from(&recorded.steps);
    let runs = cores::on_all(usize::try_from(DRAWS).unwrap_or(1), "draws", |draw| {
        // The same faults and other chance.
        let scenario = Scenario { seed: seed + 1_000 * draw as u64, ..scenario.clone() };
        let mut tiers = Tiers::new(&of(other(mode)), &of(mode));
        let steps = record(&scenario, Rival::Weir, &mut tiers);
        Tally::of(&steps, &|slot| slot > from)
    });
    let mut truth = Tally::default();
    for run in &runs {
        truth.pool(run);
    }
    Answer { scenario: plan.name.clone(), seed, recorded: mode, study, truth }
}

impl Answer {
    /// Of each figure: foretold and true.
    fn figures(&self) -> Option<[(f64, f64); 3]> {
        let study = self.study.as_ref().ok()?;
        let told = study.outcomes.get(1)?.likely();
        Some(Figure::ALL.map(|figure| (told.figure(figure), self.truth.figure(figure))))
    }

    fn is_conclusive(&self) -> bool {
        self.study.as_ref().is_ok_and(|study| study.doubts.is_empty())
    }

    fn is_right(&self) -> bool {
        let figures = self.figures();
        figures.is_some_and(|all| {
            Figure::ALL
                .iter()
                .zip(all)
                .all(|(figure, (told, truth))| is_close(*figure, truth, told))
        })
    }

    fn doubts(&self) -> String {
        match &self.study {
            Ok(study) => {
                study.doubts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
            Err(doubt) => doubt.to_string(),
        }
    }
}

fn mode(mode: Mode) -> &'static str {
    if mode == Mode::Enforce { "Enforce" } else { "Observe" }
}

fn report(answers: &[Answer]) -> Report {
    let row = |answer: &Answer| {
        let figures = answer.figures();
        let mut cells = vec![
            answer.scenario.clone(),
            answer.seed.to_string(),
            format!("{} for {}", mode(answer.recorded), mode(other(answer.recorded))),
        ];
        for (index, figure) in Figure::ALL.iter().enumerate() {
            let pair = figures.map(|all| all[index]);
            cells.push(pair.map_or("-".to_owned(), |(told, truth)| {
                format!("{} ({})", figure.said(told), figure.said(truth))
            }));
        }
        let verdict = match (answer.is_conclusive(), answer.is_right()) {
            (true, true) => "right",
            (true, false) => "WRONG",
            (false, true) => "inconclusive",
            (false, false) => "inconclusive, off",
        };
        cells.push(verdict.to_owned());
        cells
    };
    let header = ["scenario", "seed", "recorded, asked", "p50", "p99", "errors", "verdict"];
    let mut tables = vec![("Foretold (true)".to_owned(), table(&header, answers.iter().map(row)))];
    tables.push(("Summary".to_owned(), summary(answers)));
    let notes = answers.iter().filter(|answer| !answer.is_conclusive()).map(|answer| {
        let Answer { scenario, seed, recorded, .. } = answer;
        format!("{scenario}, seed {seed}, from {}: {}", mode(*recorded), answer.doubts())
    });
    let document = json!({ "rows": answers.iter().map(document).collect::<Vec<_>>() });
    Report { tables, notes: notes.collect(), document }
}

fn summary(answers: &[Answer]) -> comfy_table::Table {
    let of = |recorded: Mode| {
        let own: Vec<&Answer> =
            answers.iter().filter(|answer| answer.recorded == recorded).collect();
        let count = |of: &dyn Fn(&Answer) -> bool| own.iter().filter(|one| of(one)).count();
        vec![
            format!("{} for {}", mode(recorded), mode(other(recorded))),
            own.len().to_string(),
            count(&|one| one.is_conclusive() && one.is_right()).to_string(),
            count(&|one| one.is_conclusive() && !one.is_right()).to_string(),
            count(&|one| !one.is_conclusive() && one.is_right()).to_string(),
            count(&|one| !one.is_conclusive() && !one.is_right()).to_string(),
        ]
    };
    let header = ["", "all", "right", "wrong", "inconclusive, though right", "inconclusive"];
    table(&header, [Mode::Observe, Mode::Enforce].map(of))
}

fn document(answer: &Answer) -> Value {
    let mut figures = Map::new();
    for (index, figure) in Figure::ALL.iter().enumerate() {
        let pair = answer.figures().map(|all| all[index]);
        let told = json!({ "told": pair.map(|pair| pair.0), "truth": pair.map(|pair| pair.1) });
        figures.insert(figure.key().to_owned(), told);
    }
    json!({
        "scenario": answer.scenario,
        "seed": answer.seed,
        "recorded": mode(answer.recorded),
        "asked": mode(other(answer.recorded)),
        "conclusive": answer.is_conclusive(),
        "right": answer.is_right(),
        "figures": figures,
        "doubts": answer.doubts(),
        "endpoints": endpoints(answer),
    })
}

/// What the twin takes endpoints for.
fn endpoints(answer: &Answer) -> Vec<Value> {
    let endpoints = answer.study.as_ref().map(|study| study.found.endpoints.as_slice());
    let one = |one: &weir_simulator::twin::Endpoint| {
        json!({ "workers": [one.workers.0, one.workers.1, one.workers.2],
                "work_ms": one.works_ms, "errors": one.errors })
    };
    endpoints.unwrap_or_default().iter().map(one).collect()
}
