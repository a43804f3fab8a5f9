//! One endpoint as a queue: how many requests are inside at a given utilization, and back.
//!
//! The number in an M/M/c system by Sakasegawa's approximation (H. Sakasegawa, "An approximation
//! formula Lq = alpha rho^beta / (1 - rho)", Annals of the Institute of Statistical Mathematics
//! 29, 1977): `N(rho) = rho c + rho^k / (1 - rho)` with `k = sqrt(2 (c + 1))`. Exact for one
//! worker, within a few per cent for more, smooth in `c`, and one power instead of Erlang's sums.
//!
//! Why invert it: latency includes the wait for other requests, so weights made from latency move
//! the very thing that they were made from, and swing once telemetry is late. Utilization found
//! from the number inside, and the service time that follows from it, do not depend on the share.

/// Utilization never reaches one: an endpoint with any queue at all stays below it.
const UTILIZATION_MOST: f64 = 1.0 - 1e-9;

/// Halley's steps (E. Halley, Philosophical Transactions 18, 1694): one or two, hardly ever three.
const STEPS_MAX: u32 = 8;

/// A step this small is the last: each cubes the error, so this leaves less than 1e-6.
const CLOSE: f64 = 1e-2;

/// More workers than any endpoint has: keeps powers finite whatever is declared.
const WORKERS_MOST: f64 = 1e6;

/// More requests than any endpoint holds.
const INSIDE_MOST: f64 = 1e9;

/// An endpoint with a number of workers and one queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Queue {
    workers: f64,
    exponent: f64,
}

impl Queue {
    /// A queue before so many workers; at least one, and numbers that are none count as one.
    pub(crate) fn of(workers: f64) -> Self {
        let workers = if workers.is_nan() { 1.0 } else { workers.clamp(1.0, WORKERS_MOST) };
        Self { workers, exponent: (2.0 * (workers + 1.0)).sqrt() }
    }

    /// The number of workers.
    pub(crate) fn workers(self) -> f64 {
        self.workers
    }

    /// How many requests are inside, waiting or worked on, at a utilization.
    #[cfg(test)]
    pub(crate) fn inside(self, utilization: f64) -> f64 {
        let rho = utilization.clamp(0.0, UTILIZATION_MOST);
        rho * self.workers + self.power(rho) / (1.0 - rho)
    }

    /// How fast the number inside grows with utilization.
    pub(crate) fn slope(self, utilization: f64) -> f64 {
        let rho = utilization.clamp(0.0, UTILIZATION_MOST);
        self.slope_from(rho, self.power(rho))
    }

    /// The utilization at which so many are inside: the inverse of N(rho).
    pub(crate) fn utilization(self, inside: f64) -> f64 {
        // Not `inside <= 0.0`: NaN is nobody inside too.
        if inside.is_nan() || inside <= 0.0 {
            return 0.0;
        }
        let inside = inside.min(INSIDE_MOST);
        let mut rho = self.above(inside);
        for _ in 0..STEPS_MAX {
            let power = self.power(rho);
            let excess = rho * self.workers + power / (1.0 - rho) - inside;
            let slope = self.slope_from(rho, power);
            let bent = 2.0 * slope * slope - excess * self.curvature_from(rho, power);
            let next = (rho - 2.0 * excess * slope / bent).clamp(0.0, UTILIZATION_MOST);
            let step = (rho - next).abs();
            rho = next;
            if step <= CLOSE * (1.0 - rho).min(rho) {
                break;
            }
        }
        rho
    }

    /// A utilization at or above the one sought. Both of `rho c <= N` and, since `(1 - e)^k >=
    /// 1 - k e`, `c - c e + 1/e - k <= N` bound it.
    fn above(self, inside: f64) -> f64 {
        let beyond = inside - self.workers + self.exponent;
        let idle = 2.0 / (beyond + (beyond * beyond + 4.0 * self.workers).sqrt());
        (inside / self.workers).min(1.0 - idle).clamp(1e-12, UTILIZATION_MOST)
    }

    fn power(self, rho: f64) -> f64 {
        if rho > 0.0 { libm::exp(self.exponent * libm::log(rho)) } else { 0.0 }
    }

    fn slope_from(self, rho: f64, power: f64) -> f64 {
        let idle = 1.0 - rho;
        let powers = if rho > 0.0 { self.exponent * power / rho } else { 0.0 };
        self.workers + powers / idle + power / (idle * idle)
    }

    fn curvature_from(self, rho: f64, power: f64) -> f64 {
        let idle = 1.0 - rho;
        let (first, second) = if rho > 0.0 {
            let first = self.exponent * power / rho;
            (first, (self.exponent - 1.0) * first / rho)
        } else {
            (0.0, 0.0)
        };
        (second + 2.0 * (first + power / idle) / idle) / idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn utilization_inverts_the_number_inside(rho in 1e-6..0.9999_f64, workers in 1.0..500.0_f64) {
            let queue = Queue::of(workers);
            let found = queue.utilization(queue.inside(rho));
            prop_assert!((found - rho).abs() <= 1e-6 * (1.0 - rho).max(1e-3), "{found} for {rho}");
        }

        #[test]
        fn more_inside_means_more_used(
            workers in 1.0..200.0_f64, fewer in 0.0..500.0_f64, more in 0.001..500.0_f64,
        ) {
            let queue = Queue::of(workers);
            let (low, high) = (queue.utilization(fewer), queue.utilization(fewer + more));
            prop_assert!(low < high && high < 1.0, "{low} {high}");
        }

        #[test]
        fn slope_is_the_derivative(rho in 0.01..0.95_f64, workers in 1.0..100.0_f64) {
            let queue = Queue::of(workers);
            let step = 1e-6;
            let measured = (queue.inside(rho + step) - queue.inside(rho - step)) / (2.0 * step);
            prop_assert!((measured / queue.slope(rho) - 1.0).abs() < 1e-3);
        }

        #[test]
        fn any_number_gives_a_utilization(inside in any::<f64>(), workers in any::<f64>()) {
            let rho = Queue::of(workers).utilization(inside);
            prop_assert!((0.0..1.0).contains(&rho), "{rho}");
        }
    }

    #[test]
    fn one_worker_is_exact() {
        // M/M/1: N = rho / (1 - rho).
        let queue = Queue::of(1.0);
        for rho in [0.1, 0.5, 0.9, 0.99] {
            assert!((queue.inside(rho) - rho / (1.0 - rho)).abs() < 1e-9 / (1.0 - rho));
        }
    }

    #[test]
    fn eight_workers_come_close_to_erlang() {
        // Erlang C for c = 8, rho = 0.8: P(wait) = 0.4577, so N = 6.4 + 0.4577 x 0.8 / 0.2 = 8.231.
        let inside = Queue::of(8.0).inside(0.8);
        assert!((inside / 8.231 - 1.0).abs() < 0.02, "{inside}");
    }
}
