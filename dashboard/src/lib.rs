//! weir-dashboard
