//! The parts of lists, maps, places and choices, as serde asks for them one after the other.

use serde::de::value::{StrDeserializer, StringDeserializer, U64Deserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::super::refusal::Refusal;
use super::super::tree::{NodeId, Tree};
use super::Cursor;
use crate::problem::Code;
use crate::source::{Span, quoted};

pub(super) struct Items<'t> {
    pub(super) tree: &'t Tree,
    pub(super) items: std::slice::Iter<'t, NodeId>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let Some(item) = self.items.next().copied() else { return Ok(None) };
        let cursor = Cursor { tree: self.tree, at: item };
        seed.deserialize(cursor).map(Some).map_err(|refusal| refusal.or_at(item))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

pub(super) struct Entries<'t> {
    pub(super) tree: &'t Tree,
    pub(super) entries: std::slice::Iter<'t, (NodeId, NodeId)>,
    pub(super) value: Option<NodeId>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let Some((key, value)) = self.entries.next().copied() else { return Ok(None) };
        self.value = Some(value);
        // A key is text, whatever it looks like.
        let text: StrDeserializer<'_, Refusal> = self.tree.text(key).into_deserializer();
        seed.deserialize(text).map(Some).map_err(|refusal| refusal.or_at(key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        let value = self.value.take().ok_or_else(|| de::Error::custom("a value before its key"))?;
        let cursor = Cursor { tree: self.tree, at: value };
        seed.deserialize(cursor).map_err(|refusal: Refusal| refusal.or_at(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A hole that is to be a struct: every field is a hole.
pub(super) struct HoleFields<'t> {
    pub(super) hole: Cursor<'t>,
    pub(super) fields: std::slice::Iter<'static, &'static str>,
}

impl<'de> MapAccess<'de> for HoleFields<'_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let Some(field) = self.fields.next() else { return Ok(None) };
        let text: StrDeserializer<'_, Refusal> = (*field).into_deserializer();
        seed.deserialize(text).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        seed.deserialize(self.hole)
    }
}

/// The parts of an [`at::At`]: start, end, value.
pub(super) struct Placed<'t> {
    pub(super) cursor: Cursor<'t>,
    pub(super) part: u8,
}

impl<'de> SeqAccess<'de> for Placed<'_> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let Cursor { tree, at } = self.cursor;
        let span = if self.cursor.is_hole() { Span::NOWHERE } else { tree.mark(at) };
        let part = self.part;
        self.part = part.saturating_add(1);
        let offset =
            |byte: usize| -> U64Deserializer<Refusal> { (byte as u64).into_deserializer() };
        match part {
            0 => seed.deserialize(offset(span.start)),
            1 => seed.deserialize(offset(span.end)),
            _ => seed.deserialize(self.cursor),
        }
        .map(Some)
        .map_err(|refusal| refusal.or_at(at))
    }
}

/// One of an enum's variants: a word, or a map with one field.
pub(super) struct Choice<'t> {
    pub(super) tree: &'t Tree,
    pub(super) name: &'t str,
    pub(super) key: NodeId,
    pub(super) value: Option<NodeId>,
}

impl<'t, 'de> EnumAccess<'de> for Choice<'t> {
    type Error = Refusal;
    type Variant = Chosen<'t>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Chosen<'t>), Refusal> {
        let name: StringDeserializer<Refusal> = self.name.to_owned().into_deserializer();
        let chosen = seed.deserialize(name).map_err(|refusal: Refusal| refusal.or_at(self.key))?;
        Ok((chosen, Chosen { tree: self.tree, key: self.key, value: self.value }))
    }
}

/// What belongs to a chosen variant.
pub(super) struct Chosen<'t> {
    pub(super) tree: &'t Tree,
    pub(super) key: NodeId,
    pub(super) value: Option<NodeId>,
}

impl<'t> Chosen<'t> {
    fn cursor(&self) -> Result<Cursor<'t>, Refusal> {
        let bare = || {
            let name = quoted(self.tree.text(self.key));
            let mend = format!("write `{name}:` with its fields below");
            Refusal::new(Code::WrongType, format!("`{name}` needs fields"), &mend).or_at(self.key)
        };
        self.value.map(|at| Cursor { tree: self.tree, at }).ok_or_else(bare)
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        match self.value {
            Some(value) if value != self.key => {
                de::Deserialize::deserialize(Cursor { tree: self.tree, at: value })
            }
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refusal> {
        let cursor = self.cursor()?;
        seed.deserialize(cursor).map_err(|refusal| refusal.or_at(cursor.at))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.cursor()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.cursor()?.deserialize_struct("", fields, visitor)
    }
}
