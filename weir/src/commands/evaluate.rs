//! `weir evaluate`: how good the judges are on labelled data, beside baselines.
//!
//! One module per subject. Data is read, never written, and belongs to whoever names it; layouts
//! are those that the sources publish, so that any of their groups can be measured.

use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;
use weir_policies::problem::{Colour, Problem, render};

use super::{BAD_INPUT, OK};
use crate::cli::{Evaluate, Output};

mod canary;
mod faults;
mod folder;
mod forecast;
mod nab;
mod nezha;
mod petshop;
mod series;
mod signals;
mod twin;

/// What an evaluation came to, for people and for programs.
struct Report {
    /// The tables, each below its title.
    tables: Vec<(String, Table)>,
    /// What to know of them, a line each.
    notes: Vec<String>,
    /// The same for programs.
    document: Value,
}

/// Runs the command.
pub fn run(asked: &Evaluate, colour: Colour) -> anyhow::Result<u8> {
    let (output, report) = match asked {
        Evaluate::Nab(asked) => (asked.output, nab::evaluate(&asked.folder)),
        Evaluate::Petshop(asked) => (asked.output, petshop::evaluate(&asked.folder)),
        Evaluate::Nezha(asked) => (asked.output, nezha::evaluate(&asked.folder)),
        Evaluate::Forecast(asked) => (asked.output, forecast::evaluate(&asked.folder)),
        Evaluate::Twin { scenarios, seeds, seed_base, output } => {
            let seeds = *seed_base..seed_base.saturating_add((*seeds).into());
            (*output, twin::evaluate(scenarios, &seeds))
        }
        Evaluate::Canary { folder, output } => (*output, canary::evaluate(folder.as_deref())),
    };
    match report {
        Ok(report) => {
            print(&report, output)?;
            Ok(OK)
        }
        Err(problems) => {
            anstream::eprintln!("{}", render(&problems, colour));
            Ok(BAD_INPUT)
        }
    }
}

fn print(report: &Report, output: Output) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    match output {
        Output::Json => writeln!(out, "{:#}", report.document)?,
        Output::Table => {
            for (title, table) in &report.tables {
                writeln!(out, "{title}\n{table}\n")?;
            }
            for note in &report.notes {
                writeln!(out, "{note}")?;
            }
        }
    }
    Ok(())
}

/// A table whose first column names the row and whose others are numbers.
fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What reading or measuring gives.
type Found<T> = Result<T, Vec<Problem>>;
