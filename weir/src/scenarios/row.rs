//! How a scenario went behind one rival's proxies, as programs read it.

use serde::Serialize;
use weir_engine::units::Ratio;
use weir_simulator::rivals::Rival;
use weir_simulator::score::Score;

use super::Plan;

/// How often a scenario was played, and behind how many proxies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs {
    pub(crate) proxies: u16,
    pub(crate) seeds: u16,
}

/// One scenario behind one rival's proxies, all seeds pooled.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    #[serde(skip)]
    pub(crate) description: String,
    pub(crate) rival: &'static str,
    pub(crate) proxies: u16,
    pub(crate) seeds: u16,
    pub(crate) requests: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) error_ratio: f64,
    pub(crate) cross_zone_ratio: f64,
    /// Tries beyond the first, and tries refused for want of a connection, per request.
    pub(crate) retry_ratio: f64,
    pub(crate) overflow_ratio: f64,
    pub(crate) goodput_rps: f64,
}

impl Row {
    pub(crate) fn of(plan: &Plan, rival: Rival, runs: Runs, mut score: Score) -> Self {
        score.sort();
        let (from, until) = plan.counted();
        let seconds = (until - from) * f64::from(runs.seeds);
        Self {
            scenario: plan.name.clone(),
            description: plan.description.clone(),
            rival: rival.name(),
            proxies: runs.proxies,
            seeds: runs.seeds,
            requests: score.requests,
            p50_ms: score.quantile_ms(Ratio::clamped(0.5)),
            p99_ms: score.p99_ms(),
            error_ratio: score.error_ratio().value(),
            cross_zone_ratio: score.cross_zone_ratio().value(),
            retry_ratio: score.retries as f64 / score.requests.max(1) as f64,
            overflow_ratio: score.overflows as f64 / score.requests.max(1) as f64,
            goodput_rps: (score.requests - score.errors) as f64 / seconds,
        }
    }

    /// What all rows have in common, in a sentence.
    pub(crate) fn said(&self) -> String {
        let of = |count: u16, one: &str, more: &str| {
            format!("{count} {}", if count == 1 { one } else { more })
        };
        let proxies = of(self.proxies, "proxy", "proxies");
        let seeds = of(self.seeds, "seed", "seeds");
        format!("{proxies}, {seeds} pooled; p50 and p99 over successes and timeouts.")
    }
}
