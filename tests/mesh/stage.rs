//! Runs tests on one cluster.

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::{Handle, Runtime};
use weir_testbed::{envoy, required};
use weir_tests::cluster::peers::Peers;
use weir_tests::cluster::{Cluster, namespace, page};
use weir_tests::{grpc, prometheus};

/// What every test needs.
const ALWAYS: [&str; 2] = ["etcd", "kube"];

/// Tests at once. They wait more than they work, and each has its own namespace, but two cores
/// have enough to do with two.
const AT_ONCE: usize = 2;

/// A test under way. It stays on its thread, so it need not be `Send`.
type Running = Pin<Box<dyn Future<Output = ()>>>;

/// A test.
pub(crate) struct Test {
    name: &'static str,
    needs: &'static [&'static str],
    run: Box<dyn Fn(Arc<Cluster>) -> Running + Send>,
}

impl Test {
    /// A test of that name which needs these peers beside a cluster, or `envoy`, `grpc`,
    /// `prometheus`, `openssl`.
    pub(crate) fn new<F>(
        name: &'static str,
        needs: &'static [&'static str],
        run: fn(Arc<Cluster>) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self { name, needs, run: Box::new(move |cluster| Box::pin(run(cluster))) }
    }
}

/// Options of test binaries that take the next word as their value.
const WITH_VALUE: [&str; 5] = ["--test-threads", "--skip", "--format", "--color", "--logfile"];

/// What the command line says, and its filters: `cargo test` may give several, of which
/// libtest-mimic takes one.
fn said(words: impl Iterator<Item = String>) -> (Arguments, Vec<String>) {
    let (mut options, mut filters, mut value) = (Vec::new(), Vec::new(), true);
    for word in words {
        let is_value = std::mem::replace(&mut value, WITH_VALUE.contains(&word.as_str()));
        let kept = is_value || word.starts_with('-');
        if kept { options.push(word) } else { filters.push(word) }
    }
    (Arguments::from_iter(options), filters)
}

/// Runs those that are wanted and can run here, inside a network namespace.
pub(crate) fn run(mut tests: Vec<Test>) -> ExitCode {
    let (mut arguments, filters) = said(std::env::args());
    arguments.test_threads.get_or_insert(AT_ONCE);
    let wanted = |name: &str, filter: &String| {
        if arguments.exact { name == filter } else { name.contains(filter.as_str()) }
    };
    tests.retain(|test| filters.is_empty() || filters.iter().any(|f| wanted(test.name, f)));
    let peers = Peers::told();
    let mut missing: Vec<_> = tests.iter().map(|test| missing(test, &peers)).collect();
    let any = missing.iter().any(Option::is_none) && !arguments.list;
    if any && !namespace::inside() {
        match required::or_missing("namespace", namespace::enter()) {
            Some(code) => return code,
            None => missing.fill(Some("network namespace".to_owned())),
        }
    } else if any {
        return on_a_cluster(&arguments, tests, &missing, peers);
    }
    libtest_mimic::run(&arguments, trials(tests, &missing, None)).exit_code()
}

fn on_a_cluster(
    arguments: &Arguments,
    tests: Vec<Test>,
    missing: &[Option<String>],
    peers: Peers,
) -> ExitCode {
    namespace::furnish();
    let runtime = Runtime::new().unwrap();
    let cluster = Arc::new(runtime.block_on(Cluster::start(peers)));
    let place = (Arc::clone(&cluster), runtime.handle().clone());
    let trials = trials(tests, missing, Some(&place));
    drop(place);
    let conclusion = libtest_mimic::run(arguments, trials);
    let _within = runtime.enter();
    let cluster = Arc::into_inner(cluster).expect("the tests have ended");
    if conclusion.has_failed() {
        eprintln!("the logs are in {}", cluster.keep().display());
    }
    conclusion.exit_code()
}

/// What a test needs and does not find: `real istiod`.
fn missing(test: &Test, peers: &Peers) -> Option<String> {
    let there = |name: &str| {
        let found = match name {
            "envoy" => envoy::find().map(drop).map_err(|missing| missing.to_string()),
            "openssl" => page::openssl(),
            "grpc" => grpc::python().map(drop),
            "prometheus" => prometheus::find().map(drop),
            peer => {
                let how = || "tests/peers/build.sh did not build it".to_owned();
                peers.have(peer).then_some(()).ok_or_else(how)
            }
        };
        required::or_missing(name, found).is_some()
    };
    ALWAYS.iter().chain(test.needs).find(|name| !there(name)).map(|name| format!("real {name}"))
}

fn trials(
    tests: Vec<Test>,
    missing: &[Option<String>],
    place: Option<&(Arc<Cluster>, Handle)>,
) -> Vec<Trial> {
    let trial = |(test, missing): (Test, &Option<String>)| {
        let place = place.cloned();
        if let Some(missing) = missing {
            eprintln!("{}: skipped: no {missing}", test.name);
        }
        let run = move || {
            let (cluster, handle) = place.ok_or("what it needs is not there")?;
            handle.block_on((test.run)(cluster));
            Ok(())
        };
        Trial::test(test.name, run).with_ignored_flag(missing.is_some())
    };
    tests.into_iter().zip(missing).map(trial).collect()
}
