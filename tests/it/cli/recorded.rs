//! `weir replay`, `weir explain`, `weir test` and `weir journal` on journals of simulated worlds.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::weir::{Ended, run};
use weir_tests::world::{policy, write};

use super::{BAD_INPUT, FINDINGS, OK, USAGE, refused};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");

/// A folder with the journal of a scenario in it, and its path.
fn recorded(name: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let scenario = format!("{SCENARIOS}/{name}.yaml");
    let to = folder.path().to_str().unwrap();
    let few = ["--rivals", "weir", "--seeds", "1", "--proxies", "20", "--journal", to];
    told(&[&["simulate", &scenario], &few[..]].concat());
    let journal = folder.path().join(name).display().to_string();
    (folder, journal)
}

fn told(arguments: &[&str]) -> String {
    let ended = run(arguments);
    assert_eq!(ended.code, Some(OK), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&told(arguments)).unwrap()
}

/// The only file in a folder.
fn segment(journal: &str) -> std::path::PathBuf {
    std::fs::read_dir(journal).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_journal_replays_and_is_told_for_people_and_programs() {
    let (_folder, journal) = recorded("err30");
    assert!(told(&["replay", &journal]).contains("every decision is the same, byte for byte"));
    let replayed = json(&["replay", &journal, "-o", "json"]);
    assert_eq!(
        (&replayed["identical"], &replayed["segments"][0]["steps"]),
        (&true.into(), &101.into())
    );
    let listed = json(&["journal", "ls", &journal, "-o", "json"]);
    assert_eq!(listed["segments"][0]["steps"], 101);
    assert_eq!(json(&["journal", "verify", &journal, "-o", "json"])["whole"], true);
    let shown = told(&["journal", "show", &journal, "--from", "+40s", "--until", "+45s"]);
    assert!(shown.contains("10.0.0.000:8080 at 1.00 x: ejected for 10 s"), "{shown}");
    let why = json(&[
        "explain",
        "demo/shop/10.0.0.000:8080",
        "--at",
        "+42s",
        "--journal",
        &journal,
        "-o",
        "json",
    ]);
    let decision = &why["decisions"][0];
    assert_eq!(decision["decision"], 43);
    assert!(
        decision["expected"]["decided"]["error_ratio"].as_f64()
            < decision["expected"]["equal"]["error_ratio"].as_f64()
    );
    assert_eq!(decision["endpoints"].as_array().unwrap().len(), 1);
}

#[test]
fn other_tools_get_rows_of_every_endpoint_and_step() {
    let (_folder, journal) = recorded("zone");
    let csv = told(&["journal", "export", &journal, "--format", "csv"]);
    let mut lines = csv.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert!(columns.starts_with(&["at", "decision", "service"]), "{columns:?}");
    assert_eq!(lines.count(), 101 * 10, "a row for each endpoint and step");
    let part = ["--from", "+10s", "--until", "+12s", "--service", "demo/shop"];
    let lines = told(&[&["journal", "export", &journal], &part[..]].concat());
    let objects: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 3);
    assert_eq!(objects[0]["at"], "1970-01-01T00:00:10Z");
    assert_eq!(objects[0]["observation"]["traffic"][0]["rows"].as_array().unwrap().len(), 10);
    assert_eq!(objects[0]["services"][0]["endpoints"].as_array().unwrap().len(), 10);
}

#[test]
fn another_policy_is_put_beside_and_one_for_others_is_refused() {
    let (folder, journal) = recorded("err30");
    let still = policy("Enforce").replace("spec:", "spec:\n  suspend: true");
    write(folder.path(), "still.yaml", &still);
    write(folder.path(), "cart.yaml", &still.replace("name: shop", "name: cart"));
    let file = |name: &str| folder.path().join(name).display().to_string();
    let beside = json(&["replay", &journal, "--policy", &file("still.yaml"), "-o", "json"]);
    let service = &beside["services"][0];
    assert!(service["recorded"]["ejections"].as_u64() > Some(0));
    assert_eq!(service["other"]["ejections"], 0);
    let table = told(&["replay", &journal, "--policy", &file("still.yaml")]);
    assert!(table.contains("still.yaml") && table.contains("expected errors"), "{table}");
    let ended = run(["replay", &journal, "--policy", &file("cart.yaml")]);
    refused(&ended, BAD_INPUT, &["demo/cart", "not in the journal", "demo/shop"]);
}

#[test]
fn expectations_are_checked_and_told_for_continuous_integration() {
    let (folder, journal) = recorded("err30");
    let wrong = "
journal: .
expect:
  - { from: +40s, ejects: '10.0.0.000:8080', within: 5s }
  - { neverEjects: any }
";
    write(Path::new(&journal), "test.yaml", wrong);
    let tests = folder.path().display().to_string();
    let ended = run(["test", &tests]);
    assert_eq!(ended.code, Some(FINDINGS), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("FAILED  ejects nobody: at 1970-01-01T00:00:4"),
        "{}",
        ended.stdout
    );
    let junit = run(["test", &tests, "-o", "junit"]);
    assert_eq!(junit.code, Some(FINDINGS));
    assert!(
        junit.stdout.contains("tests=\"3\"") && junit.stdout.contains("failures=\"1\""),
        "{}",
        junit.stdout
    );
    write(Path::new(&journal), "test.yaml", "expect: [{ ejectedMost: 1 }]");
    assert_eq!(json(&["test", &tests, "-o", "json"])["tests"][0]["expectations"][1]["held"], true);
    write(Path::new(&journal), "test.yaml", "expect: [{ ejectedMost: many }]");
    refused(&run(["test", &tests]), BAD_INPUT, &["test.yaml:1:25"]);
}

#[test]
fn what_is_damaged_missing_or_foreign_is_told() {
    let (folder, journal) = recorded("homog");
    let path = segment(&journal);
    let whole = std::fs::read(&path).unwrap();
    let is = |ended: Ended, code: i32, words: &str| {
        let text = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code, Some(code), "{text}");
        assert!(
            text.contains(words) && !text.contains("panicked"),
            "{words:?} is not said: {text}"
        );
    };
    // A process that was killed while it wrote.
    std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    is(run(["replay", &journal]), OK, "torn");
    is(run(["journal", "verify", &journal]), OK, "killed while it wrote");
    // Somebody changed a byte.
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    is(run(["replay", &journal]), BAD_INPUT, "is damaged");
    is(run(["journal", "verify", &journal]), FINDINGS, "is damaged");
    is(run(["journal", "ls", &journal]), OK, "is damaged");
    std::fs::write(&path, b"hello").unwrap();
    is(run(["replay", &journal]), BAD_INPUT, "not a journal");
    std::fs::write(&path, b"").unwrap();
    is(run(["replay", &journal]), BAD_INPUT, "not a journal");
    let none = folder.path().join("none").display().to_string();
    refused(&run(["replay", &none]), BAD_INPUT, &["none holds no journal", "name a .weir file"]);
    let empty = folder.path().display().to_string();
    refused(&run(["journal", "ls", &empty]), BAD_INPUT, &["holds no journal"]);
    refused(&run(["journal", "show", &journal, "--from", "soon"]), USAGE, &["soon", "+90s"]);
    refused(&run(["explain", "shop", "--journal", &journal]), USAGE, &["demo/shop"]);
}

/// What does not differ between two builds or two machines.
fn lasting(text: &str, journal: &str) -> String {
    let text = text.replace(journal, "JOURNAL").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let hex = |word: &str| word.len() == 32 && word.chars().all(|c| c.is_ascii_hexdigit());
    let line = |line: &str| {
        let mut before = "";
        let words = line.split(' ').map(|word| {
            let plain = word.trim_end_matches([':', ';']);
            let counted = matches!(std::mem::replace(&mut before, word), "byte" | "in");
            if hex(plain) {
                word.replace(plain, "LINK")
            } else if counted && plain.parse::<f64>().is_ok() {
                word.replace(plain, "N")
            } else {
                word.to_owned()
            }
        });
        words.collect::<Vec<_>>().join(" ") + "\n"
    };
    text.lines().map(line).collect()
}

#[test]
fn what_people_read_about_a_journal_reads_well() {
    let (folder, journal) = recorded("err30");
    let cart = policy("Enforce").replace("name: shop", "name: cart");
    write(folder.path(), "cart.yaml", &cart);
    let cart = folder.path().join("cart.yaml").display().to_string();
    let expected =
        "description: One of ten fails.\nexpect: [{ ejectedMost: 1 }, { neverEjects: any }]";
    let path = segment(&journal);
    write(Path::new(&journal), "test.yaml", expected);
    let whole = std::fs::read(&path).unwrap();
    let new = folder.path().join("new").display().to_string();
    let mut texts = String::new();
    let mut ask = |about: &str, arguments: &[&str]| {
        let Ended { code, stdout, stderr } = run(arguments);
        let command = arguments[..arguments.len().min(2)].join(" ").replace(&journal, "");
        texts += &format!("# {about}: {} -> {}\n{stdout}{stderr}\n", command.trim(), code.unwrap());
    };
    ask("whole", &["replay", &journal]);
    ask("whole", &["journal", "verify", &journal]);
    ask("decided anew", &["replay", &journal, "--write", &new]);
    ask("decided anew where one is", &["replay", &journal, "--write", &new]);
    ask("a policy for others", &["replay", &journal, "--policy", &cart]);
    ask("no journal", &["replay", &format!("{journal}/none")]);
    let (mut damaged, mut newer) = (whole.clone(), whole.clone());
    damaged[whole.len() / 2] ^= 1;
    newer[8] = 200;
    let torn = &whole[..whole.len() - 5];
    let cases: [(&str, &[u8]); 5] = [
        ("torn", torn),
        ("damaged", &damaged),
        ("foreign", b"hello"),
        ("empty", b""),
        ("newer", &newer),
    ];
    for (about, bytes) in cases {
        std::fs::write(&path, bytes).unwrap();
        ask(about, &["replay", &journal]);
        ask(about, &["journal", "verify", &journal]);
        ask(about, &["test", &journal]);
    }
    let shown = lasting(&texts.replace(&path.display().to_string(), "SEGMENT"), &journal);
    insta::assert_snapshot!(shown.replace(folder.path().to_str().unwrap(), "FOLDER"));
}
