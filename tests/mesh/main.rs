//! Weir beside the real thing: a Kubernetes, an Istio, an Envoy Gateway, a Flagger, built from
//! their own sources by `make test-mesh`. See `weir_tests::cluster` for how they run here.
//!
//! All tests of a run share one cluster, which has to start before them, on the main thread, in a
//! network namespace: so this binary brings its own `main`. A test whose peers are absent says so
//! and counts as ignored, never as passed.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::print_stderr,
    clippy::format_collect,
    clippy::too_many_lines,
    clippy::disallowed_methods,
    reason = "tests may panic, print and tell a story"
)]

mod definition;
mod slices;
mod istio;
mod gateway;
mod flagger;
mod snapshots;
mod relay;
mod secured;
mod governed;
mod native;
mod walk;
mod writer;
mod written;
mod ruled;
mod linkerd;
mod deploy;
mod site;
mod policies;
mod watches;
mod refused;
mod replicas;
mod stage;

use std::process::ExitCode;

use stage::Test;

/// Every test: its name, what it needs, what it does.
fn tests() -> Vec<Test> {
    let all = [
        definition::tests(),
        slices::tests(),
        istio::tests(),
        gateway::tests(),
        flagger::tests(),
        snapshots::tests(),
        relay::tests(),
        secured::tests(),
        governed::tests(),
        native::tests(),
        written::tests(),
        ruled::tests(),
        linkerd::tests(),
        deploy::tests(),
        policies::tests(),
        watches::tests(),
        refused::tests(),
        replicas::tests(),
    ];
    spread(all.into_iter().flatten().collect(), walk::tests())
}

/// Walks take turns, since there is one installation of Weir: between two of them come others, which need
/// not wait for it.
fn spread(mut all: Vec<Test>, walks: Vec<Test>) -> Vec<Test> {
    let gap = all.len() / (walks.len() + 1);
    for (number, walk) in walks.into_iter().enumerate() {
        all.insert((number + 1) * (gap + 1) - 1, walk);
    }
    all
}

fn main() -> ExitCode {
    stage::run(tests())
}
