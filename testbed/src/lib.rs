//! weir-testbed
