//! What tests of whole behaviours share: Weir as its users run it, a real Envoy, backends whose
//! faults are set, a load, and wires that can be cut.
//!
//! Weir is always the real binary in a process of its own, since half of what is promised is
//! about a process: what it does when it is killed, what it says when it cannot start, how it
//! exits. Everything is awaited by a condition with a deadline; nothing sleeps to let time pass.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod cluster;
pub mod grpc;
pub mod journal;
pub mod prometheus;
pub mod proxy;
pub mod relay;
pub mod traffic;
pub mod versions;
pub mod weir;
pub mod world;

use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_testbed::envoy::eventually;

/// How long a condition may take to come true before a test fails: far more than it needs, so
/// that a slow machine fails nothing, and little enough that a test stays below 20 s.
pub const WITHIN: Duration = Duration::from_secs(15);

/// The repository.
///
/// # Panics
///
/// Never: this crate is in a folder of it.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Waits for a condition.
///
/// # Panics
///
/// When it does not come true in time; `what` says what was waited for.
pub async fn until(what: &str, condition: impl AsyncFnMut() -> bool) {
    assert!(eventually(WITHIN, condition).await, "not within {WITHIN:?}: {what}");
}
