//! What callers see of a pod: `source_50.csv` and `destination_50.csv`, median latencies of each
//! pair of caller and callee, at the caller's proxy and at the callee's.
//!
//! A delay on the network is in no metric of the pod that it was injected into: the callee's proxy
//! sees nothing, the caller's does. So the difference of both is a signal of its own. Of several
//! callers the least counts: what is wrong with a pod all of its callers see, and what is wrong
//! with one caller says nothing of it.

use std::collections::BTreeMap;
use std::path::Path;

use weir_policies::problem::Code;

use super::super::folder::{problem, problem_at};
use super::super::series::seconds;
use super::super::signals::{Bad, Signal, by_factor};
use super::super::{Found, folder};

/// A row belongs to a pod's sample if it is no farther from it: half of a minute.
const APART_MOST: f64 = 30.0;

/// A caller and its callee.
type Pair = (String, String);

/// Latencies in milliseconds by (caller, callee), with the time of each row.
struct Table {
    times: Vec<f64>,
    pairs: BTreeMap<Pair, Vec<f64>>,
}

/// Both views of all pairs, if both are there.
pub(super) struct Callers {
    source: Table,
    destination: Table,
}

impl Callers {
    /// Reads both tables of a folder; `None` where one is missing.
    pub(super) fn read(folder: &Path) -> Found<Option<Self>> {
        let [source, destination] = ["source_50.csv", "destination_50.csv"].map(|n| folder.join(n));
        if !source.exists() || !destination.exists() {
            return Ok(None);
        }
        let (source, destination) = (Table::read(&source)?, Table::read(&destination)?);
        Ok(Some(Self { source, destination }))
    }

    /// The signals of a pod at its samples' times: the latency at its own proxy, and what the
    /// network adds on the way to it. Both are unknown of a pod that nobody calls.
    pub(super) fn of(&self, pod: &str, times: &[f64]) -> Vec<Signal> {
        // cartservice-579f59597d-wc2lz
        let service = pod.rsplitn(3, '-').last().unwrap_or(pod);
        let pairs = self.source.pairs.keys().filter(|(_, callee)| callee == service);
        let pairs: Vec<&Pair> = pairs.collect();
        let least = |value: &dyn Fn(&Pair, f64) -> Option<f64>| {
            let at = |time: &f64| {
                let each = pairs.iter().filter_map(|pair| value(pair, *time));
                each.reduce(f64::min).map_or(f64::NAN, by_factor)
            };
            (times.iter().map(at).collect(), Bad::High)
        };
        let own = |pair: &Pair, time: f64| self.destination.at(pair, time);
        let network = |pair: &Pair, time: f64| {
            Some(self.source.at(pair, time)? - self.destination.at(pair, time)?)
        };
        vec![least(&own), least(&network)]
    }
}

impl Table {
    /// The value of a pair nearest to a time, if it is near and a number.
    fn at(&self, pair: &Pair, time: f64) -> Option<f64> {
        let values = self.pairs.get(pair)?;
        let after = self.times.partition_point(|row| *row < time);
        let near = [after.checked_sub(1), Some(after)].into_iter().flatten();
        let near = near.filter_map(|row| Some(((self.times.get(row)? - time).abs(), row)));
        let (apart, row) = near.min_by(|a, b| a.0.total_cmp(&b.0))?;
        (apart <= APART_MOST).then(|| values[row]).filter(|value| value.is_finite())
    }

    fn read(path: &Path) -> Found<Self> {
        let unreadable = |cause: csv::Error| {
            let mend = "write a CSV file with a header line";
            vec![problem(path, Code::Syntax, &cause.to_string(), mend)]
        };
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).from_path(path).map_err(unreadable)?;
        let header = reader.headers().map_err(unreadable)?.clone();
        let Some(time) = header.iter().position(|name| name.trim() == "timestamp") else {
            let what = "its first line does not name timestamp";
            return Err(vec![problem(
                path,
                Code::WrongType,
                what,
                "leave the file out, or mend it",
            )]);
        };
        let pair = |name: &str| {
            let (caller, callee) = name.trim().split_once('_')?;
            Some((caller.to_owned(), callee.to_owned()))
        };
        let columns = header.iter().enumerate().filter_map(|(at, name)| Some((at, pair(name)?)));
        let columns: Vec<_> = columns.collect();
        let (mut rows, mut problems) = (Vec::new(), Vec::new());
        for record in reader.records() {
            let record = record.map_err(unreadable)?;
            let field = |at: usize| record.get(at).unwrap_or_default().trim();
            let Some(at) = seconds(field(time)) else {
                let line = record.position().map_or(1, csv::Position::line);
                let what = format!("`{}` is no time in seconds", field(time));
                problems.push(problem_at(path, line, &what, "mend the line or leave it out"));
                if problems.len() >= folder::PROBLEMS_MAX {
                    break;
                }
                continue;
            };
            let value = |at: usize| field(at).parse().map_or(f64::NAN, |s: f64| 1_000.0 * s);
            rows.push((at, columns.iter().map(|(at, _)| value(*at)).collect::<Vec<f64>>()));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let column = |at: usize| rows.iter().map(|(_, values)| values[at]).collect();
        let pairs = columns.into_iter().enumerate();
        let pairs = pairs.map(|(at, (_, pair))| (pair, column(at))).collect();
        Ok(Self { times: rows.into_iter().map(|(at, _)| at).collect(), pairs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callers(source: &str, destination: &str) -> Found<Option<Callers>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("source_50.csv"), source).unwrap();
        std::fs::write(folder.path().join("destination_50.csv"), destination).unwrap();
        Callers::read(folder.path())
    }

    #[test]
    fn the_network_is_what_all_callers_see_and_the_callee_does_not() {
        let source = "timestamp,a_cart,b_cart,a_b\n60,0.013,0.023,1\n120,0.014,,1\n";
        let destination = "timestamp,a_cart,b_cart,a_b\n60,0.003,0.003,1\n121,0.003,0.003,1\n";
        let callers = callers(source, destination).unwrap().unwrap();
        let signals = callers.of("cart-579f59597d-wc2lz", &[61.0, 119.0, 300.0]);
        let [(own, Bad::High), (network, Bad::High)] = &signals[..] else { panic!("{signals:?}") };
        let close = |found: f64, ms: f64| assert!((found - by_factor(ms)).abs() < 1e-9, "{found}");
        close(own[0], 3.0);
        close(network[0], 10.0);
        close(network[1], 11.0);
        assert!(own[2].is_nan() && network[2].is_nan(), "no row is near");
        let uncalled = callers.of("a-1-2", &[61.0]);
        assert!(uncalled.iter().all(|(values, _)| values[0].is_nan()), "nobody calls it");
    }

    #[test]
    fn what_is_wrong_is_said_at_its_line() {
        let wrong = callers("timestamp,a_b\nnoon,1\n", "timestamp,a_b\n").err().unwrap();
        assert!(wrong[0].to_string().contains("`noon` is no time"), "{}", wrong[0]);
        let folder = tempfile::tempdir().unwrap();
        assert!(Callers::read(folder.path()).unwrap().is_none(), "neither is there");
    }
}
