//! `weir evaluate canary`: whether a new version is worse, on simulated and on recorded pairs.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Found, Report, table};

mod draw;
mod judges;
mod recording;
mod trial;

use draw::{Errors, Pace, Pair};
use judges::Judge;
use trial::{Figures, LOOKS, RUNS};

/// A kind of pair that is measured.
struct Case {
    /// What people read.
    title: String,
    /// Its key among those for programs.
    key: String,
    /// Whether both versions are alike, so that giving up is a false alarm.
    alike: bool,
    pair: Pair,
}

const PLAIN: Pair =
    Pair { canary: 0.01, stable: 0.01, requests: (500, 500), errors: Errors::Alone, latency: None };

/// All pairs. The first two are the ones that the headline figures are of.
fn cases() -> Vec<Case> {
    let case = |title: &str, key: &str, pair: Pair| Case {
        title: title.to_owned(),
        key: key.to_owned(),
        alike: (pair.canary - pair.stable).abs() < 1e-12
            && pair.latency.is_none_or(|pace| pace.slower <= 1.0),
        pair,
    };
    let ratios = |stable: f64, canary: f64| Pair { canary, stable, ..PLAIN };
    // Few requests make latency cheap to draw and say as much of the judge.
    let timed = |slower: f64| Pair {
        canary: 0.0,
        stable: 0.0,
        requests: (60, 60),
        latency: Some(Pace { slower, wander: 0.05 }),
        ..PLAIN
    };
    let few = |canary: f64| Pair { requests: (100, 1_900), ..ratios(0.01, canary) };
    let bursts = |canary: f64| Pair { errors: Errors::Bursts, ..ratios(0.01, canary) };
    vec![
        case("1 % errors at both", "aa_1", PLAIN),
        case("1 % and 2 %", "1_to_2", ratios(0.01, 0.02)),
        case("0.1 % at both", "aa_0.1", ratios(0.001, 0.001)),
        case("5 % at both", "aa_5", ratios(0.05, 0.05)),
        case("none at both", "aa_0", ratios(0.0, 0.0)),
        case("1 % at both, 100 of 2,000 requests", "aa_1_few", few(0.01)),
        case("1 % at both, in bursts of their own", "aa_1_bursts", bursts(0.01)),
        case(
            "0.2 % at both, 4 % in looks when upstream fails",
            "aa_upstream",
            Pair { errors: Errors::Upstream, requests: (100, 1_900), ..ratios(0.002, 0.002) },
        ),
        case("1 % and 1.5 %", "1_to_1.5", ratios(0.01, 0.015)),
        case("1 % and 3 %", "1_to_3", ratios(0.01, 0.03)),
        case("1 % and 5 %", "1_to_5", ratios(0.01, 0.05)),
        case("0.1 % and 0.2 %", "0.1_to_0.2", ratios(0.001, 0.002)),
        case("0.1 % and 1 %", "0.1_to_1", ratios(0.001, 0.01)),
        case("5 % and 10 %", "5_to_10", ratios(0.05, 0.1)),
        case("1 % and 2 %, 100 of 2,000 requests", "1_to_2_few", few(0.02)),
        case("1 % and 2 %, in bursts of their own", "1_to_2_bursts", bursts(0.02)),
        case("equally fast", "latency_aa", timed(1.0)),
        case("1.3 times as slow", "latency_1.3", timed(1.3)),
        case("twice as slow", "latency_2", timed(2.0)),
    ]
}

/// Measures the judges on simulated pairs, and Weir's on those recorded in a folder.
pub(super) fn evaluate(folder: Option<&Path>) -> Found<Report> {
    let recorded = folder.map(recording::read).transpose()?;
    let cases = cases();
    let outcomes = play(&cases);
    let mut document = document(&cases, &outcomes);
    let mut tables = vec![(
        format!("Part given up within {LOOKS} looks, and the median look (500 requests a version)"),
        simulated(&cases, &outcomes),
    )];
    let mut notes = vec![format!(
        "Simulated: {RUNS} runs a row, seeded; of versions alike every one given up is a false \
         alarm. z_fixed looks once, at the end; the others at every look."
    )];
    match &recorded {
        Some(pairs) => {
            let (table, json, said) = recording::judged(pairs);
            tables.push(("Recorded pairs".to_owned(), table));
            notes.extend(said);
            document.insert("recordings".to_owned(), json);
        }
        None => notes.push("No folder was named, so no recording was judged.".to_owned()),
    }
    Ok(Report { tables, notes, document: Value::Object(document) })
}

type Outcome = Vec<(Judge, Figures)>;

/// Plays all cases, one per core at a time.
fn play(cases: &[Case]) -> Vec<Outcome> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let numbered: Vec<(u64, &Case)> = (0..).zip(cases).collect();
    let mut outcomes = Vec::new();
    for batch in numbered.chunks(cores) {
        outcomes.extend(std::thread::scope(|scope| {
            let runs: Vec<_> = batch
                .iter()
                .map(|(number, case)| scope.spawn(|| trial::run(&case.pair, *number)))
                .collect();
            let ended = runs.into_iter().map(|run| run.join().expect("no trial panics"));
            ended.collect::<Vec<_>>()
        }));
    }
    outcomes
}

fn simulated(cases: &[Case], outcomes: &[Outcome]) -> comfy_table::Table {
    let mut header = vec![""];
    header.extend(Judge::ALL.map(Judge::name));
    let rows = cases.iter().zip(outcomes).map(|(case, outcome)| {
        let mut row = vec![case.title.clone()];
        row.extend(outcome.iter().map(|(_, figures)| told(figures)));
        row
    });
    table(&header, rows)
}

fn told(figures: &Figures) -> String {
    let found = format!("{:.1} %", 100.0 * figures.found());
    match figures.by(5) {
        Some(look) => format!("{found}, {look}"),
        None => found,
    }
}

/// For programs: Weir's headline figures, then everything by judge.
fn document(cases: &[Case], outcomes: &[Outcome]) -> Map<String, Value> {
    let mut judges = Map::new();
    for (at, judge) in Judge::ALL.into_iter().enumerate() {
        let figures = |key: &str| {
            let case = cases.iter().position(|case| case.key == key);
            case.and_then(|case| outcomes.get(case)?.get(at)).map(|(_, figures)| figures)
        };
        let of = |alike: bool| -> Map<String, Value> {
            let chosen = cases.iter().zip(outcomes).filter(|(case, _)| case.alike == alike);
            let value = |figures: &Figures| {
                if alike { json!({ "false_alarm_ratio": figures.found() }) } else { figures.json() }
            };
            chosen
                .filter_map(|(case, outcome)| Some((case.key.clone(), value(&outcome.get(at)?.1))))
                .collect()
        };
        judges.insert(
            judge.name().to_owned(),
            json!({
                "aa": { "false_alarm_ratio": figures("aa_1").map(Figures::found) },
                "looks": figures("1_to_2").map(Figures::json),
                "alike": of(true),
                "power": of(false),
            }),
        );
    }
    let mut document = Map::new();
    document.insert("runs".to_owned(), RUNS.into());
    document.insert("looks_max".to_owned(), LOOKS.into());
    document.insert("requests_per_look".to_owned(), 500.into());
    document.insert("alpha".to_owned(), judges::ALPHA.into());
    if let Some(Value::Object(weir)) = judges.shift_remove(Judge::Weir.name()) {
        document.extend(weir);
    }
    document.insert("baselines".to_owned(), Value::Object(judges));
    document
}
