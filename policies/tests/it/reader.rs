//! The reader with types that are not ours, as configuration files use it.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use serde::Deserialize;
use weir_policies::problem::{Colour, render};
use weir_policies::reader::{At, Limits, read};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Config {
    listen: Listen,
    #[serde(default)]
    sources: Vec<Source>,
    port: Option<u16>,
    #[serde(default)]
    extra: BTreeMap<String, i8>,
    ratio: Option<f32>,
    pair: Option<(u8, String)>,
    unit: Option<()>,
    any: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Listen {
    xds: std::net::SocketAddr,
    api: At<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Source {
    Prometheus { url: String },
    Scrape(Vec<String>),
    Push,
}

fn config(text: &str) -> Result<Config, String> {
    read("weir.yaml", text.as_bytes(), &Limits::DOCUMENT)
        .map_err(|problems| render(&problems, Colour::Never))
}

#[test]
fn reads_what_serde_reads() {
    let config = config(
        "\
listen: {xds: '127.0.0.1:18010', api: here}
sources:
- prometheus: {url: http://p}
- scrape: [a, b]
- push
port: 0x50
extra: {on: -1, 7: 2}
ratio: 1.5
pair: [1, x]
any: {a: [1, -1, 1.5, true, text, ~]}
",
    )
    .unwrap();
    assert_eq!(config.listen.api.value, "here");
    assert_eq!(config.listen.api.span.start, 38);
    assert_eq!(config.port, Some(80));
    assert_eq!(config.extra.get("7"), Some(&2));
    assert_eq!(config.pair, Some((1, "x".to_owned())));
    assert_eq!(config.sources.get(2), Some(&Source::Push));
    assert_eq!(config.any.unwrap().to_string(), r#"{"a":[1,-1,1.5,true,"text",null]}"#);
}

#[test]
fn says_all_that_is_wrong() {
    assert_snapshot!(
        config(
            "\
listen: {xds: 127.0.0.1, apj: here}
sources:
- prometheus
- scrape: {}
- puhs
- {push: 1}
- {prometheus: {url: 5}, push: }
- 7
port: 70000
extra: {a: 200, b: c}
pair: [1]
unit: 5
"
        )
        .unwrap_err()
    );
}

#[test]
fn a_file_without_anything_lacks_its_fields() {
    assert_snapshot!(config("# nothing yet\n").unwrap_err());
}

#[test]
fn one_document_is_read() {
    assert_snapshot!(config("listen: {xds: '127.0.0.1:1', api: a}\n---\nlisten: 1\n").unwrap_err());
}

#[test]
fn a_scalar_is_no_configuration() {
    assert_snapshot!(config("hello").unwrap_err());
}

#[test]
fn other_formats_give_the_value_without_a_place() {
    let value: At<u8> = serde_json::from_str("5").unwrap();
    assert_eq!(value.value, 5);
    assert!(!value.span.is_somewhere());
}
