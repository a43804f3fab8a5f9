//! Follows a file: at once where the system tells of changes, every few seconds in any case.
//!
//! The directory is watched rather than the file, since editors and Kubernetes' mounted volumes
//! put a new file in the old one's place. Watching is a convenience: where it is not to be had (a
//! network file system, no watch left) the periodic reading does all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use weir_engine::topology::Endpoint;

use super::document::{self, DocumentError, FILE_BYTES_MAX};
use super::{Outlet, REFRESH};

/// A file that is being written is left alone until it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(100);

/// The longest that a file is waited for to become quiet.
const QUIET_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", .path.display())]
    Document { path: PathBuf, source: DocumentError },
}

/// Reads the file now and whenever it may have changed. Never ends.
pub(super) async fn follow(path: &Path, outlet: &mut Outlet) {
    let changed = Arc::new(Notify::new());
    let _watcher = watch(path, Arc::clone(&changed));
    let mut last: Option<(Vec<u8>, Vec<Endpoint>)> = None;
    loop {
        match read(path).await {
            Ok(bytes) => take(path, bytes, &mut last, outlet),
            Err(error) => {
                outlet.fail(&FileError::Read { path: path.to_owned(), source: error });
                repeat(last.as_ref(), outlet);
            }
        }
        tokio::select! {
            () = sleep(REFRESH) => {}
            () = changed.notified() => quiet(&changed).await,
        }
    }
}

/// Hands a file's list over. One that is wrong leaves the last good one in force.
fn take(
    path: &Path,
    bytes: Vec<u8>,
    last: &mut Option<(Vec<u8>, Vec<Endpoint>)>,
    outlet: &mut Outlet,
) {
    if let Some((same, endpoints)) = &*last
        && *same == bytes
    {
        outlet.list(endpoints.clone());
        return;
    }
    match document::parse(&bytes) {
        Ok(endpoints) => {
            outlet.list(endpoints.clone());
            *last = Some((bytes, endpoints));
        }
        Err(error) => {
            outlet.fail(&FileError::Document { path: path.to_owned(), source: error });
            repeat(last.as_ref(), outlet);
        }
    }
}

/// The last good list still stands, and time passes for what is withheld of it.
fn repeat(last: Option<&(Vec<u8>, Vec<Endpoint>)>, outlet: &mut Outlet) {
    if let Some((_, endpoints)) = last {
        outlet.propose(endpoints.clone());
    }
}

/// At most one byte more than is accepted, so that a file which grows is not followed into memory.
async fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Tells of changes in the file's directory for as long as what it returns lives.
fn watch(path: &Path, changed: Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let watching = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the file is an event too, which must not lead to reading it.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            changed.notify_one();
        }
    })
    .and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::NonRecursive).map(|()| watcher)
    });
    watching
        .inspect_err(|error| {
            tracing::info!(directory = %directory.display(), %error, "cannot watch; reading every 5 s");
        })
        .ok()
}

/// Waits until nothing has changed for a moment.
async fn quiet(changed: &Notify) {
    let deadline = Instant::now() + QUIET_WITHIN;
    while timeout_at(deadline.min(Instant::now() + QUIET), changed.notified()).await.is_ok() {}
}
