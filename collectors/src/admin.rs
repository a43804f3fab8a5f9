//! A proxy's /clusters.
