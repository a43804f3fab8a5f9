//! Reading and writing Envoy's own files without changing what they say.
//!
//! Envoy does not read YAML as other programs do: a plain `n` is a boolean, `010` is eight, and
//! `1.10` stays the text that it is. A reader of YAML 1.2 would make 1.1 of the last, and so lose
//! a version number in somebody's metadata. So plain scalars are resolved here as Envoy 1.40
//! resolves them (tried, scalar by scalar), from their text in the file, and every string is
//! written in quotes.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::options::{MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned};

use super::Problem;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// YAML.
    Yaml,
    /// JSON: Envoy reads numbers there as numbers, so JSON stays JSON.
    Json,
}

/// Larger files are refused before they are read: the largest bootstraps in use (thousands of
/// static clusters with certificates) stay below a tenth of this.
const FILE_BYTES_MAX: usize = 64 << 20;

/// Reads a file's content as Envoy would.
pub(super) fn parse(text: &str) -> Result<(Value, Format), Problem> {
    let problem = |what: String, mend: &str| Problem::new("", what, mend);
    if text.len() > FILE_BYTES_MAX {
        let what = format!("{} bytes are more than {FILE_BYTES_MAX}", text.len());
        return Err(problem(what, "give the bootstrap only"));
    }
    let (value, format) = match serde_json::from_str(text) {
        Ok(value) => (value, Format::Json),
        Err(_) => (yaml(text)?, Format::Yaml),
    };
    match value {
        Value::Object(_) => Ok((value, format)),
        Value::Null => Ok((Value::Object(Map::new()), format)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(problem("no mapping at the top".to_owned(), "an envoy bootstrap is a mapping"))
        }
    }
}

/// Writes a value so that Envoy reads the same: strings in quotes, all else plain.
pub(super) fn print(value: &Value, format: Format) -> String {
    match format {
        Format::Json => format!("{value:#}\n"),
        Format::Yaml => serde_saphyr::to_string_with_options(
            value,
            serde_saphyr::ser_options! {
                quote_all: true,
            },
        )
        .expect("a JSON value has string keys and finite numbers only, which YAML can write"),
    }
}

fn yaml(text: &str) -> Result<Value, Problem> {
    let options = serde_saphyr::options! {
        // Envoy knows no merge keys either: what it would refuse is left for it to refuse.
        merge_keys: MergeKeyPolicy::AsOrdinary,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let node: Spanned<Node> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Problem::new("", error.render(), "mend the file's YAML"))?;
    Ok(node.value.resolve(text, node.defined))
}

/// A node as the file has it.
enum Node {
    /// A scalar that the reader takes for text.
    Text(String),
    /// A scalar that the reader takes for something else: its text decides.
    Plain,
    Sequence(Vec<Spanned<Node>>),
    Mapping(Vec<(String, Spanned<Node>)>),
}

impl Node {
    fn resolve(self, source: &str, at: Location) -> Value {
        let inner = |node: Spanned<Self>| node.value.resolve(source, node.defined);
        match self {
            Self::Text(text) => Value::String(text),
            Self::Plain => plain(spanned(source, at)),
            Self::Sequence(nodes) => nodes.into_iter().map(inner).collect(),
            Self::Mapping(nodes) => {
                nodes.into_iter().map(|(key, node)| (key, inner(node))).collect()
            }
        }
    }
}

/// The text at a location; empty where nothing is written (which is a null).
fn spanned(source: &str, at: Location) -> &str {
    let range = at.span().byte_offset().zip(at.span().byte_len());
    let range = range.and_then(|(start, len)| {
        let start = usize::try_from(start).ok()?;
        Some(start..start.checked_add(usize::try_from(len).ok()?)?)
    });
    range.and_then(|range| source.get(range)).unwrap_or("").trim()
}

/// A plain scalar as Envoy 1.40 takes it.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        _ => match (boolean(text), integer(text)) {
            (Some(value), _) => Value::Bool(value),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::String(text.to_owned()),
        },
    }
}

/// In lower case, in upper case or capitalised, but in no other mixture.
fn boolean(text: &str) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    let tail = text.get(1..)?;
    let all_upper = text.chars().all(|c| c.is_ascii_uppercase());
    let rest_lower = tail.chars().all(|c| c.is_ascii_lowercase());
    if !all_upper && !rest_lower {
        return None;
    }
    match &*lower {
        "y" | "yes" | "true" | "on" => Some(true),
        "n" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// A number as C reads it: `0x` hexadecimal, a leading `0` octal.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    let unsigned = digits.chars().all(|digit| digit.is_digit(radix));
    if unsigned { i64::from_str_radix(&format!("{sign}{digits}"), radix).ok() } else { None }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = access.next_element()? {
            nodes.push(node);
        }
        Ok(Node::Sequence(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(entry) = access.next_entry()? {
            nodes.push(entry);
        }
        Ok(Node::Mapping(nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Reads `key: TEXT` and expects this value of it.
    #[track_caller]
    fn check(text: &str, expected: &Value) {
        let (value, format) = parse(&format!("key: {text}\n")).unwrap();
        assert_eq!((&value["key"], format), (expected, Format::Yaml), "{text}");
        let printed = print(&value, Format::Yaml);
        assert_eq!(parse(&printed).unwrap().0, value, "printed as {printed}");
    }

    /// What Envoy 1.40 made of the same text in its own bootstrap.
    #[test]
    fn reads_scalars_as_envoy_does() {
        for (text, number) in [("010", 8), ("0x1F", 31), ("+5", 5), ("-017", -15), ("-0", 0)] {
            check(text, &json!(number));
        }
        check("12345678901", &json!(12_345_678_901_i64));
        for (text, value) in [("n", false), ("y", true), ("TRUE", true), ("Off", false)] {
            check(text, &json!(value));
        }
        for text in ["1.10", "0o17", "1e3", "1_000", "yEs", "tRUE", "08", ".5", ".nan", "5.0"] {
            check(text, &json!(text));
        }
        for text in ["18446744073709551615", "123456789012345678901234567890", "0b11", "2020-01-01"]
        {
            check(text, &json!(text));
        }
        for text in ["~", "", "null", "NULL"] {
            check(text, &Value::Null);
        }
    }

    #[test]
    fn quoted_text_is_text() {
        for text in ["n", "010", "1.10", "~", "", "null"] {
            check(&format!("\"{text}\""), &json!(text));
            check(&format!("'{text}'"), &json!(text));
        }
        check("|\n  one\n  two\n", &json!("one\ntwo\n"));
        check("\"1\\u00e9\\n2\"", &json!("1é\n2"));
    }

    #[test]
    fn follows_aliases_to_the_text_that_they_name() {
        let (value, _) = parse("a: &x 1.10\nb: *x\nc: [*x, &y off, *y]\n").unwrap();
        assert_eq!(value, json!({"a": "1.10", "b": "1.10", "c": ["1.10", false, false]}));
    }

    #[test]
    fn keys_stay_as_they_are_written() {
        let (value, _) = parse("{on: 1, 1.10: 2, <<: {a: 3}}").unwrap();
        assert_eq!(value, json!({"on": 1, "1.10": 2, "<<": {"a": 3}}));
    }

    #[test]
    fn json_stays_json() {
        let text = "{\n  \"a\": 0.1,\n  \"b\": 18446744073709551615\n}\n";
        let (value, format) = parse(text).unwrap();
        assert_eq!((format, &*print(&value, format)), (Format::Json, text));
    }

    #[test]
    fn says_where_a_file_is_broken() {
        for (text, part) in [
            ("a: [1", "line 1"),
            ("a: 1\na: 2\n", "duplicate"),
            ("a: !secret b\n", "tag"),
            ("- a\n", "mapping"),
        ] {
            let problem = parse(text).unwrap_err().to_string();
            assert!(problem.contains(part), "{text}: {problem}");
        }
        assert_eq!(parse("# nothing yet\n").unwrap().0, json!({}));
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["\\PC{0,20}", "[ -~\n\t]{0,90}", "(y|n|on|~|0x1|1e3|0[0-9]*)"];
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        scalar.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec(("\\PC{0,12}", inner), 0..6)
                    .prop_map(|entries| entries.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_the_same(inner in value()) {
            let value = json!({ "key": inner });
            prop_assert_eq!(yaml(&print(&value, Format::Yaml)).unwrap(), value.clone());
            prop_assert_eq!(parse(&print(&value, Format::Json)).unwrap().0, value);
        }
    }
}
