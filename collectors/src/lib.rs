//! weir-collectors
