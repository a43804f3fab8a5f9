//! Tests that need a tool from outside: skipped where it is missing, failed where it is
//! promised.
//!
//! `WEIR_REQUIRE` lists the tools that must be there, as `make test` sets it: there a skipped
//! test is a failure, since a test that never runs proves nothing.

use std::fmt::Display;

/// The variable that lists the tools which must be there, with commas.
const REQUIRE: &str = "WEIR_REQUIRE";

/// `found`, or `None` after saying that the test is skipped.
///
/// # Panics
/// Where `WEIR_REQUIRE` names `tool` and it was not found.
pub fn or_skip<T, E: Display>(tool: &str, found: Result<T, E>) -> Option<T> {
    let found = or_missing(tool, found);
    if found.is_none() {
        eprintln!("skipped: no {tool}");
    }
    found
}

/// `found`, or `None`, of which the caller says something.
///
/// # Panics
/// Where `WEIR_REQUIRE` names `tool` and it was not found.
pub fn or_missing<T, E: Display>(tool: &str, found: Result<T, E>) -> Option<T> {
    let required = std::env::var_os(REQUIRE).unwrap_or_default();
    match (found, lists(&required.to_string_lossy(), tool)) {
        (Ok(found), _) => Some(found),
        (Err(missing), true) => panic!("{tool} is required by {REQUIRE}: {missing}"),
        (Err(_), false) => None,
    }
}

fn lists(required: &str, tool: &str) -> bool {
    required.split(',').any(|name| name.trim() == tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(required: &str, expected: bool) {
        assert_eq!(lists(required, "envoy"), expected, "{required:?}");
    }

    #[test]
    fn a_tool_is_listed_by_its_whole_name() {
        check("envoy,prometheus", true);
        check("prometheus, envoy", true);
        check("", false);
        check("envoy-server", false);
    }
}
