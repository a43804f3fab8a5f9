//! `weir simulate`: scenarios, played by Weir and by its rivals, side by side.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use weir_engine::goal::{Goal, Indicator, Mode, Objective};
use weir_engine::units::{Millis, Ratio};
use weir_models::reference::Reference;
use weir_policies::check::{Document, check};
use weir_policies::problem::{Code, Colour, Problem, render};
use weir_simulator::governor::Governor;
use weir_simulator::rivals::Rival;
use weir_simulator::rivals::l3_split::Split;
use weir_simulator::score::Score;
use weir_simulator::world;

use super::{BAD_INPUT, OK};
use crate::cli::Simulate;

mod file;
mod scenario;
mod table;

use scenario::Plan;
use table::Row;

/// Runs the command.
pub fn run(asked: &Simulate, colour: Colour) -> anyhow::Result<u8> {
    let read =
        plans(&asked.scenarios).and_then(|plans| Ok((plans, goal(asked.policy.as_deref())?)));
    let (plans, goal) = match read {
        Ok(read) => read,
        Err(problems) => {
            anstream::eprintln!("{}", render(&problems, colour));
            return Ok(BAD_INPUT);
        }
    };
    let rivals = if asked.rivals.is_empty() { Rival::ALL.to_vec() } else { asked.rivals.clone() };
    let rows = play(asked, &plans, &rivals, &goal);
    table::print(&rows, asked.output)?;
    Ok(OK)
}

/// Reads all scenarios; all problems at once.
fn plans(paths: &[PathBuf]) -> Result<Vec<Plan>, Vec<Problem>> {
    let (mut plans, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        let files = match files(path) {
            Ok(files) => files,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        for file in files {
            match Plan::read(&file) {
                Ok(plan) => plans.push(plan),
                Err(found) => problems.extend(found),
            }
        }
    }
    if problems.is_empty() { Ok(plans) } else { Err(problems) }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Vec<Problem>> {
    let unreadable = |what: String| {
        let mend = "name scenario files, or a folder of them";
        vec![Problem::of_file(&path.display().to_string(), Code::Unreadable, &what, mend)]
    };
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let listed = std::fs::read_dir(path).map_err(|cause| unreadable(cause.to_string()))?;
    let paths = listed.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    if files.is_empty() { Err(unreadable("holds no .yaml file".to_owned())) } else { Ok(files) }
}

/// What Weir governs by: a policy of the user's, or what most would want.
fn goal(policy: Option<&Path>) -> Result<Goal, Vec<Problem>> {
    let mut goal = match policy {
        None => usual(),
        Some(path) => {
            let shown = path.display().to_string();
            let wrong = |what: &str, mend: &str| {
                vec![Problem::of_file(&shown, Code::Unreadable, what, mend)]
            };
            let bytes = std::fs::read(path).map_err(|cause| {
                wrong(&format!("cannot be read: {cause}"), "name a policy file")
            })?;
            let checked = check(&[Document::new(shown.clone(), bytes)])?;
            let first = checked.goals.services.into_iter().next();
            first.ok_or_else(|| wrong("governs no service", "name one under targetRefs"))?
        }
    };
    goal.service = world::service();
    goal.mode = Mode::Enforce;
    Ok(goal)
}

fn usual() -> Goal {
    let objective = |name: &str, target: f64, indicator: Indicator| Objective {
        name: name.into(),
        target: Ratio::clamped(target),
        window: std::time::Duration::from_secs(3_600),
        indicator,
    };
    let threshold = Millis::clamped(500.0);
    let mut goal = Goal::of_unclaimed(world::service());
    goal.objectives = vec![
        objective("available", 0.999, Indicator::Availability),
        objective("fast", 0.99, Indicator::Latency { threshold }),
    ];
    goal
}

/// Plays every scenario with every rival and seed, on all cores.
fn play(asked: &Simulate, plans: &[Plan], rivals: &[Rival], goal: &Goal) -> Vec<Row> {
    let pairs: Vec<(&Plan, Rival)> =
        plans.iter().flat_map(|plan| rivals.iter().map(move |rival| (plan, *rival))).collect();
    let scores: Vec<Mutex<Score>> = pairs.iter().map(|_| Mutex::default()).collect();
    let seeds = usize::from(asked.seeds);
    let bar = bar(pairs.len() * seeds);
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((pair, seed)) = job(&next, pairs.len(), seeds) {
                    let (plan, rival) = pairs[pair];
                    let seed = asked.seed_base + seed as u64;
                    let score = one(plan, rival, (seed, asked.proxies), goal);
                    let mut sum = scores[pair].lock().expect("no holder panics");
                    sum.pool(score);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let scores = scores.into_iter().map(|score| score.into_inner().expect("no holder panics"));
    let rows = pairs.iter().zip(scores);
    rows.map(|((plan, rival), score)| Row::of(plan, *rival, asked, score)).collect()
}

fn job(next: &AtomicUsize, pairs: usize, seeds: usize) -> Option<(usize, usize)> {
    let job = next.fetch_add(1, Ordering::Relaxed);
    (job < pairs * seeds).then(|| (job / seeds, job % seeds))
}

fn one(plan: &Plan, rival: Rival, (seed, proxies): (u64, u16), goal: &Goal) -> Score {
    let scenario = plan.scenario(seed, proxies.into());
    if rival == Rival::Weir {
        let mut governor = Governor::new(Reference, goal.clone());
        return world::run(&scenario, rival, |tick| governor.step(tick));
    }
    if rival == Rival::L3 {
        let mut split = Split::new(scenario.backends.len());
        return world::run(&scenario, rival, |tick| split.step(tick));
    }
    world::run(&scenario, rival, |_| None)
}

fn bar(jobs: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {eta} left")
        .expect("the template is fixed");
    ProgressBar::new(jobs as u64).with_style(style)
}
