//! it

mod xds;
