//! The whole step, from what was seen to what proxies get, with a toy model: what must hold
//! whatever the model says, and whatever happens to time, topology, goals and process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "small made-up numbers"
)]

mod any_model;
mod approval;
mod goals;
mod same;
mod time;
mod topology;
mod toy;
