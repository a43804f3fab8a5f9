#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::line::{LABEL_MAX, LABELS_MAX};
use super::*;

/// Keeps everything, by name and labels in canonical form.
#[derive(Default)]
struct All {
    series: Vec<String>,
    resolved: usize,
    values: Vec<(String, f64, Option<i64>)>,
}

impl Sink for All {
    fn resolve(&mut self, sample: &Sample<'_>) -> Key {
        self.resolved += 1;
        self.series.push(canonical(sample));
        Key::of(self.series.len() - 1)
    }

    fn value(&mut self, key: Key, value: f64, timestamp: Option<i64>) {
        self.values.push((self.series[key.index()].clone(), value, timestamp));
    }
}

fn canonical(sample: &Sample<'_>) -> String {
    let labels: BTreeMap<&str, &str> =
        sample.labels.iter().map(|label| (&*label.name, &*label.value)).collect();
    format!("{}{labels:?}", sample.name)
}

fn read(reader: &mut Reader, text: &[u8], cuts: &[usize], sink: &mut All) -> Summary {
    reader.begin();
    sink.values.clear();
    let mut start = 0;
    for &cut in cuts {
        let cut = cut.clamp(start, text.len());
        reader.push(&text[start..cut], sink).unwrap();
        start = cut;
    }
    reader.push(&text[start..], sink).unwrap();
    let summary = reader.finish(sink).unwrap();
    let accounted = summary.samples + summary.comments + summary.blanks + summary.faults;
    assert_eq!(accounted, summary.lines, "every line is accounted for");
    summary
}

#[track_caller]
fn check(line: &str, expected: &str, value: f64) {
    check_in(Format::Text, line, expected, value, None);
}

#[track_caller]
fn check_in(format: Format, line: &str, expected: &str, value: f64, timestamp: Option<i64>) {
    let Line::Sample(sample) = line::parse(line.as_bytes(), format).unwrap() else {
        panic!("{line} is no sample");
    };
    assert_eq!(canonical(&sample), expected);
    assert!(sample.value.to_bits() == value.to_bits(), "{}", sample.value);
    assert_eq!(sample.timestamp, timestamp);
}

#[track_caller]
fn check_fault(line: &str, error: LineError) {
    assert_eq!(line::parse(line.as_bytes(), Format::Text), Err(error), "{line}");
}

#[test]
fn keeps_names_labels_and_escapes() {
    check("up 1", "up{}", 1.0);
    check("up{} 1", "up{}", 1.0);
    check("\t up\t1 ", "up{}", 1.0);
    check("job:rate5m:sum 2", "job:rate5m:sum{}", 2.0);
    check(r#"a{x="{,}=\"} 1"} 3"#, r#"a{"x": "{,}=\"} 1"}"#, 3.0);
    check(r#"a{x="c:\\dir\nline"} 3"#, r#"a{"x": "c:\\dir\nline"}"#, 3.0);
    check(r#"a{x="\d+\\"} 3"#, r#"a{"x": "\\d+\\"}"#, 3.0);
    check(r#"a{x="\é\"é"} 3"#, r#"a{"x": "\\é\"é"}"#, 3.0);
    check(r#"a{ x = "1" , y = "2" , } 3"#, r#"a{"x": "1", "y": "2"}"#, 3.0);
    check(r#"a{x="1" y="2"} 3"#, r#"a{"x": "1", "y": "2"}"#, 3.0);
    check(r#"a{x="1"}3"#, r#"a{"x": "1"}"#, 3.0);
    check(r#"a{x="",y="日本"} 3"#, r#"a{"y": "日本"}"#, 3.0);
    check(r#"{"my.metric", "a.b"="1"} 3"#, r#"my.metric{"a.b": "1"}"#, 3.0);
    check("a Inf", "a{}", f64::INFINITY);
}

#[test]
fn reads_timestamps_in_the_unit_of_the_format() {
    check_in(Format::Text, "a 1 1700000000123", "a{}", 1.0, Some(1_700_000_000_123));
    check_in(Format::OpenMetrics, "a 1 1700000000.1235", "a{}", 1.0, Some(1_700_000_000_124));
    check_fault("a 1 1.5", LineError::Timestamp);
    check_fault("a 1 5 5", LineError::Timestamp);
    check_fault("a 1 -5", LineError::Timestamp);
}

#[test]
fn keeps_exemplars() {
    let text = br#"a_bucket{le="1"} 4 # {trace_id="KOO # }"} 0.67 1700000000.5"#;
    let Line::Sample(sample) = line::parse(text, Format::OpenMetrics).unwrap() else {
        panic!("no sample");
    };
    assert_eq!(sample.timestamp, None);
    let exemplar = sample.exemplar.unwrap();
    assert_eq!(exemplar.labels[0].value, "KOO # }");
    assert!((exemplar.value - 0.67).abs() < 1e-12);
    assert_eq!(exemplar.timestamp, Some(1_700_000_000_500));
    check_fault("a 1 # nothing", LineError::Exemplar);
}

#[test]
fn names_what_is_wrong() {
    check_fault("1a 2", LineError::Name);
    check_fault("{} 2", LineError::Name);
    check_fault(r#"a{"b"} 2"#, LineError::Name);
    check_fault("a", LineError::Value);
    check_fault("a{} ", LineError::Value);
    check_fault("a 1\r", LineError::Value);
    check_fault("a 1e999", LineError::Value);
    check_fault("a{x=1} 1", LineError::Labels);
    check_fault(r#"a{x="1} 1"#, LineError::Labels);
    check_fault(r#"a{x="1\"#, LineError::Labels);
    check_fault(r#"a{x:y="1"} 1"#, LineError::Labels);
    check_fault("a{,} 1", LineError::Labels);
    check_fault(r#"a{x="1",x="2"} 1"#, LineError::DuplicateLabel);
    assert_eq!(line::parse(b"a{x=\"\xff\"} 1", Format::Text), Err(LineError::NotUtf8));
}

#[test]
fn bounds_hold_at_the_bound_and_past_it() {
    let labels = |count: usize| {
        let labels: Vec<String> = (0..count).map(|at| format!("l{at}=\"v\"")).collect();
        format!("a{{{}}} 1", labels.join(","))
    };
    assert!(line::parse(labels(LABELS_MAX).as_bytes(), Format::Text).is_ok());
    check_fault(&labels(LABELS_MAX + 1), LineError::TooManyLabels);
    let label = |length: usize| format!("a{{x=\"{}\"}} 1", "v".repeat(length));
    assert!(line::parse(label(LABEL_MAX).as_bytes(), Format::Text).is_ok());
    check_fault(&label(LABEL_MAX + 1), LineError::LabelTooLong);

    let mut reader = Reader::default();
    let mut all = All::default();
    for (length, fault) in [(LINE_MAX, 0), (LINE_MAX + 1, 1)] {
        let mut text = vec![b' '; length - 4];
        text.extend_from_slice(b"ab 1\nb 2\n");
        for cuts in [&[][..], &[10, 50_000][..], &[length][..]] {
            let summary = read(&mut reader, &text, cuts, &mut all);
            assert_eq!((summary.faults, summary.samples), (fault, 2 - fault));
        }
    }
}

#[test]
fn too_many_samples_stop_the_text() {
    let mut reader = Reader::default();
    let mut all = All::default();
    let line = b"a 1\n".repeat(1000);
    reader.begin();
    for _ in 0..SAMPLES_MAX / 1000 {
        reader.push(&line, &mut all).unwrap();
    }
    assert_eq!(reader.push(&line, &mut all), Err(TooManySamples));
    reader.begin();
    assert_eq!(reader.push(b"a 1\n", &mut all), Ok(()));
}

#[test]
fn counts_faults_with_their_lines_and_reads_on() {
    let text = b"# HELP a b\n\na 1\nwhat?\nb 2\n# EOF\nlate 1\nlast 3";
    let mut all = All::default();
    let summary = read(&mut Reader::new(Format::OpenMetrics), text, &[], &mut all);
    assert_eq!((summary.samples, summary.comments, summary.blanks), (2, 2, 1));
    let faults: Vec<String> = summary.first_faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        ["line 4: value is not a number", "line 7: text after # EOF", "line 8: text after # EOF"]
    );
    let summary = read(&mut Reader::default(), text, &[], &mut all);
    assert_eq!((summary.samples, summary.faults), (4, 1));
}

#[test]
fn a_known_layout_resolves_nothing_anew() {
    let mut reader = Reader::default();
    let mut all = All::default();
    let text = |value: u32| format!("# TYPE a counter\na{{x=\"1\"}} {value}\nb {value}.5\nc NaN\n");
    read(&mut reader, text(1).as_bytes(), &[], &mut all);
    assert_eq!(all.resolved, 3);
    read(&mut reader, text(2).as_bytes(), &[], &mut all);
    assert_eq!(all.resolved, 3);
    assert!((all.values[1].1 - 2.5).abs() < 1e-12);
    // One series more, one less: only the new one is resolved.
    read(&mut reader, b"a{x=\"1\"} 1\nnew 1\nc 1\n", &[], &mut all);
    assert_eq!(all.resolved, 4);
    reader.forget();
    read(&mut reader, b"new 1\n", &[], &mut all);
    assert_eq!(all.resolved, 5);
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let line = prop_oneof![
        (0..6_u32, 0..4_u32, 0..100_u32).prop_map(|(n, l, v)| format!("m{n}{{x=\"{l}\"}} {v}")),
        (0..6_u32, any::<f64>()).prop_map(|(n, v)| format!("m{n} {v:?}")),
        (0..3_u32, 0..9_u32).prop_map(|(n, t)| format!("m{n} 1 {t}")),
        Just("# HELP m0 text".to_owned()),
        Just(String::new()),
        Just("m0{ 1".to_owned()),
        "[ -~é]{0,12}",
    ];
    prop::collection::vec(line, 0..20)
}

proptest! {
    #[test]
    fn neither_memory_nor_cuts_change_what_is_read(
        texts in prop::collection::vec(lines(), 1..5),
        cuts in prop::collection::vec(0..200_usize, 0..6),
    ) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut warm = Reader::default();
        let mut warm_all = All::default();
        for lines in texts.iter().chain(texts.last()) {
            let text = lines.join("\n");
            let mut cold_all = All::default();
            let cold = read(&mut Reader::default(), text.as_bytes(), &[], &mut cold_all);
            let summary = read(&mut warm, text.as_bytes(), &cuts, &mut warm_all);
            prop_assert_eq!(summary, cold);
            prop_assert_eq!(format!("{:?}", warm_all.values), format!("{:?}", cold_all.values));
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut all = All::default();
        read(&mut Reader::default(), &text, &[7, 100], &mut all);
        read(&mut Reader::new(Format::OpenMetrics), &text, &[], &mut all);
    }

    #[test]
    fn every_label_value_survives(value in "\\PC{0,40}", with in "[\\\\\"\n{},=# ]{0,6}") {
        let value = format!("{value}{with}x");
        let escaped =
            value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let text = format!("m{{v=\"{escaped}\"}} 1");
        let Line::Sample(sample) = line::parse(text.as_bytes(), Format::Text).unwrap() else {
            panic!("no sample");
        };
        prop_assert_eq!(sample.label("v"), Some(&*value));
    }
}
