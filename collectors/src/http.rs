//! The one HTTP client of sources that Weir asks.
