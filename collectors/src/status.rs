//! How a source fares, as people read it: the log, the API and the page show this.
//!
//! One [`Status`] per source and target, published through a `watch`: readers see the latest
//! state and can never hold a source up.

use std::fmt;

use tokio::sync::watch;
use weir_engine::observation::Report;
use weir_engine::units::Moment;

use crate::{Delivery, Intake};

/// Longest error text that is kept, in bytes: enough for a cause and a hint, too little for a
/// hostile server to fill a page with.
const TEXT_MAX: usize = 512;

/// What kind of source it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Prometheus server that Weir asks.
    Prometheus,
    /// A proxy's statistics, read directly.
    Scrape,
    /// Load reports that proxies push.
    LoadReports,
    /// Access log entries that proxies push.
    AccessLog,
    /// A proxy's admin interface: health flags.
    Admin,
    /// Queries of the user's own, for objectives.
    Objectives,
    /// Discovery of one service's endpoints.
    Endpoints,
    /// What is watched at a Kubernetes API server.
    Kubernetes,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prometheus => "prometheus",
            Self::Scrape => "scrape",
            Self::LoadReports => "load reports",
            Self::AccessLog => "access log",
            Self::Admin => "admin",
            Self::Objectives => "objectives",
            Self::Endpoints => "endpoints",
            Self::Kubernetes => "kubernetes",
        })
    }
}

/// One source's state.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The source's name in the configuration.
    pub name: String,
    /// What kind of source it is.
    pub kind: Kind,
    /// What it talks to or listens on: a URL without credentials, an address, a path.
    pub target: String,
    /// When it last brought something usable.
    pub last_success: Option<Moment>,
    /// What last went wrong; stays until the next success.
    pub last_error: Option<Failure>,
    /// Reports handed over so far.
    pub delivered: u64,
    /// Reports lost so far because the intake was full.
    pub dropped: u64,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Moment,
    /// What, where and how to mend it, on one line.
    pub text: String,
}

impl Status {
    /// Whether it has not been needed so far: objectives are asked for only where a policy has
    /// queries of its own.
    pub fn is_idle(&self) -> bool {
        self.kind == Kind::Objectives && self.last_success.is_none() && self.last_error.is_none()
    }
}

/// A source's own end of its status.
#[derive(Clone, Debug)]
pub struct Publisher {
    status: watch::Sender<Status>,
}

impl Publisher {
    /// The status of a source that has not done anything yet, and its readers' end.
    pub fn new(name: &str, kind: Kind, target: &str) -> (Self, watch::Receiver<Status>) {
        let (status, reader) = watch::channel(Status {
            name: name.to_owned(),
            kind,
            target: target.to_owned(),
            last_success: None,
            last_error: None,
            delivered: 0,
            dropped: 0,
        });
        (Self { status }, reader)
    }

    /// Another reader's end.
    pub fn subscribe(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// It brought something usable.
    pub fn succeeded(&self, at: Moment) {
        let mut recovered = false;
        self.status.send_modify(|status| {
            status.last_success = Some(at);
            recovered = status.last_error.take().is_some();
        });
        if recovered {
            let status = self.status.borrow();
            tracing::info!(source = %status.name, target = %status.target, "source recovered");
        }
    }

    /// Something went wrong. The log says so when the text changes, not at every attempt.
    pub fn failed(&self, at: Moment, error: &dyn std::error::Error) {
        let text = one_line(error);
        let mut changed = false;
        self.status.send_modify(|status| {
            changed = status.last_error.as_ref().is_none_or(|last| last.text != text);
            status.last_error = Some(Failure { at, text: text.clone() });
        });
        if changed {
            let status = self.status.borrow();
            tracing::warn!(source = %status.name, target = %status.target, error = %text, "source failed");
        }
    }

    /// Hands a report over and counts what became of it.
    pub fn deliver(&self, intake: &Intake, report: Report) {
        let delivery = intake.deliver(report);
        self.status.send_modify(|status| match delivery {
            Delivery::Taken => status.delivered += 1,
            Delivery::Dropped => status.dropped += 1,
        });
    }
}

/// An error and its causes on one line of bounded length. A cause that its error already spells
/// out is not repeated.
pub fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read {0}")]
    struct Outer(String, #[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("connection refused\nreally")]
    struct Inner;

    #[test]
    fn errors_read_as_one_bounded_line() {
        assert_eq!(one_line(&Outer("x".into(), Inner)), "cannot read x: connection refused really");
        let long = one_line(&Outer("ü".repeat(600), Inner));
        assert!(long.len() <= TEXT_MAX + 3 && long.ends_with('…'));
    }

    #[test]
    fn a_success_ends_an_error_and_keeps_the_counts() {
        let (publisher, reader) = Publisher::new("p", Kind::Scrape, "http://127.0.0.1:1");
        publisher.failed(Moment::from_millis(5), &Inner);
        assert_eq!(
            reader.borrow().last_error.as_ref().map(|failure| failure.text.as_str()),
            Some("connection refused really")
        );
        publisher.succeeded(Moment::from_millis(9));
        let status = reader.borrow().clone();
        assert_eq!(status.last_error, None);
        assert_eq!(status.last_success, Some(Moment::from_millis(9)));
    }
}
