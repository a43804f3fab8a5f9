//! What a judge makes of a service: per endpoint unknown, or an expectation with its evidence.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::decision::{Failing, Slow};
use crate::units::{Millis, PerSecond, Ratio};
use crate::warning::Warning;

/// A judge's view of one service, endpoints in the topology's order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// One per declared endpoint.
    pub endpoints: Vec<Judgement>,
    /// Requests per second over the window.
    pub load: PerSecond,
    /// How much of a deviation in service time survives one loop: 0 none, 1 all.
    pub persistence: f64,
    /// What is unusual or lies ahead, service first: advice beside the judgements.
    pub warnings: Vec<Warning>,
}

/// What is known of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// What to expect of it; `None` is unknown.
    pub expectation: Option<Expectation>,
    /// Proof that it fails more than its peers.
    pub failing: Option<Failing>,
    /// Proof that it is slower than a tail objective allows.
    pub slow: Option<Slow>,
    /// Whether it looks bad by any measure, proven or not: half the endpoints doing so is a
    /// common cause.
    pub bad: bool,
    /// Error counts since it came back from an ejection or, else, of the last seconds.
    pub errors: f64,
    /// Requests belonging to `errors`.
    pub requests: f64,
}

/// What to expect of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// Time a worker needs for one request.
    pub service_time: Millis,
    /// Standard deviation of the estimate's logarithm.
    pub deviation: f64,
    /// Workers.
    pub concurrency: f64,
    /// Requests per second that it can carry; zero where that is not known.
    pub capacity: PerSecond,
    /// The same as it is at this moment, whether that lasts or not; zero where it is not known.
    pub present: PerSecond,
    /// Requests per second that it has sustained.
    pub sustained: PerSecond,
    /// Part of its workers in use.
    pub utilization: Ratio,
}

impl Expectation {
    /// The capacity that is safe to count on: what is expected, and no more than there is now.
    pub fn surely(&self) -> f64 {
        self.capacity.value().min(self.present.value())
    }
}
