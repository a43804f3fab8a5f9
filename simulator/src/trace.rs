//! How a run went second by second.

/// A run's seconds, from its start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// One for each second.
    pub seconds: Vec<Second>,
}

/// What happened to the requests that clients sent in one second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Second {
    /// How many there were.
    pub requests: u32,
    /// Of these, failed, timed out or refused.
    pub errors: u32,
    /// Latencies of successes and timeouts in milliseconds, in no order.
    pub latencies_ms: Vec<f64>,
    /// Tries by backend.
    pub by_backend: Vec<u32>,
}

impl Trace {
    /// The second that a microsecond is in.
    pub(crate) fn second(&mut self, sent: u64, backends: usize) -> &mut Second {
        let index = usize::try_from(sent / 1_000_000).unwrap_or(usize::MAX);
        while self.seconds.len() <= index {
            let by_backend = vec![0; backends];
            self.seconds.push(Second { by_backend, ..Second::default() });
        }
        &mut self.seconds[index]
    }
}

impl Second {
    /// The latency that 99 of 100 did not exceed, if anything was timed.
    pub fn p99_ms(&self) -> Option<f64> {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = (sorted.len() * 99).div_ceil(100);
        sorted.get(rank.checked_sub(1)?).copied()
    }
}
