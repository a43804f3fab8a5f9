//! The shell: sockets, files, clocks and tasks around the pure core.
//!
//! No judgement lives here: an `if` about traffic in this crate is in the wrong room.

// From the command line to the parts.
pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
mod scenarios;
pub mod wire;
// The loop and what it reads and writes.
pub mod steps;
pub mod patterns;
pub mod topology;
pub mod goals;
pub mod governed;
pub mod kubernetes;
pub mod replicas;
pub mod views;
pub mod store;
pub mod recording;
pub mod replay;
pub mod expectations;
mod cores;
pub mod times;
pub mod clock;
