//! Discovery of endpoints.
