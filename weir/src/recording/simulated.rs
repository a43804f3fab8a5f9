//! The journal of a simulated world, as a live Weir would have written it.

use std::path::Path;

use weir_engine::goal::Goal;
use weir_journal::{Record, StateImage, Step};
use weir_models::reference::Reference;
use weir_simulator::governor::Governor;
use weir_simulator::rivals::Rival;
use weir_simulator::scenario::Scenario;
use weir_simulator::world;

use crate::store::StoreError;
use crate::store::journal::{Bounds, Journal, Origin};

/// Plays a scenario with Weir and records its first tier in a folder.
pub(crate) fn record(scenario: &Scenario, goal: &Goal, folder: &Path) -> Result<(), StoreError> {
    let bounds = Bounds::of_total(Bounds::TOTAL);
    let (mut journal, _) = Journal::open(folder, bounds, Origin::here())?;
    let mut governors = [(); 2].map(|()| Governor::new(Reference, goal.clone()));
    let mut written = Ok(());
    world::run(scenario, Rival::Weir, |tick| {
        let first = tick.tier == 0;
        let governor = governors.get_mut(tick.tier)?;
        let observation = governor.observe(tick);
        let at = observation.at;
        if first && written.is_ok() {
            written = journal.prepare(at, || StateImage::of(governor.state()));
        }
        let decision = governor.decide(&observation);
        if first && written.is_ok() {
            written = journal.append(&Record::Step(Box::new(Step::of(observation, &decision))));
        }
        governor.assignment()
    });
    written?;
    journal.sync()
}

#[cfg(test)]
pub(crate) mod testing {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::path::Path;

    use weir_engine::goal::Mode;

    use super::record;
    use crate::scenarios::read;

    /// A journal of one of the repository's scenarios, governed in a mode.
    pub(crate) fn recorded(name: &str, seed: u64, mode: Mode) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        record_in(folder.path(), (name, seed), mode);
        folder
    }

    /// The same in a folder that is there.
    pub(crate) fn record_in(folder: &Path, (name, seed): (&str, u64), mode: Mode) {
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios");
        let file = scenarios.join(format!("{name}.yaml"));
        let (plans, policy) = read(&[file], false, None).unwrap();
        let mut goal = policy.goal;
        goal.mode = mode;
        record(&plans[0].scenario(seed, 20), &goal, folder).unwrap();
    }
}
