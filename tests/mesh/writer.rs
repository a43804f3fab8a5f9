//! Weir's writer alone, on an API server, told what is decided.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use weir::clock::Clock;
use weir::governed::Governed;
use weir::kubernetes::telling::Shown;
use weir::kubernetes::writing::{Objects, Writes, Writing};
use weir_collectors::kubernetes::discovery::Namespaces;
use weir_collectors::status::Status;
use weir_engine::comparison::Verdict;
use weir_engine::decision::Decision;
use weir_engine::goal::Mode;
use weir_engine::names::ServiceId;
use weir_engine::rollout::{Phase, Reason, RolloutDecision};
use weir_engine::units::Ratio;
use weir_proxy_adapter::writers::balancing::Balanced;
use weir_tests::cluster::{Cluster, soon};

/// At work in one namespace, until it is stopped or dropped.
pub(crate) struct Writer {
    shows: watch::Sender<Option<Arc<Shown>>>,
    fares: watch::Receiver<Status>,
    objects: Objects,
    writes: Writes,
    running: JoinSet<()>,
}

impl Writer {
    pub(crate) fn start(
        cluster: &Cluster,
        namespace: &str,
        writes: Writes,
        first: Arc<Shown>,
    ) -> Self {
        let (shows, shown) = watch::channel(Some(first));
        let namespaces = Namespaces::Only([namespace.to_owned()].into());
        let objects = Objects::new(cluster.admin.clone(), namespaces);
        let (writing, fares) =
            Writing::new(objects.clone(), writes, (shown, None), Clock::start(None));
        let mut running = JoinSet::new();
        running.spawn(writing.run(CancellationToken::new()));
        Self { shows, fares, objects, writes, running }
    }

    /// What is decided from now on.
    pub(crate) fn show(&self, shown: Arc<Shown>) {
        self.shows.send_replace(Some(shown));
    }

    /// Waits until it says in these words what is in its way.
    pub(crate) async fn says(&self, words: &str) {
        soon(words, async || {
            let failed = self.fares.borrow().last_error.clone();
            failed.is_some_and(|failed| failed.text.contains(words))
        })
        .await;
    }

    /// Ends it; what it has written stays.
    pub(crate) async fn stop(&mut self) {
        self.running.shutdown().await;
    }

    /// Puts back what it has written: how many objects that were.
    pub(crate) async fn release(&self) -> usize {
        self.objects.release(self.writes).await.unwrap()
    }
}

/// Decides nothing but that services are balanced.
pub(crate) fn balanced(balanced: Vec<Balanced>) -> Arc<Shown> {
    shown(Decision::default(), balanced)
}

/// Decides nothing but, if at all, that `cart-v2` takes its part of `cart-v1`.
pub(crate) fn rollout(namespace: &str, percent: Option<u32>) -> Arc<Shown> {
    let step = |percent| decided(namespace, percent, Phase::Stepping { step: 0 });
    let rollouts = percent.map(step).into_iter().map(Arc::new).collect();
    shown(Decision { rollouts, ..Decision::default() }, Vec::new())
}

/// Decides nothing but that `cart-v2` has taken over.
pub(crate) fn taken_over(namespace: &str) -> Arc<Shown> {
    let rollouts = vec![Arc::new(decided(namespace, 100, Phase::Done))];
    shown(Decision { rollouts, ..Decision::default() }, Vec::new())
}

fn decided(namespace: &str, percent: u32, phase: Phase) -> RolloutDecision {
    let id = |name| ServiceId::new(namespace, name);
    RolloutDecision {
        service: id("cart"),
        policy: format!("{namespace}/cart").as_str().into(),
        mode: Mode::Enforce,
        stable: id("cart-v1"),
        canary: id("cart-v2"),
        weight: Ratio::clamped(f64::from(percent) / 100.0),
        phase,
        steps: Vec::new(),
        failures: 0,
        verdict: Verdict::default(),
        reason: Reason::Gathering,
        yields: None,
        offer: None,
    }
}

fn shown(decision: Decision, balanced: Vec<Balanced>) -> Arc<Shown> {
    Arc::new(Shown { decision, governed: Arc::new(Governed::default()), balanced, serving: true })
}
