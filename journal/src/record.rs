//! What stands in a journal.

use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};
use weir_engine::decision::{Decision, ServiceDecision, Stance};
use weir_engine::observation::Observation;
use weir_engine::units::Moment;

use crate::StateImage;

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A segment begins: who writes, and the whole state before the next step.
    Opened {
        /// When.
        at: Moment,
        /// The build that decides from here on.
        build: String,
        /// The model that judges and shares.
        model: String,
        /// In which epoch of a lease, where several replicas share one and one decides.
        epoch: Option<u64>,
        /// The engine's state.
        state: StateImage,
    },
    /// One step.
    Step(Box<Step>),
    /// The process ended in order.
    Closed {
        /// When.
        at: Moment,
    },
}

/// What went into a step and what came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Everything seen.
    pub observation: Observation,
    /// The digest of the whole decision: a replay must reproduce it.
    pub decision: [u8; 16],
    /// The decisions of the services for which something changed.
    pub changed: Vec<Arc<ServiceDecision>>,
    /// What proxies were told anew. Their answers are receipts of later observations, and the shares
    /// that came of it are in later telemetry.
    pub pushed: Vec<Pushed>,
}

/// One resource that proxies were told anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// Its kind, as `EDS`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// For whom: everybody (empty), `zone NAME` or `node NAME`.
    pub to: String,
    /// What it was from then on: 64 bits of the hash of its bytes; none where it was taken away.
    pub version: Option<u64>,
}

impl Step {
    /// A step and what was decided on it: services at rest of which nothing moved are left out,
    /// since a replay gives them back.
    pub fn of(observation: Observation, decision: &Decision) -> Self {
        let acts = |service: &&Arc<ServiceDecision>| {
            service.moved.value() > 0.0 || service.stance != Stance::Resting
        };
        let changed = decision.services.iter().filter(acts).cloned().collect();
        Self { observation, decision: digest(decision), changed, pushed: Vec::new() }
    }
}

/// The first half of the SHA-256 of a decision's bytes.
///
/// # Panics
///
/// Never: a decision is plain data, which postcard always encodes.
pub fn digest(decision: &Decision) -> [u8; 16] {
    let bytes = postcard::to_allocvec(decision).expect("a decision is plain data");
    let hash = Sha256::digest(&bytes);
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}
