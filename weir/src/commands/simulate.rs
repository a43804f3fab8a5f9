//! `weir simulate`: scenarios, played by Weir and by its rivals, side by side.

use std::sync::Mutex;

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
use crate::cores;
use crate::recording::simulated;
use crate::scenarios::{Plan, Row, Runs, read};

pub(super) mod page;
pub(super) mod story;
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
    if let Some(folder) = &asked.journal {
        for plan in &plans {
            let scenario = plan.scenario(asked.seed_base, asked.proxies.into());
            simulated::record(&scenario, &policy.goal, &folder.join(&plan.name))?;
        }
    }
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
    cores::on_all(pairs.len() * seeds, "runs", |job| {
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
    cores::on_all(plans.len(), "stories", |job| {
        story::tell(&plans[job], (asked.seed_base, asked.proxies), goal)
    })
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
