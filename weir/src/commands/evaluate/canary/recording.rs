//! Recorded pairs: a CSV file each, and labels beside them.
//!
//! A recording has the columns `time` (seconds, or RFC 3339), `version` (`canary` or `stable`),
//! `requests` and `errors`, counted since that version's row before; then, as many as one likes,
//! `le_<milliseconds>`: of these requests, how many took at most so long. `labels.csv` says of
//! recordings by file name what they are: `recording,verdict,since` with the verdict `good` or
//! `bad`, and since when it is bad.

use std::collections::BTreeMap;
use std::path::Path;

use comfy_table::Table;
use serde::Serialize;
use serde_json::{Value, json};
use weir_collectors::histogram::split;
use weir_engine::comparison::{Finding, Look, Side, Verdict};
use weir_models::canary::Evidence;
use weir_policies::problem::{Code, Problem};

use super::judges::bar;
use crate::commands::evaluate::folder::{PROBLEMS_MAX, files, problem, problem_at};
use crate::commands::evaluate::{Found, table};

/// The file of labels.
const LABELS: &str = "labels.csv";

/// One recording.
pub(super) struct Recorded {
    name: String,
    /// Times in seconds with what both versions did until then.
    looks: Vec<(f64, Look)>,
    label: Option<Label>,
}

/// What a recording is known to be.
#[derive(Clone, Copy, Debug)]
struct Label {
    bad: bool,
    since: Option<f64>,
}

/// Reads all recordings of a folder; all problems at once.
pub(super) fn read(folder: &Path) -> Found<Vec<Recorded>> {
    let paths = files(folder, "csv")?;
    let (mut recorded, mut problems) = (Vec::new(), Vec::new());
    let labels = labels(&folder.join(LABELS)).unwrap_or_else(|wrong| {
        problems.extend(wrong);
        BTreeMap::new()
    });
    for path in paths.iter().filter(|path| path.file_name().is_none_or(|name| name != LABELS)) {
        let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
        match looks(path) {
            Ok(looks) => {
                let label = labels.get(&name).copied();
                recorded.push(Recorded { name, looks, label });
            }
            Err(wrong) => problems.extend(wrong),
        }
    }
    if problems.is_empty() && recorded.is_empty() {
        let mend = "put recordings there: .csv files with time,version,requests,errors";
        problems.push(problem(folder, Code::Unreadable, "holds no recording", mend));
    }
    for name in labels.keys().filter(|name| !paths.contains(&folder.join(name.as_str()))) {
        let what = format!("labels `{name}`, which is not there");
        let mend = "name recordings as they are called in this folder";
        problems.push(problem(&folder.join(LABELS), Code::WrongValue, &what, mend));
    }
    if problems.is_empty() { Ok(recorded) } else { Err(problems) }
}

fn reader(path: &Path) -> Found<csv::Reader<std::fs::File>> {
    csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(|cause| {
        let what = format!("cannot be read: {cause}");
        vec![problem(path, Code::Unreadable, &what, "name a folder of recordings")]
    })
}

fn labels(path: &Path) -> Found<BTreeMap<String, Label>> {
    let mut labels = BTreeMap::new();
    if !path.exists() {
        return Ok(labels);
    }
    let mut problems = Vec::new();
    for row in reader(path)?.records() {
        let row = row.map_err(|cause| vec![malformed(path, &cause)])?;
        let line = row.position().map_or(1, csv::Position::line);
        let cell = |at: usize| row.get(at).unwrap_or_default();
        let bad = match cell(1) {
            "good" => false,
            "bad" => true,
            other => {
                let what = format!("verdict `{other}` is neither `good` nor `bad`");
                let mend = "write recording,verdict,since";
                problems.push(problem_at(path, line, &what, mend));
                continue;
            }
        };
        labels.insert(cell(0).to_owned(), Label { bad, since: moment(cell(2)) });
    }
    if problems.is_empty() { Ok(labels) } else { Err(problems) }
}

fn malformed(path: &Path, cause: &csv::Error) -> Problem {
    let line = cause.position().map_or(1, csv::Position::line);
    problem_at(path, line, &cause.to_string(), "write as many cells as the header has")
}

/// Seconds, or a time as RFC 3339 has it.
fn moment(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then_some(seconds);
    }
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(at.as_millisecond() as f64 / 1_000.0)
}

/// Where a recording's columns are.
struct Columns {
    time: usize,
    version: usize,
    requests: usize,
    errors: usize,
    /// Bounds in milliseconds, ascending, with their columns.
    within: Vec<(f64, usize)>,
}

impl Columns {
    fn of(header: &csv::StringRecord, path: &Path) -> Found<Self> {
        let named = |name: &str| header.iter().position(|column| column == name);
        let found = (named("time"), named("version"), named("requests"), named("errors"));
        let (Some(time), Some(version), Some(requests), Some(errors)) = found else {
            let what = "is no recording: a column of time, version, requests, errors is missing";
            let mend = "write the header time,version,requests,errors and, if known, le_<ms>";
            return Err(vec![problem(path, Code::MissingField, what, mend)]);
        };
        let bound = |(at, name): (usize, &str)| Some((name.strip_prefix("le_")?.parse().ok()?, at));
        let mut within: Vec<(f64, usize)> = header.iter().enumerate().filter_map(bound).collect();
        within.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(Self { time, version, requests, errors, within })
    }

    /// A row's time, whether it is the new version's, and what was counted; or what is wrong.
    fn row(&self, row: &csv::StringRecord) -> Result<(f64, bool, Side), String> {
        let cell = |at: usize| row.get(at).unwrap_or_default();
        let count = |at: usize| -> Result<f64, String> {
            let count = cell(at).parse::<f64>().ok();
            let sound = count.filter(|count| count.is_finite() && *count >= 0.0);
            sound.ok_or_else(|| format!("`{}` is no count", cell(at)))
        };
        let time = moment(cell(self.time));
        let time = time.ok_or_else(|| format!("`{}` is no time", cell(self.time)))?;
        let canary = match cell(self.version) {
            "canary" => true,
            "stable" => false,
            other => return Err(format!("version `{other}` is neither `canary` nor `stable`")),
        };
        let (requests, errors) = (count(self.requests)?, count(self.errors)?);
        if errors > requests {
            return Err(format!("more errors ({errors}) than requests ({requests})"));
        }
        let mut cumulative = Vec::new();
        for (bound, at) in &self.within {
            cumulative.push((*bound, count(*at)?));
        }
        let mut side = Side { requests, errors, ..Side::default() };
        if !cumulative.is_empty() {
            cumulative.push((f64::INFINITY, requests));
            let latency = split(&cumulative, 0.0);
            side.latency =
                latency.ok_or("the counts under le_ columns fall or exceed the requests")?;
        }
        Ok((time, canary, side))
    }
}

fn looks(path: &Path) -> Found<Vec<(f64, Look)>> {
    let mut reader = reader(path)?;
    let header = reader.headers().map_err(|cause| vec![malformed(path, &cause)])?.clone();
    let columns = Columns::of(&header, path)?;
    let mut rows: Vec<(f64, bool, Side)> = Vec::new();
    let mut problems = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|cause| vec![malformed(path, &cause)])?;
        let line = row.position().map_or(1, csv::Position::line);
        match columns.row(&row) {
            Ok(row) => rows.push(row),
            Err(what) => problems.push(problem_at(path, line, &what, "mend or leave out the row")),
        }
        if problems.len() >= PROBLEMS_MAX {
            break;
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut looks = Vec::new();
    for rows in rows.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let mut look = Look::default();
        for (_, canary, side) in rows {
            if *canary { look.canary.add(side) } else { look.stable.add(side) }
        }
        looks.push((rows[0].0, look));
    }
    Ok(looks)
}

/// What Weir's judge makes of one recording.
#[derive(Serialize)]
struct Judged {
    recording: String,
    verdict: Finding,
    /// Looks until then.
    looks: usize,
    /// Seconds from the first look, or from the label's `since`, until it failed.
    seconds: Option<f64>,
    evidence: String,
    label: Option<&'static str>,
    /// Whether the verdict fits the label; an inconclusive one fits a good version.
    right: Option<bool>,
}

fn judge(recorded: &Recorded) -> Judged {
    let bar = bar();
    let mut evidence = Evidence::default();
    let mut verdict = Verdict::default();
    let mut looks = 0;
    let first = recorded.looks.first().map_or(0.0, |(at, _)| *at);
    let since = recorded.label.and_then(|label| label.since).unwrap_or(first);
    let mut seconds = None;
    for (at, look) in &recorded.looks {
        evidence.absorb(look, &bar);
        verdict = evidence.judge(&bar);
        looks += 1;
        if verdict.finding == Finding::Fail {
            seconds = Some(at - since);
            break;
        }
    }
    let failed = verdict.finding == Finding::Fail;
    // Given up before it went bad is no find.
    let early = seconds.is_some_and(|seconds| seconds < 0.0);
    Judged {
        recording: recorded.name.clone(),
        verdict: verdict.finding,
        looks,
        seconds,
        evidence: verdict.to_string(),
        label: recorded.label.map(|label| if label.bad { "bad" } else { "good" }),
        right: recorded.label.map(|label| label.bad == failed && !early),
    }
}

/// Judges all recordings, and scores those with labels.
pub(super) fn judged(recorded: &[Recorded]) -> (Table, Value, Vec<String>) {
    let judged: Vec<Judged> = recorded.iter().map(judge).collect();
    let rows = judged.iter().map(|one| {
        let right = one.right.map_or("", |right| if right { "right" } else { "wrong" });
        vec![
            one.recording.clone(),
            format!("{:?}", one.verdict),
            one.looks.to_string(),
            one.label.unwrap_or_default().to_owned(),
            right.to_owned(),
        ]
    });
    let table = table(&["", "verdict", "looks", "label", ""], rows);
    let notes = judged.iter().map(|one| format!("{}: {}", one.recording, one.evidence)).collect();
    let count = |bad: &str, failed: bool| {
        let counted = judged.iter().filter(|one| one.label == Some(bad));
        counted.filter(|one| (one.verdict == Finding::Fail) == failed).count()
    };
    let (hits, misses) = (count("bad", true), count("bad", false));
    let (false_alarms, quiet) = (count("good", true), count("good", false));
    let part = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
    let json = json!({
        "pairs": judged,
        "labelled": hits + misses + false_alarms + quiet,
        "recall": part(hits, hits + misses),
        "precision": part(hits, hits + false_alarms),
        "false_alarm_ratio": part(false_alarms, false_alarms + quiet),
    });
    (table, json, notes)
}
