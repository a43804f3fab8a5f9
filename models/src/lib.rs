//! weir-models
