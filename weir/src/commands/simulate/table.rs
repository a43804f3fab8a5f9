//! What a simulation came to, for people and for programs.

use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use weir_engine::units::Ratio;
use weir_simulator::rivals::Rival;
use weir_simulator::score::Score;

use super::Plan;
use crate::cli::Simulate;

/// One scenario behind one rival's proxies, all seeds pooled.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) scenario: String,
    #[serde(skip)]
    pub(super) description: String,
    pub(super) rival: &'static str,
    proxies: u16,
    seeds: u16,
    requests: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) error_ratio: f64,
    pub(super) cross_zone_ratio: f64,
    /// Tries beyond the first, and tries refused for want of a connection, per request.
    pub(super) retry_ratio: f64,
    pub(super) overflow_ratio: f64,
    pub(super) goodput_rps: f64,
}

impl Row {
    pub(super) fn of(plan: &Plan, rival: Rival, asked: &Simulate, mut score: Score) -> Self {
        score.sort();
        let (from, until) = plan.counted();
        let seconds = (until - from) * f64::from(asked.seeds);
        Self {
            scenario: plan.name.clone(),
            description: plan.description.clone(),
            rival: rival.name(),
            proxies: asked.proxies,
            seeds: asked.seeds,
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
    pub(super) fn said(&self) -> String {
        let of = |count: u16, one: &str, more: &str| {
            format!("{count} {}", if count == 1 { one } else { more })
        };
        let proxies = of(self.proxies, "proxy", "proxies");
        let seeds = of(self.seeds, "seed", "seeds");
        format!("{proxies}, {seeds} pooled; p50 and p99 over successes and timeouts.")
    }
}

/// Prints the rows for people.
pub(super) fn print(rows: &[Row]) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    for scenario in rows.chunk_by(|a, b| a.scenario == b.scenario) {
        let [first, ..] = scenario else { continue };
        writeln!(out, "{}: {}", first.scenario, first.description)?;
        writeln!(out, "{}\n", table(scenario))?;
    }
    if let [first, ..] = rows {
        writeln!(out, "{}", first.said())?;
    }
    Ok(())
}

/// Prints the rows for programs.
pub(super) fn print_json(rows: &[Row]) -> anyhow::Result<()> {
    let document = serde_json::json!({ "rows": rows });
    writeln!(anstream::stdout(), "{document:#}")?;
    Ok(())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["", "p50 ms", "p99 ms", "errors", "other zone", "goodput rps"]);
    for row in rows {
        table.add_row([
            row.rival.to_owned(),
            format!("{:.1}", row.p50_ms),
            format!("{:.0}", row.p99_ms),
            format!("{:.3} %", row.error_ratio * 100.0),
            format!("{:.1} %", row.cross_zone_ratio * 100.0),
            format!("{:.0}", row.goodput_rps),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
