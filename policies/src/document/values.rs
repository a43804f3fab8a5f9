//! The values of a policy's fields, each refusing what it cannot be.
//!
//! Bounds are part of the type, so that the reader and the JSON schema cannot differ.

mod numbers;
mod text;
mod time;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

pub use numbers::{Amount, Count, GoalPercent, Percent, Share};
pub use text::{Currency, Label, LabelKey, LocalityPattern, Name, Query, TargetName, Timestamp};
pub(crate) use time::spoken;
pub use time::{Timer, Window};

/// A list of `MIN` to `MAX` things.
#[derive(Clone, Debug, PartialEq)]
pub struct Few<T, const MIN: usize, const MAX: usize>(Vec<T>);

impl<T, const MIN: usize, const MAX: usize> Deref for Few<T, MIN, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>, const MIN: usize, const MAX: usize> Deserialize<'de>
    for Few<T, MIN, MAX>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T, const MIN: usize, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MIN: usize, const MAX: usize> Visitor<'de>
    for FewVisitor<T, MIN, MAX>
{
    type Value = Few<T, MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {MIN} to {MAX}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MAX {
                let text = format!("more than {MAX} entries\nkeep at most {MAX}");
                return Err(A::Error::custom(text));
            }
            list.push(item);
        }
        if list.len() < MIN {
            let text = format!("{} entries\nwrite at least {MIN}", list.len());
            return Err(A::Error::custom(text));
        }
        Ok(Few(list))
    }
}

impl<T: JsonSchema, const MIN: usize, const MAX: usize> JsonSchema for Few<T, MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Few{MIN}To{MAX}{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<T>();
        json_schema!({"type": "array", "items": items, "minItems": MIN, "maxItems": MAX})
    }
}
