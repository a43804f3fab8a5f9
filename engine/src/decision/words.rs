//! The words of decisions, as people read them in logs, on pages and in the API.

use alloc::format;
use alloc::string::String;

use super::ServiceDecision;

pub(super) fn summary(decision: &ServiceDecision) -> String {
    format!("{}: {:?}", decision.service, decision.stance)
}
