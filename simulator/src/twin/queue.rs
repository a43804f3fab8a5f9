//! One endpoint as a queue: how long its work takes, from what its clients saw.
//!
//! Erlang's formula for the part of the requests that wait (A. K. Erlang, 1917) and Allen's and
//! Cunneen's factor for the spread of work: `N(rho) = rho c + v C rho / (1 - rho)` are inside, with
//! `v = (1 + cv^2) / 2`. Whoever waits does so for an exponentially distributed time, nearly.

use weir_engine::latency::upper_ms;

/// Halvings in search of a utilization: to a millionth.
const HALVINGS: u32 = 24;

/// An endpoint never is busier than this.
const BUSIEST: f64 = 0.999;

/// So many waits stand for all.
const WAITS: usize = 8;

/// Workers and the spread of work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Queue {
    /// Requests that are worked on at once.
    pub(super) workers: u32,
    /// Sigma of the logarithm of a request's work.
    pub(super) sigma: f64,
}

/// One level of load, explained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Explained {
    /// Mean milliseconds of work.
    pub(super) work_ms: f64,
    /// Part of the workers in use.
    pub(super) utilization: f64,
    /// The part of the requests that wait.
    waiting: f64,
    /// How long these wait in the mean, in milliseconds.
    wait_ms: f64,
}

impl Queue {
    /// What explains a mean latency at so many finished requests a second.
    pub(super) fn explain(self, per_second: f64, mean_ms: f64) -> Explained {
        let inside = per_second * mean_ms / 1e3;
        let workers = f64::from(self.workers);
        let (mut low, mut high) = (0.0, BUSIEST);
        for _ in 0..HALVINGS {
            let rho = f64::midpoint(low, high);
            if rho * workers + self.queued(rho) > inside { high = rho } else { low = rho }
        }
        let rho = f64::midpoint(low, high);
        let per_second = per_second.max(1e-9);
        let waiting = self.waiting(rho);
        let wait_ms = 1e3 * self.queued(rho) / per_second / waiting.max(1e-12);
        let work_ms = 1e3 * rho * workers / per_second;
        Explained { work_ms: work_ms.min(mean_ms), utilization: rho, waiting, wait_ms }
    }

    /// How many wait at a utilization.
    fn queued(self, rho: f64) -> f64 {
        let spread = f64::midpoint(1.0, libm::expm1(self.sigma * self.sigma));
        spread * self.waiting(rho) * rho / (1.0 - rho)
    }

    /// The part of the requests that wait at a utilization.
    fn waiting(self, rho: f64) -> f64 {
        let offered = rho * f64::from(self.workers);
        let lost = (1..=self.workers).fold(1.0, |lost, busy| {
            let more = offered * lost;
            more / (f64::from(busy) + more)
        });
        lost / (1.0 - rho * (1.0 - lost))
    }

    /// The logarithm of the likelihood of a histogram's counts, of latencies that are longer by
    /// `way_ms` than work and waiting.
    pub(super) fn likelihood(
        self,
        explained: Explained,
        way_ms: f64,
        buckets: &[(u8, f64)],
    ) -> f64 {
        let of = |&(bucket, count): &(u8, f64)| {
            count * libm::log(self.part(explained, way_ms, bucket).max(1e-7))
        };
        buckets.iter().map(of).sum()
    }

    /// The part of the requests whose latency is in a bucket.
    pub(super) fn part(self, explained: Explained, way_ms: f64, bucket: u8) -> f64 {
        let up_to = |bucket: u8| self.within(explained, upper_ms(bucket) - way_ms);
        (up_to(bucket) - bucket.checked_sub(1).map_or(0.0, up_to)).max(0.0)
    }

    /// The part of the requests that take at most so long.
    fn within(self, explained: Explained, ms: f64) -> f64 {
        let straight = self.worked(explained, ms);
        if explained.waiting < 1e-3 {
            return straight;
        }
        let waits = (0..WAITS).map(|index| {
            let rank = (index as f64 + 0.5) / WAITS as f64;
            self.worked(explained, ms + explained.wait_ms * libm::log(1.0 - rank))
        });
        let waited = waits.sum::<f64>() / WAITS as f64;
        straight + explained.waiting * (waited - straight)
    }

    fn worked(self, explained: Explained, ms: f64) -> f64 {
        if ms <= 0.0 {
            return 0.0;
        }
        let sigma = self.sigma;
        let z = libm::log(ms / explained.work_ms) / sigma + sigma / 2.0;
        0.5 * libm::erfc(-z / core::f64::consts::SQRT_2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_found_behind_waiting() {
        // Erlang's formula for 8 workers, times (1 + cv^2) / 2 = 0.948.
        let queue = Queue { workers: 8, sigma: 0.8 };
        for (utilization, waits) in [(0.3, 0.001), (0.6, 0.0413), (0.8, 0.271), (0.9, 0.831)] {
            let per_second = utilization * 8.0 / 0.02;
            let found = queue.explain(per_second, 20.0 * (1.0 + waits));
            assert!((found.work_ms / 20.0 - 1.0).abs() < 0.01, "{utilization}: {found:?}");
            assert!((found.utilization / utilization - 1.0).abs() < 0.01, "{found:?}");
        }
    }

    #[test]
    fn a_full_queue_ends_at_its_workers() {
        let queue = Queue { workers: 8, sigma: 0.8 };
        let found = queue.explain(40.0, 3_000.0);
        assert!((found.work_ms - 200.0).abs() < 3.0, "{found:?}");
    }

    #[test]
    fn absurd_numbers_are_answered() {
        for workers in [0, 1, 1_000] {
            for number in [0.0, 1e-300, 1e300] {
                let queue = Queue { workers, sigma: 0.8 };
                let found = queue.explain(number, number);
                assert!(found.work_ms >= 0.0 && !found.utilization.is_nan(), "{found:?}");
            }
        }
    }
}
