//! Weir among others in a cluster: who decides, what is written beside policies, and which rights
//! all of it needs.

pub mod lease;
pub mod leading;
pub mod status;
pub mod events;
pub mod telling;
pub mod saying;
pub mod others;
mod quiet;
pub mod writing;
pub mod finalizing;
pub mod rights;

/// Looks from time to time: after one that took long the next is not sooner.
fn looks(every: std::time::Duration) -> tokio::time::Interval {
    let mut looks = tokio::time::interval(every);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    looks
}
