//! Reads an Envoy's own statistics.
