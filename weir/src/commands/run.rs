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
    if config.services.is_empty() && config.kubernetes.is_none() {
        tracing::warn!(
            "no service is configured, so Weir only watches; name services in a file and start \
             with --config FILE"
        );
    }
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("listening for signals")?;
        let mut running = wire::start(config).await?;
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
    });
    // Whatever still runs was told to stop and did not: the process does not wait for it.
    runtime.shutdown_background();
    ended
}

/// Threads that may block beside the workers: one is the step's, the others read files. Left at
/// tokio's 512, the step wanders over dozens of threads, each with a heap of its own to fill: that
/// doubled the memory of a process with a thousand endpoints.
const BLOCKING_MAX: usize = 3;

/// The runtime of every command that serves.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_MAX)
        .build()
        .context("starting threads")
}

/// Logs only what is wrong, for a command that shows its progress itself. `WEIR_LOG` filters.
pub fn log_quietly() {
    let filter = filter("error");
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    logger.with_target(false).with_ansi(coloured()).init();
}

/// Logs to standard error: text on a terminal, JSON lines otherwise. `WEIR_LOG` filters.
pub fn log() {
    let filter = filter("info");
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        logger.with_target(false).with_ansi(coloured()).init();
    } else {
        logger.json().flatten_event(true).init();
    }
}

/// Whether standard error takes colours, by `--color`, the environment and what it is.
fn coloured() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// What `WEIR_LOG` asks for. One that cannot be read is said, and is no reason not to run.
fn filter(default: &str) -> EnvFilter {
    // The Kubernetes client warns of each kind that a cluster does not know, which is no trouble.
    let usual = || EnvFilter::new(format!("{default},kube_client=error"));
    let Some(asked) = std::env::var_os("WEIR_LOG") else { return usual() };
    EnvFilter::try_new(asked.to_string_lossy()).unwrap_or_else(|cause| {
        anstream::eprintln!(
            "warning: WEIR_LOG={} is no filter: {cause}; write info, debug or weir=debug; \
             {default} is used",
            asked.display()
        );
        usual()
    })
}
