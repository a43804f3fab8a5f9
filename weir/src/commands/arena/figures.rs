//! What runs came to: a row per scenario and rival, and the ratios between rivals with their
//! spread over runs.

use serde::Serialize;
use weir_engine::units::Ratio;
use weir_simulator::score::Score;

use super::scale::Scale;
use super::side::Side;
use crate::scenarios::{Plan, Row, Runs};

/// Added to both error ratios before one is divided by the other: where neither side failed, they
/// are alike.
const ERRORS_FLOOR: f64 = 0.0001;

/// More requests than this that left late, and the machine was too busy for a figure to mean
/// anything.
pub(super) const LATE_MAX: f64 = 0.001;

/// One run, and the simulation of the same; latencies in the scenario's own units.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) score: Score,
    pub(super) simulated: Score,
    /// The part of requests that left late.
    pub(super) late: f64,
}

impl Run {
    pub(super) fn of(
        seed: u64,
        scale: Scale,
        (score, late): (Score, f64),
        simulated: Score,
    ) -> Self {
        let [score, simulated] = [score, simulated].map(|mut score| {
            for latency in &mut score.latencies_ms {
                *latency /= scale.factor();
            }
            score.sort();
            score
        });
        Self { seed, score, simulated, late }
    }
}

/// What people compare.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Figures {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) error_ratio: f64,
}

impl Figures {
    pub(super) fn of(score: &Score) -> Self {
        Self {
            p50_ms: score.quantile_ms(Ratio::clamped(0.5)),
            p99_ms: score.p99_ms(),
            error_ratio: score.error_ratio().value(),
        }
    }
}

/// One run of a row.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Seed {
    seed: u64,
    #[serde(flatten)]
    measured: Figures,
    simulated: Figures,
    late_ratio: f64,
}

/// One scenario behind one rival's proxies.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub(super) row: Row,
    /// What picked endpoints.
    pub(super) via: &'static str,
    /// By what rates were divided and times within requests multiplied.
    pub(super) scale: f64,
    /// The part of requests that left late.
    pub(super) late_ratio: f64,
    /// The simulator's figures for the same requests, seeds pooled.
    pub(super) simulated: Figures,
    pub(super) by_seed: Vec<Seed>,
}

impl Entry {
    pub(super) fn of(plan: &Plan, side: Side, runs: Runs, scale: Scale, played: Vec<Run>) -> Self {
        let count = played.len().max(1) as f64;
        let late_ratio = played.iter().map(|run| run.late).sum::<f64>() / count;
        let by_seed = played.iter().map(|run| Seed {
            seed: run.seed,
            measured: Figures::of(&run.score),
            simulated: Figures::of(&run.simulated),
            late_ratio: run.late,
        });
        let by_seed = by_seed.collect();
        let (mut score, mut simulated) = (Score::default(), Score::default());
        for run in played {
            score.pool(run.score);
            simulated.pool(run.simulated);
        }
        simulated.sort();
        let mut row = Row::of(plan, side.rival, runs, score);
        row.goodput_rps *= scale.factor();
        Self {
            row,
            via: side.via.name(),
            scale: scale.factor(),
            late_ratio,
            simulated: Figures::of(&simulated),
            by_seed,
        }
    }

    fn pooled(&self) -> Figures {
        let Row { p50_ms, p99_ms, error_ratio, .. } = self.row;
        Figures { p50_ms, p99_ms, error_ratio }
    }
}

/// A ratio over all runs, with the least and the largest of single ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) pooled: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) simulated: f64,
}

/// The first rival's figures over another's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Ratios {
    pub(super) scenario: String,
    pub(super) rival: &'static str,
    pub(super) to: &'static str,
    pub(super) p99: Spread,
    pub(super) errors: Spread,
}

impl Ratios {
    /// The first entry's over each other's, of one scenario.
    pub(super) fn of_first(entries: &[Entry]) -> Vec<Self> {
        let [first, others @ ..] = entries else { return Vec::new() };
        others.iter().map(|other| Self::of(first, other)).collect()
    }

    fn of(entry: &Entry, other: &Entry) -> Self {
        let p99 = |a: Figures, b: Figures| a.p99_ms / b.p99_ms.max(f64::MIN_POSITIVE);
        let errors = |a: Figures, b: Figures| {
            (a.error_ratio + ERRORS_FLOOR) / (b.error_ratio + ERRORS_FLOOR)
        };
        let spread = |ratio: &dyn Fn(Figures, Figures) -> f64| {
            let pairs = entry.by_seed.iter().zip(&other.by_seed);
            let single = pairs.map(|(a, b)| ratio(a.measured, b.measured));
            let (least, most) = single.fold((f64::INFINITY, 0.0_f64), |(least, most), one| {
                (least.min(one), most.max(one))
            });
            Spread {
                pooled: ratio(entry.pooled(), other.pooled()),
                least,
                most,
                simulated: ratio(entry.simulated, other.simulated),
            }
        };
        Self {
            scenario: entry.row.scenario.clone(),
            rival: entry.row.rival,
            to: other.row.rival,
            p99: spread(&p99),
            errors: spread(&errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_simulator::rivals::Rival;

    fn score(latencies_ms: &[f64], errors: u64) -> Score {
        let requests = latencies_ms.len() as u64 + errors;
        Score { requests, errors, latencies_ms: latencies_ms.to_vec(), ..Score::default() }
    }

    fn entry(rival: Rival, runs: &[(f64, u64)]) -> Entry {
        let text = "load: [{rps: 100}]\nbackends: [{count: 2}]";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pair.yaml");
        std::fs::write(&path, text).unwrap();
        let plan = Plan::read(&path).unwrap();
        let scale = Scale::by(4.0);
        let played = (1..).zip(runs).map(|(seed, (latency, errors))| {
            let measured = score(&[40.0, *latency], *errors);
            Run::of(seed, scale, (measured, 0.0), score(&[40.0, 80.0], 0))
        });
        let counts = Runs { proxies: 4, seeds: u16::try_from(runs.len()).unwrap() };
        Entry::of(&plan, Side::of(rival).unwrap(), counts, scale, played.collect())
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn figures_are_in_the_scenarios_units() {
        let entry = entry(Rival::Weir, &[(400.0, 0), (400.0, 2)]);
        close(entry.row.p99_ms, 100.0);
        close(entry.row.p50_ms, 10.0);
        close(entry.row.error_ratio, 2.0 / 6.0);
        close(entry.simulated.p99_ms, 20.0);
        // Four good requests in two runs of 50 s at a quarter of the rate.
        close(entry.row.goodput_rps, 4.0 / 100.0 * 4.0);
        let json = serde_json::to_value(&entry).unwrap();
        for key in ["scenario", "rival", "proxies", "seeds", "requests", "scale", "via"] {
            assert!(!json[key].is_null(), "{key} in {json}");
        }
    }

    #[test]
    fn ratios_have_the_spread_of_single_runs() {
        let weir = entry(Rival::Weir, &[(200.0, 0), (300.0, 0)]);
        let other = entry(Rival::LeastRequestOd, &[(400.0, 0), (400.0, 2)]);
        let ratios = Ratios::of_first(&[weir, other]);
        let [Ratios { p99, errors, to, .. }] = &ratios[..] else { panic!("{ratios:?}") };
        assert_eq!(*to, "least-request+od");
        close(p99.pooled, 0.75);
        close(p99.least, 0.5);
        close(p99.most, 0.75);
        close(p99.simulated, 1.0);
        close(errors.most, 1.0);
        close(errors.least, 0.0001 / 0.5001);
    }

    #[test]
    fn one_alone_has_no_ratio() {
        assert_eq!(Ratios::of_first(&[entry(Rival::Weir, &[(1.0, 0)])]), []);
    }
}
