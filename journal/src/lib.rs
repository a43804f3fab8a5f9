//! What was, exactly: the format of Weir's journal. Files are the shell's business.
//!
//! A journal is a chain of segments; a segment is a header and frames. Every frame carries a
//! checksum, so that a torn tail is found and cut, and a link of a SHA-256 chain over everything
//! before it, so that no frame can be changed, left out or put elsewhere unnoticed. A segment
//! begins with the whole state, so that each one replays by itself and old ones may be deleted.
//!
//! | part | bytes |
//! |---|---|
//! | header | `WEIRJRNL`, version (u16), chain link that it continues (16) |
//! | frame | length of the body (u32), CRC-32 of link and body (u32), link (16), body |
//! | body | LZ4 of a postcard-encoded [`Record`] |
//!
//! Numbers are little-endian. CRC finds accidents cheaply; only the chain finds intent.

mod codec;
mod frame;
mod layout;
mod record;
mod v1;

pub use frame::{Damage, HEADER_LEN, Link, Reader, Segment, VERSION, Writer};
pub use layout::{Layout, StateImage, Unreadable};
pub use record::{Record, Step, digest};
