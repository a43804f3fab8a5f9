//! `weir evaluate nezha`: faults injected into pods, as the Nezha project publishes them.
//!
//! A folder holds `*fault_list.json` and one `*_metric.csv` per pod. The data have known defects:
//! one pod's `TimeStamp` is 200,000,000 seconds ahead and steps backwards, while its `Time` is
//! right; the first faults come before anything usual is known; values are missing. All of them
//! are mended or left out, and told.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use weir_policies::problem::{Code, Problem};

use super::faults::{Track, report};
use super::folder::{PROBLEMS_MAX, files, json, problem, problem_at};
use super::series::seconds;
use super::signals::{Bad, Signal, by_baseline, by_factor, by_joint, by_last};
use super::{Found, Report};

mod callers;
use callers::Callers;

/// A fault is to be found within so many samples: they last about three, and a sample is a minute.
const WITHIN: usize = 5;
/// Samples before an alarm or a fault counts.
const WARM: usize = 10;
/// Signals of the host under the pod: shared by others, so that they say nothing of it.
const OF_THE_HOST: &str = "Node";
/// A stamp may be off by so many seconds: the two columns are read one after the other.
const APART_MOST: f64 = 90.0;

#[derive(Deserialize)]
struct Injection {
    inject_timestamp: String,
    inject_pod: String,
    inject_type: String,
}

/// What one pod showed.
struct Pod {
    name: String,
    times: Vec<f64>,
    signals: Vec<Signal>,
}

/// Measures the judges on all days in a folder.
pub(super) fn evaluate(folder: &Path) -> Found<Report> {
    let lists = files(folder, "json")?;
    let is_list = |path: &&std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("fault_list.json"))
    };
    let lists: Vec<_> = lists.iter().filter(is_list).collect();
    if lists.is_empty() {
        let mend = "name a folder of Nezha: *fault_list.json beside *_metric.csv files";
        let what = "holds no *fault_list.json, so that no fault is known";
        return Err(vec![problem(folder, Code::Unreadable, what, mend)]);
    }
    let (mut tracks, mut defects) = (Vec::new(), Vec::new());
    for list in lists {
        tracks.extend(day(list, &mut defects)?);
    }
    if tracks.iter().all(|track| track.faults.iter().all(|(at, _)| *at < WARM)) {
        let what = "no fault lies behind the warm-up of a pod that has metrics";
        let mend = "name a folder whose faults and metrics belong together";
        return Err(vec![problem(folder, Code::WrongValue, what, mend)]);
    }
    Ok(report(&tracks, &format!("{} pods", tracks.len()), &defects))
}

fn day(list: &Path, defects: &mut Vec<String>) -> Found<Vec<Track>> {
    let shape = "hours with lists of inject_timestamp, inject_pod and inject_type";
    let hours: BTreeMap<String, Vec<Injection>> = json(list, shape)?;
    let folder = list.parent().unwrap_or(list);
    let paths = files(folder, "csv")?;
    let is_metrics = |path: &&std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("_metric.csv"))
    };
    let (mut pods, mut problems) = (Vec::new(), Vec::new());
    for path in paths.iter().filter(is_metrics) {
        match pod(path, defects) {
            Ok(pod) => pods.push(pod),
            Err(found) => problems.extend(found),
        }
    }
    if pods.is_empty() && problems.is_empty() {
        let what = "no *_metric.csv lies beside it";
        problems.push(problem(list, Code::Unreadable, what, "put each pod's metrics beside it"));
    }
    let mut faults: Vec<(f64, Injection)> = Vec::new();
    for injection in hours.into_values().flatten() {
        match seconds(&injection.inject_timestamp) {
            Some(at) => faults.push((at, injection)),
            None => problems.push(no_time(list, &injection)),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let callers = Callers::read(folder)?;
    if callers.is_none() {
        defects
            .push("no source_50.csv and destination_50.csv: what callers see is not used".into());
    }
    Ok(tracks(pods, &faults, callers.as_ref(), defects))
}

fn no_time(list: &Path, injection: &Injection) -> Problem {
    let what = format!("`{}` is no time in seconds", injection.inject_timestamp);
    problem(list, Code::WrongValue, &what, "write inject_timestamp in seconds since 1970")
}

fn tracks(
    pods: Vec<Pod>,
    faults: &[(f64, Injection)],
    callers: Option<&Callers>,
    defects: &mut Vec<String>,
) -> Vec<Track> {
    for (_, fault) in faults {
        if !pods.iter().any(|pod| pod.name == fault.inject_pod) {
            let (kind, pod) = (&fault.inject_type, &fault.inject_pod);
            defects.push(format!("{kind} of {pod}: the pod has no metrics, so it is not counted"));
        }
    }
    let track = |pod: Pod| {
        let own = faults.iter().filter(|(_, fault)| fault.inject_pod == pod.name);
        let own = own.filter_map(|(at, fault)| {
            let first = pod.times.iter().position(|time| time >= at);
            if first.is_none_or(|first| first < WARM) {
                let place =
                    if first.is_none() { "after the last sample" } else { "in the warm-up" };
                let (kind, name) = (&fault.inject_type, &pod.name);
                defects.push(format!("{kind} of {name} begins {place}, so it is not counted"));
            }
            Some((first?, fault.inject_type.clone()))
        });
        let faults = own.collect();
        let (weir, persist) = (by_baseline(&pod.signals), by_last(&pod.signals));
        let seen = callers.map(|callers| callers.of(&pod.name, &pod.times));
        let all = [pod.signals, seen.unwrap_or_default()].concat();
        let mut others = vec![("with_callers", by_baseline(&all))];
        others.extend(by_joint(&all));
        Track { name: pod.name, weir, persist, others, warm: WARM, faults, within: WITHIN }
    };
    pods.into_iter().map(track).collect()
}

/// Reads a pod's metrics; mended defects are told.
fn pod(path: &Path, defects: &mut Vec<String>) -> Found<Pod> {
    let unreadable = |cause: csv::Error| {
        let mend = "write a CSV file with a header line";
        vec![problem(path, Code::Syntax, &cause.to_string(), mend)]
    };
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).from_path(path).map_err(unreadable)?;
    let header = reader.headers().map_err(unreadable)?.clone();
    let column = |name: &str| header.iter().position(|found| found.trim() == name);
    let (Some(time), Some(stamp), Some(name)) =
        (column("Time"), column("TimeStamp"), column("PodName"))
    else {
        let what = "its first line does not name Time, TimeStamp and PodName";
        return Err(vec![problem(path, Code::WrongType, what, "leave the file out, or mend it")]);
    };
    let others = (0..header.len()).filter(|at| ![time, stamp, name].contains(at));
    let signals = others.filter(|at| !header[*at].starts_with(OF_THE_HOST));
    let signals: Vec<usize> = signals.collect();
    let mut pod = Pod { name: String::new(), times: Vec::new(), signals: Vec::new() };
    pod.signals = signals.iter().map(|_| (Vec::new(), Bad::Both)).collect();
    let (mut odd, mut problems) = (Oddities::default(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let field = |at: usize| record.get(at).unwrap_or_default().trim();
        let line = record.position().map_or(1, csv::Position::line);
        let Some(at) = odd.time(field(time), field(stamp)) else {
            let what = format!("neither `{}` nor `{}` is a time", field(time), field(stamp));
            problems.push(problem_at(path, line, &what, "mend the line or leave it out"));
            if problems.len() >= PROBLEMS_MAX {
                break;
            }
            continue;
        };
        field(name).clone_into(&mut pod.name);
        pod.times.push(at);
        for ((values, _), column) in pod.signals.iter_mut().zip(&signals) {
            let value = field(*column).parse().ok().filter(|value: &f64| value.is_finite());
            odd.missing += usize::from(value.is_none());
            let thousands = if header[*column].ends_with("(s)") { 1_000.0 } else { 1.0 };
            values.push(value.map_or(f64::NAN, |value| by_factor(thousands * value)));
        }
    }
    if problems.is_empty() && pod.times.is_empty() {
        problems.push(problem(path, Code::WrongValue, "holds no rows", "leave the file out"));
    }
    odd.backwards += pod.times.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    defects.extend(odd.told(&pod.name));
    if problems.is_empty() { Ok(pod) } else { Err(problems) }
}

/// What is odd with a pod's rows.
#[derive(Default)]
struct Oddities {
    last_stamp: Option<f64>,
    /// Stamps that step backwards.
    stamps_back: usize,
    /// Stamps that are not the row's time, and by how much the first is off.
    shifted: usize,
    shift: f64,
    /// Times that step backwards all the same.
    backwards: usize,
    /// Values that are missing.
    missing: usize,
}

impl Oddities {
    /// The moment of a row: its time, which a shifted clock does not touch, or else its stamp.
    fn time(&mut self, time: &str, stamp: &str) -> Option<f64> {
        // 2022-08-22 03:51:19.607158889 +0000 UTC m=+0.11
        let mut words = time.split_whitespace();
        let civil = words.next().zip(words.next()).map(|(day, clock)| format!("{day} {clock}"));
        let time = civil.and_then(|civil| seconds(&civil));
        let stamp = seconds(stamp);
        if let Some(stamp) = stamp {
            self.stamps_back += usize::from(self.last_stamp.is_some_and(|last| stamp < last));
            self.last_stamp = Some(stamp);
        }
        if let Some((time, stamp)) = time.zip(stamp)
            && (stamp - time).abs() > APART_MOST
        {
            if self.shifted == 0 {
                self.shift = (stamp - time).round();
            }
            self.shifted += 1;
        }
        time.or(stamp)
    }

    fn told(&self, pod: &str) -> Vec<String> {
        let mut told = Vec::new();
        let (shifted, shift, back) = (self.shifted, self.shift, self.stamps_back);
        if shifted > 0 || back > 0 {
            told.push(format!(
                "{pod}: TimeStamp is off by {shift:+} s in {shifted} rows and steps backwards \
                 {back} times; Time is taken instead"
            ));
        }
        if self.backwards > 0 {
            told.push(format!("{pod}: Time steps backwards {} times", self.backwards));
        }
        if self.missing > 0 {
            told.push(format!("{pod}: {} values are missing; they are skipped", self.missing));
        }
        told
    }
}
