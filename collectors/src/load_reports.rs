//! Load reports (LRS).
