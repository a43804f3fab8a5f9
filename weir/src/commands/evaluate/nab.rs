//! `weir evaluate nab`: anomalies in series of the Numenta Anomaly Benchmark.

use std::path::Path;

use serde_json::{Map, Value, json};
use weir_policies::problem::Code;

use super::folder::problem;
use super::{Found, Report, table};

mod baselines;
mod corpus;
mod cross;
mod judged;
mod score;

use corpus::Corpus;
use cross::Detections;

/// A detector's figures.
#[derive(Clone, Debug, Default)]
struct Figures {
    /// Scores by profile.
    scores: Vec<(&'static str, f64)>,
    /// The part of samples at which the alarm is on.
    alarm_on: f64,
    /// Windows before which the alarm was on already.
    stuck: f64,
    /// Windows with a detection, and detections outside of windows.
    hits: f64,
    false_alarms: f64,
}

/// Measures Weir's judge and the baselines.
pub(super) fn evaluate(folder: &Path) -> Found<Report> {
    let corpus = Corpus::read(folder)?;
    if corpus.windows() == 0 {
        let mend = "name a folder with at least one labelled anomaly";
        let what = "holds no window of an anomaly, so that there is nothing to score";
        return Err(vec![problem(folder, Code::WrongValue, what, mend)]);
    }
    let judged = judged::judgements(&corpus);
    let rows = vec![
        ("weir", validated(&corpus, &judged::alarms(&judged))),
        ("persist", validated(&corpus, &baselines::persist(&corpus))),
        ("blind_periodic", of_all(&corpus, &baselines::blind(&corpus))),
        ("random", of_all(&corpus, &baselines::random(&corpus))),
    ];
    Ok(report(&corpus, &rows))
}

/// Settings chosen in cross-validation; the alarm's own figures are those of the first profile.
fn validated(corpus: &Corpus, settings: &[Detections]) -> Figures {
    let outcomes: Vec<_> = corpus
        .profiles
        .iter()
        .filter_map(|(name, weights)| Some((*name, cross::validated(corpus, settings, *weights)?)))
        .collect();
    let Some((_, first)) = outcomes.first() else { return Figures::default() };
    let lists = cross::held_out(corpus, settings, first);
    let scores = outcomes.iter().map(|(name, outcome)| (*name, outcome.score)).collect();
    Figures { scores, ..alarms(corpus, &lists) }
}

/// Nothing to choose: the mean over draws.
fn of_all(corpus: &Corpus, draws: &[Detections]) -> Figures {
    let mut mean = Figures::default();
    let part = 1.0 / draws.len() as f64;
    for lists in draws {
        let one = alarms(corpus, lists);
        mean.alarm_on += part * one.alarm_on;
        mean.stuck += part * one.stuck;
        mean.hits += part * one.hits;
        mean.false_alarms += part * one.false_alarms;
    }
    for (name, weights) in &corpus.profiles {
        let raw = |lists: &Detections| -> f64 {
            let files = corpus.files.iter().zip(lists);
            files.map(|(file, list)| file.labels.raw(list, *weights)).sum()
        };
        let scores =
            draws.iter().filter_map(|lists| score::scaled(raw(lists), corpus.windows(), *weights));
        mean.scores.push((*name, part * scores.sum::<f64>()));
    }
    mean
}

fn alarms(corpus: &Corpus, lists: &Detections) -> Figures {
    let (mut on, mut samples, mut found) = (0, 0, Figures::default());
    for (file, list) in corpus.files.iter().zip(lists) {
        let probation = score::probation(file.labels.length);
        let counted: Vec<usize> = list.iter().copied().filter(|at| *at >= probation).collect();
        on += counted.len();
        samples += file.labels.length - probation;
        let windows = file.labels.windows.iter().filter(|window| *window.end() >= probation);
        let mut inside = 0;
        for window in windows {
            let hits = counted.iter().filter(|at| window.contains(at)).count();
            inside += hits;
            found.hits += f64::from(u8::from(hits > 0));
            let before = window.start().saturating_sub(2)..*window.start();
            let stuck = counted.iter().any(|at| before.contains(at));
            found.stuck += f64::from(u8::from(stuck));
        }
        found.false_alarms += (counted.len() - inside) as f64;
    }
    found.alarm_on = on as f64 / samples.max(1) as f64;
    found
}

fn report(corpus: &Corpus, rows: &[(&'static str, Figures)]) -> Report {
    let names = corpus.profiles.iter().map(|(name, _)| *name);
    let header: Vec<&str> = [""]
        .into_iter()
        .chain(names)
        .chain(["windows hit", "false alarms", "alarm on", "stuck"])
        .collect();
    let cells = rows.iter().map(|(name, figures)| {
        let scores = figures.scores.iter().map(|(_, score)| format!("{score:.1}"));
        let mut row = vec![(*name).to_owned()];
        row.extend(scores);
        row.push(format!("{:.0} of {}", figures.hits, corpus.windows()));
        row.push(format!("{:.0}", figures.false_alarms));
        row.push(format!("{:.2} %", 100.0 * figures.alarm_on));
        row.push(format!("{:.0}", figures.stuck));
        row
    });
    let table = table(&header, cells);
    let title = format!(
        "{} series, {} windows; scores from silence (0) to perfect (100), {} folds",
        corpus.files.len(),
        corpus.windows(),
        cross::FOLDS
    );
    Report { tables: vec![(title, table)], notes: notes(corpus), document: document(corpus, rows) }
}

fn notes(corpus: &Corpus) -> Vec<String> {
    corpus.defects.iter().map(|defect| format!("defect: {defect}")).collect()
}

fn document(corpus: &Corpus, rows: &[(&'static str, Figures)]) -> Value {
    let mut baselines = Map::new();
    let mut document = Map::new();
    for (name, figures) in rows {
        match (*name, of(figures)) {
            ("weir", Value::Object(own)) => document.extend(own),
            (name, other) => drop(baselines.insert(name.to_owned(), other)),
        }
    }
    document.insert("baselines".to_owned(), Value::Object(baselines));
    document.insert("series".to_owned(), json!(corpus.files.len()));
    document.insert("windows".to_owned(), json!(corpus.windows()));
    document.insert("folds".to_owned(), json!(cross::FOLDS));
    document.insert("defects".to_owned(), json!(corpus.defects));
    Value::Object(document)
}

/// The keys of one detector.
fn of(figures: &Figures) -> Value {
    let scores: Map<String, Value> =
        figures.scores.iter().map(|(name, score)| ((*name).to_owned(), json!(score))).collect();
    json!({
        "cross_validated": scores,
        "alarm_on_ratio": figures.alarm_on,
        "stuck_alarms": figures.stuck,
        "windows_hit": figures.hits,
        "false_alarms": figures.false_alarms,
    })
}
