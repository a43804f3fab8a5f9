//! Asks a Prometheus server.
