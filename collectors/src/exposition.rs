//! Reads Prometheus and OpenMetrics text.
