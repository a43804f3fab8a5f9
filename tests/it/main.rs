//! Whole behaviours in one binary: real Envoy, real Prometheus, a real browser.

mod prometheus;
mod xds;
mod bootstrap;
mod validate;
mod flow;
mod cli;
mod testbed;
mod setup;
mod docs;
mod browser;
mod telemetry;
mod tidy;
