//! A tree as any type that serde can read.
//!
//! Says itself what it expected and what stands there, since serde's own texts speak of structs
//! and unit variants to people who wrote YAML.

mod parts;

use serde::de::{Deserializer, Visitor};

use parts::{Choice, Entries, HoleFields, Items, Placed};

use super::at;
use super::refusal::Refusal;
use super::scalar::{self, Scalar};
use super::tree::{Content, NodeId, Tree};
use crate::problem::Code;
use crate::source::quoted;

/// The largest whole number that a 64-bit float holds exactly.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What a hole decodes as where a number or text is wanted.
const HOLE_NUMBER: u8 = 1;
const HOLE_TEXT: &str = "x";

/// A node to be decoded.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'t> {
    tree: &'t Tree,
    at: NodeId,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(tree: &'t Tree, at: NodeId) -> Self {
        Self { tree, at }
    }

    fn content(self) -> &'t Content {
        &self.tree.node(self.at).content
    }

    fn is_hole(self) -> bool {
        matches!(self.content(), Content::Hole)
    }

    fn scalar(self) -> Option<Scalar<'t>> {
        match self.content() {
            Content::Scalar { text, plain: true } => Some(scalar::resolve(text)),
            Content::Scalar { text, plain: false } => Some(Scalar::Text(text)),
            Content::List(_) | Content::Map(_) | Content::Hole => None,
        }
    }

    fn is_blank(self) -> bool {
        self.scalar() == Some(Scalar::Null)
    }

    /// What stands here, in words.
    fn found(self) -> String {
        let word = quoted(self.tree.text(self.at));
        match (self.content(), self.scalar()) {
            (Content::List(_), _) => "a list".to_owned(),
            (Content::Map(_), _) => "a map".to_owned(),
            (_, Some(Scalar::Bool(_))) => format!("`{word}`"),
            (_, Some(Scalar::Whole(_) | Scalar::Fraction(_))) => format!("the number {word}"),
            (_, Some(Scalar::Text(_))) => format!("the text `{word}`"),
            (_, Some(Scalar::Null | Scalar::NotFinite) | None) => "nothing".to_owned(),
        }
    }

    fn mismatch(self, wanted: Wanted) -> Refusal {
        let (code, what) = match self.scalar() {
            Some(Scalar::Null) => (Code::MissingField, "has no value".to_owned()),
            Some(Scalar::NotFinite) => {
                (Code::WrongValue, format!("`{}` is no finite number", self.tree.text(self.at)))
            }
            _ => (Code::WrongType, format!("expected {}, found {}", wanted.name(), self.found())),
        };
        let mend = wanted.mend(self.scalar());
        Refusal::new(code, what, &mend).or_at(self.at)
    }

    fn whole(self, min: i128, max: i128) -> Result<i128, Refusal> {
        if self.is_hole() {
            return Ok(i128::from(HOLE_NUMBER));
        }
        #[expect(clippy::cast_possible_truncation, reason = "bounded by WHOLE_MAX")]
        let number = match self.scalar() {
            Some(Scalar::Whole(number)) => number,
            Some(Scalar::Fraction(number))
                if number.fract().abs() < f64::EPSILON && number.abs() <= WHOLE_MAX =>
            {
                number as i128
            }
            _ => return Err(self.mismatch(Wanted::Whole)),
        };
        if (min..=max).contains(&number) {
            return Ok(number);
        }
        let what = format!("{number} is out of range");
        let mend = format!("write a whole number from {min} to {max}");
        Err(Refusal::new(Code::WrongValue, what, &mend).or_at(self.at))
    }

    fn number(self) -> Result<f64, Refusal> {
        match self.scalar() {
            _ if self.is_hole() => Ok(f64::from(HOLE_NUMBER)),
            Some(Scalar::Whole(number)) => Ok(number as f64),
            Some(Scalar::Fraction(number)) => Ok(number),
            _ => Err(self.mismatch(Wanted::Number)),
        }
    }

    fn word(self) -> Result<&'t str, Refusal> {
        match self.scalar() {
            _ if self.is_hole() => Ok(HOLE_TEXT),
            Some(Scalar::Text(text)) => Ok(text),
            _ => Err(self.mismatch(Wanted::Text)),
        }
    }
}

/// What a type asks for.
#[derive(Clone, Copy)]
enum Wanted {
    Bool,
    Whole,
    Number,
    Text,
    List,
    Map,
    Choice,
}

impl Wanted {
    const fn name(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::Text => "text",
            Self::List => "a list",
            Self::Map => "fields",
            Self::Choice => "a choice",
        }
    }

    fn mend(self, scalar: Option<Scalar<'_>>) -> String {
        match (self, scalar) {
            (_, Some(Scalar::Null)) => "give it a value, or remove the line".to_owned(),
            (Self::Bool, Some(Scalar::Text("yes" | "on" | "Yes" | "On"))) => "write true".into(),
            (Self::Bool, Some(Scalar::Text("no" | "off" | "No" | "Off"))) => "write false".into(),
            (Self::Bool, _) => "write true or false, without quotes".to_owned(),
            (Self::Whole | Self::Number, Some(Scalar::Text(text))) => mend_number(text),
            (Self::Whole, _) => "write a whole number, such as 200".to_owned(),
            (Self::Number, _) => "write a number, such as 99.9".to_owned(),
            (Self::Text, Some(_)) => "put it in quotes if it is meant as text".to_owned(),
            (Self::Text, None) => "write one word or line here".to_owned(),
            (Self::List, _) => "put each entry on a line of its own, after `- `".to_owned(),
            (Self::Map, _) => "write `field: value` lines, indented below".to_owned(),
            (Self::Choice, _) => "write one of the names that are allowed here".to_owned(),
        }
    }
}

fn mend_number(text: &str) -> String {
    let bare = text.trim().trim_end_matches('%').trim_end();
    match scalar::resolve(bare) {
        Scalar::Whole(_) | Scalar::Fraction(_) => format!("write {bare}, without quotes or sign"),
        Scalar::Null | Scalar::Bool(_) | Scalar::NotFinite | Scalar::Text(_) => {
            "write a number, such as 50".to_owned()
        }
    }
}

macro_rules! whole {
    ($($method:ident $visit:ident $kind:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            let number = self.whole(<$kind>::MIN.into(), <$kind>::MAX.into())?;
            visitor.$visit(<$kind>::try_from(number).expect("its range was asked for"))
        }
    )*};
}

macro_rules! text {
    ($($method:ident),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            visitor.visit_str(self.word()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Cursor<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match (self.content(), self.scalar()) {
            (Content::List(_), _) => self.deserialize_seq(visitor),
            (Content::Map(_), _) => self.deserialize_map(visitor),
            (_, Some(Scalar::Bool(value))) => visitor.visit_bool(value),
            (_, Some(Scalar::Whole(number))) => {
                match (u64::try_from(number), i64::try_from(number)) {
                    (Ok(number), _) => visitor.visit_u64(number),
                    (_, Ok(number)) => visitor.visit_i64(number),
                    _ => visitor.visit_f64(number as f64),
                }
            }
            (_, Some(Scalar::Fraction(number))) => visitor.visit_f64(number),
            (_, Some(Scalar::Text(text))) => visitor.visit_str(text),
            (_, Some(Scalar::NotFinite)) => Err(self.mismatch(Wanted::Number)),
            (_, Some(Scalar::Null) | None) => visitor.visit_unit(),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.scalar() {
            _ if self.is_hole() => visitor.visit_bool(false),
            Some(Scalar::Bool(value)) => visitor.visit_bool(value),
            _ => Err(self.mismatch(Wanted::Bool)),
        }
    }

    whole!(
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64
    );

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_f64(self.number()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_f64(self.number()?)
    }

    text!(deserialize_char, deserialize_str, deserialize_string, deserialize_identifier);

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_bytes(self.word()?.as_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_bytes(self.word()?.as_bytes())
    }

    /// A field that may be left out may not be left blank.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if self.is_hole() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if self.is_hole() || self.is_blank() {
            return visitor.visit_unit();
        }
        Err(Refusal::new(
            Code::WrongType,
            format!("expected nothing, found {}", self.found()),
            "remove the value",
        )
        .or_at(self.at))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        if name == at::NAME {
            return visitor.visit_seq(Placed { cursor: self, part: 0 });
        }
        visitor.visit_newtype_struct(self).map_err(|refusal| refusal.or_at(self.at))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let items = match self.content() {
            Content::List(items) => items.as_slice(),
            Content::Hole => &[],
            Content::Scalar { .. } | Content::Map(_) => return Err(self.mismatch(Wanted::List)),
        };
        let items = Items { tree: self.tree, items: items.iter() };
        visitor.visit_seq(items).map_err(|refusal| refusal.or_at(self.at))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let entries = match self.content() {
            Content::Map(entries) => entries.as_slice(),
            Content::Hole => &[],
            Content::Scalar { .. } | Content::List(_) => return Err(self.mismatch(Wanted::Map)),
        };
        let entries = Entries { tree: self.tree, entries: entries.iter(), value: None };
        visitor.visit_map(entries).map_err(|refusal| refusal.or_at(self.at))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        if self.is_hole() {
            let fields = HoleFields { hole: self, fields: fields.iter() };
            return visitor.visit_map(fields).map_err(|refusal| refusal.or_at(self.at));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let choice = self.choice(variants)?;
        visitor.visit_enum(choice).map_err(|refusal| refusal.or_at(self.at))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }
}

impl<'t> Cursor<'t> {
    fn choice(self, variants: &'static [&'static str]) -> Result<Choice<'t>, Refusal> {
        let Self { tree, at } = self;
        match (self.content(), self.scalar()) {
            (Content::Hole, _) => {
                let name = variants.first().copied().unwrap_or_default();
                Ok(Choice { tree, name, key: at, value: Some(at) })
            }
            (Content::Map(entries), _) => {
                let [(key, value)] = entries.as_slice() else {
                    let what = format!("expected one choice, found {} fields", entries.len());
                    let mend = format!("keep one of `{}`", variants.join("`, `"));
                    return Err(Refusal::new(Code::WrongType, what, &mend).or_at(at));
                };
                Ok(Choice { tree, name: tree.text(*key), key: *key, value: Some(*value) })
            }
            (_, Some(Scalar::Text(name))) => Ok(Choice { tree, name, key: at, value: None }),
            _ => Err(self.no_choice(variants)),
        }
    }

    fn no_choice(self, variants: &[&str]) -> Refusal {
        let mut refusal = self.mismatch(Wanted::Choice);
        if let super::refusal::Why::Other { code: Code::WrongType, mend, .. } = &mut refusal.why {
            *mend = format!("write one of `{}`", variants.join("`, `"));
        }
        refusal
    }
}
