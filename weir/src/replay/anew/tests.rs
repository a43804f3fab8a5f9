#![allow(clippy::unwrap_used, reason = "tests")]

use weir_engine::goal::Mode;
use weir_engine::history::History;

use super::*;
use crate::recording::simulated::testing::recorded;
use crate::replay::{Turn, segment};
use crate::store::journal::{Bounds, Journal, Origin};

/// What all segments of a folder hold, in order.
fn contents(folder: &Path) -> Vec<Vec<u8>> {
    segments(folder).unwrap().iter().map(|path| fs::read(path).unwrap()).collect()
}

fn records(folder: &Path) -> Vec<Record> {
    let read = |path: &PathBuf| {
        let pages = Pages::read(path).unwrap();
        pages.records().unwrap().collect::<Result<Vec<_>, _>>().unwrap()
    };
    segments(folder).unwrap().iter().flat_map(read).collect()
}

/// A journal like `folder`'s in four segments, by a process that is killed after half a minute and
/// started again; with other digests where `other` says so.
fn in_pieces(folder: &Path, other: impl Fn(u64) -> bool) -> tempfile::TempDir {
    let pieces = tempfile::tempdir().unwrap();
    let bounds = Bounds::of_total(Bounds::TOTAL);
    let open = || Journal::open(pieces.path(), bounds, Origin::here()).unwrap().0;
    let mut journal = open();
    let mut state = State::<Memory>::default();
    for record in records(folder) {
        match record {
            Record::Opened { state: image, .. } => state = image.read().unwrap(),
            Record::Step(mut step) => {
                let at = step.observation.at;
                if [10_000, 30_000, 60_000].contains(&at.millis()) {
                    journal = open();
                }
                if at.millis() == 30_000 {
                    state.services.iter_mut().for_each(|one| one.history = History::default());
                }
                journal.prepare(at, || StateImage::of(&state)).unwrap();
                let decision = weir_engine::decide(&mut state, &step.observation, &Reference);
                let decision = digest(&decision);
                step.decision = if other(at.millis()) { [7; 16] } else { decision };
                journal.append(&Record::Step(step)).unwrap();
            }
            Record::Closed { .. } => journal.append(&record).unwrap(),
        }
    }
    pieces
}

fn anew(folder: &Path) -> (tempfile::TempDir, Anew) {
    let to = tempfile::tempdir().unwrap();
    let anew = write(&Recording::open(folder).unwrap(), to.path()).unwrap();
    (to, anew)
}

#[test]
fn decided_alike_the_new_journal_is_the_old_one_byte_for_byte() {
    let folder = recorded("err30", 1, Mode::Enforce);
    let pieces = in_pieces(folder.path(), |_| false);
    let (to, written) = anew(pieces.path());
    let told = (written.segments, written.steps, written.different, written.torn);
    assert_eq!(told, (4, 101, 0, None));
    assert_eq!(contents(to.path()), contents(pieces.path()));
}

#[test]
fn decided_otherwise_what_was_seen_stays_and_the_new_journal_replays() {
    let folder = recorded("err30", 1, Mode::Enforce);
    let pieces = in_pieces(folder.path(), |at| at >= 90_000);
    let (to, written) = anew(pieces.path());
    assert_eq!((written.steps, written.different), (101, 11));
    let seen = |folder: &Path| {
        let steps = records(folder).into_iter().filter_map(|record| match record {
            Record::Step(step) => Some(step.observation),
            Record::Opened { .. } | Record::Closed { .. } => None,
        });
        steps.collect::<Vec<_>>()
    };
    assert_eq!(seen(to.path()), seen(pieces.path()));
    let mut link = Link::default();
    for path in segments(to.path()).unwrap() {
        let part = segment(&path, &mut |_: Turn<'_>| {}).unwrap();
        assert_eq!((part.different, part.links.0), (0, link));
        link = part.links.1;
    }
    assert_eq!(link, written.link);
}

#[test]
fn what_is_there_is_never_overwritten_and_what_is_damaged_leaves_nothing() {
    let folder = recorded("err30", 1, Mode::Enforce);
    let recording = Recording::open(folder.path()).unwrap();
    let said = write(&recording, folder.path()).unwrap_err().to_string();
    assert!(said.contains("holds a journal already"), "{said}");

    let pieces = in_pieces(folder.path(), |_| false);
    let all = segments(pieces.path()).unwrap();
    let last = all.last().unwrap();
    let mut bytes = fs::read(last).unwrap();
    let whole = bytes.len();
    bytes.truncate(whole - 3);
    fs::write(last, &bytes).unwrap();
    let (_to, written) = anew(pieces.path());
    assert!(written.steps == 100 && written.torn.unwrap().contains("torn"));

    bytes[whole / 2] ^= 1;
    fs::write(last, &bytes).unwrap();
    let to = tempfile::tempdir().unwrap();
    let said = write(&Recording::open(pieces.path()).unwrap(), to.path()).unwrap_err();
    assert!(said.to_string().contains("is damaged"), "{said}");
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0, "nothing is left behind");
}
