//! The walk over the steps that are missing: page after page is asked for, and each step of it is
//! recorded.

use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::FutureExt;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use weir_collectors::http;
use weir_collectors::prometheus::history::History;
use weir_collectors::prometheus::{Client, Error};
use weir_collectors::status::one_line;

use super::pages::{Pages, Reaction};
use super::recorder::{self, Recorder};
use super::time::Steps;

/// One run over the steps that are missing.
pub(super) struct Course {
    pub(super) steps: Steps,
    /// The first step that is not recorded.
    pub(super) from: u64,
    pub(super) recorder: Recorder,
    pub(super) history: History,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All steps are there.
    Whole,
    /// The user had enough.
    Interrupted {
        /// How many steps are there.
        done: u64,
    },
}

impl Course {
    /// Records what is missing.
    pub(super) async fn run(
        mut self,
        client: &Client,
        interrupt: &mut Interrupt,
    ) -> anyhow::Result<Ended> {
        let reach = self.history.reach() + recorder::NAMED_FOR;
        let again = reach.as_secs().div_ceil(self.steps.length().as_secs()) + 1;
        let first = self.from.saturating_sub(again);
        // Killed just before its end, it lacks nothing but the word that this was all.
        let lacking = if self.from < self.steps.count { first } else { self.steps.count };
        let mut pages = Pages::over(lacking..self.steps.count);
        let bar = bar(self.steps.count, self.from);
        let mut done = self.from;
        while let Some(page) = pages.next() {
            let asked = self.history.page(client, self.steps.span(&page));
            let answer = tokio::select! {
                biased;
                () = interrupt.comes() => return self.stopped(done),
                answer = asked => answer,
            };
            let mut answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    let wait = self.react(&mut pages, error, done)?;
                    tokio::select! {
                        biased;
                        () = interrupt.comes() => return self.stopped(done),
                        () = tokio::time::sleep(wait) => continue,
                    }
                }
            };
            pages.took(answer.points());
            for index in page {
                if interrupt.came() {
                    return self.stopped(done);
                }
                let at = self.steps.at(index);
                let reports = self.history.step(&mut answer, at);
                if index < self.from {
                    self.recorder.recall(&reports, at);
                    continue;
                }
                self.recorder.step(&reports, at)?;
                done = index + 1;
                bar.set_position(done);
            }
            self.recorder.sync()?;
        }
        self.recorder.finish(self.steps.last())?;
        bar.finish_and_clear();
        Ok(Ended::Whole)
    }

    fn stopped(&mut self, done: u64) -> anyhow::Result<Ended> {
        self.recorder.sync()?;
        Ok(Ended::Interrupted { done })
    }

    fn react(&mut self, pages: &mut Pages, error: Error, done: u64) -> anyhow::Result<Duration> {
        match pages.failed(error.remedy()) {
            Reaction::Again(wait) => {
                tracing::info!(error = one_line(&error), ?wait, "a page is asked for again");
                Ok(wait)
            }
            Reaction::GiveUp => {
                self.recorder.sync()?;
                let count = self.steps.count;
                let context =
                    format!("after {done} of {count} steps, where the same command goes on");
                Err(advised(error).context(context))
            }
        }
    }
}

/// An error, with the flag that may mend it.
pub(super) fn advised(error: Error) -> anyhow::Error {
    let denied = matches!(&error, Error::Http(http::Error::Status { status, .. })
        if [401, 403].contains(&status.as_u16()));
    let unreached = matches!(
        &error,
        Error::Transport { reason: "cannot connect", .. }
            | Error::Http(http::Error::Transport { reason: "cannot connect", .. })
    );
    let flag = if denied {
        "give --token-file, or --user and --password-file"
    } else if unreached {
        "give as --prometheus the address under which the server is reached from here"
    } else {
        return error.into();
    };
    anyhow!("{}; {flag}", one_line(&error))
}

fn bar(count: u64, from: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} steps, {eta} left")
        .expect("the template is fixed");
    ProgressBar::new(count).with_style(style).with_position(from)
}

/// Ctrl-C, or a supervisor's word.
pub(super) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("listening for signals")?,
            terminate: signal(SignalKind::terminate()).context("listening for signals")?,
        })
    }

    pub(super) async fn comes(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    fn came(&mut self) -> bool {
        self.comes().now_or_never().is_some()
    }
}
