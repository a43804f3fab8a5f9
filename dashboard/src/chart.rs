//! Pictures of the last minutes, made here: SVG for shapes and text, PNG for many small cells.
//!
//! A heat map of 2,000 endpoints by 300 columns is 600,000 rectangles as SVG, seconds of a
//! browser's time; as an indexed PNG it is some kilobytes and no time at all. Everything else is
//! SVG without a style attribute, so that the page's policy can forbid inline styles.

/// Adds formatted text to a string.
macro_rules! put {
    ($to:expr, $($text:tt)*) => {
        $to.push_str(&format!($($text)*))
    };
}

pub(crate) mod heat;
pub(crate) mod service;
pub(crate) mod small;

/// Text inside SVG or HTML: the characters that mean something there are escaped.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
