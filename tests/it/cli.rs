//! The command line as its users meet it: what it says, where, and how it exits.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arena;
mod bootstrap;
mod canary;
mod config;
mod disk;
mod evaluate;
mod policy;
mod recorded;
mod simulate;
mod start;
mod stop;
mod usage;
mod what_if;

use weir_tests::weir::Ended;

/// All went well.
const OK: i32 = 0;
/// Something failed.
const FAILED: i32 = 1;
/// The command line is wrong.
const USAGE: i32 = 2;
/// What it was given to read is wrong.
const BAD_INPUT: i32 = 65;
/// A check found something.
const FINDINGS: i32 = 79;

/// It ended with this code, nothing on standard output, and all these words on standard error;
/// and it did not panic.
#[track_caller]
fn refused(ended: &Ended, code: i32, words: &[&str]) {
    let Ended { stdout, stderr, .. } = ended;
    assert_eq!(ended.code, Some(code), "{stderr}");
    assert_eq!(stdout, "", "what people read goes to standard error");
    for words in words {
        assert!(stderr.contains(words), "{words:?} is not said:\n{stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(stderr.matches("os error").count(), stderr.matches("(os error").count());
    assert!(stderr.matches("(os error").count() <= 1, "a cause is told once:\n{stderr}");
}
