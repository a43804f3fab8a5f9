//! `weir evaluate petshop`: issues injected into the PetShop application (Hardt and others, 2023,
//! "The PetShop Dataset"), seen where users enter.
//!
//! A folder of a traffic scenario holds `noissue/metrics.csv` and issues as
//! `*/issue_N/{metrics.csv,target.json}`. An issue has only a handful of samples, so the quiet time
//! is what is usual: its last samples go before each issue. The quiet time itself is scored too,
//! in parts, for false alarms. A sample covers five minutes from its stamp on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;
use weir_policies::problem::Code;

use super::faults::{Track, report};
use super::folder::{files, json, problem, problem_at};
use super::signals::{Bad, Signal, by_baseline, by_factor, by_joint, by_last, errors};
use super::{Found, Report};

/// Samples of the quiet time before an issue.
const BEFORE: usize = 80;
/// Lines above the samples: node, metric, statistic, and the name of the index.
const HEADER: usize = 4;
/// Parts that the quiet time is cut into.
const PARTS: usize = 5;

#[derive(Deserialize)]
struct Issue {
    target: Target,
    root_cause: Cause,
}

#[derive(Deserialize)]
struct Target {
    node: String,
    metric: String,
    timestamp: f64,
}

#[derive(Deserialize)]
struct Cause {
    node: String,
}

/// Samples of every node's signals; NaN where there is none.
struct Metrics {
    times: Vec<f64>,
    columns: BTreeMap<(String, String, String), Vec<f64>>,
}

/// Measures the judges on all scenarios in a folder.
pub(super) fn evaluate(folder: &Path) -> Found<Report> {
    let paths = files(folder, "csv")?;
    let is_quiet = |path: &&PathBuf| path.ends_with("noissue/metrics.csv");
    let quiet: Vec<&PathBuf> = paths.iter().filter(is_quiet).collect();
    if quiet.is_empty() {
        let what = "holds no noissue/metrics.csv, so that nothing is known of what is usual";
        let mend = "name a folder of PetShop with one traffic scenario or more";
        return Err(vec![problem(folder, Code::Unreadable, what, mend)]);
    }
    let (mut tracks, mut defects, mut ranks) = (Vec::new(), Vec::new(), Vec::new());
    for path in quiet {
        let scenario = path.parent().and_then(Path::parent).unwrap_or(folder);
        tracks.extend(issues(scenario, &Metrics::read(path)?, &mut defects, &mut ranks)?);
    }
    let found = |most: usize| ranks.iter().filter(|rank| **rank < most).count();
    let mut report = report(&tracks, &format!("{} issues", ranks.len()), &defects);
    report.notes.insert(
        0,
        format!(
            "cause among nodes, by how far each strays: first in {}, among three in {} of {}",
            found(1),
            found(3),
            ranks.len()
        ),
    );
    report.document["root_cause"] =
        json!({ "first": found(1), "among_three": found(3), "issues": ranks.len() });
    Ok(report)
}

fn issues(
    scenario: &Path,
    quiet: &Metrics,
    defects: &mut Vec<String>,
    ranks: &mut Vec<usize>,
) -> Found<Vec<Track>> {
    let targets = files(scenario, "json")?;
    let targets = targets.iter().filter(|path| path.ends_with("target.json"));
    let (mut tracks, mut problems, mut entry) = (Vec::new(), Vec::new(), None);
    let (mut missing, mut values) = (0, 0);
    for path in targets {
        let read = json::<Issue>(path, "an issue with target and root_cause")
            .and_then(|issue| Ok((issue, Metrics::read(&path.with_file_name("metrics.csv"))?)));
        let (issue, metrics) = match read {
            Ok(read) => read,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        missing += metrics.columns.values().flatten().filter(|value| value.is_nan()).count();
        values += metrics.columns.values().map(Vec::len).sum::<usize>();
        let name = path.parent().unwrap_or(path).strip_prefix(scenario).unwrap_or(path).display();
        let Some(first) = metrics.first(issue.target.timestamp) else {
            defects.push(format!("{name}: no sample covers the issue, so it is not counted"));
            continue;
        };
        entry.get_or_insert_with(|| issue.target.node.clone());
        let all = joined(quiet, &metrics);
        ranks.extend(rank(&all, &issue.root_cause.node, BEFORE.min(quiet.times.len()) + first));
        tracks.push(track(&all, &issue, first, quiet, name.to_string()));
    }
    if missing > 0 {
        defects.push(format!("{missing} of {values} values of issues are missing; skipped"));
    }
    if problems.is_empty() && tracks.is_empty() {
        let mend = "name a folder with issue_N folders of metrics.csv and target.json";
        problems.push(problem(scenario, Code::Unreadable, "holds no issue", mend));
    }
    tracks.extend(entry.iter().flat_map(|entry| parts(quiet, entry)));
    if problems.is_empty() { Ok(tracks) } else { Err(problems) }
}

fn track(all: &Metrics, issue: &Issue, first: usize, quiet: &Metrics, name: String) -> Track {
    let before = BEFORE.min(quiet.times.len());
    let signals = all.of(&issue.target.node);
    let faults = vec![(before + first, issue.target.metric.clone())];
    let within = all.times.len() - before - first;
    let (weir, persist, others) = (by_baseline(&signals), by_last(&signals), by_joint(&signals));
    Track { name, weir, persist, others, warm: before, faults, within }
}

/// The quiet time at the node where users enter, in parts.
fn parts(quiet: &Metrics, entry: &str) -> Vec<Track> {
    let signals = quiet.of(entry);
    let (weir, persist, others) = (by_baseline(&signals), by_last(&signals), by_joint(&signals));
    let length = quiet.times.len();
    let part = |part: usize| {
        let (from, until) = (length * part / PARTS, length * (part + 1) / PARTS);
        let cut = |kinds: &[Vec<f64>]| kinds.iter().map(|one| one[from..until].to_vec()).collect();
        let warm = BEFORE.saturating_sub(from).min(until - from);
        let name = format!("noissue part {}", part + 1);
        let (weir, persist) = (cut(&weir), cut(&persist));
        let others = others.iter().map(|(name, kinds)| (*name, cut(kinds))).collect();
        Track { name, weir, persist, others, warm, faults: Vec::new(), within: 0 }
    };
    (0..PARTS).map(part).collect()
}

/// At which place a node is among all by how far it strays from a sample on.
fn rank(all: &Metrics, cause: &str, from: usize) -> Option<usize> {
    let mut nodes: Vec<&String> = all.columns.keys().map(|(node, _, _)| node).collect();
    nodes.dedup();
    let farthest = |node: &String| {
        let kinds = by_baseline(&all.of(node));
        let largest = kinds.first().map(|scores| &scores[from.min(scores.len())..]);
        largest.into_iter().flatten().copied().fold(0.0, f64::max)
    };
    let mut strays: Vec<(f64, &String)> =
        nodes.into_iter().map(|node| (farthest(node), node)).collect();
    strays.sort_by(|a, b| b.0.total_cmp(&a.0));
    strays.iter().position(|(_, node)| *node == cause)
}

/// The last quiet samples, then the issue's.
fn joined(quiet: &Metrics, issue: &Metrics) -> Metrics {
    let from = quiet.times.len().saturating_sub(BEFORE);
    let times = [&quiet.times[from..], &issue.times[..]].concat();
    let column = |(key, values): (&(String, String, String), &Vec<f64>)| {
        let before = quiet.columns.get(key);
        let none = vec![f64::NAN; quiet.times.len() - from];
        let before = before.map_or(none, |values| values[from..].to_vec());
        (key.clone(), [before, values.clone()].concat())
    };
    Metrics { times, columns: issue.columns.iter().map(column).collect() }
}

impl Metrics {
    /// The first sample that covers a moment or comes after it.
    fn first(&self, moment: f64) -> Option<usize> {
        let step = self.times.get(1)? - self.times.first()?;
        self.times.iter().position(|time| time + step > moment)
    }

    /// The signals of a node that say whether it is well: how fast, and how many succeed.
    fn of(&self, node: &str) -> Vec<Signal> {
        let column = |metric: &str, statistic: &str| {
            let key = (node.to_owned(), metric.to_owned(), statistic.to_owned());
            self.columns.get(&key)
        };
        let latencies = ["Average", "p50", "p90"].into_iter().filter_map(|statistic| {
            let values = column("latency", statistic)?.iter();
            Some((values.map(|seconds| by_factor(1_000.0 * seconds)).collect(), Bad::High))
        });
        let failing = column("availability", "Average").zip(column("requests", "Sum"));
        let failing = failing.map(|(succeeded, requests)| {
            let both = succeeded.iter().zip(requests);
            (both.map(|(succeeded, requests)| errors(*succeeded, *requests)).collect(), Bad::High)
        });
        latencies.chain(failing).collect()
    }

    fn read(path: &Path) -> Found<Self> {
        let unreadable = |cause: csv::Error| {
            let mend = "it begins with lines of nodes, metrics and statistics";
            vec![problem(path, Code::Unreadable, &cause.to_string(), mend)]
        };
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_path(path)
            .map_err(unreadable)?;
        let records: Result<Vec<_>, _> = reader.records().collect();
        let records = records.map_err(unreadable)?;
        let begins = ["microservice", "metric", "statistic", "unix_timestamp"];
        let is_header = records.len() > HEADER
            && begins.iter().zip(&records).all(|(name, record)| record.get(0) == Some(*name));
        if !is_header {
            let what = "is no metrics file of PetShop, or has no samples";
            let mend = "begin with lines named microservice, metric, statistic, unix_timestamp";
            return Err(vec![problem(path, Code::WrongType, what, mend)]);
        }
        let field = |record: &csv::StringRecord, at: usize| {
            record.get(at).unwrap_or_default().trim().to_owned()
        };
        let mut metrics = Self { times: Vec::new(), columns: BTreeMap::new() };
        for record in &records[HEADER..] {
            let Ok(time) = field(record, 0).parse::<f64>() else {
                let line = record.position().map_or(1, csv::Position::line);
                let what = format!("`{}` is no time in seconds", field(record, 0));
                return Err(vec![problem_at(path, line, &what, "mend the line or leave it out")]);
            };
            metrics.times.push(time);
        }
        for at in 1..records[0].len() {
            let [node, metric, statistic] = [0, 1, 2].map(|line: usize| field(&records[line], at));
            let values = records[HEADER..].iter().map(|record| {
                field(record, at).parse().ok().filter(|v: &f64| v.is_finite()).unwrap_or(f64::NAN)
            });
            metrics.columns.insert((node, metric, statistic), values.collect());
        }
        Ok(metrics)
    }
}
