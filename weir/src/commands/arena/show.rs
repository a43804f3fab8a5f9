//! What the arena shows: progress on standard error, the result on standard output.

use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::interval;

use super::figures::{Entry, Figures, LATE_MAX, Ratios, Run, Spread};
use crate::cli::Output;

/// How far everything is.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Says how long it will take.
    pub(super) fn begin(expected: Duration) -> anyhow::Result<Self> {
        let (minutes, seconds) = (expected.as_secs() / 60, expected.as_secs() % 60);
        writeln!(anstream::stderr(), "Plays in real time, for {minutes} min {seconds} s.")?;
        let style = ProgressStyle::with_template("{bar:40} {elapsed} of {len} s  {msg}")
            .expect("the template is fixed");
        Ok(Self(ProgressBar::new(expected.as_secs()).with_style(style)))
    }

    /// Shows a run while it is played; never ends by itself.
    pub(super) async fn during(&self, scenario: &str, rival: &str, seed: u64) -> Infallible {
        self.0.set_message(format!("{scenario}, {rival}, seed {seed}"));
        let mut ticks = interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            self.0.set_position(self.0.elapsed().as_secs());
        }
    }

    /// Says what a run came to.
    pub(super) fn ended(&self, scenario: &str, rival: &str, run: &Run) -> anyhow::Result<()> {
        let Figures { p99_ms, error_ratio, .. } = Figures::of(&run.score);
        let simulated = Figures::of(&run.simulated);
        let late = if run.late > LATE_MAX { ", MACHINE TOO BUSY" } else { "" };
        let line = format!(
            "{scenario}, {rival}, seed {}: p99 {p99_ms:.0} ms (simulated {:.0}), errors {:.3} % \
             (simulated {:.3} %), {:.2} % left late{late}",
            run.seed,
            simulated.p99_ms,
            error_ratio * 100.0,
            simulated.error_ratio * 100.0,
            run.late * 100.0,
        );
        self.0.suspend(|| writeln!(anstream::stderr(), "{line}"))?;
        Ok(())
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// What figures mean.
const SCALE: &str = "Rates are divided, and work, patience and the goal's latencies multiplied, by \
    `scale`; latencies and goodput are told in the scenario's own units again.";

/// Prints the result.
pub(super) fn print(entries: &[Entry], ratios: &[Ratios], output: Output) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    match output {
        Output::Json => {
            let document = serde_json::json!({"scale": SCALE, "rows": entries, "ratios": ratios});
            writeln!(out, "{document:#}")?;
        }
        Output::Table => write!(out, "{}", text(entries, ratios))?,
    }
    Ok(())
}

fn text(entries: &[Entry], ratios: &[Ratios]) -> String {
    let mut text = String::new();
    for scenario in entries.chunk_by(|a, b| a.row.scenario == b.row.scenario) {
        let [first, ..] = scenario else { continue };
        let (name, what) = (&first.row.scenario, &first.row.description);
        text += &format!("{name}: {what} (scale {})\n{}\n", first.scale, table(scenario));
        for ratio in ratios.iter().filter(|ratio| ratio.scenario == *name) {
            let (p99, errors) = (words(&ratio.p99), words(&ratio.errors));
            text += &format!("{} / {}: p99 {p99}; errors {errors}\n", ratio.rival, ratio.to);
        }
        text += "\n";
    }
    let [first, ..] = entries else { return text };
    text += &format!(
        "{} proxies, {} seeds pooled; p50 and p99 over successes and timeouts; a ratio's range is \
         that of single seeds. {SCALE}\n",
        first.row.proxies, first.row.seeds
    );
    if entries.iter().any(|entry| entry.late_ratio > LATE_MAX) {
        text += &format!(
            "More than {} % of some runs' requests left late: this machine was too busy, take a \
             larger --scale.\n",
            LATE_MAX * 100.0
        );
    }
    text
}

fn words(spread: &Spread) -> String {
    let Spread { pooled, least, most, simulated } = spread;
    format!("{pooled:.2} ({least:.2} to {most:.2}; simulated {simulated:.2})")
}

fn table(entries: &[Entry]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "",
        "via",
        "p50 ms",
        "p99 ms",
        "simulated",
        "errors",
        "simulated",
        "other zone",
        "goodput rps",
        "late",
    ]);
    for Entry { row, via, late_ratio, simulated, .. } in entries {
        table.add_row([
            row.rival.to_owned(),
            (*via).to_owned(),
            format!("{:.1}", row.p50_ms),
            format!("{:.0}", row.p99_ms),
            format!("{:.0}", simulated.p99_ms),
            format!("{:.3} %", row.error_ratio * 100.0),
            format!("{:.3} %", simulated.error_ratio * 100.0),
            format!("{:.1} %", row.cross_zone_ratio * 100.0),
            format!("{:.0}", row.goodput_rps),
            format!("{:.2} %", late_ratio * 100.0),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
