//! Access log entries (ALS).
