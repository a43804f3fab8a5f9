//! Reads postcard's bytes by the layout that they were written with, field by name.

use core::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::Shape;
use crate::codec::bytes;

/// What does not fit.
#[derive(Debug)]
pub(super) struct Misfit(String);

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misfit {}

impl serde::de::Error for Misfit {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self(words.to_string())
    }
}

pub(super) fn from_bytes<T: DeserializeOwned>(shape: &Shape, bytes: &[u8]) -> Result<T, Misfit> {
    let mut rest = bytes;
    T::deserialize(Value { shape, rest: &mut rest })
}

fn torn() -> Misfit {
    Misfit("its bytes end early or are damaged".to_owned())
}

/// A value of the writer's.
struct Value<'a, 'de> {
    shape: &'a Shape,
    rest: &'a mut &'de [u8],
}

impl<'de> Value<'_, 'de> {
    fn plain<T: Deserialize<'de>>(&mut self) -> Result<T, Misfit> {
        let (value, rest) = postcard::take_from_bytes(self.rest).map_err(|_| torn())?;
        *self.rest = rest;
        Ok(value)
    }

    /// A length, which is never more than bytes are left: nothing listed takes none.
    fn length(&mut self) -> Result<usize, Misfit> {
        let length = bytes::varint(self.rest).and_then(|length| usize::try_from(length).ok());
        length.filter(|&length| length <= self.rest.len()).ok_or_else(torn)
    }
}

impl<'de> Deserializer<'de> for Value<'_, 'de> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Misfit> {
        match self.shape {
            Shape::Unknown => Err(torn()),
            Shape::Unit => visitor.visit_unit(),
            Shape::Bool => visitor.visit_bool(self.plain()?),
            Shape::U8 => visitor.visit_u8(self.plain()?),
            Shape::U16 => visitor.visit_u16(self.plain()?),
            Shape::U32 => visitor.visit_u32(self.plain()?),
            Shape::U64 => visitor.visit_u64(self.plain()?),
            Shape::I8 => visitor.visit_i8(self.plain()?),
            Shape::I16 => visitor.visit_i16(self.plain()?),
            Shape::I32 => visitor.visit_i32(self.plain()?),
            Shape::I64 => visitor.visit_i64(self.plain()?),
            Shape::F32 => visitor.visit_f32(self.plain()?),
            Shape::F64 => visitor.visit_f64(self.plain()?),
            Shape::Char => visitor.visit_char(self.plain()?),
            Shape::Text => visitor.visit_borrowed_str(self.plain()?),
            Shape::Bytes => visitor.visit_borrowed_bytes(self.plain()?),
            Shape::Option(one) => {
                if self.plain()? {
                    visitor.visit_some(Value { shape: one, rest: self.rest })
                } else {
                    visitor.visit_none()
                }
            }
            Shape::List(one) => {
                let left = self.length()?;
                visitor
                    .visit_seq(Items { shapes: std::iter::repeat_n(&**one, left), rest: self.rest })
            }
            Shape::Map(two) => {
                let left = self.length()?;
                let shapes = std::iter::repeat_n([&two.0, &two.1], left).flatten();
                visitor.visit_map(Items { shapes, rest: self.rest })
            }
            Shape::Tuple(all) => visitor.visit_seq(Items { shapes: all.iter(), rest: self.rest }),
            Shape::Struct(all) => {
                visitor.visit_map(Fields { fields: all.iter(), value: None, rest: self.rest })
            }
            Shape::Enum(all) => {
                let at = bytes::varint(self.rest).and_then(|at| usize::try_from(at).ok());
                let variant = at.and_then(|at| all.get(at)).ok_or_else(torn)?;
                visitor.visit_enum(Variant { variant, rest: self.rest })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if matches!(self.shape, Shape::Option(_)) {
            self.deserialize_any(visitor)
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Items<'a, 'de, I> {
    shapes: I,
    rest: &'a mut &'de [u8],
}

impl<'a, 'de, I: Iterator<Item = &'a Shape>> SeqAccess<'de> for Items<'_, 'de, I> {
    type Error = Misfit;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        let Some(shape) = self.shapes.next() else { return Ok(None) };
        seed.deserialize(Value { shape, rest: self.rest }).map(Some)
    }
}

/// Keys and values in turn.
impl<'a, 'de, I: Iterator<Item = &'a Shape>> MapAccess<'de> for Items<'_, 'de, I> {
    type Error = Misfit;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Misfit> {
        self.next_element_seed(seed)?.ok_or_else(torn)
    }
}

struct Fields<'a, 'de, I> {
    fields: I,
    value: Option<&'a Shape>,
    rest: &'a mut &'de [u8],
}

impl<'a, 'de, I: Iterator<Item = &'a (String, Shape)>> MapAccess<'de> for Fields<'a, 'de, I> {
    type Error = Misfit;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        let Some((name, shape)) = self.fields.next() else { return Ok(None) };
        self.value = Some(shape);
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Misfit> {
        let shape = self.value.take().ok_or_else(torn)?;
        seed.deserialize(Value { shape, rest: self.rest })
    }
}

struct Variant<'a, 'de> {
    variant: &'a (String, Shape),
    rest: &'a mut &'de [u8],
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a, 'de> {
    type Error = Misfit;
    type Variant = Value<'a, 'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Value<'a, 'de>), Misfit> {
        let (name, shape) = self.variant;
        let named = seed.deserialize(StrDeserializer::<Misfit>::new(name))?;
        Ok((named, Value { shape, rest: self.rest }))
    }
}

impl<'de> VariantAccess<'de> for Value<'_, 'de> {
    type Error = Misfit;

    fn unit_variant(self) -> Result<(), Misfit> {
        <()>::deserialize(self)
    }

    /// Also what skips a variant of whatever kind.
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Misfit> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_any(visitor)
    }
}
