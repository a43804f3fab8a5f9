//! A recording, its twins, and policies tried on them.
//!
//! Two fits: one that has not seen the held-out ticks, which is checked by them, and one of all,
//! in which the policies are tried. Both have to come to what was recorded when they are governed
//! as the recording was.

use weir_models::reference::Reference;
use weir_simulator::twin::check::{check, counted_from, impatient, is_held_out, open};
use weir_simulator::twin::{Doubt, Fit, Found, Governed, Guess, Plan, Seen, Tally, record};

use crate::cores;

/// What was recorded of one service.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) steps: Vec<Seen>,
    /// The goals that were in force, by second from the first step.
    pub(crate) plan: Plan,
}

/// What a study found.
#[derive(Debug)]
pub(crate) struct Study {
    /// What was recorded, over the ticks that count.
    pub(crate) recorded: Tally,
    /// The recorded policy on the checked twin, and what was recorded, over held-out ticks.
    pub(crate) held_out: (Tally, Tally),
    /// Of each plan in turn; the first is the recorded one.
    pub(crate) outcomes: Vec<Outcome>,
    /// Why it is inconclusive; nothing where it is not.
    pub(crate) doubts: Vec<Doubt>,
    pub(crate) found: Found,
    /// From which second on ticks count, and how many seconds there are.
    pub(crate) counted: (f64, f64),
}

/// What a plan came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The pooled runs of each world: the likely one first.
    pub(crate) worlds: Vec<Tally>,
    /// The likely world's runs, by seed.
    pub(crate) by_seed: Vec<Tally>,
    /// The likely world's run under the first seed, step by step.
    pub(crate) story: Vec<Seen>,
}

impl Outcome {
    /// The likely world's.
    pub(crate) fn likely(&self) -> &Tally {
        &self.worlds[0]
    }

    /// The least and the most of a figure over worlds and seeds.
    pub(crate) fn span(&self, of: impl Fn(&Tally) -> f64) -> (f64, f64) {
        let values = self.worlds.iter().chain(&self.by_seed).map(of);
        let start = (f64::INFINITY, f64::NEG_INFINITY);
        values.fold(start, |(least, most), value| (least.min(value), most.max(value)))
    }
}

/// Tries plans on twins of a recording, each under so many seeds. Nothing where there is no twin.
pub(crate) fn study(recorded: &Recorded, others: &[Plan], seeds: u16) -> Result<Study, Doubt> {
    let steps = &recorded.steps;
    let fits = fits(steps)?;
    let plans: Vec<&Plan> = std::iter::once(&recorded.plan).chain(others).collect();
    let seeds = usize::from(seeds.max(1));
    // The first fit plays the recorded plan alone.
    let jobs: Vec<(usize, usize, usize)> = (0..fits.len())
        .flat_map(|fit| (0..if fit == 0 { 1 } else { plans.len() }).map(move |plan| (fit, plan)))
        .flat_map(|(fit, plan)| (0..seeds).map(move |seed| (fit, plan, seed)))
        .collect();
    let from = counted_from(steps);
    let counts = |slot: usize| slot > from;
    let runs = cores::on_all(jobs.len(), "runs", |job| {
        let (fit, plan, seed) = jobs[job];
        let told = played(&fits[fit], plans[plan], seed as u64 + 1);
        let held_out = |slot: usize| counts(slot) && is_held_out(slot);
        let tally = if fit == 0 { Tally::of(&told, &held_out) } else { Tally::of(&told, &counts) };
        // One run is shown; all would be much to keep.
        (tally, if fit == 1 && seed == 0 { told } else { Vec::new() })
    });
    let mut runs = jobs.iter().zip(runs).peekable();
    let mut pooled = |fit: usize, plan: usize| {
        let mut tallies = Vec::new();
        let mut story = Vec::new();
        while let Some((_, (tally, told))) = runs.next_if(|(job, _)| (job.0, job.1) == (fit, plan))
        {
            tallies.push(tally);
            story = if told.is_empty() { story } else { told };
        }
        (pool(&tallies), tallies, story)
    };
    let (checked, ..) = pooled(0, 0);
    let mut outcomes: Vec<Outcome> = Vec::new();
    for fit in 1..fits.len() {
        for plan in 0..plans.len() {
            let (world, by_seed, story) = pooled(fit, plan);
            match outcomes.get_mut(plan) {
                Some(outcome) => outcome.worlds.push(world),
                None => outcomes.push(Outcome { worlds: vec![world], by_seed, story }),
            }
        }
    }
    let whole = Tally::of(steps, &counts);
    let held = Tally::of(steps, &|slot| counts(slot) && is_held_out(slot));
    let mut doubts = check(&held, &checked, true);
    doubts.extend(check(&whole, outcomes[0].likely(), false));
    doubts.extend(fits[0].unexplained());
    doubts.extend(impatient(None, std::slice::from_ref(&whole)));
    for (policy, outcome) in outcomes.iter().enumerate() {
        if policy > 0 {
            // What the recorded policy came to is known.
            doubts.extend(open(policy, &outcome.worlds));
        }
        doubts.extend(impatient(Some(policy), &outcome.worlds));
    }
    let scenario = fits[1].scenario(0);
    Ok(Study {
        recorded: whole,
        held_out: (checked, held),
        outcomes,
        doubts,
        found: fits[1].found(),
        counted: scenario.counted,
    })
}

/// The fit that is checked, and those in which plans are tried: the likely one first.
fn fits(steps: &[Seen]) -> Result<Vec<Fit>, Doubt> {
    let first = Fit::of(steps, &|slot| !is_held_out(slot), Guess::Likely)?;
    let settled = |counts: &[u32]| {
        cores::on_all(counts.len(), "twins", |job| {
            first.clone().with_workers(counts[job]).settled(steps)
        })
    };
    let mut tried = settled(&first.coarse());
    tried.extend(settled(&first.fine(&tried)));
    let checked = first.clone().best(tried);
    let guesses = Guess::ALL.into_iter().map(|guess| Fit::of(steps, &|_| true, guess));
    let guesses = guesses.map(|fit| Ok(fit?.with_workers_of(&checked)));
    let guesses = guesses.collect::<Result<Vec<Fit>, Doubt>>()?;
    let fits: Vec<&Fit> = std::iter::once(&checked).chain(&guesses).collect();
    let settled = cores::on_all(fits.len(), "twins", |job| fits[job].clone().settled(steps));
    Ok(settled.into_iter().map(Fit::strained).collect())
}

fn played(fit: &Fit, plan: &Plan, seed: u64) -> Vec<Seen> {
    let governed = Governed::new(Reference, plan);
    governed.map_or_else(Vec::new, |mut governed| {
        record(&fit.scenario(seed), fit.rival(), &mut governed)
    })
}

fn pool(tallies: &[Tally]) -> Tally {
    let mut pooled = Tally::default();
    for tally in tallies {
        pooled.pool(tally);
    }
    pooled
}
