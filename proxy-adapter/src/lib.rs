//! Telling the proxies: a decision in their own words (xDS), carried to them, and their answer.
//!
//! Two halves that meet in [`resource`]. Translation is pure: it makes resources of a decision
//! and checks them by the strictest client before anything is sent. The server half is a sans-io
//! [`session`] per stream, driven by a thin loop in [`server`]; so every rule of the protocol is
//! tested without a socket.

// What both halves share.
pub mod resource;
// Translation.
pub mod native;
pub mod translate;
pub mod validate;
pub mod readable;
pub mod writers;
pub mod bootstrap;
// Serving, in the order a snapshot passes through.
pub mod shrink;
pub mod view;
pub mod session;
pub mod wire;
pub mod raw;
pub mod server;
// In front of another server.
pub mod relay;
