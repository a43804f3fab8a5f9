//! What a simulation came to, for people and for programs.

use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::scenarios::Row;

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
