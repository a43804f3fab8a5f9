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
//! | body | kind of record (1), fields: number and length (varints), bytes |
//!
//! Numbers are little-endian. CRC finds accidents cheaply; only the chain finds intent.
//!
//! # Small, and exact
//!
//! What telemetry tells of an endpoint in a second is some fifteen bytes, which is about what it
//! says: counts are packed to the bits that they need, floating point numbers that are counts or
//! sums of nanoseconds are written as such, what follows from the rest is left out, and what was
//! the same in the frame before is one byte. Whatever does not fit keeps its own bits, so that
//! what is read is what was written, bit for bit. A frame is read with those before it in its
//! segment: a segment is readable by itself, and a torn tail loses its last frame alone. General
//! compressors were the alternative: LZ4 over postcard took five times the room, and an entropy
//! coder's tables cost more than all columns of a small mesh.
//!
//! # Lasting
//!
//! Journals outlive builds. Two rules keep them readable, and neither has to be remembered:
//!
//! - Observations are fields by number. A reader skips what it does not know, and takes the default
//!   for what is not there. A new field of an observation's structures does not compile until it
//!   has a number here; a number never gets a second meaning.
//! - State, decisions, topology and goals are structures whose [`Layout`] a segment holds. A later
//!   build reads them by name: it skips fields that are gone, and takes the default for new ones,
//!   which therefore are `Option`s or have `#[serde(default)]`. Where a new field cannot have one,
//!   the state of older journals is [`Unreadable`]: they are still listed, verified and shown as
//!   far as they say what was decided, but not replayed. `tests/layouts.rs` shows each change.
//!
//! Reading by name makes a state readable, not the judgement of another build the same: a replay
//! by another build may decide otherwise, and says so.
//!
//! Format 1 (LZ4 of postcard, without layouts) is read by the layouts that its last build had.

mod codec;
mod frame;
mod layout;
mod record;
mod v1;

pub use frame::{Damage, HEADER_LEN, Link, Reader, Segment, VERSION, Writer};
pub use layout::{Layout, StateImage, Unreadable};
pub use record::{Pushed, Record, Step, digest};
