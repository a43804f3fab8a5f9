//! One series: a CSV file with the columns `timestamp` and `value`.

use std::path::Path;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use weir_policies::problem::Code;

use super::Found;
use super::folder::{PROBLEMS_MAX, problem, problem_at};

/// Values in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// Seconds since the epoch; a time without a zone counts as UTC.
    pub(super) times: Vec<f64>,
    /// What was measured.
    pub(super) values: Vec<f64>,
}

impl Series {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Found<Self> {
        let bytes = std::fs::read(path).map_err(|cause| {
            let what = format!("cannot be read: {cause}");
            vec![problem(path, Code::Unreadable, &what, "make the file readable")]
        })?;
        Self::from_bytes(path, &bytes)
    }

    fn from_bytes(path: &Path, bytes: &[u8]) -> Found<Self> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
        let header: Vec<String> = reader.headers().map_or_else(
            |_| Vec::new(),
            |header| header.iter().map(|name| name.trim().to_lowercase()).collect(),
        );
        let column = |name: &str| header.iter().position(|found| found == name);
        let (Some(time), Some(value)) = (column("timestamp"), column("value")) else {
            let what = "its first line names no columns `timestamp` and `value`";
            return Err(vec![problem(path, Code::WrongType, what, "begin with timestamp,value")]);
        };
        let mut series = Self { times: Vec::new(), values: Vec::new() };
        let mut problems = Vec::new();
        for record in reader.records() {
            let line =
                |record: &csv::StringRecord| record.position().map_or(1, csv::Position::line);
            let read = match record {
                Ok(record) => row(&record, time, value).map_err(|what| (line(&record), what)),
                Err(cause) => {
                    Err((cause.position().map_or(1, csv::Position::line), cause.to_string()))
                }
            };
            match read {
                Ok((time, value)) => {
                    series.times.push(time);
                    series.values.push(value);
                }
                Err((line, what)) => {
                    let mend = "write it as 2014-04-10 07:15:00,12.5, or leave the line out";
                    problems.push(problem_at(path, line, &what, mend));
                }
            }
            if problems.len() >= PROBLEMS_MAX {
                break;
            }
        }
        if problems.is_empty() && series.values.is_empty() {
            problems.push(problem(path, Code::WrongValue, "holds no rows", "leave it out"));
        }
        if problems.is_empty() { Ok(series) } else { Err(problems) }
    }

    /// The usual time between two samples in seconds.
    pub(super) fn step(&self) -> f64 {
        let steps = self.times.windows(2).map(|pair| pair[1] - pair[0]);
        let mut sorted: Vec<f64> = steps.filter(|step| *step > 0.0).collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(1.0)
    }

    /// The slot of each sample in cycles of so many samples, by its time: a gap shifts nothing.
    pub(super) fn slots(&self, period: usize) -> Vec<usize> {
        let (first, step) = (self.times.first().copied().unwrap_or(0.0), self.step());
        let slot = |time: f64| ((time - first) / step).round().rem_euclid(period as f64);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a remainder")]
        let slots = self.times.iter().map(|time| slot(*time) as usize).collect();
        slots
    }

    /// How often time steps backwards or stands still, and how often a step is missing.
    pub(super) fn irregular(&self) -> (usize, usize) {
        let steps = || self.times.windows(2).map(|pair| pair[1] - pair[0]);
        let usual = self.step();
        let backwards = steps().filter(|step| *step <= 0.0).count();
        let gaps = steps().filter(|step| *step > 1.5 * usual).count();
        (backwards, gaps)
    }
}

fn row(record: &csv::StringRecord, time: usize, value: usize) -> Result<(f64, f64), String> {
    let field = |index: usize| record.get(index).unwrap_or_default().trim();
    let at = seconds(field(time)).ok_or_else(|| format!("`{}` is no time", field(time)))?;
    let number: f64 =
        field(value).parse().map_err(|_| format!("`{}` is no number", field(value)))?;
    if number.is_finite() { Ok((at, number)) } else { Err(format!("{number} is not finite")) }
}

/// A moment in seconds since the epoch: a date and time, RFC 3339, or the number itself.
pub(super) fn seconds(text: &str) -> Option<f64> {
    if let Ok(number) = text.parse::<f64>() {
        return Some(number).filter(|number| number.is_finite());
    }
    if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
        return Some(stamp.as_duration().as_secs_f64());
    }
    let civil: DateTime = text.parse().ok()?;
    Some(TimeZone::UTC.to_timestamp(civil).ok()?.as_duration().as_secs_f64())
}
