//! it

mod xds;
mod bootstrap;
mod validate;
mod prometheus;
mod docs;
mod browser;
mod flow;
mod cli;
mod telemetry;
