//! The shell's clock: the only place that asks what time it is.
//!
//! Anchored once at the start to the wall clock and then advanced by the monotonic one, so that a
//! wall clock that jumps moves nothing.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weir_engine::units::Moment;

/// A clock that never goes back, not even across a restart.
#[derive(Clone, Debug)]
pub struct Clock {
    anchor: Moment,
    started: Instant,
}

impl Clock {
    /// Starts a clock. `last` is the last moment of an earlier life: this one begins after it.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn start(last: Option<Moment>) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wall = Moment::default().plus(wall);
        let after = last.map_or(wall, |last| wall.max(last.plus(Duration::from_millis(1))));
        Self { anchor: after, started: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        self.anchor.plus(self.started.elapsed())
    }

    /// The clock as a function, for parts that take time as a parameter.
    pub fn shared(&self) -> Arc<dyn Fn() -> Moment + Send + Sync> {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_after_an_earlier_life_even_if_the_wall_clock_went_back() {
        let future = Clock::start(None).now().plus(Duration::from_secs(3_600));
        assert!(Clock::start(Some(future)).now() > future);
    }
}
