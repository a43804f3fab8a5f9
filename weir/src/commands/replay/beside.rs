//! Two courses on one journal, side by side.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use weir_engine::decision::Span;
use weir_engine::names::ServiceId;

use crate::cli::Output;
use crate::replay::compare::{Comparison, Course};
use crate::times::shown;

type Services = BTreeMap<ServiceId, Comparison>;

/// Prints what other goals come to.
pub(super) fn print(services: &Services, policy: &Path, output: Output) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    if output == Output::Json {
        let services = services.iter().map(|(service, one)| document(service, one));
        let document = json!({ "services": services.collect::<Vec<_>>() });
        writeln!(out, "{document:#}")?;
        return Ok(());
    }
    for (service, comparison) in services {
        writeln!(out, "{service}")?;
        writeln!(out, "{}", table(comparison, policy))?;
        match &comparison.first {
            None => writeln!(out, "every decision comes to the same\n")?,
            Some((at, recorded, other)) => {
                let (steps, of) = (comparison.different, comparison.recorded.steps);
                writeln!(out, "{steps} of {of} decisions differ, the first at {}:", shown(*at))?;
                writeln!(out, "  recorded  {}", recorded.summary())?;
                writeln!(out, "  other     {}\n", other.summary())?;
            }
        }
    }
    writeln!(
        out,
        "Expected: as if each endpoint answered as it was recorded, whatever it gets. What its load \
         would have done to it is asked by `weir what-if`."
    )?;
    Ok(())
}

fn table(comparison: &Comparison, policy: &Path) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let name = policy.file_name().map_or_else(|| "other".into(), |name| name.to_string_lossy());
    table.set_header(["", "recorded", &name]);
    let (a, b) = (&comparison.recorded, &comparison.other);
    for (what, of) in ROWS {
        table.add_row([(*what).to_owned(), of(a), of(b)]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

type Told = fn(&Course) -> String;

/// What is told of a course, and how.
const ROWS: &[(&str, Told)] = &[
    ("traffic moved", |course| format!("{:.1} %", 100.0 * course.moved)),
    ("ejections", |course| course.ejections.to_string()),
    ("most out at once", |course| course.out_most.to_string()),
    ("endpoints out, summed", |course| span(course.out)),
    ("steering", |course| span(course.steering)),
    ("holding", |course| span(course.holding)),
    ("expected errors", |course| {
        or_none(course.error_ratio(), |it| format!("{:.3} %", 100.0 * it))
    }),
    ("expected mean latency", |course| or_none(course.mean_ms(), |it| format!("{it:.1} ms"))),
];

fn span(duration: Duration) -> String {
    Span(duration).to_string()
}

fn or_none(value: Option<f64>, text: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "unknown".to_owned(), text)
}

fn document(service: &ServiceId, comparison: &Comparison) -> Value {
    let first = comparison.first.as_ref().map(|(at, recorded, other)| {
        json!({ "at": shown(*at), "recorded": recorded.summary(), "other": other.summary() })
    });
    json!({
        "service": service.to_string(),
        "recorded": course(&comparison.recorded),
        "other": course(&comparison.other),
        "different": comparison.different,
        "first": first,
    })
}

fn course(course: &Course) -> Value {
    json!({
        "steps": course.steps,
        "moved": course.moved,
        "ejections": course.ejections,
        "out_most": course.out_most,
        "out_seconds": course.out.as_secs_f64(),
        "steering_seconds": course.steering.as_secs_f64(),
        "holding_seconds": course.holding.as_secs_f64(),
        "expected_error_ratio": course.error_ratio(),
        "expected_mean_ms": course.mean_ms(),
    })
}
