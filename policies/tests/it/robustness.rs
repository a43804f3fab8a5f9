//! Whatever is written, checking ends with goals or with a problem, and never with a panic.

use proptest::prelude::*;
use serde_json::Value;
use weir_policies::check::{Document, check};
use weir_policies::problem::Problem;
use weir_policies::reader::{Limits, read};

/// Everything that must hold of any set of files.
fn holds(documents: &[Document]) -> Result<(), TestCaseError> {
    match check(documents) {
        Ok(checked) => {
            prop_assert!(checked.warnings.iter().all(|warning| !warning.is_error()));
            let services: Vec<_> =
                checked.goals.services.iter().map(|goal| &goal.service).collect();
            prop_assert!(services.is_sorted_by(|one, other| one < other));
        }
        Err(problems) => {
            prop_assert!(problems.iter().any(Problem::is_error));
            for problem in &problems {
                prop_assert!(!problem.what.is_empty());
                prop_assert!(problem.line >= 1 && problem.column >= 1);
                prop_assert!(problem.snippet.end <= problem.snippet.text.chars().count());
                let document = documents.iter().find(|document| document.path == problem.path);
                let text = String::from_utf8_lossy(&document.unwrap().bytes).into_owned();
                prop_assert!(problem.line <= text.lines().count().max(1));
                let shown = problem.to_string();
                let place = format!("{}:{}:{}", problem.path, problem.line, problem.column);
                prop_assert!(shown.contains(&place), "{place} is not in\n{shown}");
                prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
            }
        }
    }
    Ok(())
}

/// Pieces that mean something to YAML or to a policy.
const PIECES: &[&str] = &[
    "a",
    ": ",
    ":",
    "- ",
    "-",
    "\n",
    "  ",
    "\t",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "#",
    "|",
    ">",
    "&a ",
    "*a",
    "!t ",
    "? ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "~",
    "1",
    ".nan",
    "true",
    "é",
    "\u{feff}",
    "\r\n",
    "\\",
    "\0",
    "\u{1b}",
    "spec",
    "targetRefs",
    "mode",
    "unsafe",
    "Service",
    "1s",
    "28d",
    "<<",
];

/// Pieces that mean something to PromQL.
const QUERY: &[&str] = &[
    "a",
    "sum",
    "rate",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "`",
    "{{backend}}",
    "{{window}}",
    "=",
    "=~",
    "!",
    ",",
    " by ",
    " on ",
    " group_left ",
    " offset ",
    " @ ",
    "1m",
    "5",
    "1e999",
    "-",
    "+",
    " and ",
    " bool ",
    ":",
    "\\",
    "\\x",
    "é",
    "#",
    "histogram_quantile",
    "label_replace",
    "NaN",
    "0x",
    "inf",
    "start()",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..60).prop_map(|pieces| pieces.concat())
}

/// A good policy with some of its text cut, doubled or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let examples: Vec<String> = super::examples::all()
        .into_iter()
        .map(|document| String::from_utf8(document.bytes).unwrap())
        .collect();
    let edits =
        prop::collection::vec((any::<prop::sample::Index>(), 0..20_usize, soup_piece()), 1..4);
    (prop::sample::select(examples), edits).prop_map(|(text, edits)| {
        edits.into_iter().fold(text, |text, (at, cut, piece)| {
            let chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len() + 1);
            let rest = chars.iter().skip(at + cut);
            chars
                .iter()
                .take(at)
                .chain(piece.chars().collect::<Vec<_>>().iter())
                .chain(rest)
                .collect()
        })
    })
}

fn soup_piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(PIECES).prop_map(str::to_owned),
        "[0-9]{0,3}",
        Just(String::new()),
    ]
}

#[test]
fn what_is_wrong_at_the_end_of_a_text_is_shown_on_its_last_line() {
    for text in ["? #---\n", "? a\n? #\n\n", "a:\n", "-\n", "? |\n", "a: {\n\n", "\r\n", "\n"] {
        let document = Document { path: "a.yaml".into(), bytes: text.into() };
        holds(&[document]).expect(text);
    }
}

/// Found by chance: the parser of queries panics over them.
#[test]
fn numbers_that_are_no_durations_are_refused() {
    for (query, fine) in [
        ("up{a=\"b\"} offset 1e999", false),
        ("up offset -1e+30", false),
        ("up offset inf", false),
        ("rate(up[NaN])", false),
        ("max_over_time(up[5m:1e999])", false),
        ("rate(up[5m] offset 300) > 1e99", true),
        ("rate(up[1h30m]) < +Inf", true),
    ] {
        let spec = format!(
            "targetRefs: [{{kind: Service, name: a}}]\nobjectives:\n- name: o\n  targetPercent: 9\n  indicator: {{type: Prometheus, prometheus: {{total: a, good: '{query}'}}}}"
        );
        let document = Document::new("a.yaml", super::policy("p", &spec));
        holds(std::slice::from_ref(&document)).expect(query);
        assert_eq!(check(&[document]).is_ok(), fine, "{query}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        holds(&[Document::new("a.yaml", bytes)])?;
    }

    #[test]
    fn texts(text in "\\PC{0,80}", soup in soup()) {
        holds(&[Document::new("a.yaml", text), Document::new("b.yaml", soup)])?;
    }

    #[test]
    fn nearly_right_policies(text in mutated(), other in mutated()) {
        holds(&[Document::new("a.yaml", text), Document::new("b.yaml", other)])?;
    }

    #[test]
    fn queries(pieces in prop::collection::vec(prop::sample::select(QUERY), 0..25)) {
        let query = pieces.concat().replace('\'', "''");
        let spec = format!(
            "targetRefs: [{{kind: Service, name: a}}]\nobjectives:\n- name: o\n  targetPercent: 9\n  indicator: {{type: Prometheus, prometheus: {{total: a, good: '{query}'}}}}"
        );
        holds(&[Document::new("a.yaml", super::policy("p", &spec))])?;
    }

    #[test]
    fn the_schema_never_refuses_what_the_reader_takes(text in mutated()) {
        if check(&[Document::new("a.yaml", text.clone())]).is_ok() {
            let value: Result<Value, _> = read("a.yaml", text.as_bytes(), &Limits::DOCUMENT);
            if let Ok(Value::Object(object)) = value {
                let value = Value::Object(object);
                prop_assert!(super::schema::validator().is_valid(&value), "{text}");
            }
        }
    }
}
