//! Times as people write them, and the steps between two of them.

use std::time::Duration;

use jiff::Timestamp;
use weir_collectors::prometheus::history::Span;
use weir_engine::units::Moment;

use crate::times::shown;

/// Steps at most: a year at one step per half minute.
const STEPS_MAX: u64 = 1_100_000;
/// A step is whole seconds, as Prometheus' times are here.
pub(super) const STEP_MIN: Duration = Duration::from_secs(1);
/// Nor longer: past it evidence is stale before it is used.
pub(super) const STEP_MAX: Duration = Duration::from_secs(60);

/// A moment of `now`, `-7d`, `now-1d12h` or RFC 3339.
pub(super) fn parse(text: &str, now: Moment) -> Result<Moment, String> {
    if text == "now" {
        return Ok(now);
    }
    if let Some(ago) = text.strip_prefix("now-").or_else(|| text.strip_prefix('-')) {
        let ago = ago_of(ago).ok_or_else(|| unreadable(text))?;
        let millis = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        return Ok(Moment::from_millis(now.millis().saturating_sub(millis)));
    }
    let at: Timestamp = text.parse().map_err(|_| unreadable(text))?;
    u64::try_from(at.as_millisecond()).map(Moment::from_millis).map_err(|_| unreadable(text))
}

fn unreadable(text: &str) -> String {
    format!("{text:?} is no time: write 2026-05-04T10:00:00Z, -7d, -1d12h or now")
}

/// `7d`, `1d12h`, `90m`.
fn ago_of(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| (1..=7).contains(at))?;
        let (number, after) = rest.split_at(digits);
        let unit = after.chars().next()?;
        let seconds = match unit {
            'w' => 604_800,
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        sum += Duration::from_secs(number.parse::<u64>().ok()? * seconds);
        rest = &after[1..];
    }
    (!text.is_empty()).then_some(sum)
}

/// The steps of a recording: all multiples of their length from one moment to another, so that
/// servers which keep answers by such times can use these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    first: Moment,
    step: Duration,
    /// How many.
    pub(super) count: u64,
}

impl Steps {
    /// The steps from `start` to `end`, or why there are none.
    pub(super) fn between(start: Moment, end: Moment, step: Duration) -> Result<Self, String> {
        if !(STEP_MIN..=STEP_MAX).contains(&step) || step.subsec_nanos() > 0 {
            return Err(format!("a step of {step:?} cannot be: write whole seconds, 1s to 60s"));
        }
        if start >= end {
            let (start, end) = (shown(start), shown(end));
            return Err(format!("--start {start} is not before --end {end}: swap the two"));
        }
        let length = step.as_secs() * 1_000;
        let (first, last) = (start.millis().div_ceil(length), end.millis() / length);
        let count = (last + 1).saturating_sub(first);
        match count {
            0..=2 => Err(format!("only {count} steps of {step:?} there: record a longer time")),
            3..=STEPS_MAX => Ok(Self { first: Moment::from_millis(first * length), step, count }),
            _ => Err(format!("{count} steps, at most {STEPS_MAX}: take a longer --step")),
        }
    }

    /// The length of a step.
    pub(super) fn length(self) -> Duration {
        self.step
    }

    /// When the step with this index is.
    pub(super) fn at(self, index: u64) -> Moment {
        Moment::from_millis(self.first.millis() + index * self.step.as_secs() * 1_000)
    }

    /// The last one's time.
    pub(super) fn last(self) -> Moment {
        self.at(self.count - 1)
    }

    /// The index of the first step after a moment.
    pub(super) fn after(self, at: Moment) -> u64 {
        if at < self.first {
            return 0;
        }
        at.since(self.first).as_secs() / self.step.as_secs() + 1
    }

    /// Some of the steps, as a server is asked for them.
    pub(super) fn span(self, steps: &std::ops::Range<u64>) -> Span {
        let last = steps.end.saturating_sub(1).max(steps.start);
        Span { first: self.at(steps.start), last: self.at(last), step: self.step }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Moment = Moment::from_millis(1_700_000_000_000);

    #[track_caller]
    fn check(text: &str, seconds_ago: Option<i64>) {
        let parsed = parse(text, NOW).ok();
        let ago = parsed.map(|at| (NOW.millis().cast_signed() - at.millis().cast_signed()) / 1000);
        assert_eq!(ago, seconds_ago, "{text}");
    }

    #[test]
    fn times_are_absolute_or_relative() {
        check("now", Some(0));
        check("-7d", Some(604_800));
        check("now-1d12h", Some(129_600));
        check("-2w", Some(1_209_600));
        check("2023-11-14T22:13:10Z", Some(10));
        check("2023-11-14T23:13:20+01:00", Some(0));
        check("2023-11-14T22:13:30Z", Some(-10));
        for wrong in ["", "-", "7d", "-7", "-7x", "-d", "2023-11-14", "yesterday", "-99999999d"] {
            check(wrong, None);
        }
        // Before 1970 there is nothing.
        assert_eq!(parse("-9999999d", NOW), Ok(Moment::default()));
    }

    #[test]
    fn what_cannot_be_is_said() {
        let minute = Moment::from_millis(NOW.millis() - 60_000);
        let error =
            |start, end, step| Steps::between(start, end, Duration::from_millis(step)).unwrap_err();
        assert!(error(NOW, minute, 15_000).contains("swap"));
        assert!(error(NOW, NOW, 15_000).contains("swap"));
        assert!(error(minute, NOW, 1_500).contains("whole seconds"));
        assert!(error(minute, NOW, 61_000).contains("1s to 60s"));
        assert!(error(minute, NOW, 45_000).contains("longer time"));
        assert!(error(Moment::default(), NOW, 1_000).contains("longer --step"));
    }

    proptest! {
        #[test]
        fn steps_lie_within_and_are_found_again(
            start in 1_600_000_000_000_u64..1_700_000_000_000,
            length in 200_000_u64..10_000_000,
            step in 1_u64..=60,
            index in 0_u64..100_000,
        ) {
            let (from, to) = (Moment::from_millis(start), Moment::from_millis(start + length));
            let steps = Steps::between(from, to, Duration::from_secs(step)).unwrap();
            let index = index % steps.count;
            let at = steps.at(index);
            prop_assert!(from <= at && at <= to && steps.last() <= to);
            prop_assert!(to.since(steps.last()) < steps.length());
            prop_assert_eq!(at.millis() % (step * 1000), 0);
            prop_assert_eq!(steps.after(at), index + 1);
            prop_assert_eq!(steps.after(Moment::from_millis(at.millis() - 1)), index);
        }
    }
}
