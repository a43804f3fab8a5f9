//! weir-journal
