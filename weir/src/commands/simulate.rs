//! `weir simulate`: scenarios, played by Weir and by its rivals, side by side.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use weir_engine::decision::ServiceDecision;
use weir_engine::goal::Goal;
use weir_models::reference::Reference;
use weir_policies::problem::{Colour, render};
use weir_simulator::governor::Governor;
use weir_simulator::rivals::Rival;
use weir_simulator::rivals::l3_split::Split;
use weir_simulator::scenario::Scenario;
use weir_simulator::score::Score;
use weir_simulator::world::{self, Assignment, Tick};

use super::{BAD_INPUT, OK};
use crate::cli::{Report, Simulate};
use crate::scenarios::{Plan, Row, Runs, read};

mod page;
mod story;
mod table;

use story::Story;

/// Runs the command.
pub fn run(asked: &Simulate, colour: Colour) -> anyhow::Result<u8> {
    let read = read(&asked.scenarios, asked.declare_workers, asked.policy.as_deref());
    let (plans, policy) = match read {
        Ok(read) => read,
        Err(problems) => {
            anstream::eprintln!("{}", render(&problems, colour));
            return Ok(BAD_INPUT);
        }
    };
    let rivals = if asked.rivals.is_empty() { Rival::ALL.to_vec() } else { asked.rivals.clone() };
    let rows = play(asked, &plans, &rivals, &policy.goal);
    match asked.output {
        Report::Table => table::print(&rows)?,
        Report::Json => table::print_json(&rows)?,
        Report::Html => {
            let has_weir = rivals.contains(&Rival::Weir);
            let stories = if has_weir { stories(asked, &plans, &policy.goal) } else { Vec::new() };
            page::print(&rows, &plans, &stories)?;
        }
    }
    Ok(OK)
}

/// Plays every scenario with every rival and seed, on all cores.
fn play(asked: &Simulate, plans: &[Plan], rivals: &[Rival], goal: &Goal) -> Vec<Row> {
    let pairs: Vec<(&Plan, Rival)> =
        plans.iter().flat_map(|plan| rivals.iter().map(move |rival| (plan, *rival))).collect();
    let scores: Vec<Mutex<Score>> = pairs.iter().map(|_| Mutex::default()).collect();
    let seeds = usize::from(asked.seeds);
    on_all_cores(pairs.len() * seeds, |job| {
        let (plan, rival) = pairs[job / seeds];
        let seed = asked.seed_base + (job % seeds) as u64;
        let score = one(plan, rival, (seed, asked.proxies), goal);
        scores[job / seeds].lock().expect("no holder panics").pool(score);
    });
    let scores = scores.into_iter().map(|score| score.into_inner().expect("no holder panics"));
    let rows = pairs.iter().zip(scores);
    let runs = Runs { proxies: asked.proxies, seeds: asked.seeds };
    rows.map(|((plan, rival), score)| Row::of(plan, *rival, runs, score)).collect()
}

/// Plays every scenario once more with Weir and without, under the first seed, and listens.
fn stories(asked: &Simulate, plans: &[Plan], goal: &Goal) -> Vec<Story> {
    let told: Vec<Mutex<Option<Story>>> = plans.iter().map(|_| Mutex::default()).collect();
    on_all_cores(plans.len(), |job| {
        let story = story::tell(&plans[job], (asked.seed_base, asked.proxies), goal);
        *told[job].lock().expect("no holder panics") = Some(story);
    });
    let told = told.into_iter().map(|story| story.into_inner().expect("no holder panics"));
    told.map(|story| story.expect("every job was done")).collect()
}

fn on_all_cores(jobs: usize, work: impl Fn(usize) + Sync) {
    let bar = bar(jobs);
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= jobs {
                        break;
                    }
                    work(job);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
}

/// Weir's loops, one for each tier that a scenario may have.
struct Governors([Governor<Reference>; 2]);

impl Governors {
    fn new(goal: &Goal) -> Self {
        Self([(); 2].map(|()| Governor::new(Reference, goal.clone())))
    }

    fn step(&mut self, tick: Tick) -> Option<Assignment> {
        self.0.get_mut(tick.tier)?.step(tick)
    }

    /// What was last decided about a tier.
    fn last(&self, tier: usize) -> Option<&ServiceDecision> {
        self.0.get(tier)?.last.as_deref()
    }
}

fn one(plan: &Plan, rival: Rival, (seed, proxies): (u64, u16), goal: &Goal) -> Score {
    play_one(&plan.scenario(seed, proxies.into()), rival, goal)
}

/// Plays one scenario behind one rival's proxies.
pub(super) fn play_one(scenario: &Scenario, rival: Rival, goal: &Goal) -> Score {
    if rival == Rival::Weir {
        let mut governors = Governors::new(goal);
        return world::run(scenario, rival, |tick| governors.step(tick));
    }
    if rival == Rival::L3 {
        let behind = scenario.chain.as_ref().map_or(0, |chain| chain.backends.len());
        let mut splits = [Split::new(scenario.backends.len()), Split::new(behind)];
        return world::run(scenario, rival, |tick| splits.get_mut(tick.tier)?.step(tick));
    }
    world::run(scenario, rival, |_| None)
}

fn bar(jobs: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {eta} left")
        .expect("the template is fixed");
    ProgressBar::new(jobs as u64).with_style(style)
}
