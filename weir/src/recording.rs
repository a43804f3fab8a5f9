//! Reading journals: a folder of segments, or one of them, as they were written.
//!
//! Whoever writes is [`crate::store::journal`]. Here nothing is cut and nothing is changed: a damaged
//! place is told with its file, and everything before it is read.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use thiserror::Error;
use weir_engine::units::Moment;
use weir_journal::{Damage, Link, Reader, Record, Segment};

use crate::store::{StoreError, doing};

pub(crate) mod simulated;

/// Why a journal cannot be read, and where.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file system says no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none.
    #[error("{} holds no journal: name a .weir file, or the folder that they are in", .0.display())]
    Absent(PathBuf),
    /// A file's bytes are not, or no longer, a journal's.
    #[error("{}: {cause}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and at which byte.
        #[source]
        cause: Damage,
    },
}

/// A journal on disk: the names of its segments, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    segments: Vec<PathBuf>,
}

impl Recording {
    /// Opens a segment's file, a folder of them, or the `journal` folder in a data folder.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let absent = || ReadError::Absent(path.to_owned());
        let found = std::fs::metadata(path);
        if found.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return Err(absent());
        }
        if !doing("read", path, found)?.is_dir() {
            return Ok(Self { segments: vec![path.to_owned()] });
        }
        let inner = path.join("journal");
        let mut segments = segments(path)?;
        if segments.is_empty() && inner.is_dir() {
            segments = self::segments(&inner)?;
        }
        if let [_, .., last] = segments.as_slice()
            && !is_begun(last)?
        {
            // A process is about to begin it, or was killed at that: it holds nothing yet.
            segments.pop();
        }
        if segments.is_empty() { Err(absent()) } else { Ok(Self { segments }) }
    }

    /// When it begins.
    pub fn begins(&self) -> Result<Moment, ReadError> {
        let Some(path) = self.segments.first() else { return Ok(Moment::default()) };
        let pages = Pages::read(path)?;
        match pages.records()?.next().transpose()? {
            Some(Record::Opened { at, .. } | Record::Closed { at }) => Ok(at),
            Some(Record::Step(step)) => Ok(step.observation.at),
            None => Err(ReadError::Absent(path.clone())),
        }
    }

    /// Its last segment alone.
    #[must_use]
    pub fn last(&self) -> Self {
        Self { segments: self.segments.last().cloned().into_iter().collect() }
    }

    /// The segments' files, the oldest first.
    pub fn segments(&self) -> &[PathBuf] {
        &self.segments
    }
}

/// Whether something stands in a segment; a file that is no segment's is to be told.
fn is_begun(path: &Path) -> Result<bool, StoreError> {
    let pages = Pages::read(path)?;
    let Ok(mut records) = pages.records() else { return Ok(pages.size() > 0) };
    let torn = |error| matches!(error, ReadError::Damaged { cause: Damage::Torn { .. }, .. });
    Ok(records.next().is_some_and(|first| !first.is_err_and(torn)))
}

/// The files of segments in a folder, the oldest first: their names are times.
pub fn segments(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = Vec::new();
    for entry in doing("list", folder, std::fs::read_dir(folder))? {
        let path = doing("list", folder, entry)?.path();
        if path.extension().is_some_and(|extension| extension == "weir") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Bytes as people compare them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// One segment in memory.
#[derive(Debug)]
pub struct Pages {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Pages {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let bytes = doing("read", path, std::fs::read(path))?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Its header and its records.
    pub fn records(&self) -> Result<Records<'_>, ReadError> {
        let (segment, reader) = Reader::open(&self.bytes).map_err(|cause| self.damaged(cause))?;
        Ok(Records { pages: self, segment, reader })
    }

    fn damaged(&self, cause: Damage) -> ReadError {
        ReadError::Damaged { path: self.path.clone(), cause }
    }
}

/// The records of one segment; ends after the first damage.
#[derive(Debug)]
pub struct Records<'a> {
    pages: &'a Pages,
    reader: Reader<'a>,
    /// The segment's header.
    pub segment: Segment,
}

impl Records<'_> {
    /// The chain's link after the last record read.
    pub fn link(&self) -> Link {
        self.reader.link()
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pages = self.pages;
        Some(self.reader.next()?.map_err(|cause| pages.damaged(cause)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use weir_engine::goal::Mode;

    use super::simulated::testing::recorded;
    use super::*;

    #[test]
    fn a_segment_that_is_only_just_begun_hides_none_before_it() {
        let folder = recorded("homog", 1, Mode::Observe);
        let first = segments(folder.path()).unwrap().remove(0);
        let bytes = std::fs::read(&first).unwrap();
        let second = folder.path().join("99999999999999999999.weir");
        for (begun, holds) in [(0, 1), (26, 1), (60, 1), (bytes.len(), 2)] {
            std::fs::write(&second, &bytes[..begun]).unwrap();
            assert_eq!(Recording::open(folder.path()).unwrap().segments().len(), holds, "{begun}");
        }
        std::fs::write(&second, "hello").unwrap();
        assert_eq!(Recording::open(folder.path()).unwrap().segments().len(), 2, "it is to be told");
        std::fs::write(&first, "").unwrap();
        assert_eq!(Recording::open(&first).unwrap().segments(), [first], "named by itself");
    }
}
