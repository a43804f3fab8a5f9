//! Finds a type's layout by letting it read itself: whatever it asks for next is there.
//!
//! A type asks for one variant of an enumeration at a time, so it reads itself again and again
//! until none is left.

use core::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::{DEPTH_MAX, Shape};

/// More rounds than this are a type without an end.
const ROUNDS_MAX: usize = 10_000;

/// A text that every type takes which reads itself from text.
const TEXT: &str = "a/b";

/// Why a type has no layout.
#[derive(Debug)]
pub(super) struct Untraceable(String);

pub(super) fn shape<T: DeserializeOwned>() -> Result<Shape, Untraceable> {
    let mut shape = Shape::Unknown;
    for _ in 0..ROUNDS_MAX {
        T::deserialize(Walker { shape: &mut shape, depth: 0 })?;
        if shape.is_whole() {
            return Ok(shape);
        }
    }
    Err(Untraceable("it has no end".to_owned()))
}

impl Shape {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all that hold no others are alike")]
    fn is_whole(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::Option(one) | Self::List(one) => one.is_whole(),
            Self::Map(two) => two.0.is_whole() && two.1.is_whole(),
            Self::Tuple(all) => all.iter().all(Self::is_whole),
            Self::Struct(all) | Self::Enum(all) => all.iter().all(|(_, one)| one.is_whole()),
            _ => true,
        }
    }
}

impl fmt::Display for Untraceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Untraceable {}

impl serde::de::Error for Untraceable {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self(words.to_string())
    }
}

struct Walker<'a> {
    shape: &'a mut Shape,
    depth: usize,
}

impl<'a> Walker<'a> {
    fn inner(shape: &mut Shape, depth: usize) -> Result<Walker<'_>, Untraceable> {
        if depth >= DEPTH_MAX {
            return Err(Untraceable("it is too deep".to_owned()));
        }
        Ok(Walker { shape, depth: depth + 1 })
    }

    fn become_if_unknown(self, shape: impl FnOnce() -> Shape) -> (&'a mut Shape, usize) {
        if *self.shape == Shape::Unknown {
            *self.shape = shape();
        }
        (self.shape, self.depth)
    }
}

fn unknown(names: &[&str]) -> Vec<(String, Shape)> {
    names.iter().map(|&name| (name.to_owned(), Shape::Unknown)).collect()
}

fn changed<T>() -> Result<T, Untraceable> {
    Err(Untraceable("it asks for something else each time".to_owned()))
}

macro_rules! plain {
    ($($method:ident $shape:ident $visit:ident $value:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
            *self.shape = Shape::$shape;
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Walker<'_> {
    type Error = Untraceable;

    plain! {
        deserialize_bool Bool visit_bool false;
        deserialize_u8 U8 visit_u8 1;
        deserialize_u16 U16 visit_u16 1;
        deserialize_u32 U32 visit_u32 1;
        deserialize_u64 U64 visit_u64 1;
        deserialize_i8 I8 visit_i8 1;
        deserialize_i16 I16 visit_i16 1;
        deserialize_i32 I32 visit_i32 1;
        deserialize_i64 I64 visit_i64 1;
        deserialize_f32 F32 visit_f32 1.0;
        deserialize_f64 F64 visit_f64 1.0;
        deserialize_char Char visit_char 'a';
        deserialize_str Text visit_str TEXT;
        deserialize_string Text visit_str TEXT;
        deserialize_bytes Bytes visit_bytes &[];
        deserialize_byte_buf Bytes visit_bytes &[];
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
        *self.shape = Shape::Unit;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Untraceable> {
        Err(Untraceable("it takes anything".to_owned()))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
        self.deserialize_any(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
        match self.become_if_unknown(|| Shape::Option(Box::new(Shape::Unknown))) {
            (Shape::Option(one), depth) => visitor.visit_some(Walker::inner(one, depth)?),
            _ => changed(),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
        match self.become_if_unknown(|| Shape::List(Box::new(Shape::Unknown))) {
            (Shape::List(one), depth) => visitor
                .visit_seq(Items { shapes: std::slice::from_mut(&mut **one).iter_mut(), depth }),
            _ => changed(),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        match self.become_if_unknown(|| Shape::Tuple(vec![Shape::Unknown; length])) {
            (Shape::Tuple(all), depth) => {
                visitor.visit_seq(Items { shapes: all.iter_mut(), depth })
            }
            _ => changed(),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
        match self.become_if_unknown(|| Shape::Map(Box::new((Shape::Unknown, Shape::Unknown)))) {
            (Shape::Map(two), depth) => {
                visitor.visit_map(Entry { two: Some(two), value: None, depth })
            }
            _ => changed(),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        match self.become_if_unknown(|| Shape::Struct(unknown(names))) {
            (Shape::Struct(all), depth) => {
                visitor.visit_seq(Items { shapes: all.iter_mut().map(|(_, one)| one), depth })
            }
            _ => changed(),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        match self.become_if_unknown(|| Shape::Enum(unknown(names))) {
            (Shape::Enum(all), depth) => {
                let at = all.iter().position(|(_, one)| !one.is_whole()).unwrap_or(0);
                visitor.visit_enum(Variant { variant: &mut all[at], depth })
            }
            _ => changed(),
        }
    }
}

/// Each shape once.
struct Items<I> {
    shapes: I,
    depth: usize,
}

impl<'a, 'de, I: Iterator<Item = &'a mut Shape>> SeqAccess<'de> for Items<I> {
    type Error = Untraceable;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Untraceable> {
        let Some(shape) = self.shapes.next() else { return Ok(None) };
        seed.deserialize(Walker::inner(shape, self.depth)?).map(Some)
    }
}

/// One key and its value.
struct Entry<'a> {
    two: Option<&'a mut (Shape, Shape)>,
    value: Option<&'a mut Shape>,
    depth: usize,
}

impl<'de> MapAccess<'de> for Entry<'_> {
    type Error = Untraceable;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Untraceable> {
        let Some((key, value)) = self.two.take() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(Walker::inner(key, self.depth)?).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, Untraceable> {
        match self.value.take() {
            Some(value) => seed.deserialize(Walker::inner(value, self.depth)?),
            None => changed(),
        }
    }
}

struct Variant<'a> {
    variant: &'a mut (String, Shape),
    depth: usize,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a> {
    type Error = Untraceable;
    type Variant = Walker<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Walker<'a>), Untraceable> {
        let (name, shape) = self.variant;
        let named = seed.deserialize(StrDeserializer::<Untraceable>::new(name))?;
        Ok((named, Walker::inner(shape, self.depth)?))
    }
}

impl<'de> VariantAccess<'de> for Walker<'_> {
    type Error = Untraceable;

    fn unit_variant(self) -> Result<(), Untraceable> {
        <()>::deserialize(self)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, Untraceable> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.deserialize_struct("", names, visitor)
    }
}
