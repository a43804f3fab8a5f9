//! A protocol buffer as the fields that stand in it, without knowing its message.
//!
//! The wire format by <https://protobuf.dev/programming-guides/encoding>: a tag (number and kind) and
//! a value, one after another. A value that is replaced is written anew with its length, and so is
//! every message around it; all else keeps its bytes, unknown fields and odd encodings included.

use std::ops::Range;

/// Bytes that are no fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end within a field.
    #[error("they end within a field")]
    Short,
    /// A number of more than 64 bits, or a field number of zero.
    #[error("a number is out of range")]
    Number,
    /// A group, which no message of Envoy has, or a kind that does not exist.
    #[error("a field is of no known kind")]
    Kind,
    /// A field is of another kind than its message says.
    #[error("field {0} is of another kind than expected")]
    Other(u32),
    /// A text is no UTF-8.
    #[error("a text is not UTF-8")]
    Text,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A whole number, a flag or a choice.
    Varint(u64),
    /// A message, a text or bytes.
    Bytes(&'a [u8]),
    /// Four or eight bytes, the least significant first.
    Fixed(&'a [u8]),
}

/// One field.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    /// Its number.
    pub(super) number: u32,
    /// Its value.
    pub(super) value: Value<'a>,
    /// Where it stands, tag included.
    pub(super) at: Range<usize>,
}

impl<'a> Field<'a> {
    /// The message or text in it.
    pub(super) fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed(_) => Err(Malformed::Other(self.number)),
        }
    }

    /// The number in it.
    pub(super) fn varint(&self) -> Result<u64, Malformed> {
        match self.value {
            Value::Varint(number) => Ok(number),
            Value::Bytes(_) | Value::Fixed(_) => Err(Malformed::Other(self.number)),
        }
    }

    /// The number with a fraction in it.
    pub(super) fn double(&self) -> Result<f64, Malformed> {
        let other = Malformed::Other(self.number);
        let Value::Fixed(bytes) = self.value else { return Err(other) };
        bytes.try_into().map(f64::from_le_bytes).map_err(|_| other)
    }

    /// The text in it.
    pub(super) fn text(&self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::Text)
    }
}

/// The fields of a message, in the order in which they stand; after a mistake there are no more.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    whole: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn of(whole: &'a [u8]) -> Self {
        Self { whole, at: 0 }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.whole.get(self.at).ok_or(Malformed::Short)?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed::Number);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed::Number)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed::Short)?;
        let end = self.at.checked_add(length).ok_or(Malformed::Short)?;
        let bytes = self.whole.get(self.at..end).ok_or(Malformed::Short)?;
        self.at = end;
        Ok(bytes)
    }

    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let start = self.at;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed::Number)?;
        if number == 0 || number > (1 << 29) - 1 {
            return Err(Malformed::Number);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed(self.take(4)?),
            _ => return Err(Malformed::Kind),
        };
        Ok(Field { number, value, at: start..self.at })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.whole.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.whole.len();
        }
        Some(field)
    }
}

/// The last value of a field, which is the one that counts where there are several.
pub(super) fn last(message: &[u8], number: u32) -> Result<Option<Field<'_>>, Malformed> {
    let mut found = None;
    for field in Fields::of(message) {
        let field = field?;
        if field.number == number {
            found = Some(field);
        }
    }
    Ok(found)
}

/// The text of a field; empty where it is not there.
pub(super) fn text(message: &[u8], number: u32) -> Result<&str, Malformed> {
    last(message, number)?.map_or(Ok(""), |field| field.text())
}

/// The message in a field; empty where it is not there.
pub(super) fn inner(message: &[u8], number: u32) -> Result<&[u8], Malformed> {
    last(message, number)?.map_or(Ok(&message[..0]), |field| field.bytes())
}

/// The number in a wrapper (`google.protobuf.UInt32Value`); one that is not there is none, and an empty
/// wrapper is zero.
pub(super) fn wrapped(message: &[u8], number: u32) -> Result<Option<u64>, Malformed> {
    let Some(wrapper) = last(message, number)? else { return Ok(None) };
    let value = last(wrapper.bytes()?, 1)?;
    value.map_or(Ok(Some(0)), |value| value.varint().map(Some))
}

pub(super) fn put_varint(out: &mut Vec<u8>, number: u64) {
    prost::encoding::encode_varint(number, out);
}

/// A message or text as a field.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A number as a field.
pub(super) fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// A number in a wrapper as a field.
pub(super) fn put_wrapped(out: &mut Vec<u8>, number: u32, value: u64) {
    let mut inner = Vec::new();
    put_number(&mut inner, 1, value);
    put_bytes(out, number, &inner);
}

/// The message with other fields of some numbers: `change` gets each field and writes what stands in
/// its place, if it says so; the others are copied.
pub(super) fn rewritten<E: From<Malformed>>(
    message: &[u8],
    mut change: impl FnMut(&Field<'_>, &mut Vec<u8>) -> Result<bool, E>,
) -> Result<Vec<u8>, E> {
    let mut out = Vec::with_capacity(message.len() + 16);
    for field in Fields::of(message) {
        let field = field?;
        if !change(&field, &mut out)? {
            out.extend_from_slice(&message[field.at.clone()]);
        }
    }
    Ok(out)
}

/// The message with one number in a wrapper instead of whatever it had there.
pub(super) fn with_wrapped(message: &[u8], number: u32, value: u64) -> Result<Vec<u8>, Malformed> {
    let mut out = rewritten(message, |field, _| Ok::<_, Malformed>(field.number == number))?;
    put_wrapped(&mut out, number, value);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_panic_and_whole_messages_are_copied(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let copied = rewritten(&bytes, |_, _| Ok::<_, Malformed>(false));
            match copied {
                Ok(copied) => prop_assert_eq!(copied, bytes),
                Err(_) => prop_assert!(Fields::of(&bytes).any(|field| field.is_err())),
            }
        }

        #[test]
        fn numbers_come_back(number in any::<u64>(), field in 1..(1_u32 << 29)) {
            let mut bytes = Vec::new();
            put_number(&mut bytes, field, number);
            let read = last(&bytes, field).unwrap().unwrap();
            prop_assert_eq!(read.varint(), Ok(number));
            put_wrapped(&mut bytes, field, number);
            prop_assert_eq!(wrapped(&bytes, field), Ok(Some(number)));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (bytes, wrong) in [
            (&[0x08][..], Malformed::Short),
            (&[0x0a, 5, 1], Malformed::Short),
            (&[0x00, 1], Malformed::Number),
            (&[0x0b], Malformed::Kind),
            (&[0xff; 11], Malformed::Number),
        ] {
            let error = Fields::of(bytes).find_map(Result::err);
            assert_eq!(error, Some(wrong), "{bytes:?}");
        }
    }
}
