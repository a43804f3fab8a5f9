//! In front of somebody else's control plane: every byte goes through, and only weights and health
//! change, where Weir has an opinion.
//!
//! Resources of a foreign server have fields that this build does not know, and a decoder drops what it
//! does not know. So nothing is decoded and encoded again: [`fields`] finds the few bytes to replace,
//! and everything around them is copied as it stands. What is not understood is not touched.

// Resources.
mod assignment;
mod clusters;
mod fields;
mod parts;
mod route;
// Messages around them.
pub mod envelope;
pub mod request;
// A stream.
mod decided;
mod opinions;
mod store;
pub mod session;
// Streams on sockets.
pub mod server;
pub mod extension;

pub use assignment::{Floor, Key, Opinion, Stand};
pub use fields::Malformed;
pub use opinions::{DECAY, HELD, Opinions};
pub use parts::Parts;
pub use route::Split;
pub use store::Store;

use bytes::Bytes;

/// What became of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patched {
    /// Nothing to say: the original bytes.
    Same,
    /// Another weight or health somewhere, the rest byte for byte.
    Changed(Bytes),
    /// There was an opinion, and it is not applied.
    Refused(Refusal),
}

impl Patched {
    /// One more change on top of it. What is refused stands only where nothing else changes.
    fn then(self, original: &Bytes, change: impl FnOnce(&Bytes) -> Self) -> Self {
        let so_far = match &self {
            Self::Changed(bytes) => bytes,
            Self::Same | Self::Refused(_) => original,
        };
        match change(so_far) {
            Self::Same => self,
            Self::Refused(_) if self != Self::Same => self,
            other @ (Self::Changed(_) | Self::Refused(_)) => other,
        }
    }
}

/// Why an opinion is not applied: the original bytes are sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The resource is no message of its type.
    #[error("its bytes are not understood: {0}")]
    Malformed(#[from] Malformed),
    /// Too few endpoints of a priority would stay healthy.
    #[error(
        "of priority {priority} {healthy} of {all} endpoints would stay healthy, fewer than the floor"
    )]
    Floor {
        /// Which priority.
        priority: u32,
        /// Healthy ones that would be left.
        healthy: usize,
        /// All of them.
        all: usize,
    },
    /// A destination has no part of its own to be changed: the server does not list it.
    #[error("the server lists no {0}, and nothing is added to its routes")]
    NotListed(String),
    /// Weights would not fit in 32 bits.
    #[error("the weights are together more than 32 bits")]
    TooLarge,
}
