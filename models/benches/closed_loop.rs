//! Prints what governing does to tail latency and errors, scenario by scenario.
//!
//! `cargo bench -p weir-models --bench closed_loop [-- --seeds=6] [-- --undeclared] [NAME...]`

#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

#[path = "../tests/closed_loop/stage.rs"]
mod stage;

/// The table's rows.
const NAMES: [&str; 16] = [
    "healthy",
    "busy",
    "slow3",
    "slow10",
    "slow50",
    "err5",
    "err30",
    "err100",
    "all-fail",
    "two-at-once",
    "four-slow",
    "cold",
    "mixed-speed",
    "mixed-size",
    "moving",
    "moving-fast",
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seeds =
        arguments.iter().find_map(|argument| argument.strip_prefix("--seeds=")?.parse().ok());
    let declared = !arguments.iter().any(|argument| argument == "--undeclared");
    let asked: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    println!(
        "{:12} {:>9} {:>9} {:>7}   {:>9} {:>9} {:>7}  ejected",
        "", "p99", "", "", "errors", "", ""
    );
    println!(
        "{:12} {:>9} {:>9} {:>7}   {:>9} {:>9} {:>7}    steps",
        "", "plain", "governed", "ratio", "plain", "governed", "ratio"
    );
    for name in NAMES.iter().filter(|name| asked.is_empty() || asked.contains(name)) {
        let outcome = stage::play(name, seeds.unwrap_or(3), declared);
        let ejected: usize =
            outcome.governors.iter().map(stage::Governor::steps_with_ejections).sum();
        let moved = outcome.governors.iter().filter(|governor| governor.ever_moved()).count();
        println!(
            "{name:12} {:6.0} ms {:6.0} ms {:7.3}   {:7.3} % {:7.3} % {:7.3}  {ejected:5} (moved in {moved} runs)",
            outcome.plain.p99_ms(),
            outcome.governed.p99_ms(),
            outcome.p99(),
            outcome.plain.error_ratio().value() * 100.0,
            outcome.governed.error_ratio().value() * 100.0,
            outcome.errors(),
        );
    }
}
