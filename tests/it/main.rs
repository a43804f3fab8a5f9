//! Whole behaviours in one binary: real Envoy, real Prometheus, a real browser.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::format_collect,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    clippy::too_many_lines,
    reason = "tests may panic, print, read the clock and compare what they made up"
)]

mod prometheus;
mod xds;
mod bootstrap;
mod validate;
mod flow;
mod cli;
mod testbed;
mod arena;
mod setup;
mod deploy;
mod docs;
mod browser;
mod telemetry;
mod record;
mod journals;
mod tidy;
