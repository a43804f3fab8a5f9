//! What a person may approve in Recommend, and what is in force once it is.
//!
//! An [`Offer`] is a [`Scope`]: which endpoints may go out, how far weights may depart from equal
//! ones, how much may be turned away. Approved, it bounds what is done and for how long; it does not
//! freeze it. So what recovers comes back by itself, the guard's limits hold as ever, and nothing is
//! done that nobody has seen: whatever goes beyond the scope is offered anew, and waits.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::goal::Mode;
use crate::guard::{Allowed, Granted};
use crate::names::ServiceId;
use crate::topology::ServiceTopology;
use crate::units::{Moment, Ratio};
use crate::zones::ZoneSplit;

mod scope;
mod words;

pub(crate) use scope::wanted;
pub use scope::{Reach, Scope};

/// The name of an offer, and of the approval that it becomes: `namespace/name@number`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferId {
    /// Whose offer.
    pub service: ServiceId,
    /// The step that first made it.
    pub number: u64,
}

/// Text that is no `namespace/name@number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnOffer;

/// A person's word on an offer: an input like any other, so that a journal says who approved what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Whose offer.
    pub service: ServiceId,
    /// The offer's number, or that of the approval that it became.
    pub offer: u64,
    /// Until when it may be done; none takes an approval back.
    pub until: Option<Moment>,
    /// Who says so.
    pub by: String,
}

/// What would be done, waiting for a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// The step that first made it: its name, together with the service's.
    pub number: u64,
    /// When.
    pub since: Moment,
    /// What it comes to.
    pub scope: Scope,
}

/// What was approved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// The number of the offer that it was.
    pub number: u64,
    /// By whom.
    pub by: String,
    /// Since when.
    pub since: Moment,
    /// Until when.
    pub until: Moment,
    /// How far it reaches.
    pub scope: Scope,
}

/// What is remembered of one service's offers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// What waits.
    pub offer: Option<Offer>,
    /// What was approved.
    pub approval: Option<Approval>,
}

/// What comes into force of what is allowed. Empty lists mean equal shares.
#[derive(Debug)]
pub(crate) struct InForce<'a> {
    /// One per endpoint, or none.
    pub(crate) endpoints: alloc::borrow::Cow<'a, [Granted]>,
    /// The part of the requests to turn away.
    pub(crate) shed: Ratio,
    /// Where the clients of each zone go.
    pub(crate) zones: &'a [ZoneSplit],
}

/// When and as the how-manieth step something is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) sequence: u64,
    pub(crate) at: Moment,
}

impl Memory {
    /// Takes a person's word; whether anything changes by it. An offer that is no longer made is not
    /// approved: what was read is not what would be done.
    pub(crate) fn heard(&mut self, word: &Word, at: Moment) -> bool {
        let running = self.approval.as_mut().filter(|approval| approval.number == word.offer);
        match (word.until.filter(|until| *until > at), running) {
            (None, Some(_)) => self.approval = None,
            (Some(until), Some(approval)) => {
                approval.until = until;
                approval.by.clone_from(&word.by);
            }
            (None, None) => return false,
            (Some(until), None) => {
                let Some(offer) = self.offer.take_if(|offer| offer.number == word.offer) else {
                    return false;
                };
                let Offer { number, scope, .. } = offer;
                let by = word.by.clone();
                self.approval = Some(Approval { number, by, since: at, until, scope });
            }
        }
        true
    }

    /// Ends an approval whose time is over; whether it did.
    pub(crate) fn expire(&mut self, at: Moment) -> bool {
        self.approval.take_if(|approval| approval.until <= at).is_some()
    }

    /// Offers what is not in force yet, and keeps the number of what is still the same.
    pub(crate) fn offer(&mut self, wanted: Option<Scope>, now: Now) {
        let covered = |scope: &Scope| {
            self.approval.as_ref().is_some_and(|approval| approval.scope.covers(scope))
        };
        self.offer = wanted.filter(|scope| !scope.is_nothing() && !covered(scope)).map(|scope| {
            match self.offer.take().filter(|offer| offer.scope.is_like(&scope)) {
                Some(offer) => offer,
                None => Offer { number: now.sequence, since: now.at, scope },
            }
        });
    }

    /// What of a decision is done in a mode.
    pub(crate) fn in_force<'a>(
        &self,
        mode: Mode,
        allowed: &'a Allowed,
        topology: &ServiceTopology,
    ) -> InForce<'a> {
        let approval = self.approval.as_ref().filter(|_| mode == Mode::Recommend);
        match (mode, approval) {
            (Mode::Enforce, _) => InForce {
                endpoints: (&allowed.endpoints).into(),
                shed: allowed.shed,
                zones: &allowed.zones,
            },
            (Mode::Recommend, Some(approval)) => approval.scope.bound(allowed, topology),
            (Mode::Observe | Mode::Recommend, _) => {
                InForce { endpoints: (&[]).into(), shed: Ratio::ZERO, zones: &[] }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Stance;
    use crate::topology::ClusterForm;

    fn memory(scope: Scope) -> Memory {
        let (since, until) = (Moment::default(), Moment::from_millis(1_000));
        let approval = Approval { number: 1, by: "ann".into(), since, until, scope };
        Memory { offer: None, approval: Some(approval) }
    }

    #[test]
    fn shedding_and_zones_are_in_force_as_far_as_they_are_approved() {
        let topology = ServiceTopology {
            service: ServiceId::new("demo", "shop"),
            endpoints: Vec::new(),
            clusters: alloc::vec![crate::topology::ClientCluster {
                name: "shop".into(),
                form: ClusterForm::native(),
            }],
            counts: crate::observation::Source::LoadReport,
        };
        let allowed = Allowed {
            stance: Stance::Steering,
            endpoints: Vec::new(),
            shed: Ratio::clamped(0.3),
            zones: alloc::vec![ZoneSplit::default()],
        };
        let scope = |shed, zones| Scope { shed: Ratio::clamped(shed), zones, ..Scope::default() };
        for (mode, scope, shed, zones) in [
            (Mode::Observe, scope(0.5, true), 0.0, 0),
            (Mode::Recommend, scope(0.1, false), 0.1, 0),
            (Mode::Recommend, scope(0.5, true), 0.3, 1),
            (Mode::Enforce, scope(0.0, false), 0.3, 1),
        ] {
            let memory = memory(scope);
            let done = memory.in_force(mode, &allowed, &topology);
            assert_eq!((done.shed, done.zones.len()), (Ratio::clamped(shed), zones), "{mode}");
        }
    }
}
