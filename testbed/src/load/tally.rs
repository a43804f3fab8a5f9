//! What came of the requests of one side in one segment.

use hdrhistogram::Histogram;
use http::StatusCode;
use serde::Serialize;
use std::time::Duration;

/// Three digits: a p99 of 500 ms is told to within half a millisecond.
const DIGITS: u8 = 3;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Answered with 2xx in time, after so long.
    Succeeded(Duration),
    /// Answered with anything else in time.
    Refused,
    /// The connection broke, or there was none.
    Reset,
    /// Not answered in time, by the generator's clock or by the proxy's (504).
    TimedOut,
    /// Never sent, since too many were under way.
    Unsent,
}

impl End {
    pub(crate) fn answered(status: StatusCode, took: Duration, timeout: Duration) -> End {
        if took > timeout || status == StatusCode::GATEWAY_TIMEOUT {
            End::TimedOut
        } else if status.is_success() {
            End::Succeeded(took)
        } else {
            End::Refused
        }
    }
}

/// The counts of one side in one segment.
#[derive(Clone, Debug)]
pub struct Tally {
    timeout: Duration,
    /// Of successes and timeouts, in microseconds.
    latency: Histogram<u32>,
    /// Requests that ended in any way.
    pub requests: u64,
    /// Those answered in time with anything but 2xx.
    pub refused: u64,
    /// Those whose connection broke.
    pub resets: u64,
    /// Those not answered in time.
    pub timeouts: u64,
    /// Those never sent.
    pub unsent: u64,
    /// Those that left noticeably after their time, whatever became of them: the generator
    /// itself was too slow, and where they are many no figure here means anything.
    pub late: u64,
}

/// What people compare. Every number is always there: where nothing was seen, latency is 0 and
/// no request failed; where nothing but failures was seen, latency is the timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The median latency of successes and timeouts.
    pub p50_ms: f64,
    /// The 99th percentile of the latency of successes and timeouts.
    pub p99_ms: f64,
    /// The share of requests that did not succeed: errors, resets and timeouts.
    pub error_ratio: f64,
    /// Requests that ended.
    pub requests: u64,
}

impl Tally {
    pub(super) fn new(timeout: Duration) -> Tally {
        let longest = microseconds(timeout).max(2);
        let latency = Histogram::new_with_max(longest, DIGITS)
            .expect("three digits and a largest value of at least 2 are allowed");
        Tally {
            timeout,
            latency,
            requests: 0,
            refused: 0,
            resets: 0,
            timeouts: 0,
            unsent: 0,
            late: 0,
        }
    }

    pub(super) fn add(&mut self, end: End) {
        self.requests += 1;
        match end {
            End::Succeeded(took) => self.latency.saturating_record(microseconds(took)),
            End::TimedOut => {
                self.latency.saturating_record(microseconds(self.timeout));
                self.timeouts += 1;
            }
            End::Refused => self.refused += 1,
            End::Reset => self.resets += 1,
            End::Unsent => self.unsent += 1,
        }
    }

    /// Requests that did not succeed.
    pub fn errors(&self) -> u64 {
        self.refused + self.resets + self.timeouts + self.unsent
    }

    /// The figures that people compare.
    pub fn summary(&self) -> Summary {
        Summary {
            p50_ms: self.quantile_ms(0.5),
            p99_ms: self.quantile_ms(0.99),
            error_ratio: self.errors() as f64 / self.requests.max(1) as f64,
            requests: self.requests,
        }
    }

    fn quantile_ms(&self, quantile: f64) -> f64 {
        let longest = microseconds(self.timeout);
        let value = if self.latency.is_empty() && self.requests > 0 {
            longest
        } else {
            self.latency.value_at_quantile(quantile).min(longest)
        };
        value as f64 / 1000.0
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    fn succeeded(milliseconds: u64) -> End {
        End::Succeeded(Duration::from_millis(milliseconds))
    }

    #[track_caller]
    fn check(ends: &[(usize, End)], p50_ms: f64, p99_ms: f64, error_ratio: f64) {
        let mut tally = Tally::new(TIMEOUT);
        for (times, end) in ends {
            (0..*times).for_each(|_| tally.add(*end));
        }
        let seen = tally.summary();
        let near = |a: f64, b: f64| (a - b).abs() <= b / 500.0;
        assert!(near(seen.p50_ms, p50_ms) && near(seen.p99_ms, p99_ms), "{seen:?}");
        assert!(near(seen.error_ratio, error_ratio), "{seen:?}");
        assert_eq!(seen.requests, ends.iter().map(|(times, _)| *times as u64).sum::<u64>());
    }

    #[test]
    fn percentiles_are_those_of_what_succeeded() {
        check(&[(60, succeeded(30)), (38, succeeded(80)), (2, succeeded(900))], 30.0, 900.0, 0.0);
    }

    #[test]
    fn a_timeout_counts_as_the_timeout() {
        check(&[(90, succeeded(30)), (10, End::TimedOut)], 30.0, 2000.0, 0.1);
    }

    #[test]
    fn errors_and_resets_have_no_latency() {
        let ends = [(80, succeeded(30)), (10, End::Refused), (5, End::Reset), (5, End::Unsent)];
        check(&ends, 30.0, 30.0, 0.2);
    }

    #[test]
    fn there_is_a_number_where_nothing_succeeded() {
        check(&[(3, End::Refused)], 2000.0, 2000.0, 1.0);
    }

    #[test]
    fn there_is_a_number_where_nothing_was_sent() {
        check(&[], 0.0, 0.0, 0.0);
    }

    #[track_caller]
    fn check_end(status: u16, took_ms: u64, expected: End) {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(End::answered(status, Duration::from_millis(took_ms), TIMEOUT), expected);
    }

    #[test]
    fn an_answer_in_time_is_judged_by_its_status() {
        check_end(200, 1999, succeeded(1999));
        check_end(503, 1, End::Refused);
        check_end(404, 1, End::Refused);
    }

    #[test]
    fn late_is_late_whatever_it_says() {
        check_end(200, 2001, End::TimedOut);
        check_end(503, 2001, End::TimedOut);
        check_end(504, 1999, End::TimedOut);
    }
}
