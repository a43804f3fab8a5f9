//! `weir evaluate forecast`: whether load that passes a line is foretold, and how long before.
//!
//! Prediction is promised where a series repeats, so series that do not are left out and named.
//! The first third of each series is the past that the period and the line come from; the rest is
//! scored. Nothing is tuned on what is scored, but for the baseline `persist`, which gets the
//! margin that is best in hindsight.

use std::path::Path;

use serde_json::{Map, Value, json};
use weir_models::series::forecast::{Forecast, Warning};
use weir_models::series::period::period;
use weir_models::series::season::SLOTS_MAX;
use weir_policies::problem::Code;

use super::folder::{files, problem};
use super::series::Series;
use super::{Found, Report, table};

mod breach;

use breach::{CALM, Tally};

/// The part of a series that is past from the start.
const PAST_PART: usize = 3;
/// The leads that recall is told at, in samples.
const LEADS: [usize; 3] = [10, 30, 60];
/// A period is at least twice the longest lead: in a shorter one every moment is before a breach.
const PERIOD_LEAST: usize = 120;
/// How far Weir looks ahead in samples: half as far again as the longest lead.
const AHEAD: usize = 90;
/// The line: this part of the way from the 5th to the 95th percentile of the past, a capacity
/// that a usual peak passes and a usual hour does not.
const LINE_PART: f64 = 0.8;

/// Blind warnings: on for the longest lead, every 300 samples, pooled over ten phases.
const BLIND_EVERY: usize = 300;
const BLIND_PHASES: usize = 10;
/// Margins below the line, in widths of the usual range, that `persist` chooses from.
const MARGINS: [f64; 8] = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6];

/// One series that repeats.
struct Load {
    name: String,
    values: Vec<f64>,
    /// The slot of each sample in its cycle.
    slots: Vec<usize>,
    period: usize,
    /// From where it is scored.
    past: usize,
    line: f64,
    /// The width of the usual range.
    width: f64,
}

/// Measures the forecast and the baselines.
pub(super) fn evaluate(folder: &Path) -> Found<Report> {
    let (loads, left_out) = read(folder)?;
    if loads.is_empty() {
        let what = format!("holds no series that repeats, of {}", left_out.len());
        let mend = "name series of at least nine periods of 120 to 1440 samples";
        return Err(vec![problem(folder, Code::WrongValue, &what, mend)]);
    }
    let tally = |warned: &dyn Fn(&Load) -> Vec<bool>| {
        let mut sum = Tally::default();
        for load in &loads {
            sum.add(&load.values, load.line, load.past, &warned(load));
        }
        sum
    };
    let persist = MARGINS.iter().map(|margin| tally(&|load| near(load, *margin)));
    let blind = (0..BLIND_PHASES).map(|phase| tally(&|load| blind(load, phase)));
    let rows = [
        ("weir", tally(&foretold)),
        ("persist", persist.reduce(Tally::better).unwrap_or_default()),
        ("blind_periodic", blind.reduce(Tally::pooled).unwrap_or_default()),
        ("reactive", tally(&|load| near(load, 0.0))),
    ];
    if rows[0].1.leads.is_empty() {
        let what =
            "no series passes its line after the first third, so that nothing is to foretell";
        let mend = "name series whose peaks come back";
        return Err(vec![problem(folder, Code::WrongValue, what, mend)]);
    }
    Ok(report(&loads, &left_out, &rows))
}

/// The series that repeat, and why others are left out.
fn read(folder: &Path) -> Found<(Vec<Load>, Vec<String>)> {
    let paths = files(folder, "csv")?;
    if paths.is_empty() {
        let mend = "name a folder of .csv files with the columns timestamp,value";
        return Err(vec![problem(folder, Code::Unreadable, "holds no .csv file", mend)]);
    }
    let (mut loads, mut left_out, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        match Series::read(&path) {
            Ok(series) => match load(&name, series) {
                Ok(load) => loads.push(load),
                Err(why) => left_out.push(format!("{name}: {why}")),
            },
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok((loads, left_out)) } else { Err(problems) }
}

fn load(name: &str, series: Series) -> Result<Load, String> {
    let past = series.values.len() / PAST_PART;
    let found = period(&series.values[..past], SLOTS_MAX);
    let period = found.ok_or("does not repeat within its first third")?;
    if period < PERIOD_LEAST {
        return Err(format!("its period of {period} samples is below {PERIOD_LEAST}"));
    }
    let mut sorted = series.values[..past].to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[past / 20], sorted[past * 19 / 20]);
    let slots = series.slots(period);
    Ok(Load {
        name: name.to_owned(),
        slots,
        period,
        past,
        line: low + LINE_PART * (high - low),
        width: high - low,
        values: series.values,
    })
}

/// When Weir warns: the line is passed, or expected to be.
fn foretold(load: &Load) -> Vec<bool> {
    let (mut forecast, mut warning) = (Forecast::new(load.period), Warning::default());
    let samples = load.values.iter().zip(&load.slots);
    let warned = samples.map(|(value, slot)| {
        forecast.see(*slot, *value);
        warning.see(*value > load.line || forecast.breach(load.line, AHEAD).is_some())
    });
    warned.collect()
}

/// The last value is the forecast: warns where it is near the line; at no margin it only reacts.
fn near(load: &Load, margin: f64) -> Vec<bool> {
    let mut warning = Warning::default();
    let from = load.line - margin * load.width;
    load.values.iter().map(|value| warning.see(*value > from)).collect()
}

fn blind(load: &Load, phase: usize) -> Vec<bool> {
    let shift = phase * BLIND_EVERY / BLIND_PHASES;
    let is_on = |at: usize| (at + shift) % BLIND_EVERY < LEADS[LEADS.len() - 1];
    (0..load.values.len()).map(is_on).collect()
}

fn report(loads: &[Load], left_out: &[String], rows: &[(&'static str, Tally)]) -> Report {
    let percent = |part: f64| format!("{:.0} %", 100.0 * part);
    let cells = rows.iter().map(|(name, tally)| {
        let mut row = vec![(*name).to_owned()];
        row.extend(LEADS.map(|lead| percent(tally.recall(lead))));
        row.push(percent(tally.precision()));
        row.push(format!("{:.0}", tally.median_lead()));
        row.push(percent(tally.on_ratio()));
        row
    });
    let header =
        ["", "warned 10 before", "30 before", "60 before", "precision", "median lead", "alarm on"];
    let title = format!(
        "{} periodic series, {} breaches; leads in samples",
        loads.len(),
        rows[0].1.leads.len()
    );
    let mut notes: Vec<String> = loads.iter().map(described).collect();
    notes.extend(left_out.iter().map(|why| format!("left out: {why}")));
    let tables = vec![(title, table(&header, cells))];
    Report { tables, notes, document: document(loads, left_out, rows) }
}

fn described(load: &Load) -> String {
    format!("{}: period {} samples, line {:.4}", load.name, load.period, load.line)
}

fn document(loads: &[Load], left_out: &[String], rows: &[(&'static str, Tally)]) -> Value {
    let (mut document, mut baselines) = (Map::new(), Map::new());
    for (name, tally) in rows {
        match (*name, keys(tally)) {
            ("weir", Value::Object(own)) => document.extend(own),
            (name, other) => drop(baselines.insert(name.to_owned(), other)),
        }
    }
    let series = loads.iter().map(|load| {
        json!({ "name": load.name, "period": load.period, "line": load.line,
                "scored_from": load.past, "samples": load.values.len() })
    });
    document.insert("baselines".to_owned(), Value::Object(baselines));
    document.insert("breaches".to_owned(), json!(rows[0].1.leads.len()));
    document.insert("calm_samples".to_owned(), json!(CALM));
    document.insert("series".to_owned(), series.collect());
    document.insert("left_out".to_owned(), json!(left_out));
    Value::Object(document)
}

fn keys(tally: &Tally) -> Value {
    json!({
        "breaches_warned": tally.recall(LEADS[0]),
        "recall": {
            "10": tally.recall(10),
            "30": tally.recall(30),
            "60": tally.recall(60),
        },
        "precision": tally.precision(),
        "median_lead": tally.median_lead(),
        "alarm_on_ratio": tally.on_ratio(),
        "warnings": tally.runs,
    })
}
