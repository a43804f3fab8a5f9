//! Several replicas, one of which decides: what it serves, all of them serve.
//!
//! The leader says in the [lease](crate::kubernetes::lease) where it can be followed. A follower
//! calls there, so that nobody can make it serve anything who cannot write the lease. It gets the
//! leader's whole state as often as proxies are told something else: the same that a restart
//! would go on from, so that whoever leads next goes on from it too. Back goes what the
//! follower's proxies reported. What is not understood (another build's) is not taken: the
//! follower then serves on what it served last.

pub mod following;
pub mod leader;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use weir_engine::names::ServiceId;
use weir_engine::observation::{LogVolume, Receipt, Report, Source};
use weir_engine::state::State;
use weir_engine::units::Moment;
use weir_models::reference::Memory;

use crate::kubernetes::leading::Standing;

/// The method's path.
const PATH: &str = "/weir.v1.Replicas/Follow";

/// The largest message: the state of ten thousand endpoints has a tenth of this.
const MESSAGE_MAX: usize = 100 << 20;

/// What one message of a follower may hold: as many as one step takes.
const HEARD_MAX: usize = 100_000;

/// No report of a proxy covers more.
const WINDOW_MAX: Duration = Duration::from_secs(600);

/// What a leader serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// Which leader's it is.
    pub epoch: u64,
    /// The services whose endpoints are served.
    pub services: BTreeSet<ServiceId>,
    /// From which it would go on after a restart; what was decided last is in it.
    pub state: State<Memory>,
}

impl Served {
    /// What orders all that was ever served: a later leader's goes before, then a later step's.
    pub fn number(&self) -> (u64, u64) {
        (self.epoch, self.state.sequence)
    }
}

/// What a follower's proxies said since its last message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// Load reports, and what the access log counted.
    pub reports: Vec<Report>,
    /// How much was logged.
    pub volumes: Vec<LogVolume>,
    /// What became of pushes.
    pub receipts: Vec<Receipt>,
}

impl Heard {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As far as it is worth telling: what replicas ask for by themselves the leader has asked for.
    #[must_use]
    pub fn pushed(mut self) -> Self {
        let pushed =
            |report: &Report| [Source::LoadReport, Source::AccessLog].contains(&report.source);
        self.reports.retain(pushed);
        self
    }

    /// As it is taken at `now`: whoever reaches this port may say anything. Clocks of others mean
    /// nothing here.
    #[must_use]
    pub fn checked(self, now: Moment) -> Self {
        let mut heard = self.pushed();
        heard.reports.truncate(HEARD_MAX);
        heard.volumes.truncate(HEARD_MAX);
        heard.receipts.truncate(HEARD_MAX);
        for report in &mut heard.reports {
            report.at = now;
            report.window = report.window.min(WINDOW_MAX);
            for sample in report.samples.iter_mut().chain(&mut report.totals) {
                sample.in_flight = sample.in_flight.filter(|it| it.is_finite() && *it >= 0.0);
            }
        }
        heard
    }
}

/// What the leader was heard to serve.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The last of it.
    pub served: Option<std::sync::Arc<Served>>,
    /// Counts words of the leader: each says that what it serves still holds.
    pub words: u64,
}

/// What a leader tells.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// What it serves.
    pub served: Option<std::sync::Arc<Served>>,
    /// Counts its steps.
    pub steps: u64,
}

/// The loop's ends of everything between replicas.
#[derive(Debug)]
pub struct Replicas {
    /// How it stands with the lease.
    pub standing: watch::Receiver<Standing>,
    /// As a leader: what it serves.
    pub published: watch::Sender<Published>,
    /// As a leader: what followers heard.
    pub heard: mpsc::Receiver<Heard>,
    /// As a follower: what the leader serves.
    pub told: watch::Receiver<Told>,
    /// As a follower: what is to be told the leader.
    pub telling: mpsc::Sender<Heard>,
}

#[cfg(test)]
mod tests {
    use weir_engine::observation::Sample;

    use super::*;

    fn report(source: Source) -> Report {
        let sample = Sample { in_flight: Some(f64::NAN), ..Sample::default() };
        Report {
            reporter: "proxy".into(),
            cluster: "shop".into(),
            zone: "".into(),
            source,
            at: Moment::from_millis(9_000_000),
            window: Duration::from_secs(86_400),
            complete: true,
            samples: vec![sample.clone()],
            totals: Some(sample),
        }
    }

    #[test]
    fn only_what_proxies_pushed_is_told_and_nothing_else_is_taken() {
        let all = [Source::LoadReport, Source::Prometheus, Source::AccessLog, Source::Scrape];
        let heard = Heard { reports: all.map(report).into(), ..Heard::default() };
        let sources =
            |heard: &Heard| heard.reports.iter().map(|one| one.source).collect::<Vec<_>>();
        let pushed = [Source::LoadReport, Source::AccessLog];
        assert_eq!(sources(&heard.clone().pushed()), pushed);
        let now = Moment::from_millis(7_000);
        let taken = heard.checked(now);
        assert_eq!(sources(&taken), pushed);
        for report in taken.reports {
            assert_eq!((report.at, report.window), (now, WINDOW_MAX));
            assert_eq!(
                (report.samples[0].in_flight, report.totals.unwrap().in_flight),
                (None, None)
            );
        }
    }

    #[test]
    fn a_later_leader_goes_before_a_later_step() {
        let served = |epoch, sequence| Served {
            epoch,
            services: BTreeSet::new(),
            state: State { sequence, ..State::default() },
        };
        assert!(served(2, 1).number() > served(1, 1_000).number());
        assert!(served(2, 2).number() > served(2, 1).number());
    }
}
