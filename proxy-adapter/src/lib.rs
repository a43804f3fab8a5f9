//! weir-proxy-adapter
