//! Showing people what Weir does and why: API, events, pages and metrics.
//!
//! The loop hands every step to the [`board::Board`]; everything here reads the board's snapshots
//! and nothing else, so that the dashboard can neither slow the loop nor change a decision. It is
//! read-only by construction: there is no route that writes. What is posted (a question of Flagger's)
//! reads the same snapshots.

pub mod board;
pub mod view;
pub mod metrics;
pub mod web;
mod api;
mod pages;
pub mod chart;
