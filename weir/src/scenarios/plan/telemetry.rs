//! How telemetry comes: late, lost, or wrong.

use std::ops::Range;
use std::time::Duration;

use weir_simulator::scenario::{Lies, Telemetry};

use super::super::file;
use crate::config::{Check, TICK_MIN};

pub(super) fn telemetry(
    written: &file::Telemetry,
    groups: &[Range<usize>],
    check: &mut Check<'_>,
) -> Telemetry {
    let tick = check.duration(written.tick.as_ref(), "telemetry.tick", Duration::from_secs(1));
    if let (true, Some(written)) = (tick < TICK_MIN, &written.tick) {
        let what = format!("a tick of {tick:?} is too short");
        check.wrong(written.span, "telemetry.tick", what, "write at least 100ms");
    }
    let tick = tick.max(TICK_MIN);
    let delay = check.duration(written.delay.as_ref(), "telemetry.delay", tick);
    let ticks_late = usize::try_from(delay.as_millis() / tick.as_millis()).unwrap_or(usize::MAX);
    let (lost, sampled) = (written.lost.as_ref(), written.sampled.as_ref());
    Telemetry {
        tick,
        ticks_late,
        sampled: sampled.map_or(1.0, |part| check.number(part, "telemetry.sampled", (0.0, 1.0))),
        declares_workers: written.declares_workers,
        lost: lost.map_or(0.0, |part| check.number(part, "telemetry.lost", (0.0, 1.0))),
        silences: silences(&written.silent, check),
        lies: written.lies.as_ref().map(|lies| self::lies(lies, groups, check)),
    }
}

fn silences(written: &[file::Span], check: &mut Check<'_>) -> Vec<(f64, f64)> {
    let silence = |(index, span): (usize, &file::Span)| {
        check.span(&span.from, &span.until, &format!("telemetry.silent[{index}]"))
    };
    written.iter().enumerate().map(silence).collect()
}

fn lies(written: &file::Lies, groups: &[Range<usize>], check: &mut Check<'_>) -> Lies {
    const FIELD: &str = "telemetry.lies";
    let all = 0..groups.last().map_or(0, |last| last.end);
    let about = written.about.as_ref().map_or(all.clone(), |about| {
        groups.get(about.value).cloned().unwrap_or_else(|| {
            let what = format!("there is no group {}", about.value);
            check.wrong(about.span, FIELD, what, "count the groups under backends from 0");
            all
        })
    });
    let mut number = |part: &_, bounds| check.number(part, FIELD, bounds);
    let part = number(&written.part, (0.0, 1.0));
    let errors = written.errors.as_ref().map_or(0.0, |part| number(part, (0.0, 1.0)));
    let latency = written.latency.as_ref().map_or(1.0, |by| number(by, (0.001, 1e4)));
    let during = check.span(&written.from, &written.until, FIELD);
    Lies { part, during, about, errors, latency }
}
