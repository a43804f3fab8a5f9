//! Turning requests away where there are more than can be served.
//!
//! Too many requests at once make all of them late: a queue as long as the clients' patience serves
//! nobody in time. A part that is refused at once leaves the rest served. It is the one limit that
//! rests on evidence about everybody, so a common cause does not hold it back; without fresh and
//! broad evidence nothing is turned away.

use crate::decision::{Hold, Stance};
use crate::model::View;
use crate::plan::Plan;
use crate::units::Ratio;

/// The part of the requests that is turned away from now on.
pub(super) fn bounded(plan: &Plan, stance: &Stance, view: &View<'_>) -> Ratio {
    let sees = match stance {
        Stance::Resting | Stance::Steering => true,
        Stance::Holding(hold) => match hold {
            Hold::CommonCause { .. } | Hold::Mismatch { .. } => true,
            Hold::Suspended
            | Hold::Unrecorded
            | Hold::Stale { .. }
            | Hold::Quorum { .. }
            | Hold::Refused { .. } => false,
        },
        Stance::Decaying { .. } => false,
    };
    if sees {
        Ratio::clamped(plan.shed.value().min(view.goal.guardrails.max_shed.value()))
    } else {
        Ratio::ZERO
    }
}
