#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

mod catalog;
mod discovery;
pub(crate) mod script;
mod watch;
