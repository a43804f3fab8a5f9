//! The shell: sockets, files, clocks and tasks around the pure core.

pub mod clock;
pub mod store;
pub mod config;
