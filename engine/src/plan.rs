//! What would be best if it could happen at once: a sharer's wish, before any limit.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::decision::Reason;
use crate::units::{PerSecond, Ratio};
use crate::zones::ZoneSplit;

/// A sharer's wish for one service, endpoints in the topology's order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// One per declared endpoint.
    pub endpoints: Vec<Wish>,
    /// Whether a lasting imbalance is proven; if not, weights are equal.
    pub steering: bool,
    /// Capacity of the endpoints that are wished in, if known.
    pub capacity: Option<PerSecond>,
    /// The part of the requests to turn away, since no split of them can be served.
    pub shed: Ratio,
    /// Where the clients of each zone should go; empty where zones do not count.
    pub zones: Vec<ZoneSplit>,
}

/// What a sharer wishes for one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// Weight relative to the equal share: 1 is equal. Non-finite or negative is ignored by the
    /// guard, which then keeps what was.
    pub weight: f64,
    /// Take it out.
    pub eject: bool,
    /// Why.
    pub reason: Reason,
}
