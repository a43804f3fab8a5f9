//! How a backend behaves: healthy, slow, failing, or cold and warming up.

use std::time::Duration;
use tokio::time::Instant;

/// A backend's behaviour, replaced as a whole whenever a fault begins or ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    slow: Slow,
    errors: f64,
}

/// By how much a request takes longer than it should.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slow {
    Steady(f64),
    /// From `from` at `since`, in a straight line to 1 after `over`.
    Easing {
        from: f64,
        since: Instant,
        over: Duration,
    },
}

impl Behaviour {
    /// As fast as it should be, without an injected error.
    pub const HEALTHY: Behaviour = Behaviour { slow: Slow::Steady(1.0), errors: 0.0 };

    /// Every request takes `factor` times as long.
    pub fn slowed(factor: f64) -> Behaviour {
        Behaviour { slow: Slow::Steady(positive(factor)), ..Behaviour::HEALTHY }
    }

    /// A cold start: `factor` times as long at `since`, easing to normal over `over`.
    pub fn easing(factor: f64, since: Instant, over: Duration) -> Behaviour {
        let slow = Slow::Easing { from: positive(factor), since, over };
        Behaviour { slow, ..Behaviour::HEALTHY }
    }

    /// `ratio` of all requests get a 503 at once.
    pub fn failing(ratio: f64) -> Behaviour {
        assert!((0.0..=1.0).contains(&ratio), "a ratio lies within 0 and 1, not at {ratio}");
        Behaviour { errors: ratio, ..Behaviour::HEALTHY }
    }

    /// The ratio of injected errors.
    pub fn errors(&self) -> f64 {
        self.errors
    }

    /// The slow factor at `now`.
    pub fn slow(&self, now: Instant) -> f64 {
        match self.slow {
            Slow::Steady(factor) => factor,
            Slow::Easing { from, since, over } => {
                let passed = now.saturating_duration_since(since);
                if passed >= over {
                    return 1.0;
                }
                from + (1.0 - from) * passed.div_duration_f64(over)
            }
        }
    }
}

fn positive(factor: f64) -> f64 {
    assert!(factor > 0.0 && factor.is_finite(), "a slow factor is positive, not {factor}");
    factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(behaviour: Behaviour, at: Instant, slow: f64) {
        let actual = behaviour.slow(at);
        assert!((actual - slow).abs() < 1e-9, "{actual} is not {slow}");
    }

    #[test]
    fn a_cold_start_eases_in_a_straight_line() {
        let since = Instant::now();
        let cold = Behaviour::easing(5.0, since, Duration::from_secs(30));
        check(cold, since, 5.0);
        check(cold, since + Duration::from_secs(15), 3.0);
        check(cold, since + Duration::from_secs(30), 1.0);
        check(cold, since + Duration::from_secs(300), 1.0);
    }

    #[test]
    fn a_warm_up_of_no_time_is_over_at_once() {
        let since = Instant::now();
        check(Behaviour::easing(5.0, since, Duration::ZERO), since, 1.0);
    }

    #[test]
    fn slow_and_failing_are_steady() {
        check(Behaviour::slowed(10.0), Instant::now(), 10.0);
        check(Behaviour::failing(0.3), Instant::now(), 1.0);
        assert!(Behaviour::failing(0.3).errors() > 0.29);
    }
}
