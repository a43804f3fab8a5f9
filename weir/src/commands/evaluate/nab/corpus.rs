//! A folder of the Numenta Anomaly Benchmark: groups of series, windows, profiles.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use weir_policies::problem::{Code, Problem};

use super::super::Found;
use super::super::folder::{files, json, problem};
use super::super::series::{Series, seconds};
use super::score::{Labels, Weights};

/// Folders above the named one in which labels are looked for: a group may be named alone.
const ABOVE: usize = 2;

/// One series with its labels.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// As the labels name it, `group/name.csv`.
    pub(super) name: String,
    /// Its values.
    pub(super) series: Series,
    /// Its windows.
    pub(super) labels: Labels,
}

/// What a folder holds.
#[derive(Clone, Debug)]
pub(super) struct Corpus {
    /// Series in the order of their names.
    pub(super) files: Vec<File>,
    /// Weights by the profile's name.
    pub(super) profiles: Vec<(&'static str, Weights)>,
    /// Oddities that do not keep a series from being used.
    pub(super) defects: Vec<String>,
}

/// The profiles that NAB publishes: our name, NAB's, the cost of a false alarm and of a miss.
const PROFILES: [(&str, &str, f64, f64); 3] = [
    ("standard", "standard", 0.11, 1.0),
    ("reward_low_fp", "reward_low_FP_rate", 0.22, 1.0),
    ("reward_low_fn", "reward_low_FN_rate", 0.11, 2.0),
];

#[derive(Deserialize)]
struct Profile {
    #[serde(rename = "CostMatrix")]
    costs: Weights,
}

type Windows = BTreeMap<String, Vec<(String, String)>>;

impl Corpus {
    /// Reads a folder; all problems at once.
    pub(super) fn read(folder: &Path) -> Found<Self> {
        let paths = files(folder, "csv")?;
        let base = base(folder)?;
        let labels = base.join("labels/combined_windows.json");
        let shape = "an object of series' names with lists of [start, end] pairs";
        let windows: Windows = json(&labels, shape)?;
        let data = if base.join("data").is_dir() { base.join("data") } else { base.clone() };
        let (mut found, mut problems, mut defects) = (Vec::new(), Vec::new(), Vec::new());
        // A checkout of NAB also holds results, which are no data.
        for path in paths.iter().filter(|path| path.starts_with(&data)) {
            let Some(name) = name(&data, path) else { continue };
            match file(path, &name, &windows, &labels) {
                Ok(file) => {
                    defects.extend(oddities(&file));
                    found.push(file);
                }
                Err(wrong) => problems.extend(wrong),
            }
        }
        if problems.is_empty() && found.is_empty() {
            let mend = "name a folder with NAB's groups of .csv files";
            problems.push(problem(folder, Code::Unreadable, "holds no series", mend));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { files: found, profiles: profiles(&base)?, defects })
    }

    /// Windows that count.
    pub(super) fn windows(&self) -> usize {
        self.files.iter().map(|file| file.labels.countable()).sum()
    }
}

/// Where the labels are: the folder itself or one above.
fn base(folder: &Path) -> Found<PathBuf> {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut above = whole.ancestors().take(1 + ABOVE);
    let base = above.find(|above| above.join("labels/combined_windows.json").is_file());
    base.map(Path::to_owned).ok_or_else(|| {
        let what = "has no labels/combined_windows.json, nor has a folder above it";
        let mend = "name a folder of the Numenta Anomaly Benchmark, with its labels";
        vec![problem(folder, Code::Unreadable, what, mend)]
    })
}

fn name(data: &Path, path: &Path) -> Option<String> {
    let parts = path.strip_prefix(data).ok()?.components();
    let parts: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy()).collect();
    Some(parts.join("/"))
}

fn profiles(base: &Path) -> Found<Vec<(&'static str, Weights)>> {
    let path = base.join("labels/profiles.json");
    let path = if path.is_file() { path } else { base.join("config/profiles.json") };
    let known: BTreeMap<String, Profile> = if path.is_file() {
        json(&path, "an object of profiles with a CostMatrix each")?
    } else {
        BTreeMap::new()
    };
    let profiles = PROFILES.map(|(name, theirs, false_alarm, miss)| {
        let usual = Weights { hit: 1.0, false_alarm, miss };
        (name, known.get(theirs).map_or(usual, |profile| profile.costs))
    });
    Ok(profiles.to_vec())
}

fn file(path: &Path, name: &str, windows: &Windows, labels: &Path) -> Found<File> {
    let series = Series::read(path)?;
    let Some(pairs) = windows.get(name) else {
        let what = format!("`{name}` has no entry");
        let mend = "write its windows, [] if it has no anomaly, or leave the series out";
        return Err(vec![problem(labels, Code::MissingField, &what, mend)]);
    };
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (start, end) in pairs {
        match window(&series, start, end) {
            Some(window) => found.push(window),
            None => problems.push(no_window(labels, name, (start, end))),
        }
    }
    found.sort_by_key(|window| *window.start());
    if found.windows(2).any(|pair| pair[0].end() >= pair[1].start()) {
        let what = format!("windows of `{name}` overlap");
        problems.push(problem(labels, Code::WrongValue, &what, "write one window for both"));
    }
    let labels = Labels { length: series.values.len(), windows: found };
    let name = name.to_owned();
    if problems.is_empty() { Ok(File { name, series, labels }) } else { Err(problems) }
}

/// The samples between two moments; not found by bisection, since time may step backwards.
fn window(series: &Series, start: &str, end: &str) -> Option<std::ops::RangeInclusive<usize>> {
    let (start, end) = (seconds(start)?, seconds(end)?);
    let first = series.times.iter().position(|time| *time >= start)?;
    let behind = first + series.times[first..].iter().position(|time| *time >= end)?;
    let last = if series.times[behind] > end { behind.checked_sub(1)? } else { behind };
    (first <= last).then_some(first..=last)
}

fn no_window(labels: &Path, name: &str, (start, end): (&str, &str)) -> Problem {
    let what = format!("the window {start} to {end} of `{name}` holds no sample of the series");
    problem(labels, Code::WrongValue, &what, "write moments that the series covers")
}

fn oddities(file: &File) -> Option<String> {
    let (backwards, gaps) = file.series.irregular();
    let odd = backwards > 0 || gaps > 0;
    odd.then(|| format!("{}: time stands or steps back {backwards} times, {gaps} gaps", file.name))
}
