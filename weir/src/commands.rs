//! One module per command; each gives the process's exit code.

pub mod approve;
pub mod arena;
pub mod config;
pub mod demo;
pub mod diff;
pub mod envoy;
pub mod evaluate;
pub mod explain;
pub mod journal;
pub mod policy;
pub mod record;
pub mod release;
pub mod replay;
pub mod run;
pub mod simulate;
pub mod test;
pub mod what_if;

/// All went well.
pub const OK: u8 = 0;
/// Something failed.
pub const FAILED: u8 = 1;
/// The input is wrong (sysexits' EX_DATAERR).
pub const BAD_INPUT: u8 = 65;
/// A check found problems.
pub const FINDINGS: u8 = 79;
