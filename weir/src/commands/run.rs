//! `weir run`.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use weir_policies::problem::{Colour, render};

use super::{BAD_INPUT, OK};
use crate::config::{self, Given};
use crate::wire;

/// Runs until a signal, or until a part fails.
pub fn run(given: Given, colour: Colour) -> anyhow::Result<u8> {
    let config = match config::load(given) {
        Ok(config) => config,
        Err(problems) => {
            writeln!(anstream::stderr(), "{}", render(&problems, colour))?;
            return Ok(BAD_INPUT);
        }
    };
    log();
    runtime()?.block_on(async {
        let mut running = wire::start(config).await?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("listening for signals")?;
        tokio::select! {
            error = running.ended() => return Err(error),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping; a second signal stops at once");
        tokio::select! {
            () = running.stop() => Ok(OK),
            _ = interrupt.recv() => anyhow::bail!("stopped at once: the journal may lack its end"),
            _ = terminate.recv() => anyhow::bail!("stopped at once: the journal may lack its end"),
        }
    })
}

/// The runtime of every command that serves.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting threads")
}

/// Logs only what is wrong, for a command that shows its progress itself. `WEIR_LOG` filters.
pub fn log_quietly() {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    logger.with_target(false).init();
}

/// Logs to standard error: text on a terminal, JSON lines otherwise. `WEIR_LOG` filters.
pub fn log() {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        logger.with_target(false).init();
    } else {
        logger.json().flatten_event(true).init();
    }
}
