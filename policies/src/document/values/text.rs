//! Words with a form. Each form is said twice, as a pattern for the schema and as a function for
//! the reader, and a test holds the two together.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

use crate::source::quoted;

/// How a kind of word looks.
struct Form {
    noun: &'static str,
    pattern: &'static str,
    max: usize,
    holds: fn(&str) -> bool,
    mend: &'static str,
}

impl Form {
    fn read<'de, D: Deserializer<'de>>(&self, deserializer: D) -> Result<String, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.chars().count() <= self.max && (self.holds)(&text) {
            return Ok(text);
        }
        Err(D::Error::custom(format!("`{}` is no {}\n{}", quoted(&text), self.noun, self.mend)))
    }

    fn schema(&self) -> Schema {
        json_schema!({"type": "string", "pattern": self.pattern, "maxLength": self.max})
    }
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $form:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            const FORM: Form = $form;

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::FORM.read(deserializer).map(Self)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                Self::FORM.schema()
            }
        }
    };
}

text!(
    /// The name of an object, as Kubernetes allows it.
    Name,
    Form {
        noun: "name",
        pattern: "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
        max: 253,
        holds: |text| is_framed(text, is_lower, |c| is_lower(c) || matches!(c, '.' | '-')),
        mend: "use lower-case letters, digits, `-` and `.`, as checkout-v2",
    }
);
text!(
    /// One part of a name.
    Label,
    Form {
        noun: "name",
        pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        max: 63,
        holds: |text| is_framed(text, is_lower, |c| is_lower(c) || c == '-'),
        mend: "use up to 63 lower-case letters, digits and `-`, as shop-eu",
    }
);
text!(
    /// The key of a label, as topology.kubernetes.io/zone.
    LabelKey,
    Form {
        noun: "label key",
        pattern: "^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$",
        max: 317,
        holds: |text| {
            let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-');
            is_framed(text, |c| c.is_ascii_alphanumeric(), inner)
        },
        mend: "write it as topology.kubernetes.io/zone",
    }
);
text!(
    /// The name of a service; also of an Envoy cluster, which may hold nearly anything.
    TargetName,
    Form {
        noun: "service name",
        pattern: "^[!-.0-~]+$",
        max: 253,
        holds: |text| is_framed(text, is_sign, is_sign),
        mend: "use up to 253 letters, digits and signs, no spaces and no `/`",
    }
);
text!(
    /// A moment as Kubernetes writes it.
    Timestamp,
    Form {
        noun: "moment",
        pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        max: 20,
        holds: is_timestamp,
        mend: "write it as 2026-11-24T07:00:00Z",
    }
);
text!(
    /// A currency's three letters.
    Currency,
    Form {
        noun: "currency",
        pattern: "^[A-Z]{3}$",
        max: 3,
        holds: |text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()),
        mend: "write three capital letters, as USD",
    }
);
text!(
    /// Some or all places: `*`, `region/*`, `region/zone/*`, `region/zone/sub-zone`.
    LocalityPattern,
    Form {
        noun: "place",
        pattern: "^(\\*|[^/*]+(/[^/*]+){0,2}(/\\*)?)$",
        max: 256,
        holds: is_locality_pattern,
        mend: "write region/zone/sub-zone, with `*` for the rest, as eu-west-1/eu-west-1a/*",
    }
);
text!(
    /// A query in PromQL.
    Query,
    Form {
        noun: "query",
        pattern: "^[^\\r]+$",
        max: 4096,
        holds: |text| !text.is_empty() && !text.contains('\r'),
        mend: "write a query of up to 4096 characters",
    }
);

/// Whether a text's characters are all `inner`, and its first and last also `edge`.
fn is_framed(text: &str, edge: fn(char) -> bool, inner: fn(char) -> bool) -> bool {
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(inner)
}

fn is_lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_sign(c: char) -> bool {
    c.is_ascii_graphic() && c != '/'
}

fn is_timestamp(text: &str) -> bool {
    text.len() == 20
        && text.bytes().zip(*b"0000-00-00T00:00:00Z").all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            sign => byte == sign,
        })
}

fn is_locality_pattern(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let Some((last, first)) = parts.split_last() else { return false };
    let is_place = |part: &str| !part.is_empty() && !part.contains('*');
    let places = parts.len() - usize::from(*last == "*");
    places <= 3 && first.iter().all(|part| is_place(part)) && (*last == "*" || is_place(last))
}

#[cfg(test)]
mod tests {
    use jsonschema::validator_for;
    use proptest::prelude::*;
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};

    use super::*;

    const FORMS: [Form; 8] = [
        Name::FORM,
        Label::FORM,
        LabelKey::FORM,
        TargetName::FORM,
        Timestamp::FORM,
        Currency::FORM,
        LocalityPattern::FORM,
        Query::FORM,
    ];

    fn reads(form: &Form, text: &str) -> bool {
        let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
        form.read(deserializer).is_ok()
    }

    proptest! {
        #[test]
        fn reader_and_schema_take_the_same_words(
            text in prop_oneof![
                "[a-z0-9./*-]{0,12}", "[!-~ ]{0,12}", "[A-Z]{0,4}", "\\PC{0,6}", "[a-z\r\n]{0,4}",
                "[0-9]{4}-[0-9]{2}-[0-9]{1,2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[Zz]", "a{62,64}", "a{252,254}",
            ]
        ) {
            for form in FORMS {
                let schema = serde_json::to_value(form.schema()).unwrap();
                let validator = validator_for(&schema).unwrap();
                let valid = validator.is_valid(&serde_json::Value::from(text.as_str()));
                prop_assert_eq!(valid, reads(&form, &text), "{} {:?}", form.noun, &text);
            }
        }
    }
}
