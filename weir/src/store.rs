//! What survives the process: the journal, and the last state known to be good.

pub mod journal;
pub mod last_good;

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Something that could not be read or written, with where and what.
#[derive(Debug, Error)]
#[error("cannot {doing} {}: {cause}{}", path.display(), mend(cause))]
pub struct StoreError {
    /// What was being done.
    pub doing: &'static str,
    /// To which file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub cause: io::Error,
}

fn mend(cause: &io::Error) -> &'static str {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let kind = cause.kind();
    if [StorageFull, QuotaExceeded].contains(&kind) {
        "; free space there, or name a larger disk with data_dir (weir record: --out)"
    } else if [PermissionDenied, ReadOnlyFilesystem].contains(&kind) {
        "; make it writable for this user, or name another folder with data_dir (weir record: --out)"
    } else if kind == io::ErrorKind::ResourceBusy {
        ", or name another folder with data_dir (weir record: --out)"
    } else {
        "; name a folder that this user may write with data_dir (weir record: --out)"
    }
}

/// Takes the data folder for this process, for as long as the file that is returned lives: two that
/// write one journal would destroy it. Where locks are not to be had (some network file systems)
/// nothing is returned, and said.
pub fn take(folder: &Path) -> Result<Option<File>, StoreError> {
    doing("make the folder", folder, std::fs::create_dir_all(folder))?;
    let path = folder.join("lock");
    let file = doing("open", &path, File::options().create(true).append(true).open(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            let what = "another Weir uses this folder; stop it first";
            doing("use", folder, Err(io::Error::new(io::ErrorKind::ResourceBusy, what)))
        }
        Err(TryLockError::Error(error)) => {
            let folder = folder.display();
            tracing::warn!(%folder, %error, "cannot lock: nothing keeps a second Weir out");
            Ok(None)
        }
    }
}

/// Says what was being done to which file when an operation failed.
pub(crate) fn doing<T>(
    doing: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<T, StoreError> {
    result.map_err(|cause| StoreError { doing, path: path.to_owned(), cause })
}

/// Makes the folder's own entries durable: a renamed file is only there after this.
fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let opened = doing("open", folder, File::open(folder))?;
    doing("sync", folder, opened.sync_all())
}
