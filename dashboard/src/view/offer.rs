//! What waits for a person's approval, and what was approved.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;

/// What Weir would do and waits for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferView {
    /// Its name, `namespace/name@number`: what `weir approve` is told.
    pub id: String,
    /// Whose traffic it moves, as `namespace/name`.
    pub service: String,
    /// Since when it is offered.
    pub since: Time,
    /// What would be done, in one line.
    pub text: String,
}

/// What a person approved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView {
    /// The offer that it was: what ends or prolongs it.
    pub id: String,
    /// Who approved it.
    pub by: String,
    /// Since when.
    pub since: Time,
    /// Until when.
    pub until: Time,
    /// What may be done, in one line.
    pub text: String,
}
