//! What a backend counted: totals, and when it took each request.
//!
//! When a fleet has moved away from an endpoint is known best by the endpoint itself. The
//! moments are kept, not bins, so that bins can be counted from the fault, which falls anywhere.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Requests whose moment is remembered: 5 minutes at the 200 a second that one backend can
/// serve, in 256 KiB.
const REMEMBERED_MAX: usize = 65_536;

/// What a backend has done since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Requests that arrived.
    pub taken: u64,
    /// Requests answered with 200.
    pub answered: u64,
    /// Requests answered with 503.
    pub failed: u64,
    /// Requests there now, queued or worked on. Those neither answered, failed nor present
    /// were given up by their clients.
    pub present: u64,
    /// Workers busy now.
    pub in_service: usize,
}

/// Requests taken, in bins of one width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The width of a bin.
    pub width: Duration,
    /// Requests per bin; the last one is not over yet.
    pub bins: Vec<u32>,
}

impl Taken {
    /// How long it took until no more than `ratio` of the former rate (requests a second) came:
    /// to the end of the last bin that had more.
    pub fn moved_after(&self, former_rate: f64, ratio: f64) -> Duration {
        let allowed = former_rate * ratio * self.width.as_secs_f64();
        let last = self.bins.iter().rposition(|taken| f64::from(*taken) > allowed);
        let bins = last.map_or(0, |last| last + 1);
        self.width * u32::try_from(bins).expect("as many bins as moments at most")
    }
}

/// The moments at which requests were taken, oldest first.
#[derive(Debug)]
pub(super) struct Log {
    origin: Instant,
    total: u64,
    /// In milliseconds since the origin.
    moments: VecDeque<u32>,
}

impl Log {
    pub(super) fn new(origin: Instant) -> Log {
        Log { origin, total: 0, moments: VecDeque::new() }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn take(&mut self, now: Instant) {
        if self.moments.len() == REMEMBERED_MAX {
            self.moments.pop_front();
        }
        self.moments.push_back(self.milliseconds(now));
        self.total += 1;
    }

    pub(super) fn taken(&self, since: Instant, until: Instant, width: Duration) -> Taken {
        let milliseconds = u32::try_from(width.as_millis()).unwrap_or(u32::MAX).max(1);
        let width = Duration::from_millis(u64::from(milliseconds));
        let (since, until) = (self.milliseconds(since), self.milliseconds(until));
        let bin = |moment: u32| ((moment - since) / milliseconds) as usize;
        let last = if until < since { 0 } else { bin(until) + 1 };
        let mut bins = vec![0; last.min(REMEMBERED_MAX)];
        for moment in self.moments.iter().filter(|moment| **moment >= since) {
            if let Some(count) = bins.get_mut(bin(*moment)) {
                *count += 1;
            }
        }
        Taken { width, bins }
    }

    fn milliseconds(&self, moment: Instant) -> u32 {
        let passed = moment.saturating_duration_since(self.origin);
        u32::try_from(passed.as_millis()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: Duration = Duration::from_millis(200);

    fn log(origin: Instant, moments: &[u64]) -> Log {
        let mut log = Log::new(origin);
        for moment in moments {
            log.take(origin + Duration::from_millis(*moment));
        }
        log
    }

    #[track_caller]
    fn check(moments: &[u64], since: u64, until: u64, expected: &[u32]) {
        let origin = Instant::now();
        let at = |moment| origin + Duration::from_millis(moment);
        let taken = log(origin, moments).taken(at(since), at(until), WIDTH);
        assert_eq!(taken, Taken { width: WIDTH, bins: expected.to_vec() });
    }

    #[test]
    fn bins_start_at_the_fault() {
        check(&[10, 90, 150, 310, 520], 100, 550, &[1, 1, 1]);
    }

    #[test]
    fn bins_without_a_request_are_there() {
        check(&[10], 0, 999, &[1, 0, 0, 0, 0]);
    }

    #[test]
    fn the_edge_belongs_to_the_later_bin() {
        check(&[199, 200], 0, 200, &[1, 1]);
    }

    #[test]
    fn a_fault_to_come_has_no_bins() {
        check(&[10], 100, 50, &[]);
    }

    #[test]
    fn what_is_forgotten_is_the_oldest() {
        let origin = Instant::now();
        let mut log = log(origin, &[1]);
        (0..REMEMBERED_MAX).for_each(|_| log.take(origin + WIDTH));
        let taken = log.taken(origin, origin + WIDTH, WIDTH);
        assert_eq!(taken.bins, [0, 65_536]);
        assert_eq!(log.total(), 65_537);
    }

    #[track_caller]
    fn check_moved(bins: &[u32], milliseconds: u64) {
        let taken = Taken { width: WIDTH, bins: bins.to_vec() };
        assert_eq!(taken.moved_after(120.0, 0.05), Duration::from_millis(milliseconds));
    }

    #[test]
    fn moved_is_after_the_last_busy_bin() {
        check_moved(&[24, 23, 2, 1, 0], 600);
        check_moved(&[24, 0, 0, 5, 1, 1], 800);
        check_moved(&[1, 1, 0], 0);
        check_moved(&[], 0);
    }
}
