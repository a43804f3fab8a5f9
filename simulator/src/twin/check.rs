//! Whether a twin is to be believed: governed as the recording was, it comes to what was recorded.

use super::doubt::{Doubt, Figure, Off};
use super::grid::{slot_of, tick_of};
use super::made::warm_until;
use super::seen::Seen;
use super::tally::Tally;

/// A figure may be off by this part ...
const OFF_PART: f64 = 0.15;

/// ... and errors by this in any case: a tenth of a percentage point.
const OFF_ERRORS: f64 = 0.001;

/// So many timed requests tell a 99th percentile: ten are above it.
const TIMED_MIN: f64 = 1_000.0;

/// Of every so many ticks one is held out. Ticks beside it say what endpoints are like in it: faults
/// come from outside, and no twin foretells them.
const EVERY: usize = 4;

/// The last tick that does not count: decision-makers start anew on a twin, and warm up.
pub fn counted_from(steps: &[Seen]) -> usize {
    let tick = tick_of(steps);
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return 0 };
    let slots = slot_of(last.at, first.at, tick) + 1;
    let warm = warm_until(slots as f64 * tick.as_secs_f64());
    (0..slots).find(|slot| *slot as f64 * tick.as_secs_f64() >= warm).unwrap_or(0)
}

/// Whether a tick is held out: the fit that is checked does not see it.
pub fn is_held_out(slot: usize) -> bool {
    slot % EVERY == EVERY / 2
}

/// Whether two values of a figure are close enough to pass for one.
pub fn is_close(figure: Figure, one: f64, other: f64) -> bool {
    let off = (one - other).abs();
    off <= OFF_PART * one.abs().min(other.abs()) || (figure == Figure::Errors && off <= OFF_ERRORS)
}

/// What is off between a recording and its twin.
pub fn check(recorded: &Tally, twin: &Tally, held_out: bool) -> Vec<Doubt> {
    let timed = recorded.latency.count.min(twin.latency.count);
    if timed < TIMED_MIN {
        return vec![Doubt::Thin { timed, needed: TIMED_MIN }];
    }
    let off = |figure: &Figure| {
        let (recorded, twin) = (recorded.figure(*figure), twin.figure(*figure));
        (!is_close(*figure, recorded, twin)).then_some(Doubt::Off(Off {
            figure: *figure,
            held_out,
            recorded,
            twin,
        }))
    };
    Figure::ALL.iter().filter_map(off).collect()
}

/// Where more than this part times out, load may be made of what is tried again.
const TIMEOUTS_MAX: f64 = 0.05;

/// Whether so many requests of the recording or of a policy's worlds time out that nobody knows
/// what load there would be.
pub fn impatient(policy: Option<usize>, tallies: &[Tally]) -> Option<Doubt> {
    let part = |tally: &Tally| tally.timeouts / tally.requests.max(1.0);
    let timeouts = tallies.iter().map(part).fold(0.0, f64::max);
    (timeouts > TIMEOUTS_MAX).then_some(Doubt::Impatient { timeouts, policy })
}

/// The least and the most that a figure comes to, in the pooled runs of each world.
pub fn span(figure: Figure, worlds: &[Tally]) -> (f64, f64) {
    let values = worlds.iter().map(|world| world.figure(figure));
    let start = (f64::INFINITY, f64::NEG_INFINITY);
    values.fold(start, |(least, most), value| (least.min(value), most.max(value)))
}

/// The figures of a policy on which any two worlds that a recording does not tell apart disagree.
pub fn open(policy: usize, worlds: &[Tally]) -> Vec<Doubt> {
    let doubt = |figure: &Figure| {
        let (least, most) = span(*figure, worlds);
        let is_told = worlds.is_empty() || is_close(*figure, least, most);
        (!is_told).then_some(Doubt::Open { figure: *figure, policy, least, most })
    };
    Figure::ALL.iter().filter_map(doubt).collect()
}
