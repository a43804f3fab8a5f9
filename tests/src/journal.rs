//! The journal on disk, read back and decided again.

use std::path::{Path, PathBuf};

use weir_engine::state::State;
use weir_journal::{Reader, Record, Step, digest};
use weir_models::reference::{Memory, Reference};

/// One segment, as far as it is whole.
#[derive(Debug)]
pub struct Segment {
    /// The state before its first step.
    pub state: State<Memory>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Whether its process ended in order.
    pub closed: bool,
}

/// All segments of a data folder, the oldest first.
pub fn segments(data: &Path) -> Vec<Segment> {
    let folder = std::fs::read_dir(data.join("journal")).unwrap();
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| segment(path)).collect()
}

fn segment(path: &Path) -> Segment {
    let bytes = std::fs::read(path).unwrap();
    let (_, mut records) = Reader::open(&bytes).unwrap();
    let Some(Ok(Record::Opened { state, .. })) = records.next() else {
        panic!("{} begins with no state", path.display())
    };
    let state = state.read().unwrap();
    let mut segment = Segment { state, steps: Vec::new(), closed: false };
    for record in records {
        match record.unwrap() {
            Record::Step(step) => segment.steps.push(*step),
            Record::Closed { .. } => segment.closed = true,
            Record::Opened { .. } => panic!("{} begins twice", path.display()),
        }
    }
    segment
}

impl Segment {
    /// Decides every step again from what was seen.
    ///
    /// # Panics
    ///
    /// Where a decision differs from the one that was taken.
    pub fn replay(&self) {
        let (mut state, model) = (self.state.clone(), Reference);
        for step in &self.steps {
            let decision = weir_engine::decide(&mut state, &step.observation, &model);
            let number = decision.sequence;
            assert_eq!(digest(&decision), step.decision, "decision {number} differs");
        }
    }
}
