//! From a scenario's file to what the simulator plays; all problems at once, at their lines.

use std::path::Path;
use std::time::Duration;

use weir_policies::problem::{Code, Problem};
use weir_policies::reader::{At, Limits, read};
use weir_policies::source::Source;
use weir_simulator::scenario::{Backend, Curve, Scenario, Telemetry};

use super::file;
use crate::config::{Check, TICK_MIN};

/// More backends than a service has.
const BACKENDS_MAX: usize = 10_000;

/// A scenario without its seeds.
#[derive(Debug)]
pub(super) struct Plan {
    /// The file's stem.
    pub(super) name: String,
    /// What happens, in a sentence.
    pub(super) description: String,
    scenario: Scenario,
    /// Slow spells by backend: slowness, mean seconds quiet and slow.
    antagonists: Vec<Option<(f64, (f64, f64))>>,
}

impl Plan {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|cause| {
            let what = format!("cannot be read: {cause}");
            vec![Problem::of_file(&shown, Code::Unreadable, &what, "name a scenario's file")]
        })?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Self::from_bytes(&name.unwrap_or_default(), &shown, &bytes)
    }

    fn from_bytes(name: &str, shown: &str, bytes: &[u8]) -> Result<Self, Vec<Problem>> {
        let file: file::File = read(shown, bytes, &Limits::DOCUMENT)?;
        let text = String::from_utf8_lossy(bytes);
        let source = Source { path: shown, text: &text };
        let mut check = Check::of(Path::new(shown), source);
        let plan = plan(name, file, &mut check);
        if check.problems.is_empty() { Ok(plan) } else { Err(check.problems) }
    }

    /// From when until when arrivals are counted, in seconds.
    pub(super) fn counted(&self) -> (f64, f64) {
        self.scenario.counted
    }

    /// The scenario under a seed, with so many proxies.
    pub(super) fn scenario(&self, seed: u64, proxies: usize) -> Scenario {
        let mut scenario = Scenario { seed, proxies, ..self.scenario.clone() };
        let length = scenario.length;
        let backends = scenario.backends.iter_mut().zip(&self.antagonists).zip(0..);
        for ((backend, antagonist), number) in backends {
            if let Some((slowness, often)) = *antagonist {
                backend.slowness = Curve::alternating(seed, number, often, slowness, length);
            }
        }
        scenario
    }
}

impl Check<'_> {
    /// A moment or a length, in seconds.
    fn seconds(&mut self, text: Option<&At<String>>, field: &str, default: f64) -> f64 {
        text.map_or(default, |_| self.duration(text, field, Duration::ZERO).as_secs_f64())
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
    let mut antagonists = Vec::new();
    let mut backends = Vec::new();
    let groups_at = file.backends.span;
    for (index, group) in file.backends.value.iter().enumerate() {
        let field = format!("backends[{index}]");
        let count = group.count.value;
        if count == 0 || backends.len() + count > BACKENDS_MAX {
            let what = format!("{count} backends are none or too many");
            check.wrong(group.count.span, &field, what, "write at least 1, 10,000 in all");
            continue;
        }
        let backend = backend(group, &field, &zones, check);
        let spells = group.antagonist.as_ref().map(|spells| {
            let slowness = check.number(&spells.slowness, &field, (1.0, 1e4));
            let off = check.seconds(Some(&spells.off), &field, 0.0).max(0.1);
            let on = check.seconds(Some(&spells.on), &field, 0.0).max(0.1);
            (slowness, (off, on))
        });
        backends.extend(std::iter::repeat_n(backend, count));
        antagonists.extend(std::iter::repeat_n(spells, count));
    }
    if backends.is_empty() && check.problems.is_empty() {
        check.wrong(groups_at, "backends", "no backends".to_owned(), "write - { count: 10 }");
    }
    let scenario =
        Scenario { backends, load: load(&file.load, check), zones, ..rest(&file, check) };
    Plan { name: name.to_owned(), description: file.description, scenario, antagonists }
}

/// Everything but backends, load and zones.
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
        telemetry: telemetry(&file.telemetry, check),
        length,
        counted: (from, until),
        ..usual
    }
}

fn telemetry(written: &file::Telemetry, check: &mut Check<'_>) -> Telemetry {
    let tick = check.duration(written.tick.as_ref(), "telemetry.tick", Duration::from_secs(1));
    if let (true, Some(written)) = (tick < TICK_MIN, &written.tick) {
        let what = format!("a tick of {tick:?} is too short");
        check.wrong(written.span, "telemetry.tick", what, "write at least 100ms");
    }
    let tick = tick.max(TICK_MIN);
    let delay = check.duration(written.delay.as_ref(), "telemetry.delay", tick);
    let ticks_late = usize::try_from(delay.as_millis() / tick.as_millis()).unwrap_or(usize::MAX);
    let sampled = written.sampled.as_ref();
    Telemetry {
        tick,
        ticks_late,
        sampled: sampled.map_or(1.0, |part| check.number(part, "telemetry.sampled", (0.0, 1.0))),
        declares_workers: written.declares_workers,
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

fn backend(
    group: &file::Group,
    field: &str,
    zones: &[(String, f64)],
    check: &mut Check<'_>,
) -> Backend {
    let speed = group.speed.as_ref().map_or(1.0, |one| check.number(one, field, (0.001, 1e3)));
    let zone = group.zone.as_ref().map_or(0, |name| {
        let known = zones.iter().position(|(zone, _)| *zone == name.value);
        known.unwrap_or_else(|| {
            let what = format!("no zone is called {:?}", name.value);
            check.wrong(name.span, field, what, "name one that stands under zones");
            0
        })
    });
    let joins = check.seconds(group.joins.as_ref(), field, 0.0);
    let leaves = check.seconds(group.leaves.as_ref(), field, f64::INFINITY);
    let workers = group.workers.as_ref().map_or(8, |workers| workers.value.max(1));
    let (slowness, errors) = faults(group, field, 1.0 / speed, check);
    Backend { workers, slowness, errors, present: vec![(joins, leaves)], zone }
}

/// Slowness and errors over time: the usual one but where a fault is.
fn faults(group: &file::Group, field: &str, usual: f64, check: &mut Check<'_>) -> (Curve, Curve) {
    let (mut slow, mut failing) = (vec![(0.0, usual)], vec![(0.0, 0.0)]);
    for (index, fault) in group.faults.iter().enumerate() {
        let field = format!("{field}.faults[{index}]");
        let from = check.seconds(Some(&fault.from), &field, 0.0);
        let until = check.seconds(Some(&fault.until), &field, 0.0);
        let last = slow.iter().chain(&failing).map(|knot| knot.0).fold(0.0, f64::max);
        if from >= until || from < last {
            let what = format!("from {from} s until {until} s comes after {last} s in no order");
            check.wrong(fault.until.span, &field, what, "write faults one after another");
            continue;
        }
        let add = |knots: &mut Vec<(f64, f64)>, inside: f64, end: f64, outside: f64| {
            knots.extend([(from, outside), (from, inside), (until, end), (until, outside)]);
        };
        if let Some(slowness) = &fault.slowness {
            let inside = usual * check.number(slowness, &field, (0.001, 1e4));
            add(&mut slow, inside, if fault.easing { usual } else { inside }, usual);
        }
        if let Some(errors) = &fault.errors {
            let inside = check.number(errors, &field, (0.0, 1.0));
            add(&mut failing, inside, inside, 0.0);
        }
    }
    (Curve::through(&slow), Curve::through(&failing))
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
