//! Segments, frames and the chain that links them.

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::codec::{Decoder, Encoder};
use crate::{Record, v1};

/// The format that this build writes. It reads this one and all before it.
pub const VERSION: u16 = 2;

/// The length of a segment's header.
pub const HEADER_LEN: usize = 26;

const MAGIC: &[u8; 8] = b"WEIRJRNL";

/// Length, checksum and link.
const FRAME_HEAD: usize = 24;

/// No frame is longer: a length beyond it is damage, not data. 100,000 endpoints need about 3 MB.
pub(crate) const FRAME_MAX: usize = 256 << 20;

/// A link of the chain: the first half of SHA-256 over the link before it and a frame's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link(pub [u8; 16]);

impl Link {
    fn next(self, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(body);
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        Self(half)
    }
}

/// What is wrong with a segment, and where.
#[derive(Debug, Error)]
pub enum Damage {
    /// Not a journal.
    #[error("not a journal: the header is missing")]
    Foreign,
    /// Written by a newer build.
    #[error(
        "journal format {found} is newer than this build's {VERSION}: read it with a newer weir"
    )]
    Newer {
        /// The version found.
        found: u16,
    },
    /// The last frame is incomplete: everything before it is whole.
    #[error("the last frame is torn at byte {at}")]
    Torn {
        /// Where the whole part ends.
        at: usize,
    },
    /// A frame's bytes are not those that were written.
    #[error("the frame at byte {at} is damaged: its checksum does not match")]
    Checksum {
        /// Where it begins.
        at: usize,
    },
    /// A frame does not continue the chain: one was changed, left out or put in.
    #[error("the chain is broken at byte {at}: a frame was changed, left out or put in")]
    Chain {
        /// Where the frame begins.
        at: usize,
    },
    /// A frame is whole but its body cannot be read.
    #[error("the frame at byte {at} cannot be read")]
    Body {
        /// Where it begins.
        at: usize,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Damage {
    /// Where the undamaged part ends.
    pub fn whole_until(&self) -> usize {
        match *self {
            Self::Foreign | Self::Newer { .. } => 0,
            Self::Torn { at }
            | Self::Checksum { at }
            | Self::Chain { at }
            | Self::Body { at, .. } => at,
        }
    }
}

/// Makes the bytes of one segment: its header, then all of its frames in the order in which they are
/// made. It holds the chain and what frames refer back to, not the file.
#[derive(Debug)]
pub struct Writer {
    link: Link,
    encoder: Encoder,
}

impl Writer {
    /// Continues a chain; [`Link::default`] begins one.
    pub fn new(link: Link) -> Self {
        Self { link, encoder: Encoder::default() }
    }

    /// The chain's end.
    pub fn link(&self) -> Link {
        self.link
    }

    /// The header of a segment that continues the chain here.
    pub fn header(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.link.0);
        bytes
    }

    /// One record's frame.
    ///
    /// # Panics
    ///
    /// Never: a record is plain data, which postcard always encodes, and far below 4 GiB.
    pub fn frame(&mut self, record: &Record) -> Vec<u8> {
        framed(&mut self.link, &self.encoder.body(record))
    }
}

/// A body as a frame that continues a chain.
pub(crate) fn framed(chain: &mut Link, body: &[u8]) -> Vec<u8> {
    let link = chain.next(body);
    *chain = link;
    let length = u32::try_from(body.len()).expect("a record is far below 4 GiB");
    let mut bytes = Vec::with_capacity(FRAME_HEAD + body.len());
    bytes.extend(length.to_le_bytes());
    bytes.extend(checksum(link, body).to_le_bytes());
    bytes.extend(link.0);
    bytes.extend(body);
    bytes
}

fn checksum(link: Link, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&link.0);
    crc.update(body);
    crc.finalize()
}

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The format.
    pub version: u16,
    /// The link that it continues.
    pub link: Link,
}

/// Reads a segment's records in order; ends at the first damage.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    link: Link,
    ended: bool,
    bodies: Bodies,
}

/// How bodies are read.
#[derive(Debug)]
enum Bodies {
    One,
    Two(Box<Decoder>),
}

impl<'a> Reader<'a> {
    /// Opens a segment.
    pub fn open(bytes: &'a [u8]) -> Result<(Segment, Self), Damage> {
        let header = bytes.get(..HEADER_LEN).ok_or(Damage::Foreign)?;
        let (magic, rest) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(Damage::Foreign);
        }
        let version = u16::from_le_bytes([rest[0], rest[1]]);
        let bodies = match version {
            0 => return Err(Damage::Foreign),
            1 => Bodies::One,
            VERSION => Bodies::Two(Box::default()),
            found => return Err(Damage::Newer { found }),
        };
        let mut link = [0; 16];
        link.copy_from_slice(&rest[2..]);
        let link = Link(link);
        let reader = Self { bytes, at: HEADER_LEN, link, ended: false, bodies };
        Ok((Segment { version, link }, reader))
    }

    /// The chain's link after the last record read.
    pub fn link(&self) -> Link {
        self.link
    }

    fn read(&mut self) -> Result<Record, Damage> {
        let at = self.at;
        let head = self.bytes.get(at..at + FRAME_HEAD).ok_or(Damage::Torn { at })?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let expected = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if length > FRAME_MAX {
            return Err(Damage::Checksum { at });
        }
        let body = self.bytes.get(at + FRAME_HEAD..at + FRAME_HEAD + length);
        let body = body.ok_or(Damage::Torn { at })?;
        let mut link = [0; 16];
        link.copy_from_slice(&head[8..]);
        if checksum(Link(link), body) != expected {
            return Err(Damage::Checksum { at });
        }
        if self.link.next(body).0 != link {
            return Err(Damage::Chain { at });
        }
        let record = match &mut self.bodies {
            Bodies::One => v1::record(body),
            Bodies::Two(decoder) => decoder.record(body).map_err(Into::into),
        };
        let record = record.map_err(|cause| Damage::Body { at, cause })?;
        self.link = Link(link);
        self.at = at + FRAME_HEAD + length;
        Ok(record)
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Record, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.at == self.bytes.len() {
            return None;
        }
        let record = self.read();
        self.ended = record.is_err();
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Step;
    use proptest::prelude::*;
    use weir_engine::observation::Observation;
    use weir_engine::units::Moment;

    fn steps(count: u64) -> Vec<Record> {
        (0..count)
            .map(|n| {
                let at = Moment::from_millis(n);
                let observation = Observation { at, ..Observation::default() };
                Record::Step(Box::new(Step {
                    observation,
                    decision: [7; 16],
                    changed: vec![],
                    pushed: vec![],
                }))
            })
            .collect()
    }

    fn segment(records: &[Record]) -> Vec<u8> {
        let mut writer = Writer::new(Link::default());
        let mut bytes = writer.header();
        for record in records {
            bytes.extend(writer.frame(record));
        }
        bytes
    }

    fn read(bytes: &[u8]) -> (Vec<Record>, Option<Damage>) {
        let (_, reader) = Reader::open(bytes).unwrap();
        let mut records = Vec::new();
        for item in reader {
            match item {
                Ok(record) => records.push(record),
                Err(damage) => return (records, Some(damage)),
            }
        }
        (records, None)
    }

    #[test]
    fn what_is_written_is_read() {
        let records = steps(20);
        let (back, damage) = read(&segment(&records));
        assert!(damage.is_none());
        assert_eq!(back, records);
    }

    #[test]
    fn a_left_out_frame_breaks_the_chain() {
        let records = steps(3);
        let mut writer = Writer::new(Link::default());
        let mut bytes = writer.header();
        let frames: Vec<_> = records.iter().map(|record| writer.frame(record)).collect();
        bytes.extend(&frames[0]);
        bytes.extend(&frames[2]);
        let (back, damage) = read(&bytes);
        assert_eq!(back.len(), 1);
        assert!(matches!(damage, Some(Damage::Chain { .. })), "{damage:?}");
    }

    #[test]
    fn a_newer_format_and_a_foreign_file_are_named() {
        let mut bytes = segment(&[]);
        bytes[8] = 9;
        assert!(matches!(Reader::open(&bytes), Err(Damage::Newer { found: 9 })));
        assert!(matches!(Reader::open(b"hello"), Err(Damage::Foreign)));
    }

    proptest! {
        #[test]
        fn a_torn_tail_loses_only_itself(cut in 1_usize..400) {
            let records = steps(12);
            let bytes = segment(&records);
            let cut = cut.min(bytes.len() - HEADER_LEN);
            let (back, damage) = read(&bytes[..bytes.len() - cut]);
            prop_assert_eq!(&back[..], &records[..back.len()]);
            let whole = damage.map_or(bytes.len() - cut, |damage| damage.whole_until());
            prop_assert_eq!(read(&bytes[..whole]).0, back);
        }

        #[test]
        fn any_changed_byte_is_noticed(at in HEADER_LEN..600_usize, flip in 1_u8..) {
            let mut bytes = segment(&steps(10));
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= flip;
            prop_assert!(read(&bytes).1.is_some());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok((_, reader)) = Reader::open(&bytes) {
                let _ = reader.count();
            }
            let mut headed = segment(&[]);
            headed.extend(bytes);
            let _ = read(&headed);
        }
    }
}
