//! Whole behaviours, as a user meets them: the real binary, a real Envoy, real requests.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod approval;
mod ejection;
mod endpoints;
mod grpc;
mod policy;
mod profiles;
mod refusal;
mod relayed;
mod restart;
mod rollout;
mod silence;
mod verdicts;
mod warning;
