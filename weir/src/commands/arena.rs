//! `weir arena`: the scenarios of `weir simulate` on real Envoys and real sockets.
//!
//! Rivals are played one after another, never side by side: on one machine they would disturb each
//! other. What they are spared that way is chance, since all of a seed meet the same arrivals,
//! work and errors; a machine that is busy at one time and idle at another is not, so runs are
//! interleaved (seed by seed, the first rival a different one each time), and what left late is
//! counted. Beside each figure stands what the simulator says of the very same scenario.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use weir_policies::problem::{Colour, render};
use weir_simulator::score::Score;
use weir_testbed::envoy;

use super::simulate::play_one;
use super::{BAD_INPUT, OK};
use crate::cli::Arena;
use crate::scenarios::{Plan, Policy, Runs, read};

mod figures;
mod governed;
mod orders;
mod own;
mod scale;
mod show;
mod side;
mod stage;

use figures::{Entry, Ratios, Run};
use scale::Scale;
use show::Progress;
use side::{Side, Via};
use stage::Setting;

/// What a run takes beside its scenario: starting and ending Envoys and Weir.
const AROUND: Duration = Duration::from_secs(3);

/// Runs the command.
pub fn run(asked: &Arena, colour: Colour) -> anyhow::Result<u8> {
    let read = read(&asked.scenarios, asked.declare_workers, asked.policy.as_deref());
    let (plans, policy) = match read {
        Ok(read) => read,
        Err(problems) => {
            anstream::eprintln!("{}", render(&problems, colour));
            return Ok(BAD_INPUT);
        }
    };
    let sides = match asked.rivals.iter().map(|rival| Side::of(*rival)).collect() {
        Ok::<Vec<Side>, _>(sides) => sides,
        Err(why) => {
            anstream::eprintln!("error: {why}");
            return Ok(BAD_INPUT);
        }
    };
    if sides.iter().any(|side| side.via == Via::Envoy) {
        super::demo::can_watch(asked.proxies.into(), "the arena")?;
    }
    let path = envoy::find()?;
    super::run::log_quietly();
    super::run::runtime()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("listening for signals")?;
        tokio::select! {
            ended = play(asked, (&plans, &policy), &sides, &path) => ended,
            _ = interrupt.recv() => super::demo::stopped(),
            _ = terminate.recv() => super::demo::stopped(),
        }
    })
}

/// Plays everything and prints what it came to.
async fn play(
    asked: &Arena,
    (plans, policy): (&[Plan], &Policy),
    sides: &[Side],
    envoy: &Path,
) -> anyhow::Result<u8> {
    let progress = Progress::begin(expected(asked, plans, sides.len()))?;
    let series = Series { asked, sides, envoy, progress };
    let (mut entries, mut ratios) = (Vec::new(), Vec::new());
    for plan in plans {
        let of_plan = series.play(plan, policy).await?;
        ratios.extend(Ratios::of_first(&of_plan));
        entries.extend(of_plan);
    }
    series.progress.finish();
    show::print(&entries, &ratios, asked.output)?;
    Ok(OK)
}

fn expected(asked: &Arena, plans: &[Plan], sides: usize) -> Duration {
    let one = |plan: &Plan| Duration::from_secs_f64(plan.counted().1) + AROUND;
    let runs = u32::from(asked.seeds) * u32::try_from(sides).unwrap_or(u32::MAX);
    plans.iter().map(one).sum::<Duration>() * runs
}

/// All runs, one after another.
struct Series<'a> {
    asked: &'a Arena,
    sides: &'a [Side],
    envoy: &'a Path,
    progress: Progress,
}

impl Series<'_> {
    /// One scenario behind each side, all seeds.
    async fn play(&self, plan: &Plan, policy: &Policy) -> anyhow::Result<Vec<Entry>> {
        let scale = self.asked.scale.map_or_else(|| Scale::carried(plan), Scale::by);
        let policy = policy.scaled(scale.factor());
        let count = self.sides.len();
        let mut played: Vec<Vec<Run>> = vec![Vec::new(); count];
        for turn in 0..usize::from(self.asked.seeds) {
            let seed = self.asked.seed_base + turn as u64;
            let scenario = scale.scenario(&plan.scenario(seed, self.asked.proxies.into()));
            for index in (0..count).map(|index| (index + turn) % count) {
                let side = self.sides[index];
                let setting =
                    Setting { scenario: &scenario, side, policy: &policy, envoy: self.envoy };
                let (score, late) = self.measure(plan, setting).await?;
                let simulated = simulated(setting);
                let run = Run::of(seed, scale, (score, late), simulated);
                self.progress.ended(&plan.name, side.rival.name(), &run)?;
                played[index].push(run);
            }
        }
        let runs = Runs { proxies: self.asked.proxies, seeds: self.asked.seeds };
        let all = self.sides.iter().zip(played);
        Ok(all.map(|(side, played)| Entry::of(plan, *side, runs, scale, played)).collect())
    }

    async fn measure(&self, plan: &Plan, setting: Setting<'_>) -> anyhow::Result<(Score, f64)> {
        let rival = setting.side.rival.name();
        let shown = self.progress.during(&plan.name, rival, setting.scenario.seed);
        tokio::select! {
            ended = stage::play(setting) => {
                ended.with_context(|| format!("playing {} behind {rival}", plan.name))
            }
            never = shown => match never {},
        }
    }
}

/// What the simulator says of the same. It takes a second, in which nothing is being measured.
fn simulated(Setting { scenario, side, policy, .. }: Setting<'_>) -> Score {
    tokio::task::block_in_place(|| play_one(scenario, side.rival, &policy.goal))
}
