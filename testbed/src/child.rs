//! Child processes: started, awaited by a condition, logged to a file, ended for certain.
//!
//! A child outlives nobody. It is killed when its [`Child`] is dropped (so also when a panic
//! unwinds or a future is cancelled), and where `setpriv` is there (Debian always has it) the
//! kernel ends it even if we are killed with -9: setting that from here would need `unsafe`.
//! Each child leads a process group of its own, so that Ctrl-C in a terminal reaches only us
//! and we end the children in our order, with whatever they started.

use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child as Process, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a child has to end after SIGTERM; Envoy needs a few milliseconds.
const END_WITHIN: Duration = Duration::from_secs(5);

/// How often a condition is tried: readiness to within 20 ms, at no cost.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// The end of a log that is shown on failure: about forty lines, and the reason is at the end.
const TAIL_BYTES: u64 = 4096;

/// Runs another program so that the kernel ends it with us.
const SETPRIV: &str = "/usr/bin/setpriv";

/// What to start.
#[derive(Clone, Debug)]
pub struct Program {
    /// What messages call it.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables set beside those that it inherits.
    pub environment: Vec<(String, String)>,
    /// Where its output goes, appended.
    pub log: PathBuf,
}

/// Why a child is not there.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started at all.
    #[error("{name} could not be started: {path}")]
    Start {
        /// Its name.
        name: String,
        /// The executable.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Its log could not be written.
    #[error("the log of {name} could not be opened: {log}")]
    Log {
        /// Its name.
        name: String,
        /// The file.
        log: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("{name} ended with {status} before it was ready; the end of {log}:\n{tail}")]
    Ended {
        /// Its name.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The log's end.
        tail: String,
    },
    /// It did not get ready in time.
    #[error("{name} was not ready within {within:?}; the end of {log}:\n{tail}")]
    NotReady {
        /// Its name.
        name: String,
        /// The time it had.
        within: Duration,
        /// Its log.
        log: PathBuf,
        /// The log's end.
        tail: String,
    },
    /// The operating system would not tell how it is.
    #[error("{name} could not be awaited")]
    Wait {
        /// Its name.
        name: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A running process. Dropping it kills it and all that it started.
#[derive(Debug)]
pub struct Child {
    name: String,
    log: PathBuf,
    group: Pid,
    process: Process,
    reaped: bool,
}

impl Child {
    /// Starts a program. Within a tokio runtime only, and from a thread that stays (a worker
    /// or the main thread, not `spawn_blocking`): the child ends with the thread it came from.
    pub fn start(program: Program) -> Result<Child, ChildError> {
        let Program { name, path, .. } = &program;
        let open = || -> io::Result<(File, File)> {
            let log = File::options().create(true).append(true).open(&program.log)?;
            Ok((log.try_clone()?, log))
        };
        let (out, error) = open().map_err(|source| ChildError::Log {
            name: name.clone(),
            log: program.log.clone(),
            source,
        })?;
        let mut command = ending_with_us(path);
        command.args(&program.arguments).stdin(Stdio::null()).stdout(out).stderr(error);
        command.envs(program.environment.iter().map(|(name, value)| (name, value)));
        command.kill_on_drop(true).process_group(0);
        let process = existing(path).and_then(|()| command.spawn()).map_err(|source| {
            ChildError::Start { name: name.clone(), path: path.clone(), source }
        })?;
        let id = process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let group = id.expect("a process that was not awaited has an id");
        Ok(Child { name: program.name, log: program.log, group, process, reaped: false })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.group.as_raw_nonzero().get().cast_unsigned()
    }

    /// Tries `condition` until it holds, for at most `within`; fails at once when the child
    /// ends.
    pub async fn ready(
        &mut self,
        within: Duration,
        mut condition: impl AsyncFnMut() -> bool,
    ) -> Result<(), ChildError> {
        let deadline = Instant::now() + within;
        let condition = async {
            while !condition().await {
                sleep(TRY_EVERY).await;
            }
        };
        let held = tokio::select! {
            status = self.process.wait() => return Err(self.ended(status)),
            held = timeout_at(deadline, condition) => held,
        };
        held.map_err(|_| ChildError::NotReady {
            name: self.name.clone(),
            within,
            log: self.log.clone(),
            tail: self.log_tail(),
        })
    }

    fn ended(&mut self, status: io::Result<ExitStatus>) -> ChildError {
        let (name, log) = (self.name.clone(), self.log.clone());
        match status {
            Ok(status) => {
                self.reaped = true;
                ChildError::Ended { name, status, log, tail: self.log_tail() }
            }
            Err(source) => ChildError::Wait { name, source },
        }
    }

    /// Waits until it ends by itself. May be dropped and called again.
    pub async fn exited(&mut self) -> Result<ExitStatus, ChildError> {
        let status = self.process.wait().await;
        self.reaped = status.is_ok();
        status.map_err(|source| ChildError::Wait { name: self.name.clone(), source })
    }

    /// Makes it stand still: it keeps its connections and its memory, and does nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on where it stood still.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it: SIGTERM, and SIGKILL where it does not heed that for 5 s.
    pub async fn stop(&mut self) -> Result<ExitStatus, ChildError> {
        self.signal(Signal::TERM);
        match timeout(END_WITHIN, self.exited()).await {
            Ok(ended) => ended,
            Err(_) => self.kill().await,
        }
    }

    /// Ends it with SIGKILL.
    pub async fn kill(&mut self) -> Result<ExitStatus, ChildError> {
        self.signal(Signal::KILL);
        self.exited().await
    }

    /// The last lines of its log; empty where that cannot be read.
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_default()
    }

    /// Signals the process and all in its group. Once reaped its id may be another's, so then
    /// nothing is sent; one that has just ended by itself is what a signal wants anyway.
    fn signal(&self, signal: Signal) {
        if !self.reaped {
            kill_process_group(self.group, signal).ok();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Starting `setpriv` succeeds whatever it is to start, so look first.
fn existing(path: &Path) -> io::Result<()> {
    let bare = path.components().count() == 1;
    if bare { Ok(()) } else { path.metadata().map(drop) }
}

fn ending_with_us(path: &Path) -> Command {
    if !Path::new(SETPRIV).exists() {
        return Command::new(path);
    }
    let mut command = Command::new(SETPRIV);
    command.args(["--pdeathsig", "KILL", "--"]).arg(path);
    command
}

fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut end = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}

#[cfg(test)]
mod tests;
