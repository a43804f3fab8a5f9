//! Steps that a person lets a new version take, in Recommend.
//!
//! Each step is offered once the one before is passed, and nothing is taken back: a version that is
//! worse goes back by itself, as under Enforce.

use serde::{Deserialize, Serialize};

use super::{Given, Phase, Progress};
use crate::approval::Word;
use crate::goal::{Mode, Rollout};
use crate::units::{Moment, Ratio};

/// A step that waits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepOffer {
    /// Weir's step that first offered it: its name, together with the service's.
    pub number: u64,
    /// When.
    pub since: Moment,
    /// Which step, counted from 0.
    pub step: u32,
    /// The part of the requests that the new version would get.
    pub weight: Ratio,
}

impl<M> Progress<M> {
    /// Whether a person has to approve this step before it is taken.
    pub(super) fn awaits(&self, step: u32) -> bool {
        match self.goal.mode {
            Mode::Enforce => false,
            Mode::Recommend => step >= self.approved,
            Mode::Observe => true,
        }
    }

    fn is_halted(&self) -> bool {
        self.goal.suspended || self.goal.yields.is_some()
    }

    /// Whether anything was ever done: what has begun is judged, and goes back when it fails.
    pub(super) fn has_begun(&self) -> bool {
        self.goal.mode == Mode::Enforce || self.approved > 0 || self.weight > Ratio::ZERO
    }

    /// What waits now.
    pub(super) fn offered(&self, given: &Given<'_>) -> Option<StepOffer> {
        let Phase::Stepping { step } = self.phase else { return None };
        let asks = self.goal.mode == Mode::Recommend && self.wanted && !self.is_halted();
        let weight = *self.goal.steps.get(step as usize)?;
        if !asks || !self.awaits(step) || self.leads_to.is_some() {
            return None;
        }
        let same = self.offer.filter(|offer| (offer.step, offer.weight) == (step, weight));
        let new = StepOffer { number: given.sequence, since: given.at, step, weight };
        Some(same.unwrap_or(new))
    }

    /// Takes a person's word. When it comes does not matter: a step is taken at once and for good.
    pub(super) fn hear(&mut self, word: &Word) {
        let meant = self.offer.filter(|offer| {
            word.service == self.goal.service && word.offer == offer.number && word.until.is_some()
        });
        if let Some(offer) = meant {
            self.approved = offer.step + 1;
        }
    }

    /// How many of other steps are approved: those up to the weight that was.
    pub(super) fn approved_of(&self, goal: &Rollout) -> u32 {
        let most = self.approved.checked_sub(1).and_then(|last| self.goal.steps.get(last as usize));
        let Some(most) = most else { return 0 };
        let reached = goal.steps.iter().filter(|step| *step <= most).count();
        u32::try_from(reached).unwrap_or(u32::MAX)
    }
}
