//! A backend: workers and one queue, first come, first served.

use std::collections::VecDeque;

/// A request's number.
pub(crate) type Number = usize;

/// A backend's state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    busy: u32,
    waiting: VecDeque<Number>,
}

impl Queue {
    /// A request comes; true if a worker takes it at once.
    pub(crate) fn take(&mut self, request: Number, workers: u32) -> bool {
        if self.busy < workers {
            self.busy += 1;
            true
        } else {
            self.waiting.push_back(request);
            false
        }
    }

    /// A worker is done: the next request that still wants to be served.
    pub(crate) fn next(&mut self, wanted: impl Fn(Number) -> bool) -> Option<Number> {
        self.busy -= 1;
        while let Some(request) = self.waiting.pop_front() {
            if wanted(request) {
                self.busy += 1;
                return Some(request);
            }
        }
        None
    }
}
