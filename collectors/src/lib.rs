//! What was seen: every way in which telemetry reaches Weir, one module per source.
//!
//! A source hands [`Report`]s to a bounded [`Intake`] and says through [`status`] how it fares.
//! It never decides anything: whatever is missing, stale or senseless becomes absence here, and
//! absence is what the engine holds on. Sources that Weir asks (scrape, Prometheus) stand beside
//! those that push to it (load reports, access log); neither knows of the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use weir_engine::observation::Report;
use weir_engine::units::Moment;

// What every source needs.
pub mod status;
pub mod http;
pub mod counters;
pub mod histogram;
// Sources that Weir asks.
pub mod exposition;
pub mod scrape;
pub mod prometheus;
// Sources that push to Weir, the proxy's admin interface, and discovery.
pub mod load_reports;
pub mod access_log;
pub mod admin;
pub mod endpoints;
pub mod kubernetes;

#[cfg(test)]
mod testing;

/// The shell's clock. Time is a parameter: nothing in this crate reads a clock of its own.
pub type Now = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Reports that wait for the next step, by default: 10 s of 200 proxies with 2 client clusters
/// each at one report a second, so that a late step loses nothing; about 100 bytes and a sample
/// list each.
pub const INTAKE_CAPACITY: usize = 4_096;

/// Where sources put their reports: a bounded queue which drops and counts when it is full, so
/// that a storm of telemetry cannot grow memory nor hold up a proxy's stream.
#[derive(Clone, Debug)]
pub struct Intake {
    queue: mpsc::Sender<Report>,
    dropped: Arc<AtomicU64>,
}

impl Intake {
    /// An intake for so many reports, and the end from which the loop takes them.
    pub fn new(capacity: usize) -> (Self, mpsc::Receiver<Report>) {
        let (queue, reports) = mpsc::channel(capacity);
        (Self { queue, dropped: Arc::default() }, reports)
    }

    /// Hands a report over without waiting; says whether there was room.
    pub fn deliver(&self, report: Report) -> Delivery {
        if self.queue.try_send(report).is_ok() {
            return Delivery::Taken;
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
        Delivery::Dropped
    }

    /// How many reports found no room so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// What became of a report.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It waits for the next step.
    Taken,
    /// The queue was full or the loop has ended: it is lost, and counted.
    Dropped,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_full_intake_drops_and_counts() {
        let (intake, mut reports) = Intake::new(1);
        let report = || Report {
            reporter: "n".into(),
            cluster: "c".into(),
            zone: "".into(),
            source: weir_engine::observation::Source::Scrape,
            at: Moment::from_millis(1),
            window: Duration::from_secs(1),
            complete: false,
            samples: Vec::new(),
            totals: None,
        };
        assert_eq!(intake.deliver(report()), Delivery::Taken);
        assert_eq!(intake.clone().deliver(report()), Delivery::Dropped);
        assert_eq!(intake.dropped(), 1);
        assert!(reports.try_recv().is_ok());
        assert_eq!(intake.deliver(report()), Delivery::Taken);
    }
}
