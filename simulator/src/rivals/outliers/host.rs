//! What a proxy remembers of one backend (`DetectorHostMonitorImpl`).

use super::Settings;

/// One member of the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    failures_in_a_row: u32,
    current: Bucket,
    /// The interval that ended, which sweeps judge.
    last: Bucket,
    out_since: Option<u64>,
    back_since: Option<u64>,
    /// How many times the base the next ejection lasts, less one; healthy intervals wear it off.
    backoff: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    total: u64,
    succeeded: u64,
}

impl Host {
    /// Counts an answer, and says how many failed in a row.
    pub(super) fn count(&mut self, failed: bool) -> u32 {
        self.current.total += 1;
        if failed {
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        } else {
            self.current.succeeded += 1;
            self.failures_in_a_row = 0;
        }
        self.failures_in_a_row
    }

    pub(super) fn forget_row(&mut self) {
        self.failures_in_a_row = 0;
    }

    pub(super) fn is_out(&self) -> bool {
        self.out_since.is_some()
    }

    pub(super) fn eject(&mut self, settings: &Settings, now: u64) {
        self.out_since = Some(now);
        if self.backoff * settings.base_ejection < settings.max_ejection + settings.base_ejection {
            self.backoff += 1;
        }
    }

    /// Lets it back in when its time is over, and says whether it did.
    pub(super) fn release(&mut self, settings: &Settings, now: u64) -> bool {
        let lasts = (settings.base_ejection * self.backoff).min(settings.max_ejection);
        let over = self.out_since.is_some_and(|since| since + lasts <= now);
        if over {
            self.out_since = None;
            self.back_since = Some(now);
            self.forget_row();
        }
        over
    }

    /// Begins a new interval.
    pub(super) fn turn(&mut self) {
        self.last = std::mem::take(&mut self.current);
    }

    /// Percentage that succeeded in the interval that ended, of at least so many requests.
    pub(super) fn rate(&self, requests_min: u64) -> Option<f64> {
        let Bucket { total, succeeded } = self.last;
        (total >= requests_min.max(1)).then(|| 100.0 * succeeded as f64 / total as f64)
    }

    /// Wears off what earlier ejections added, once it was back for an interval.
    pub(super) fn relax(&mut self, interval: u64, now: u64) {
        let healthy = self.back_since.is_some_and(|since| now - since >= interval);
        if healthy && !self.is_out() {
            self.backoff = self.backoff.saturating_sub(1);
        }
    }
}
