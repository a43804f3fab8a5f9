//! Moments as people write and read them.

use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use weir_engine::units::Moment;

use crate::config::parse_duration;

/// A moment as RFC 3339 in UTC.
pub fn shown(at: Moment) -> String {
    timestamp(at).to_string()
}

fn timestamp(at: Moment) -> jiff::Timestamp {
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
}

/// A moment of a recording, as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// `2026-11-30T10:02:00Z`.
    At(Moment),
    /// `10:02` or `10:02:30`: on the recording's first day (UTC), or on the next where it began later.
    Clock(Time),
    /// `+90s`: so long after the recording's first step.
    After(Duration),
}

impl When {
    /// Reads it.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(after) = text.strip_prefix('+') {
            return parse_duration(after).map(Self::After);
        }
        if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
            return u64::try_from(stamp.as_millisecond())
                .ok()
                .map(Moment::from_millis)
                .map(Self::At);
        }
        let plain = text.len() <= "10:02:30.000".len() && text.contains(':');
        text.parse::<Time>().ok().filter(|_| plain).map(Self::Clock)
    }

    /// How it is written.
    pub const HINT: &'static str =
        "write 2026-11-30T10:02:00Z, 10:02:00 (UTC) or +90s (after the journal's first step)";

    /// The moment, in a recording that begins at `start`.
    pub fn of(self, start: Moment) -> Moment {
        match self {
            Self::At(at) => at,
            Self::After(while_) => start.plus(while_),
            Self::Clock(time) => {
                let first = TimeZone::UTC.to_datetime(timestamp(start));
                let same_day = moment(DateTime::from_parts(first.date(), time));
                let day = Duration::from_secs(86_400);
                if time < first.time() { same_day.plus(day) } else { same_day }
            }
        }
    }
}

fn moment(civil: DateTime) -> Moment {
    let stamp = TimeZone::UTC.to_timestamp(civil).map_or(0, jiff::Timestamp::as_millisecond);
    Moment::from_millis(u64::try_from(stamp).unwrap_or(0))
}

/// For the command line.
pub fn when(text: &str) -> Result<When, String> {
    When::parse(text).ok_or_else(|| When::HINT.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let start = Moment::from_millis(1_700_000_000_000); // 2023-11-14T22:13:20Z
        let of = |text: &str| When::parse(text).map(|when| shown(when.of(start)));
        assert_eq!(of("2023-11-14T22:14:00Z").as_deref(), Some("2023-11-14T22:14:00Z"));
        assert_eq!(of("22:14").as_deref(), Some("2023-11-14T22:14:00Z"));
        assert_eq!(of("22:13:20.500").as_deref(), Some("2023-11-14T22:13:20.5Z"));
        assert_eq!(of("01:00").as_deref(), Some("2023-11-15T01:00:00Z"), "past midnight");
        assert_eq!(of("+1m30s").as_deref(), Some("2023-11-14T22:14:50Z"));
        assert_eq!((of("soon"), of("25:00"), of("")), (None, None, None));
    }
}
