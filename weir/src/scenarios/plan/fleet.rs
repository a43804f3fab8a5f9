//! Groups of backends, what befalls them, and how they come and go.

use std::ops::Range;
use std::time::Duration;

use weir_policies::reader::At;
use weir_simulator::scenario::{Autoscaler, Backend, Cold, Curve};

use super::super::file;
use crate::config::Check;

/// More backends than a service has.
const BACKENDS_MAX: usize = 10_000;

/// Slow spells at random.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spells {
    /// By how much service is slower meanwhile.
    pub(super) slowness: f64,
    /// Mean seconds slow.
    pub(super) on: f64,
    /// Mean seconds quiet.
    pub(super) off: f64,
}

/// Faults that befall all backends, or a zone's.
#[derive(Debug)]
pub(super) struct Common<'a> {
    zones: &'a [(String, f64)],
    faults: Vec<(Option<usize>, Curve, Curve)>,
}

impl<'a> Common<'a> {
    pub(super) fn of(
        written: &[file::CommonFault],
        zones: &'a [(String, f64)],
        check: &mut Check<'_>,
    ) -> Self {
        let fault = |(index, written): (usize, &file::CommonFault)| {
            let field = format!("faults[{index}]");
            let zone = written.zone.as_ref().map(|name| zone_of(name, &field, zones, check));
            let (mut slow, mut failing) = (vec![(0.0, 1.0)], vec![(0.0, 0.0)]);
            let during = check.span(&written.from, &written.until, &field);
            let effects = Effects {
                during: (during.0, during.1.max(during.0)),
                slowness: written.slowness.as_ref(),
                errors: written.errors.as_ref(),
                easing: written.easing,
            };
            effects.add(&field, &mut slow, &mut failing, check);
            (zone, Curve::through(&slow), Curve::through(&failing))
        };
        Self { zones, faults: written.iter().enumerate().map(fault).collect() }
    }

    fn befall(&self, backend: &mut Backend) {
        for (zone, slow, failing) in &self.faults {
            if zone.is_none_or(|zone| zone == backend.zone) {
                backend.slowness = backend.slowness.with(slow, |own, more| own * more);
                let either = |own: f64, more: f64| 1.0 - (1.0 - own) * (1.0 - more);
                backend.errors = backend.errors.with(failing, either);
            }
        }
    }
}

/// All backends of a tier.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) backends: Vec<Backend>,
    pub(super) antagonists: Vec<Option<Spells>>,
    pub(super) autoscalers: Vec<Autoscaler>,
    /// Which backends each group is.
    pub(super) groups: Vec<Range<usize>>,
}

impl Fleet {
    pub(super) fn of(
        written: &At<Vec<file::Group>>,
        name: &str,
        common: &Common<'_>,
        check: &mut Check<'_>,
    ) -> Self {
        let mut fleet = Self::default();
        for (index, group) in written.value.iter().enumerate() {
            fleet.add(group, &format!("{name}[{index}]"), common, check);
        }
        if fleet.backends.is_empty() && check.problems.is_empty() {
            check.wrong(written.span, name, "no backends".to_owned(), "write - { count: 10 }");
        }
        fleet
    }

    fn add(
        &mut self,
        group: &file::Group,
        field: &str,
        common: &Common<'_>,
        check: &mut Check<'_>,
    ) {
        let first = self.backends.len();
        let most = group.autoscale.as_ref().map_or(group.count.value, |scale| scale.max.value);
        let all = if group.rolling.is_some() { most.saturating_mul(2) } else { most };
        if group.count.value == 0 || first.saturating_add(all) > BACKENDS_MAX {
            let what = format!("{} backends are none or too many", group.count.value.max(all));
            check.wrong(group.count.span, field, what, "write at least 1, 10,000 in all");
            self.groups.push(first..first);
            return;
        }
        let mut backend = backend(group, field, common.zones, check);
        common.befall(&mut backend);
        match &group.rolling {
            Some(rolling) => self.backends.extend(rolled(rolling, &backend, most, field, check)),
            None => self.backends.extend(std::iter::repeat_n(backend, most)),
        }
        let members = first..self.backends.len();
        let spells = group.antagonist.as_ref().map(|written| spells(written, field, check));
        self.antagonists.extend(std::iter::repeat_n(spells, members.len()));
        if let Some(written) = &group.autoscale {
            if group.rolling.is_some() {
                let what = "a group is either scaled or replaced".to_owned();
                check.wrong(written.max.span, field, what, "make two groups of it");
            }
            self.autoscalers.push(autoscaler(written, group, members.clone(), field, check));
        }
        self.groups.push(members);
    }
}

fn spells(written: &file::Antagonist, field: &str, check: &mut Check<'_>) -> Spells {
    Spells {
        slowness: check.number(&written.slowness, field, (1.0, 1e4)),
        off: check.seconds(Some(&written.off), field, 0.0).max(0.1),
        on: check.seconds(Some(&written.on), field, 0.0).max(0.1),
    }
}

/// Those that leave one after another, then their successors.
fn rolled(
    written: &file::Rolling,
    backend: &Backend,
    count: usize,
    field: &str,
    check: &mut Check<'_>,
) -> Vec<Backend> {
    let from = check.seconds(Some(&written.from), field, 0.0);
    let every = check.seconds(Some(&written.every), field, 0.0);
    let gap = check.seconds(written.gap.as_ref(), field, 0.0);
    let (joins, leaves) = backend.present.first().copied().unwrap_or((0.0, f64::INFINITY));
    let with = |present| Backend { present: vec![present], ..backend.clone() };
    let left = |index: usize| from + every * index as f64;
    let old = (0..count).map(|index| with((joins, left(index))));
    let new = (0..count).map(|index| with((left(index) + gap, leaves)));
    old.chain(new).collect()
}

fn autoscaler(
    written: &file::Autoscale,
    group: &file::Group,
    members: Range<usize>,
    field: &str,
    check: &mut Check<'_>,
) -> Autoscaler {
    let (least, most, initial) = (written.min.value, written.max.value, group.count.value);
    if !(1..=initial).contains(&least) || initial > most {
        let what = format!("a count of {initial} is not between min {least} and max {most}");
        check.wrong(written.min.span, field, what, "write 1 <= min <= count <= max");
    }
    let mut time = |text: Option<&At<String>>, default| {
        let time = check.seconds(text, field, default);
        Duration::from_secs_f64(time)
    };
    let every = time(written.every.as_ref(), 15.0).max(Duration::from_secs(1));
    let lag = time(written.lag.as_ref(), 15.0);
    let startup = time(written.startup.as_ref(), 30.0);
    let patience = time(written.patience.as_ref(), 300.0);
    let target = check.number(&written.target, field, (0.01, 1.0));
    Autoscaler { members, initial, least, target, every, lag, startup, patience }
}

fn zone_of(
    name: &At<String>,
    field: &str,
    zones: &[(String, f64)],
    check: &mut Check<'_>,
) -> usize {
    let known = zones.iter().position(|(zone, _)| *zone == name.value);
    known.unwrap_or_else(|| {
        let what = format!("no zone is called {:?}", name.value);
        check.wrong(name.span, field, what, "name one that stands under zones");
        0
    })
}

fn backend(
    group: &file::Group,
    field: &str,
    zones: &[(String, f64)],
    check: &mut Check<'_>,
) -> Backend {
    let speed = group.speed.as_ref().map_or(1.0, |one| check.number(one, field, (0.001, 1e3)));
    let zone = group.zone.as_ref().map_or(0, |name| zone_of(name, field, zones, check));
    let joins = check.seconds(group.joins.as_ref(), field, 0.0);
    let leaves = check.seconds(group.leaves.as_ref(), field, f64::INFINITY);
    let workers = group.workers.as_ref().map_or(8, |workers| workers.value.max(1));
    let (slowness, errors) = faults(group, field, 1.0 / speed, check);
    let cold = group.cold.as_ref().map(|cold| Cold {
        slowness: check.number(&cold.slowness, field, (0.001, 1e4)),
        lasts: check.seconds(Some(&cold.lasts), field, 0.0),
    });
    Backend { workers, slowness, errors, present: vec![(joins, leaves)], zone, cold }
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
        let effects = Effects {
            during: (from, until),
            slowness: fault.slowness.as_ref(),
            errors: fault.errors.as_ref(),
            easing: fault.easing,
        };
        effects.add(&field, &mut slow, &mut failing, check);
    }
    (Curve::through(&slow), Curve::through(&failing))
}

/// What one fault does.
struct Effects<'a> {
    during: (f64, f64),
    slowness: Option<&'a At<f64>>,
    errors: Option<&'a At<f64>>,
    easing: bool,
}

impl Effects<'_> {
    fn add(
        &self,
        field: &str,
        slow: &mut Vec<(f64, f64)>,
        failing: &mut Vec<(f64, f64)>,
        check: &mut Check<'_>,
    ) {
        let (from, until) = self.during;
        let add = |knots: &mut Vec<(f64, f64)>, inside: f64, end: f64, outside: f64| {
            knots.extend([(from, outside), (from, inside), (until, end), (until, outside)]);
        };
        if let Some(slowness) = self.slowness {
            let usual = slow.first().map_or(1.0, |knot| knot.1);
            let inside = usual * check.number(slowness, field, (0.001, 1e4));
            add(slow, inside, if self.easing { usual } else { inside }, usual);
        }
        if let Some(errors) = self.errors {
            let inside = check.number(errors, field, (0.0, 1.0));
            add(failing, inside, inside, 0.0);
        }
    }
}
