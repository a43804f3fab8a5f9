//! A backend: workers and one queue, first come, first served.

use std::collections::VecDeque;

use crate::balancer::Load;

/// A request's number.
pub(crate) type Number = usize;

/// A backend's reports are smoothed over this time, in microseconds.
const REPORTS_OVER: f64 = 1e6;

/// A backend's state.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    workers: u32,
    busy: u32,
    waiting: VecDeque<Number>,
    /// When the last look was, and up to when work is counted.
    looked: u64,
    at: u64,
    /// Since the last look: microseconds of busy workers, ended and failed requests.
    worked: f64,
    ended: f64,
    failed: f64,
    /// Microseconds of busy workers since the start.
    busy_micros: f64,
    load: Load,
}

impl Queue {
    pub(crate) fn of(workers: u32) -> Self {
        Self {
            workers,
            busy: 0,
            waiting: VecDeque::new(),
            looked: 0,
            at: 0,
            worked: 0.0,
            ended: 0.0,
            failed: 0.0,
            busy_micros: 0.0,
            load: Load { utilization: 0.0, qps: 0.0, eps: 0.0 },
        }
    }

    /// A request comes; true if a worker takes it at once.
    pub(crate) fn take(&mut self, request: Number, now: u64) -> bool {
        self.pass(now);
        if self.busy < self.workers {
            self.busy += 1;
            true
        } else {
            self.waiting.push_back(request);
            false
        }
    }

    /// A worker is done: the next request that still wants to be served.
    pub(crate) fn next(&mut self, now: u64, wanted: impl Fn(Number) -> bool) -> Option<Number> {
        self.pass(now);
        self.ended += 1.0;
        self.busy -= 1;
        while let Some(request) = self.waiting.pop_front() {
            if wanted(request) {
                self.busy += 1;
                return Some(request);
            }
        }
        None
    }

    /// A request failed without a worker.
    pub(crate) fn failed(&mut self, now: u64) {
        self.pass(now);
        self.ended += 1.0;
        self.failed += 1.0;
    }

    /// A request that a worker was done with failed nonetheless.
    pub(crate) fn spoiled(&mut self) {
        self.failed += 1.0;
    }

    /// Worker seconds of work up to now.
    pub(crate) fn busy_seconds(&mut self, now: u64) -> f64 {
        self.pass(now);
        self.busy_micros / 1e6
    }

    /// Requests on workers and waiting.
    pub(crate) fn inside(&self) -> u32 {
        self.busy + u32::try_from(self.waiting.len()).unwrap_or(u32::MAX - self.workers)
    }

    /// What it says of itself.
    pub(crate) fn load(&self) -> Load {
        self.load
    }

    /// Takes a look at itself: what was counted since the last one becomes its report.
    pub(crate) fn look(&mut self, now: u64) {
        self.pass(now);
        let span = (now - self.looked) as f64;
        if span <= 0.0 {
            return;
        }
        let part = 1.0 - libm::exp(-span / REPORTS_OVER);
        let mix = |old: &mut f64, fresh: f64| *old += part * (fresh - *old);
        mix(&mut self.load.utilization, self.worked / (span * f64::from(self.workers)));
        mix(&mut self.load.qps, 1e6 * self.ended / span);
        mix(&mut self.load.eps, 1e6 * self.failed / span);
        self.looked = now;
        (self.worked, self.ended, self.failed) = (0.0, 0.0, 0.0);
    }

    fn pass(&mut self, now: u64) {
        let worked = f64::from(self.busy) * (now - self.at) as f64;
        self.worked += worked;
        self.busy_micros += worked;
        self.at = now;
    }
}
