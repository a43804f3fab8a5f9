//! A scenario on loopback: backends that work as a scenario says, proxies that reach them, and
//! the requests of one run, sent when their time comes.
//!
//! What a scenario is stands elsewhere: whoever plays one brings each request's work and luck
//! ([`Errand`]), and sets how slow and how sick each backend is as time goes by.

mod backend;
mod errand;
mod play;
mod proxies;
mod report;

pub use backend::{Backend, Kind};
pub use errand::Errand;
pub use play::{Listeners, Order, Outcome, Patience, Route, Way, play};
pub use proxies::{Proxies, cluster_name, listener_name};
