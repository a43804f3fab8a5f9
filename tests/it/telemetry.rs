//! Telemetry of another kind: proxies whose clusters are none of Weir's, and a Prometheus that
//! alone says what happens.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hearsay;
mod prometheus;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use weir_testbed::envoy::eventually;
use weir_tests::weir::{Weir, run};

/// Longer than most conditions have: telemetry here comes by detours.
pub(crate) const WITHIN: Duration = Duration::from_secs(40);

/// Waits for a condition, or panics with what Weir has to say.
async fn until(weir: &Weir, what: &str, condition: impl AsyncFnMut() -> bool) {
    if !eventually(WITHIN, condition).await {
        let services = weir.ask("/api/v1/services").await;
        let sources = weir.ask("/api/v1/sources").await;
        let log = weir.child.log_tail();
        panic!("not within {WITHIN:?}: {what}\n{services:#}\n{sources:#}\n{log}");
    }
}

/// What `weir envoy bootstrap` prints.
fn bootstrap(arguments: &[&str]) -> Value {
    let printed = run(["envoy", "bootstrap"].iter().chain(arguments));
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    serde_saphyr::from_str(&printed.stdout).unwrap()
}

/// A path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
