//! What a backend reports of itself with each answer (ORCA), as gRPC's weighted round robin and
//! Envoy's client-side one read it.

use http::{HeaderName, HeaderValue};
use std::time::Duration;
use tokio::time::Instant;

/// The header of reports, as Envoy parses it.
pub(super) const HEADER: HeaderName = HeaderName::from_static("endpoint-load-metrics");

/// Reports are smoothed over this time.
const OVER: Duration = Duration::from_secs(1);

/// How often a report is made anew: as often as the simulator's backends do.
const EVERY: Duration = Duration::from_millis(100);

/// A backend's books.
#[derive(Debug)]
pub(super) struct Books {
    workers: f64,
    busy: f64,
    /// Up to when work is counted, and since when.
    at: Instant,
    since: Instant,
    /// Since the last report: seconds of busy workers, ended and failed requests.
    worked: f64,
    ended: f64,
    failed: f64,
    /// Smoothed: the part of workers that is busy, requests and failures a second.
    utilization: f64,
    rps: f64,
    eps: f64,
}

impl Books {
    pub(super) fn new(workers: usize, now: Instant) -> Books {
        Books {
            workers: workers as f64,
            busy: 0.0,
            at: now,
            since: now,
            worked: 0.0,
            ended: 0.0,
            failed: 0.0,
            utilization: 0.0,
            rps: 0.0,
            eps: 0.0,
        }
    }

    /// A worker begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.pass(now);
        self.busy += 1.0;
    }

    /// A worker is done.
    pub(super) fn end(&mut self, now: Instant) {
        self.pass(now);
        self.busy -= 1.0;
        self.ended += 1.0;
    }

    /// A request failed without a worker.
    pub(super) fn fail(&mut self, now: Instant) {
        self.pass(now);
        self.ended += 1.0;
        self.failed += 1.0;
    }

    /// The header's value.
    pub(super) fn report(&mut self, now: Instant) -> HeaderValue {
        self.pass(now);
        let text = format!(
            "TEXT application_utilization={:.4},rps_fractional={:.3},eps={:.3}",
            self.utilization, self.rps, self.eps
        );
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).expect("plain text is a header")
    }

    fn pass(&mut self, now: Instant) {
        self.worked += self.busy * now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let span = self.at.duration_since(self.since);
        if span >= EVERY {
            let seconds = span.as_secs_f64();
            let part = 1.0 - (-span.div_duration_f64(OVER)).exp();
            self.utilization += part * (self.worked / (seconds * self.workers) - self.utilization);
            self.rps += part * (self.ended / seconds - self.rps);
            self.eps += part * (self.failed / seconds - self.eps);
            self.since = self.at;
            (self.worked, self.ended, self.failed) = (0.0, 0.0, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_how_busy_it_lately_was() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut books = Books::new(2, start);
        for second in 0..10 {
            // Half a worker of two, one request of three failing.
            books.begin(at(second * 1_000));
            books.end(at(second * 1_000 + 500));
            books.begin(at(second * 1_000 + 500));
            books.fail(at(second * 1_000 + 700));
            books.end(at(second * 1_000 + 1_000));
        }
        let text = books.report(at(10_000)).to_str().unwrap().to_owned();
        let number = |name: &str| -> f64 {
            let (_, rest) = text.split_once(&format!("{name}=")).unwrap();
            rest.split(',').next().unwrap().parse().unwrap()
        };
        assert!((number("application_utilization") - 0.5).abs() < 0.01, "{text}");
        assert!((2.0..4.0).contains(&number("rps_fractional")), "{text}");
        assert!((0.5..2.0).contains(&number("eps")), "{text}");
    }
}
