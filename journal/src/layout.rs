//! How a structure is laid out in bytes: what lets a later build read what an earlier one wrote.
//!
//! Postcard writes values one after another without saying what they are, so a field more or less
//! makes nonsense of everything behind it. A segment therefore holds the layouts of what it holds:
//! names and types of fields, found by walking the types themselves ([`Layout::of`]), so that
//! none can be forgotten. A reader whose structures are laid out alike reads the bytes directly;
//! any other reads them by the writer's layout and matches fields by name, as Avro does: unknown
//! ones are skipped, and missing ones take their default where the structure has one
//! (`#[serde(default)]`, or an `Option`). Without one it says so rather than guess.
//!
//! A self-describing format would do without layouts, but says every name with every value, and
//! those that are small enough do not keep the bits of every floating point number.

use core::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::codec::bytes;

mod read;
mod trace;

/// No layout is deeper: a file that claims it is damaged.
const DEPTH_MAX: usize = 64;

/// A structure's layout.
#[derive(Clone, PartialEq, Eq)]
pub struct Layout(Arc<[u8]>);

/// Why bytes cannot be read as a structure of this build.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "it was written with layout {written}, this build's is {own}, and the one cannot be read as the \
     other: {cause}; use the build that wrote it, which the segment names"
)]
pub struct Unreadable {
    /// The writer's layout.
    pub written: Layout,
    /// This build's.
    pub own: Layout,
    /// What does not fit.
    pub cause: String,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// Not walked yet.
    Unknown,
    Unit,
    Bool,
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
    Char,
    Text,
    Bytes,
    Option(Box<Shape>),
    List(Box<Shape>),
    Map(Box<(Shape, Shape)>),
    Tuple(Vec<Shape>),
    Struct(Vec<(String, Shape)>),
    Enum(Vec<(String, Shape)>),
}

/// Those that hold no others, by number.
const PLAIN: [Shape; 16] = [
    Shape::Unknown,
    Shape::Unit,
    Shape::Bool,
    Shape::U8,
    Shape::U16,
    Shape::U32,
    Shape::U64,
    Shape::I8,
    Shape::I16,
    Shape::I32,
    Shape::I64,
    Shape::F32,
    Shape::F64,
    Shape::Char,
    Shape::Text,
    Shape::Bytes,
];

impl Layout {
    /// The layout of a type.
    ///
    /// # Panics
    ///
    /// Of a type that has no layout: one that reads itself differently from what it finds
    /// (`#[serde(untagged)]`, `#[serde(flatten)]`).
    pub fn of<T: DeserializeOwned>() -> Self {
        let shape = trace::shape::<T>().expect("types in a journal have one layout each");
        let mut out = Vec::new();
        shape.write(&mut out);
        Self(out.into())
    }

    /// A layout as it stands in a file.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// As it stands in a file.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads bytes of this layout as a structure, whose own layout is `own`.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        own: &Self,
        bytes: &[u8],
    ) -> Result<T, Unreadable> {
        let read = if self == own {
            postcard::from_bytes(bytes).map_err(|cause| cause.to_string())
        } else {
            self.shape().ok_or_else(|| "its layout is damaged".to_owned()).and_then(|shape| {
                read::from_bytes(&shape, bytes).map_err(|cause| cause.to_string())
            })
        };
        read.map_err(|cause| Unreadable { written: self.clone(), own: own.clone(), cause })
    }

    fn shape(&self) -> Option<Shape> {
        Shape::read(&mut &self.0[..], 0)
    }
}

/// A short name: layouts that differ have different ones.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", crc32fast::hash(&self.0))
    }
}

/// All fields, a line each.
impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shape() {
            Some(shape) => shape.tell(f, 0),
            None => f.write_str("damaged"),
        }
    }
}

impl Shape {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all that hold no others are alike")]
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Option(one) => {
                out.push(16);
                one.write(out);
            }
            Self::List(one) => {
                out.push(17);
                one.write(out);
            }
            Self::Map(two) => {
                out.push(18);
                two.0.write(out);
                two.1.write(out);
            }
            Self::Tuple(all) => {
                out.push(19);
                bytes::put(out, all.len() as u64);
                for one in all {
                    one.write(out);
                }
            }
            Self::Struct(all) | Self::Enum(all) => {
                out.push(if matches!(self, Self::Struct(_)) { 20 } else { 21 });
                bytes::put(out, all.len() as u64);
                for (name, one) in all {
                    bytes::put_sized(out, name.as_bytes());
                    one.write(out);
                }
            }
            plain => out
                .extend((0..).zip(&PLAIN).find(|(_, one)| *one == plain).map(|(n, _): (u8, _)| n)),
        }
    }

    fn read(rest: &mut &[u8], depth: usize) -> Option<Self> {
        let (depth, kind) = (depth + 1, bytes::byte(rest)?);
        if depth > DEPTH_MAX {
            return None;
        }
        let one = |rest: &mut &[u8]| Self::read(rest, depth);
        Some(match kind {
            16 => Self::Option(Box::new(one(rest)?)),
            17 => Self::List(Box::new(one(rest)?)),
            18 => Self::Map(Box::new((one(rest)?, one(rest)?))),
            19 => {
                let count = bytes::varint(rest)?;
                Self::Tuple((0..count).map(|_| one(rest)).collect::<Option<_>>()?)
            }
            20 | 21 => {
                let count = bytes::varint(rest)?;
                let mut named = || {
                    let name = std::str::from_utf8(bytes::sized(rest)?).ok()?.to_owned();
                    Some((name, one(rest)?))
                };
                let all = (0..count).map(|_| named()).collect::<Option<_>>()?;
                if kind == 20 { Self::Struct(all) } else { Self::Enum(all) }
            }
            plain => PLAIN.get(usize::from(plain))?.clone(),
        })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all that hold no others are alike")]
    fn tell(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, word: &str, all: &[(String, Self)]| {
            f.write_str(word)?;
            for (name, one) in all {
                write!(f, "\n{:1$}{name}: ", "", indent + 2)?;
                one.tell(f, indent + 2)?;
            }
            Ok(())
        };
        match self {
            Self::Option(one) => {
                f.write_str("optional ")?;
                one.tell(f, indent)
            }
            Self::List(one) => {
                f.write_str("list of ")?;
                one.tell(f, indent)
            }
            Self::Map(two) => {
                f.write_str("map of ")?;
                two.0.tell(f, indent)?;
                f.write_str(" to ")?;
                two.1.tell(f, indent)
            }
            Self::Tuple(all) => {
                f.write_str("(")?;
                for one in all {
                    one.tell(f, indent)?;
                    f.write_str(", ")?;
                }
                f.write_str(")")
            }
            Self::Struct(all) => list(f, "all of", all),
            Self::Enum(all) => list(f, "one of", all),
            plain => write!(f, "{plain:?}"),
        }
    }
}

/// A value with its layout: the engine's state, whose type the journal does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct StateImage {
    layout: Layout,
    bytes: Vec<u8>,
}

impl StateImage {
    /// Of a value.
    ///
    /// # Panics
    ///
    /// Never: a state is plain data, which postcard always encodes.
    pub fn of<T: Serialize + DeserializeOwned>(value: &T) -> Self {
        let bytes = postcard::to_allocvec(value).expect("a state is plain data");
        Self { layout: Layout::of::<T>(), bytes }
    }

    /// The value again. Where this build's structure is another one than the writer's, fields are
    /// matched by name; where that fails, the segment can be read but not replayed.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Unreadable> {
        self.layout.read(&Layout::of::<T>(), &self.bytes)
    }

    /// How the value is laid out.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The value's bytes, in that layout.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn new(layout: Layout, bytes: Vec<u8>) -> Self {
        Self { layout, bytes }
    }
}

#[cfg(test)]
mod tests;
