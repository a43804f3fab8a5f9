//! Counters become deltas here.
