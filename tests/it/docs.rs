//! Pages that people read stay true where a program can tell: every YAML in them is taken by the
//! code that reads such files, every link leads somewhere, and what people meet (variables,
//! metrics, the words of decisions) stands in them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use weir::expectations::{FILE, Test};
use weir_dashboard::board::Board;
use weir_engine::units::Moment;
use weir_policies::check::{Document, check};
use weir_policies::problem::{Colour, Problem, render};
use weir_tests::root;

/// Markdown at the top and in `docs/` and `docs/install/`, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let folders = [root(), root().join("docs"), root().join("docs/install")];
    let entries = folders.iter().flat_map(|folder| folder.read_dir().unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    pages.sort();
    pages
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// The fenced blocks of a language, with the line each begins after.
fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, &str, String)> = None;
    for (line, text) in text.lines().enumerate() {
        match (open.take(), text.strip_prefix("```")) {
            (None, Some(language)) => open = Some((line + 1, language, String::new())),
            (Some((at, found, block)), Some(_)) if found == language => blocks.push((at, block)),
            (Some(_), Some(_)) | (None, None) => {}
            (Some((at, found, block)), None) => open = Some((at, found, block + text + "\n")),
        }
    }
    blocks
}

/// What is wrong with a block, read as what its first key says that it is: a policy, a list of
/// endpoints, a test of a journal, or else `weir.yaml`. YAML for other programs is fenced as text.
fn wrong(block: &str) -> Option<String> {
    let said = |problems: Vec<Problem>| render(&problems, Colour::Never);
    if block.starts_with("apiVersion:") {
        return check(&[Document::new("block", block)]).err().map(said);
    }
    if block.starts_with("endpoints:") {
        let read = weir_collectors::endpoints::document::parse(block.as_bytes());
        return read.err().map(|error| error.to_string());
    }
    if block.contains("\nexpect:") {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        std::fs::write(&file, block).unwrap();
        return Test::find(&file).err().map(said);
    }
    let given = weir::config::Given::default();
    weir::config::from_bytes(Path::new("block"), block.as_bytes(), given).err().map(said)
}

#[test]
fn every_example_is_taken() {
    let mut seen = 0;
    for (path, text) in pages() {
        for (line, block) in blocks(&text, "yaml") {
            seen += 1;
            let wrong = wrong(&block);
            assert!(wrong.is_none(), "{}:{line}\n{}", path.display(), wrong.unwrap_or_default());
        }
    }
    assert!(seen >= 4, "examples are there and are found");
}

#[test]
fn a_wrong_example_is_noticed() {
    let text = "```yaml\nservices:\n  - nam: shop\n```\n```text\nnam: shop\n```\n";
    let [(1, block)] = &blocks(text, "yaml")[..] else { panic!("one block, after line 1") };
    assert!(wrong(block).unwrap().contains("nam"));
    for other in ["apiVersion: v9\n", "endpoints: [here]\n", "journal: .\nexpect: [{}]\n"] {
        assert!(wrong(other).is_some(), "{other}");
    }
}

/// The target of each link that stays within the repository.
fn links(text: &str) -> Vec<&str> {
    let after = text.split("](").skip(1);
    let targets = after.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets.filter(|target| !target.contains("://")).collect()
}

/// A heading as links name it: lower case, dashes for spaces, nothing else.
fn anchor(heading: &str) -> String {
    let plain = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    plain.chars().filter(|c| c.is_alphanumeric() || ['-', '_'].contains(c)).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for (path, text) in pages() {
        for link in links(&text) {
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let to = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            assert!(to.exists(), "{}: {link} leads nowhere", path.display());
            if !fragment.is_empty() {
                let there = std::fs::read_to_string(&to).unwrap();
                let mut headings = there.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|heading| anchor(heading) == fragment);
                assert!(found, "{}: {link} names no heading", path.display());
            }
        }
    }
}

/// What stands between these in a source file, before its tests.
fn between(path: &str, (begin, end): (&str, &str)) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let after = code.split(begin).skip(1);
    after.filter_map(|rest| rest.split_once(end).map(|(found, _)| found.to_owned())).collect()
}

#[test]
fn every_variable_is_described() {
    let variables = between("weir/src/cli.rs", ("env = \"", "\""));
    assert!(variables.len() >= 5, "variables are found: {variables:?}");
    let text = page("configuration.md");
    for variable in variables {
        assert!(text.contains(&format!("`{variable}`")), "{variable} is not in configuration.md");
    }
}

#[test]
fn every_metric_is_described() {
    let board = Board::new(Moment::default());
    let metrics = board.metrics().text();
    let text = page("operations.md");
    let names: Vec<_> = metrics.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    assert!(names.len() >= 10, "metrics are found");
    for name in names.iter().filter_map(|line| line.split(' ').next()) {
        assert!(text.contains(&format!("`{name}")), "{name} is not in operations.md");
    }
}

#[test]
fn every_word_of_a_decision_is_explained() {
    let mut words = BTreeSet::new();
    for source in ["engine/src/decision/words.rs", "engine/src/rollout/words.rs"] {
        words.extend(between(source, ("=> \"", "\"")));
        words.extend(between(source, ("write_str(\"", "\"")));
    }
    // One word alone is a state or a mode and says itself.
    let words = words.iter().map(|text| text.trim_end_matches([',', ' ']));
    let fixed: Vec<_> = words.filter(|text| text.split(' ').count() > 2).collect();
    assert!(fixed.len() >= 20, "texts are found: {fixed:?}");
    let page = page("decisions.md");
    for text in fixed {
        let shown = text.split(':').next().unwrap_or_default();
        assert!(page.contains(shown), "{text:?} is not in decisions.md");
    }
}
