//! What a Kubernetes API server knows of services: one set of watches, shared by all of them.
//!
//! EndpointSlices, Services and Nodes are each listed once and then watched, however many services
//! are governed, and every list goes through the same gate as a file's or a name's
//! ([`endpoints`](crate::endpoints)). What cannot be read, for whatever reason, changes nothing but
//! the status.
//!
//! [`watch`] keeps one kind of object current; [`catalog`] is what all of them say, pure;
//! [`discovery`] joins the two.

pub mod catalog;
pub mod discovery;
pub mod reach;
pub mod trouble;
pub mod watch;

#[cfg(test)]
mod tests;
