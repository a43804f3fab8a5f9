//! Netflix's gradient limit, second version.
//!
//! Source: Netflix/concurrency-limits (78a74b9, after 0.5.4), `Gradient2Limit` with its defaults,
//! fed through `WindowedLimit` with its own: means over a second of at least ten requests. As
//! there, drops count like other requests, by their latency: the limit does not look at them.
//! In flight is taken as requests end, there as they start; only the most of a window matters.

use core::ops::RangeInclusive;

use super::Limiter;

/// Windows in the long mean.
const LONG_WINDOW: f64 = 600.0;
/// Windows after which the long mean turns from plain to exponential.
const WARM_UP: u32 = 10;
/// Latency may be so many times the long mean before the limit falls.
const RTT_TOLERANCE: f64 = 1.5;
const SMOOTHING: f64 = 0.2;
/// What the limit may grow by, before smoothing, while latency is fine.
const QUEUE_SIZE: f64 = 4.0;

const WINDOW: u64 = 1_000_000;
const WINDOW_SAMPLES_MIN: u64 = 10;
/// Faster answers are taken for something else than work.
const RTT_MIN: u64 = 100;

/// A limit that follows the ratio of long to recent mean latency.
#[derive(Clone, Debug)]
pub struct Gradient2 {
    limits: RangeInclusive<u32>,
    limit: f64,
    long: LongMean,
    window: Window,
    window_end: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    count: u64,
    sum: u64,
    in_flight_max: u32,
}

/// Plain while young, then exponential.
#[derive(Clone, Copy, Debug, Default)]
struct LongMean {
    value: f64,
    count: u32,
}

impl Gradient2 {
    /// Netflix's own bounds of the limit.
    pub const LIMITS: RangeInclusive<u32> = 20..=200;

    /// A limiter that begins with the smallest limit.
    pub fn new(limits: RangeInclusive<u32>) -> Self {
        let limit = f64::from(*limits.start());
        Self { limits, limit, long: LongMean::default(), window: Window::default(), window_end: 0 }
    }

    fn close(&mut self, window: Window) {
        let short = (window.sum / window.count) as f64;
        let long = self.long.add(short);
        if long / short > 2.0 {
            // After a long overload the mean lags: help it down.
            self.long.value *= 0.95;
        }
        // A limit that is not used shows nothing, so it does not grow.
        if f64::from(window.in_flight_max) >= self.limit / 2.0 {
            let gradient = (RTT_TOLERANCE * long / short).clamp(0.5, 1.0);
            let target = self.limit * gradient + QUEUE_SIZE;
            let limit = self.limit * (1.0 - SMOOTHING) + target * SMOOTHING;
            let bounds = (f64::from(*self.limits.start()), f64::from(*self.limits.end()));
            self.limit = limit.min(bounds.1).max(bounds.0);
        }
    }
}

impl Limiter for Gradient2 {
    fn admit(&mut self, in_flight: u32, _now: u64) -> bool {
        f64::from(in_flight) < self.limit.floor()
    }

    fn ended(&mut self, latency: u64, in_flight: u32, _dropped: bool, now: u64) {
        if latency < RTT_MIN {
            return;
        }
        self.window.count += 1;
        self.window.sum += latency;
        self.window.in_flight_max = self.window.in_flight_max.max(in_flight);
        if now > self.window_end {
            self.window_end = now + WINDOW;
            let window = core::mem::take(&mut self.window);
            if window.count >= WINDOW_SAMPLES_MIN {
                self.close(window);
            }
        }
    }
}

impl LongMean {
    fn add(&mut self, sample: f64) -> f64 {
        let part = if self.count < WARM_UP {
            self.count += 1;
            1.0 / f64::from(self.count)
        } else {
            2.0 / (LONG_WINDOW + 1.0)
        };
        self.value += (sample - self.value) * part;
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs seconds of a hundred requests each at one latency and level.
    fn run(limiter: &mut Gradient2, now: &mut u64, seconds: u64, (latency, in_flight): (u64, u32)) {
        for _ in 0..100 * seconds {
            *now += WINDOW / 100;
            limiter.ended(latency, in_flight, false, *now);
        }
    }

    /// The limit as a caller sees it.
    fn limit(limiter: &mut Gradient2) -> u32 {
        (0..1000).find(|&in_flight| !limiter.admit(in_flight, 0)).expect("below a thousand")
    }

    fn fresh() -> (Gradient2, u64) {
        (Gradient2::new(Gradient2::LIMITS), 0)
    }

    #[test]
    fn begins_with_the_least() {
        assert_eq!(limit(&mut fresh().0), 20);
    }

    #[test]
    fn grows_by_the_smoothed_queue_while_latency_is_steady() {
        let (mut limiter, mut now) = fresh();
        run(&mut limiter, &mut now, 51, (10_000, 200));
        // Fifty windows of 0.2 x 4 each, give or take the first, which has one request.
        assert!((58..=60).contains(&limit(&mut limiter)), "{}", limit(&mut limiter));
        run(&mut limiter, &mut now, 300, (10_000, 200));
        assert_eq!(limit(&mut limiter), 200);
    }

    #[test]
    fn does_not_grow_unused() {
        let (mut limiter, mut now) = fresh();
        run(&mut limiter, &mut now, 100, (10_000, 9));
        assert_eq!(limit(&mut limiter), 20);
    }

    #[test]
    fn tolerates_half_again_but_falls_beyond() {
        let (mut limiter, mut now) = fresh();
        run(&mut limiter, &mut now, 200, (10_000, 200));
        let before = limit(&mut limiter);
        run(&mut limiter, &mut now, 5, (14_000, 200));
        assert!(limit(&mut limiter) >= before);
        run(&mut limiter, &mut now, 10, (100_000, 200));
        assert!(limit(&mut limiter) < before / 2, "{} of {before}", limit(&mut limiter));
    }

    #[test]
    fn helps_the_long_mean_down_after_overload() {
        let (mut limiter, mut now) = fresh();
        run(&mut limiter, &mut now, 20, (100_000, 200));
        run(&mut limiter, &mut now, 60, (10_000, 200));
        assert!(limiter.long.value < 25_000.0, "{}", limiter.long.value);
    }

    #[test]
    fn ignores_thin_windows_and_instant_answers() {
        let (mut limiter, mut now) = fresh();
        for _ in 0..100 {
            now += WINDOW / 5;
            limiter.ended(10_000, 200, false, now);
        }
        run(&mut limiter, &mut now, 10, (99, 200));
        assert_eq!(limit(&mut limiter), 20);
    }
}
