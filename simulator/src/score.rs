//! How a run went, over the arrivals that are counted.

use weir_engine::units::Ratio;

/// Counts and latencies of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Requests.
    pub requests: u64,
    /// Of these, failed or timed out.
    pub errors: u64,
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
