//! What telemetry means and what would be best: the reference model.
//!
//! Pure and deterministic: no clock, no randomness, no hash maps, `libm` for every function that
//! the standard library leaves to the platform. What the model remembers is plain data that the
//! engine keeps; [`Reference`](reference::Reference) itself is code and constants.

// In the order of the flow.
pub mod reference;
pub mod series;
pub mod watch;
pub mod canary;
mod errors;
mod tail;
mod service_time;
mod concurrency;
mod persistence;
mod kinds;
mod imbalance;
mod waterfill;
mod overload;
mod weights;
// The mathematics beneath.
mod queue;
mod wilson;
mod middle;
