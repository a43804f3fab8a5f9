//! Reading journals: a folder of segments, or one of them, as they were written.
//!
//! Whoever writes is [`crate::store::journal`]. Here nothing is cut and nothing is changed: a damaged
//! place is told with its file, and everything before it is read.

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
        if !doing("read", path, std::fs::metadata(path))?.is_dir() {
            return Ok(Self { segments: vec![path.to_owned()] });
        }
        let inner = path.join("journal");
        let mut segments = segments(path)?;
        if segments.is_empty() && inner.is_dir() {
            segments = self::segments(&inner)?;
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
