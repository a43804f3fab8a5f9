//! What is written down of steps: the journal, and the state from which a later process goes on.

use std::time::Duration;

use weir_engine::units::Moment;
use weir_journal::{Record, StateImage, Step};

use super::Steps;
use crate::store::StoreError;
use crate::store::last_good::lasting;

/// The last good state is saved at least this often, for the budgets in it.
pub(super) const SAVE_EVERY: Duration = Duration::from_secs(60);

/// The journal is made durable this often: what a power cut may cost. A killed process loses
/// nothing.
const SYNC_EVERY: Duration = Duration::from_secs(5);

impl Steps {
    /// Makes the journal ready for a step, with the state as it is before it.
    pub(super) fn prepare(&mut self, at: Moment) -> Result<(), StoreError> {
        let Some(journal) = &mut self.outputs.journal else { return Ok(()) };
        journal.prepare(at, || StateImage::of(&self.state))
    }

    /// Writes the step down.
    pub(super) fn record(&mut self, at: Moment, step: &Step) -> Result<(), StoreError> {
        let Some(journal) = &mut self.outputs.journal else { return Ok(()) };
        journal.append(&Record::Step(Box::new(step.clone())))?;
        if at.since(self.synced) >= SYNC_EVERY {
            journal.sync()?;
            self.synced = at;
        }
        Ok(())
    }

    /// What could not be written stops the next step.
    pub(super) fn noted(&mut self, recorded: Result<(), StoreError>) {
        match recorded {
            Ok(()) => {
                if self.unrecorded {
                    tracing::info!("the journal can be written again");
                }
                self.unrecorded = false;
            }
            Err(error) => {
                if !self.unrecorded {
                    tracing::error!(%error, "decisions pause until the journal can be written");
                }
                self.unrecorded = true;
            }
        }
    }

    /// Saves the state as the last good one. Not before proxies are answered: until then it may
    /// lack the endpoints of a service, and the next life would serve it like that.
    pub(super) fn save(&mut self, at: Moment, changed: bool) {
        let Some(last_good) = &self.outputs.last_good else { return };
        let due = changed || at.since(self.saved) >= SAVE_EVERY;
        if !due || !*self.outputs.serving.borrow() {
            return;
        }
        self.saved = at;
        if let Err(error) = last_good.save(&lasting(&self.state)) {
            tracing::error!(%error, "the last good state is not saved: a restart begins with an older one");
        }
    }

    /// Ends in order: the journal says so, and the last good state is saved.
    pub fn close(&mut self) {
        let at = self.setup.clock.now();
        if let Some(journal) = &mut self.outputs.journal {
            let written = journal.append(&Record::Closed { at }).and_then(|()| journal.sync());
            if let Err(error) = written {
                tracing::error!(%error, "the journal's end is not written");
            }
        }
        self.save(at, true);
    }
}
