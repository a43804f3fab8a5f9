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
