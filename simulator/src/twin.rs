//! A twin of a recorded service: a world that behaves as the recording did, in which other
//! policies can be tried.
//!
//! Decisions change the world, so a recording alone cannot say what another policy would have come
//! to. A twin is fitted to what was seen of one service, and then governed in closed loop. It
//! knows nothing of the models that judge: what tests a judge must not share its errors. And it is
//! checked before it is believed; see [`check`].

// In the order of the flow.
mod seen;
mod grid;
mod pieces;
mod levels;
mod queue;
mod shape;
mod fit;
mod made;
mod settle;
mod search;
mod govern;
mod tally;
mod doubt;
pub mod check;

pub use doubt::{Doubt, Figure, Off};
pub use fit::{Endpoint, Fit, Found, Guess, REQUESTS_MAX};
pub use govern::{Governed, Plan};
pub use seen::{Ear, Govern, Seen, record};
pub use tally::Tally;

#[cfg(test)]
mod tests;
