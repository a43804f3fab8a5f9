//! The dashboard as its users meet it: through the routers, over a board that was told a story.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "helpers of tests in modules of a binary")]

mod api;
mod ask;
mod elsewhere;
mod events;
mod metrics;
mod offers;
mod pages;
mod serving;
mod shield;
mod story;
mod verdicts;
