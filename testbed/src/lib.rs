//! A mesh on loopback: backends whose faults are controlled, an open-loop load generator and
//! child processes (Envoy first of all). The demo, the benchmarks and the tests stand on it.
//!
//! It depends on nothing else of ours, so that what it measures cannot lean on what it
//! measures: whoever wants Weir in the loop passes Weir's part of the configuration in.

pub mod draws;
pub mod backends;
pub mod load;
pub mod ports;
pub mod descriptors;
pub mod child;
pub mod envoy;
pub mod required;
mod listener;
pub mod membership;
pub mod demo;
pub mod arena;
