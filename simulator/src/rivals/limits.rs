//! Concurrency limiters: what a proxy asks before it sends a request to an upstream cluster.
//!
//! Both shed load at the caller by the same thought, that latency above its floor means queues.
//! They differ in where the floor comes from: `Gradient2` remembers a long mean, which creeps up
//! in a long overload; `AdaptiveConcurrency` measures it by throttling itself now and then.

mod adaptive;
mod gradient2;

pub use adaptive::AdaptiveConcurrency;
pub use gradient2::Gradient2;

/// A limit on the requests in flight from one proxy to one upstream cluster. Microseconds.
pub trait Limiter {
    /// Whether one more may go while so many are in flight.
    fn admit(&mut self, in_flight: u32, now: u64) -> bool;

    /// One that was admitted ended, when so many were in flight, itself included. Dropped means
    /// a timeout or a refusal under load, not any failure.
    fn ended(&mut self, latency: u64, in_flight: u32, dropped: bool, now: u64);
}
