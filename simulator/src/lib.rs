//! A mesh in a box: proxies, backends and faults on virtual time.
//!
//! A discrete-event world, seeded: the same scenario gives the same run to the last request, and
//! two governors of one scenario meet the same arrivals, service draws and injected errors, since
//! each is a function of seed and request number. Proxies act as Envoy does (two choices by least
//! requests within a locality picked by weight, outlier detection, panic), backends have workers
//! and one queue, telemetry is counted per proxy and arrives late. What governs is a function
//! from telemetry to localities with members.

// In the order of the flow.
pub mod scenario;
pub mod world;
pub mod governor;
pub mod score;
pub mod trace;
pub mod twin;
mod telemetry;
mod proxy;
mod pool;
pub mod client;
mod backend;
mod autoscaler;
pub mod balancer;
pub mod rivals;
pub mod draws;
pub mod random;
