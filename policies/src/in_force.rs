//! What is in force: the last set of policies without a mistake.
//!
//! A wrong file never takes effect and never takes anything away. The whole set is refused with
//! it, the goals of before stay, and the refusal can be seen until a set is taken again.

use weir_engine::goal::Goals;

use crate::check::{Checked, Document, Services, check_among};
use crate::parts::Earlier;
use crate::problem::Problem;

/// The goals in force, and why the set last offered is not, if it is not.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    services: Option<Services>,
    checked: Checked,
    refused: Vec<Problem>,
    read: bool,
    earlier: Earlier,
}

/// What became of a set that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in force, and differs from what was.
    Taken,
    /// It is what was in force already.
    Unchanged,
    /// It is not in force; what was before still is.
    Refused,
}

impl InForce {
    /// Nothing in force yet; sets are checked against the services that there are.
    pub fn among(services: Services) -> Self {
        Self { services: Some(services), ..Self::default() }
    }

    /// Whether all policies have been read.
    pub fn is_read(&self) -> bool {
        self.read
    }

    /// Of which policies what an earlier life knew stands.
    pub fn earlier(&self) -> &Earlier {
        &self.earlier
    }

    /// Puts a set in force beside which some documents are refused.
    pub(crate) fn take(
        &mut self,
        checked: Checked,
        refused: Vec<Problem>,
        (read, earlier): (bool, Earlier),
    ) -> Outcome {
        let outcome = match () {
            () if refused != self.refused && !refused.is_empty() => Outcome::Refused,
            () if checked != self.checked => Outcome::Taken,
            () => Outcome::Unchanged,
        };
        *self = Self { checked, refused, read, earlier, services: self.services.take() };
        outcome
    }

    /// Offers the whole set of files as they are now.
    pub fn offer(&mut self, documents: &[Document]) -> Outcome {
        match check_among(documents, self.services.as_ref()) {
            Ok(checked) => {
                self.refused.clear();
                if checked == self.checked {
                    return Outcome::Unchanged;
                }
                self.checked = checked;
                Outcome::Taken
            }
            Err(problems) => self.refuse(problems),
        }
    }

    /// Says that the set cannot even be read: a file without permission, a directory that is gone.
    pub fn refuse(&mut self, problems: Vec<Problem>) -> Outcome {
        self.refused = problems;
        Outcome::Refused
    }

    /// The goals in force; none before the first set was taken.
    pub fn goals(&self) -> &Goals {
        &self.checked.goals
    }

    /// The set in force.
    pub fn checked(&self) -> &Checked {
        &self.checked
    }

    /// Why the set last offered is not in force; empty if it is.
    pub fn refused(&self) -> &[Problem] {
        &self.refused
    }
}
