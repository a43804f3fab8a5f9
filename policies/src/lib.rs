//! weir-policies
