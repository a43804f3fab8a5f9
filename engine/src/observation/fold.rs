//! Pools reports over clients.

use alloc::vec::Vec;

use super::{Report, ServiceTraffic};
use crate::topology::Topology;

/// Pools reports into one row per service and endpoint.
pub fn fold(_reports: &[Report], _topology: &Topology) -> Vec<ServiceTraffic> {
    Vec::new()
}
