//! From a scenario's file to what the simulator plays; all problems at once, at their lines.

use std::path::Path;
use std::time::Duration;

use weir_policies::problem::{Code, Problem};
use weir_policies::reader::{At, Limits, read};
use weir_policies::source::Source;
use weir_simulator::scenario::{Backend, Chain, Curve, Scenario};

use super::file;
use crate::config::Check;

mod fleet;
mod telemetry;
mod traffic;

use fleet::{Common, Fleet, Spells};

/// A scenario without its seeds.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The file's stem.
    pub(crate) name: String,
    /// What happens, in a sentence.
    pub(crate) description: String,
    scenario: Scenario,
    /// Slow spells by backend.
    antagonists: Vec<Option<Spells>>,
    /// The same of the second tier.
    chain_antagonists: Vec<Option<Spells>>,
}

impl Plan {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|cause| {
            let what = format!("cannot be read: {cause}");
            vec![Problem::of_file(&shown, Code::Unreadable, &what, "name a scenario's file")]
        })?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Self::from_bytes(&name.unwrap_or_default(), &shown, &bytes)
    }

    /// Reads what a file of a name says; `shown` is where problems stand.
    pub(crate) fn from_bytes(name: &str, shown: &str, bytes: &[u8]) -> Result<Self, Vec<Problem>> {
        let file: file::File = read(shown, bytes, &Limits::DOCUMENT)?;
        let text = String::from_utf8_lossy(bytes);
        let source = Source { path: shown, text: &text };
        let mut check = Check::of(Path::new(shown), source);
        let plan = plan(name, file, &mut check);
        if check.problems.is_empty() { Ok(plan) } else { Err(check.problems) }
    }

    /// From when until when arrivals are counted, in seconds.
    pub(crate) fn counted(&self) -> (f64, f64) {
        self.scenario.counted
    }

    /// Lets endpoints declare their workers.
    pub(crate) fn declare_workers(&mut self) {
        self.scenario.telemetry.declares_workers = true;
    }

    /// The scenario under a seed, with so many proxies.
    pub(crate) fn scenario(&self, seed: u64, proxies: usize) -> Scenario {
        let mut scenario = Scenario { seed, proxies, ..self.scenario.clone() };
        let until = scenario.length;
        pester((seed, 0), &mut scenario.backends, &self.antagonists, until);
        if let Some(chain) = &mut scenario.chain {
            pester((seed, CHAIN), &mut chain.backends, &self.chain_antagonists, until);
        }
        scenario
    }
}

/// Numbers of the second tier's spells start here.
const CHAIN: u64 = 1 << 32;

fn pester(
    (seed, first): (u64, u64),
    backends: &mut [Backend],
    antagonists: &[Option<Spells>],
    until: f64,
) {
    for ((backend, spells), number) in backends.iter_mut().zip(antagonists).zip(first..) {
        if let Some(spells) = spells {
            let often = (spells.off, spells.on);
            let spells = Curve::alternating(seed, number, often, spells.slowness, until);
            backend.slowness = backend.slowness.with(&spells, |usual, spell| usual * spell);
        }
    }
}

impl Check<'_> {
    /// A moment or a length, in seconds.
    fn seconds(&mut self, text: Option<&At<String>>, field: &str, default: f64) -> f64 {
        text.map_or(default, |_| self.duration(text, field, Duration::ZERO).as_secs_f64())
    }

    /// From when until when, in seconds.
    fn span(&mut self, from: &At<String>, until: &At<String>, field: &str) -> (f64, f64) {
        let start = self.seconds(Some(from), field, 0.0);
        let end = self.seconds(Some(until), field, 0.0);
        if start >= end {
            let what = format!("from {start} s until {end} s is no time");
            self.wrong(until.span, field, what, "write the later moment under until");
        }
        (start, end)
    }

    /// A number within bounds.
    fn number(&mut self, number: &At<f64>, field: &str, (least, most): (f64, f64)) -> f64 {
        if !(least..=most).contains(&number.value) {
            let what = format!("{} is outside {least} to {most}", number.value);
            self.wrong(number.span, field, what, "write a number between the two");
        }
        number.value.clamp(least, most)
    }
}

fn plan(name: &str, file: file::File, check: &mut Check<'_>) -> Plan {
    let zones = zones(&file.zones, check);
    let common = Common::of(&file.faults, &zones, check);
    let fleet = Fleet::of(&file.backends, "backends", &common, check);
    let chain = file.chain.as_ref().map(|chain| second_tier(chain, &common, check));
    let (chain, chain_antagonists) = chain.unzip();
    let mut scenario = Scenario {
        load: load(&file.load, check),
        classes: traffic::classes(&file.classes, check),
        retries: file.retries.as_ref().map(|some| traffic::retries(some, "retries", check)),
        pool: file.pool.as_ref().map(|some| traffic::pool(some, "pool", check)),
        telemetry: telemetry::telemetry(&file.telemetry, &fleet.groups, check),
        chain,
        ..rest(&file, check)
    };
    scenario.backends = fleet.backends;
    scenario.autoscalers = fleet.autoscalers;
    scenario.zones = zones;
    Plan {
        name: name.to_owned(),
        description: file.description,
        scenario,
        antagonists: fleet.antagonists,
        chain_antagonists: chain_antagonists.unwrap_or_default(),
    }
}

fn second_tier(
    written: &file::Chain,
    common: &Common<'_>,
    check: &mut Check<'_>,
) -> (Chain, Vec<Option<Spells>>) {
    let fleet = Fleet::of(&written.backends, "chain.backends", common, check);
    if let (Some(_), Some(group)) = (fleet.autoscalers.first(), written.backends.value.first()) {
        let what = "only the first tier is scaled".to_owned();
        check.wrong(group.count.span, "chain.backends", what, "leave out autoscale here");
    }
    let service = check.seconds(written.service.as_ref(), "chain.service", 0.020);
    let sigma = written.sigma.as_ref();
    let sigma = sigma.map_or(0.8, |sigma| check.number(sigma, "chain.sigma", (0.0, 3.0)));
    let timeout = check.seconds(written.timeout.as_ref(), "chain.timeout", 1.0);
    let retries = written.retries.as_ref();
    let pool = written.pool.as_ref();
    let chain = Chain {
        backends: fleet.backends,
        service: (Duration::from_secs_f64(service.max(1e-6)), sigma),
        timeout: Duration::from_secs_f64(timeout.max(1e-3)),
        retries: retries.map(|some| traffic::retries(some, "chain.retries", check)),
        pool: pool.map(|some| traffic::pool(some, "chain.pool", check)),
    };
    (chain, fleet.antagonists)
}

/// Length, times and patience.
fn rest(file: &file::File, check: &mut Check<'_>) -> Scenario {
    let usual = Scenario::fleet(0);
    let service = check.seconds(file.service.as_ref(), "service", 0.020);
    let sigma = file.sigma.as_ref().map_or(0.8, |s| check.number(s, "sigma", (0.0, 3.0)));
    let timeout = check.seconds(file.timeout.as_ref(), "timeout", 1.0);
    let cross_zone = check.seconds(file.cross_zone.as_ref(), "cross_zone", 0.0);
    let length = check.seconds(file.length.as_ref(), "length", 100.0);
    let from = check.seconds(file.counted_from.as_ref(), "counted_from", 40.0);
    let until = check.seconds(file.counted_until.as_ref(), "counted_until", 90.0);
    if !(from < until && until <= length) {
        let place = file.counted_until.as_ref().or(file.counted_from.as_ref());
        let span = place.or(file.length.as_ref()).map_or(file.load.span, |text| text.span);
        let what = format!("{from} s to {until} s is no part of {length} s");
        check.wrong(span, "counted_until", what, "count a part of the run");
    }
    Scenario {
        service: (Duration::from_secs_f64(service.max(1e-6)), sigma),
        timeout: Duration::from_secs_f64(timeout.max(1e-3)),
        cross_zone: Duration::from_secs_f64(cross_zone),
        length,
        counted: (from, until),
        ..usual
    }
}

fn zones(written: &[file::Zone], check: &mut Check<'_>) -> Vec<(String, f64)> {
    if written.is_empty() {
        return vec![(String::new(), 1.0)];
    }
    let zone = |(index, zone): (usize, &file::Zone)| {
        let field = format!("zones[{index}]");
        (zone.name.value.clone(), check.number(&zone.demand, &field, (0.0, 1.0)))
    };
    written.iter().enumerate().map(zone).collect()
}

fn load(steps: &At<Vec<file::Step>>, check: &mut Check<'_>) -> Curve {
    let mut knots: Vec<(f64, f64)> = Vec::new();
    for (index, step) in steps.value.iter().enumerate() {
        let field = format!("load[{index}]");
        let rps = check.number(&step.rps, &field, (0.0, 1e6));
        let from = check.seconds(step.from.as_ref(), &field, 0.0);
        if let Some(&(last, before)) = knots.last() {
            if from < last {
                let what = format!("{from} s comes before the step above");
                check.wrong(step.rps.span, &field, what, "write steps in order of time");
                continue;
            }
            knots.push((from, before));
        }
        knots.push((from, rps));
    }
    if knots.is_empty() {
        check.wrong(steps.span, "load", "no load".to_owned(), "write - { rps: 2400 }");
        return Curve::level(0.0);
    }
    Curve::through(&knots)
}

#[cfg(test)]
mod tests;
