//! The journal on disk: segments in a folder, bounded, the oldest going first.
//!
//! One file is written at a time. When it is full, or cannot be written, the next step opens a
//! new one with the whole state, so that every segment replays by itself.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use weir_engine::units::Moment;
use weir_journal::{Damage, Link, Reader, Record, StateImage, Writer};

use super::{StoreError, doing, sync_folder};
use crate::recording;

/// How large the journal may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A segment is closed at this size, unless the state at its beginning is much of it.
    pub segment: u64,
    /// All segments together: the oldest are deleted beyond it.
    pub total: u64,
}

impl Bounds {
    /// All segments together, unless configured.
    pub const TOTAL: u64 = 256 << 20;

    /// Sixteen segments of a total.
    pub fn of_total(total: u64) -> Self {
        Self { segment: total / 16, total }
    }

    /// Where a segment is closed that begins with a state of so many bytes: of a large mesh it would
    /// hold little else, so that it may be longer, as long as four fit.
    fn full(self, state: u64) -> u64 {
        state.saturating_mul(4).min(self.total / 4).max(self.segment)
    }
}

/// Who writes: what a segment says of its origin.
#[derive(Clone, Debug)]
pub struct Origin {
    /// This build.
    pub build: String,
    /// The model.
    pub model: String,
}

impl Origin {
    /// This build with its model.
    pub fn here() -> Self {
        let model = weir_engine::model::Model::version(&weir_models::reference::Reference);
        Self { build: crate::replay::BUILD.to_owned(), model: model.to_owned() }
    }
}

/// The journal's writing end.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    bounds: Bounds,
    origin: Origin,
    epoch: Option<u64>,
    link: Link,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    writer: Writer,
    length: u64,
    /// At this length it is closed.
    full: u64,
}

/// What was found when an earlier journal was continued.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// When its last record was written.
    pub last: Option<Moment>,
    /// A torn or damaged tail that was cut off, in words.
    pub cut: Option<String>,
}

impl Journal {
    /// Continues the journal in a folder, which is made if it is not there. A damaged tail of the
    /// last segment is cut off, and said.
    pub fn open(
        folder: &Path,
        bounds: Bounds,
        origin: Origin,
    ) -> Result<(Self, Found), StoreError> {
        doing("make the folder", folder, fs::create_dir_all(folder))?;
        let mut journal = Self {
            folder: folder.to_owned(),
            bounds,
            origin,
            epoch: None,
            link: Link::default(),
            open: None,
        };
        let mut found = Found::default();
        if let Some(last) = recording::segments(folder)?.pop() {
            found = journal.take_up(&last)?;
        }
        Ok((journal, found))
    }

    /// Begins a new segment where one is due: at the start, when the last one is full, and after
    /// an error. `state` makes the whole state as it is before the next record.
    pub fn prepare(
        &mut self,
        at: Moment,
        state: impl FnOnce() -> StateImage,
    ) -> Result<(), StoreError> {
        if self.open.as_ref().is_none_or(|open| open.length >= open.full) {
            self.open = None;
            self.begin(at, state())?;
        }
        Ok(())
    }

    /// Appends a record to the segment that was prepared; without one it is left out. After an
    /// error a new segment has to be prepared.
    pub fn append(&mut self, record: &Record) -> Result<(), StoreError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let frame = open.writer.frame(record);
        let written = doing("write", &open.path, open.file.write_all(&frame));
        if let Err(error) = written {
            self.abandon();
            return Err(error);
        }
        open.length += frame.len() as u64;
        self.link = open.writer.link();
        Ok(())
    }

    /// Ends the segment: the state is another one from here on, which the next one begins with.
    pub fn part(&mut self) {
        self.open = None;
    }

    /// What is decided from here on is decided in this epoch of a lease: a segment is of one.
    pub fn lead(&mut self, epoch: u64) {
        if self.epoch.replace(epoch) != Some(epoch) {
            self.part();
        }
    }

    /// Makes everything so far durable.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        let Some(open) = &self.open else { return Ok(()) };
        doing("sync", &open.path, open.file.sync_data())
    }

    fn begin(&mut self, at: Moment, state: StateImage) -> Result<(), StoreError> {
        let path = self.folder.join(format!("{:020}.weir", at.millis()));
        let mut writer = Writer::new(self.link);
        let mut head = writer.header();
        head.extend(writer.frame(&Record::Opened {
            at,
            build: self.origin.build.clone(),
            model: self.origin.model.clone(),
            epoch: self.epoch,
            state,
        }));
        let full = self.bounds.full(head.len() as u64);
        self.make_room(full)?;
        let mut file = doing("write", &path, File::create(&path))?;
        if let Err(error) = doing("write", &path, file.write_all(&head)) {
            // The beginning of a segment is of no use.
            drop(file);
            fs::remove_file(&path).unwrap_or_default();
            return Err(error);
        }
        sync_folder(&self.folder)?;
        self.link = writer.link();
        self.open = Some(Open { path, file, writer, length: head.len() as u64, full });
        Ok(())
    }

    /// Gives up a segment whose end may be torn: cuts the tear, so that the chain goes on.
    fn abandon(&mut self) {
        if let Some(open) = self.open.take()
            && let Err(cause) = open.file.set_len(open.length)
        {
            tracing::warn!(path = %open.path.display(), %cause, "a torn tail stays in the journal");
        }
    }

    fn make_room(&self, needed: u64) -> Result<(), StoreError> {
        let mut paths = recording::segments(&self.folder)?;
        paths.reverse();
        let mut total = needed;
        for path in paths {
            total += doing("look at", &path, fs::metadata(&path))?.len();
            if total > self.bounds.total {
                doing("delete", &path, fs::remove_file(&path))?;
            }
        }
        Ok(())
    }

    /// Reads the last segment of an earlier life to its end and cuts off what is damaged.
    fn take_up(&mut self, path: &Path) -> Result<Found, StoreError> {
        let bytes = doing("read", path, fs::read(path))?;
        let (segment, mut reader) = match Reader::open(&bytes) {
            Ok(opened) => opened,
            Err(damage) => {
                return Ok(Found { last: None, cut: Some(set_aside(path, &damage)?) });
            }
        };
        self.link = segment.link;
        let mut found = Found::default();
        for record in reader.by_ref() {
            match record {
                Ok(record) => found.last = Some(moment(&record)),
                Err(damage) => {
                    let whole = damage.whole_until() as u64;
                    let file = File::options().write(true).open(path);
                    doing("cut", path, file.and_then(|file| file.set_len(whole)))?;
                    found.cut = Some(format!("{}: {damage}; cut off there", path.display()));
                }
            }
        }
        if found.last.is_none() {
            // Nothing but a header is left: nobody could replay it.
            doing("delete", path, fs::remove_file(path))?;
        }
        self.link = reader.link();
        Ok(found)
    }
}

/// Keeps a file that is no journal out of the way without losing it.
fn set_aside(path: &Path, damage: &Damage) -> Result<String, StoreError> {
    let aside = path.with_extension("unreadable");
    doing("rename", path, fs::rename(path, &aside))?;
    Ok(format!("{}: {damage}; kept as {}", path.display(), aside.display()))
}

fn moment(record: &Record) -> Moment {
    match record {
        Record::Opened { at, .. } | Record::Closed { at } => *at,
        Record::Step(step) => step.observation.at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::observation::Observation;
    use weir_journal::Step;

    const BOUNDS: Bounds = Bounds { segment: 8 << 10, total: 64 << 10 };

    fn origin() -> Origin {
        Origin { build: "test".into(), model: "none".into() }
    }

    fn step(at: u64, size: usize) -> Record {
        let receipts = (0..size)
            .map(|index| weir_engine::observation::Receipt {
                node: format!("node-{index}-{at}").as_str().into(),
                service: weir_engine::names::ServiceId::new("a", "b"),
                decision: at,
                outcome: weir_engine::observation::Outcome::Taken,
            })
            .collect();
        let observation =
            Observation { at: Moment::from_millis(at), receipts, ..Observation::default() };
        Record::Step(Box::new(Step {
            observation,
            decision: [0; 16],
            changed: vec![],
            pushed: vec![],
        }))
    }

    fn append(journal: &mut Journal, at: u64, size: usize) -> Result<(), StoreError> {
        journal.prepare(Moment::from_millis(at), || StateImage::of(&[1_u8, 2, 3]))?;
        journal.append(&step(at, size))
    }

    fn all(folder: &Path) -> Vec<u64> {
        let (_journal, _) = Journal::open(folder, BOUNDS, origin()).unwrap();
        let mut moments = Vec::new();
        let mut link = None;
        for path in recording::segments(folder).unwrap() {
            let bytes = fs::read(path).unwrap();
            let (segment, reader) = Reader::open(&bytes).unwrap();
            assert!(link.is_none_or(|link| link == segment.link), "the chain goes on");
            let mut reader = reader;
            for record in reader.by_ref() {
                if let Record::Step(step) = record.unwrap() {
                    moments.push(step.observation.at.millis());
                }
            }
            link = Some(reader.link());
        }
        moments
    }

    #[test]
    fn goes_on_where_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        for life in 0..3 {
            let (mut journal, found) = Journal::open(folder.path(), BOUNDS, origin()).unwrap();
            assert_eq!(found.last.map(Moment::millis), (life > 0).then(|| life * 10 - 1));
            for at in life * 10..life * 10 + 10 {
                append(&mut journal, at, 1).unwrap();
            }
        }
        assert_eq!(all(folder.path()), (0..30).collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_tail_is_cut_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path(), BOUNDS, origin()).unwrap();
        for at in 0..5 {
            append(&mut journal, at, 1).unwrap();
        }
        let path = journal.open.as_ref().unwrap().path.clone();
        let length = fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(length - 3).unwrap();
        let (mut journal, found) = Journal::open(folder.path(), BOUNDS, origin()).unwrap();
        assert!(found.cut.unwrap().contains("torn"));
        assert_eq!(found.last, Some(Moment::from_millis(3)));
        append(&mut journal, 9, 1).unwrap();
        assert_eq!(all(folder.path()), [0, 1, 2, 3, 9]);
    }

    #[test]
    fn a_segment_holds_more_than_the_state_it_begins_with() {
        let full = |state: u64| BOUNDS.full(state << 10) >> 10;
        assert_eq!((full(1), full(3), full(1_000)), (8, 12, 16), "four fit into 64");
    }

    #[test]
    fn stays_within_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path(), BOUNDS, origin()).unwrap();
        for at in 0..40 {
            append(&mut journal, at, 200).unwrap();
        }
        let sizes = recording::segments(folder.as_ref())
            .unwrap()
            .into_iter()
            .map(|p| fs::metadata(p).unwrap().len());
        assert!(sizes.sum::<u64>() <= BOUNDS.total + BOUNDS.segment);
        assert_eq!(all(folder.path()).last(), Some(&39));
    }

    #[test]
    fn a_full_disk_is_said_and_the_next_step_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path(), BOUNDS, origin()).unwrap();
        append(&mut journal, 1, 1).unwrap();
        journal.open.as_mut().unwrap().file =
            File::options().write(true).open("/dev/full").unwrap();
        let error = append(&mut journal, 2, 1).unwrap_err().to_string();
        assert!(error.contains("free space"), "{error}");
        append(&mut journal, 3, 1).unwrap();
        let (_, found) = Journal::open(folder.path(), BOUNDS, origin()).unwrap();
        assert_eq!(found.cut, None);
    }
}
