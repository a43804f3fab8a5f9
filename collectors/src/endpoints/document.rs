//! The file that lists a service's endpoints, in YAML or JSON:
//!
//! ```yaml
//! endpoints:
//!   - 10.0.0.1:8080
//!   - "[fd00::1]:8080"
//!   - address: 10.0.0.2:8080
//!     locality: {region: eu, zone: eu-1, sub_zone: rack-4}
//!     concurrency: 8
//!     ready: false
//! ```
//!
//! Addresses are IP addresses with ports, as proxies report them; all else is optional.
//! `concurrency` is how many requests an endpoint works on at once, `ready: false` keeps it known
//! but without traffic. Unknown fields are errors, and all wrong addresses are named at once.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use weir_engine::names::Locality;
use weir_engine::topology::Endpoint;

use super::{AddressError, ENDPOINTS_MAX, address};

/// Largest file: 10,000 endpoints with everything said of them, in the wordiest layout, take
/// 2 MB.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// Nodes in a document: an endpoint with everything said of it is 16 (itself, 4 keys, 3 values, a
/// locality and its 6 keys and values, and one to spare), and there may be 10,000.
const NODES_MAX: usize = 16 * ENDPOINTS_MAX;

/// Nesting: document, list, endpoint and locality need 4.
const DEPTH_MAX: usize = 16;

/// Problems that one error names.
const PROBLEMS_SHOWN: usize = 5;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is larger than any list of endpoints.
    #[error("{0} bytes; at most {FILE_BYTES_MAX} are read")]
    TooLarge(usize),
    /// It is no text.
    #[error("not UTF-8; save the file as UTF-8")]
    NotText(#[source] std::str::Utf8Error),
    /// It is empty: an accident, more likely than a service without endpoints.
    #[error("the file is empty; a service without endpoints is written `endpoints: []`")]
    Empty,
    /// It is no document of the expected form.
    #[error("{0}")]
    Syntax(String),
    /// It lists more endpoints than a service may have.
    #[error("{0} endpoints; at most {ENDPOINTS_MAX} are served")]
    TooMany(usize),
    /// Entries that are no endpoints.
    #[error("{}", listed(.0))]
    Entries(Vec<EntryError>),
}

/// An entry that is no endpoint.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, column {column}: {error}")]
pub struct EntryError {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// What is wrong.
    #[source]
    pub error: AddressError,
}

fn listed(errors: &[EntryError]) -> String {
    let mut text: Vec<String> =
        errors.iter().take(PROBLEMS_SHOWN).map(ToString::to_string).collect();
    if errors.len() > PROBLEMS_SHOWN {
        text.push(format!("and {} more", errors.len() - PROBLEMS_SHOWN));
    }
    text.join("; ")
}

/// Reads a file's bytes. Endpoints come in the file's order; duplicates are still in.
pub fn parse(bytes: &[u8]) -> Result<Vec<Endpoint>, DocumentError> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(DocumentError::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(DocumentError::NotText)?;
    if text.trim().is_empty() {
        return Err(DocumentError::Empty);
    }
    let document: Document = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| DocumentError::Syntax(syntax(&error)))?;
    if document.endpoints.len() > ENDPOINTS_MAX {
        return Err(DocumentError::TooMany(document.endpoints.len()));
    }
    let mut endpoints = Vec::with_capacity(document.endpoints.len());
    let mut errors = Vec::new();
    for entry in document.endpoints {
        let (text, place) = entry.value.address(entry.referenced);
        match address(text) {
            Ok(address) => endpoints.push(entry.value.endpoint(address)),
            Err(error) => {
                errors.push(EntryError { line: place.line(), column: place.column(), error });
            }
        }
    }
    if errors.is_empty() { Ok(endpoints) } else { Err(DocumentError::Entries(errors)) }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_events: 2 * NODES_MAX,
            max_depth: DEPTH_MAX,
            max_documents: 1,
            max_aliases: 0,
            max_anchors: 0,
            flow_nesting_limit: DEPTH_MAX,
            max_total_scalar_bytes: FILE_BYTES_MAX,
        },
    }
}

fn syntax(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    match error.location() {
        Some(location) if !text.contains("line ") => {
            format!("line {}, column {}: {text}", location.line(), location.column())
        }
        _ => text,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    endpoints: Vec<Spanned<Entry>>,
}

/// An address alone, or with what is known of its endpoint.
enum Entry {
    Plain(String),
    Full(Full),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Full {
    address: Spanned<String>,
    #[serde(default)]
    locality: Where,
    concurrency: Option<NonZeroU32>,
    #[serde(default = "yes")]
    ready: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Where {
    region: String,
    zone: String,
    sub_zone: String,
}

fn yes() -> bool {
    true
}

impl Entry {
    /// The address's text and where it stands.
    fn address(&self, entry: Location) -> (&str, Location) {
        match self {
            Self::Plain(text) => (text, entry),
            Self::Full(full) => (&full.address.value, full.address.referenced),
        }
    }

    fn endpoint(&self, address: SocketAddr) -> Endpoint {
        let plain = super::plain(address);
        match self {
            Self::Plain(_) => plain,
            Self::Full(full) => Endpoint {
                locality: Locality {
                    region: full.locality.region.as_str().into(),
                    zone: full.locality.zone.as_str().into(),
                    sub_zone: full.locality.sub_zone.as_str().into(),
                },
                concurrency: full.concurrency,
                ready: full.ready,
                ..plain
            },
        }
    }
}

/// Written by hand because a derived untagged enum forgets where its parts stand.
impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address like 10.0.0.1:8080, or {address: 10.0.0.1:8080, ...}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
                Ok(Entry::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                Full::deserialize(de::value::MapAccessDeserializer::new(map)).map(Entry::Full)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a document as `address region/zone/sub_zone concurrency ready`.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let endpoints = parse(text.as_bytes()).expect("the document is right");
        let read: Vec<String> = endpoints
            .iter()
            .map(|e| {
                let concurrency = e.concurrency.map_or(0, NonZeroU32::get);
                format!("{} {} {concurrency} {}", e.address, e.locality, e.ready)
            })
            .collect();
        assert_eq!(read, expected);
    }

    #[track_caller]
    fn check_error(text: &str, expected: &[&str]) {
        let error = parse(text.as_bytes()).expect_err("the document is wrong").to_string();
        for words in expected {
            assert!(error.contains(words), "{error:?} lacks {words:?}");
        }
        assert!(!error.contains('\n'), "{error:?} has several lines");
    }

    #[test]
    fn yaml_lists_addresses_and_what_is_known_of_them() {
        check("endpoints: [10.0.0.1:8080]", &["10.0.0.1:8080 // 0 true"]);
        check(
            "endpoints:\n- 10.0.0.1:8080\n- '[fd00:0::1]:80'\n- address: 10.0.0.2:80\n  locality: \
             {region: eu, zone: eu-1, sub_zone: r4}\n  concurrency: 8\n  ready: false\n",
            &[
                "10.0.0.1:8080 // 0 true",
                "[fd00::1]:80 // 0 true",
                "10.0.0.2:80 eu/eu-1/r4 8 false",
            ],
        );
        check("endpoints: []", &[]);
    }

    #[test]
    fn json_reads_the_same() {
        check(
            "{\n\t\"endpoints\": [\n\t\t\"10.0.0.1:80\",\n\t\t{\"address\": \"10.0.0.2:80\", \"locality\": \
             {\"zone\": \"a\"}, \"concurrency\": 4, \"ready\": true}\n\t]\n}\n",
            &["10.0.0.1:80 // 0 true", "10.0.0.2:80 /a/ 4 true"],
        );
    }

    #[test]
    fn wrong_addresses_are_all_named_where_they_stand() {
        check_error(
            "endpoints:\n- shop.local:80\n- 10.0.0.1:80\n- address: 10.0.0.2\n  ready: true\n- 10.0.0.3:0\n",
            &["line 2, column 3", "shop.local:80", "line 4, column 12", "line 6, column 3"],
        );
        let many = "endpoints:\n".to_owned() + &"- x\n".repeat(9);
        check_error(&many, &["line 6, column 3", "and 4 more"]);
    }

    #[test]
    fn what_is_no_such_document_is_named_where_it_stands() {
        check_error("endpoints:\n- address: 10.0.0.1:80\n  redy: true\n", &["line 3", "redy"]);
        check_error("endpoints:\n- address: 10.0.0.1:80\n  concurrency: 0\n", &["line 3"]);
        check_error("endpoints:\n- 8080\n", &["line 2", "10.0.0.1:8080"]);
        check_error("endpoints:\n- {ready: true}\n", &["line 2", "address"]);
        check_error("endpoints:\n- [fd00::1]:80\n", &["line 2"]);
        check_error("servers: []\n", &["line 1", "servers"]);
        check_error("", &["endpoints"]);
        check_error("endpoints: [10.0.0.1:80\n", &["line"]);
        check_error("endpoints: []\n---\nendpoints: []\n", &["document"]);
    }

    #[test]
    fn bombs_are_refused() {
        check_error("a: &a 10.0.0.1:80\nendpoints: [*a]\n", &["line"]);
        let deep = format!("endpoints: {}{}", "[".repeat(40_000), "]".repeat(40_000));
        check_error(&deep, &["line 1"]);
        let large = " ".repeat(FILE_BYTES_MAX + 1);
        check_error(&large, &["bytes"]);
        assert!(matches!(parse(b"\xff\xfe"), Err(DocumentError::NotText(_))));
    }

    #[test]
    fn as_many_endpoints_as_a_service_may_have_are_read_and_no_more() {
        let entry = |i: usize| {
            format!(
                "- address: 10.{}.{}.{}:8080\n  locality:\n    region: eu-central-1\n    zone: eu-central-1a\n    \
                 sub_zone: rack-{i}\n  concurrency: 64\n  ready: true\n",
                i >> 16,
                (i >> 8) & 255,
                i & 255
            )
        };
        let full: String = (0..ENDPOINTS_MAX).map(entry).collect();
        let read = parse(format!("endpoints:\n{full}").as_bytes()).expect("the largest file");
        assert_eq!(read.len(), ENDPOINTS_MAX);
        let short = "- 10.0.0.1:80\n".repeat(ENDPOINTS_MAX + 1);
        check_error(&format!("endpoints:\n{short}"), &["10001 endpoints"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(endpoints: )?[\\[\\]{}:,&*!|>'\"0-9a-f.\n -]{0,60}") {
            if let Err(error) = parse(text.as_bytes()) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
