//! How a run went, over the arrivals that are counted.

use weir_engine::units::Ratio;

/// Counts and latencies of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Requests.
    pub requests: u64,
    /// Of these, failed or timed out.
    pub errors: u64,
    /// Tries of these beyond the first.
    pub retries: u64,
    /// Tries that a proxy refused for want of a connection.
    pub overflows: u64,
    /// Requests to another zone than the client's.
    pub cross_zone: u64,
    /// Requests by backend.
    pub by_backend: Vec<u64>,
    /// Latencies of successes and timeouts in milliseconds, ascending.
    pub latencies_ms: Vec<f64>,
}

impl Score {
    /// The part that failed.
    pub fn error_ratio(&self) -> Ratio {
        Ratio::of(self.errors as f64, self.requests as f64)
    }

    /// The part that went to another zone.
    pub fn cross_zone_ratio(&self) -> Ratio {
        Ratio::of(self.cross_zone as f64, self.requests as f64)
    }

    /// Takes in another run's counts; latencies are to be sorted afterwards.
    pub fn pool(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.retries += other.retries;
        self.overflows += other.overflows;
        self.cross_zone += other.cross_zone;
        self.by_backend.resize(self.by_backend.len().max(other.by_backend.len()), 0);
        for (sum, count) in self.by_backend.iter_mut().zip(other.by_backend) {
            *sum += count;
        }
        self.latencies_ms.extend(other.latencies_ms);
    }

    /// Sorts latencies, as quantiles want them.
    pub fn sort(&mut self) {
        self.latencies_ms.sort_unstable_by(f64::total_cmp);
    }

    /// The latency that a ratio of successes and timeouts did not exceed, in milliseconds.
    pub fn quantile_ms(&self, q: Ratio) -> f64 {
        let rank = libm::ceil(q.value() * self.latencies_ms.len() as f64);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank between 0 and the number of latencies"
        )]
        let index = (rank as usize).saturating_sub(1);
        self.latencies_ms.get(index).copied().unwrap_or(0.0)
    }

    /// The 99th percentile in milliseconds.
    pub fn p99_ms(&self) -> f64 {
        self.quantile_ms(Ratio::clamped(0.99))
    }
}
