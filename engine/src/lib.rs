//! What to do: a pure function from state and observation to a decision.
//!
//! `no_std`, so that the compiler itself refuses clocks, files and sockets here. Live, replayed
//! and simulated runs call the same [`decide`].
#![cfg_attr(not(test), no_std)]

extern crate alloc;

// In the order of the flow.
pub mod observation;
pub mod topology;
pub mod history;
pub mod model;
pub mod assessment;
pub mod plan;
pub mod decision;
// What steers it, and what it is measured in.
pub mod goal;
pub mod latency;
pub mod names;
pub mod units;
