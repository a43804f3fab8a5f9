//! Weir's own metrics, for the Prometheus of the people who run it.
//!
//! Every label has a closed set of values: no endpoint, service or node ever becomes a label, so
//! that a mesh of any size costs the same few dozen series. Names are constants; base units;
//! `_total` only on counters (the encoder adds it).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use weir_engine::decision::{EndpointState, Hold, Stance};
use weir_engine::goal::Mode;
use weir_engine::observation::Outcome;
use weir_engine::rollout::Phase;
use weir_engine::warning;

use crate::board::Step;
use crate::view::decision::{DecisionDetail, Kind};
use crate::view::health::HealthView;
use crate::view::mesh::{PolicyState, PolicyView, ProxyView, RelayView, SourceView};

/// What every name begins with.
pub const PREFIX: &str = "weir";
/// Steps taken.
pub const STEPS: &str = "steps";
/// How long a step takes, from observation to decision.
pub const STEP_DURATION: &str = "step_duration";
/// When the last step was taken.
pub const LAST_STEP: &str = "last_step_timestamp";
/// Services by mode.
pub const SERVICES: &str = "services";
/// Services by what Weir is doing with them.
pub const STANCES: &str = "service_stances";
/// Endpoints by state.
pub const ENDPOINTS: &str = "endpoints";
/// Warnings that stand, by what they are about.
pub const WARNINGS: &str = "service_warnings";
/// Decisions that changed something, by kind of change.
pub const DECISIONS: &str = "decisions";
/// Sum of the parts of their service's traffic that decisions in force moved.
pub const MOVED: &str = "moved_ratio";
/// New versions that take over, by how far they have come.
pub const ROLLOUTS: &str = "rollouts";
/// Those that something keeps from following the evidence.
pub const ROLLOUTS_HELD: &str = "rollouts_held";
/// What waits for a person's approval.
pub const OFFERS: &str = "offers";
/// Proxies' answers to pushes.
pub const RECEIPTS: &str = "receipts";
/// Telemetry sources by whether they work.
pub const SOURCES: &str = "sources";
/// Proxies by how they stand against what they were sent.
pub const PROXIES: &str = "proxies";
/// Streams of proxies that another control plane configures.
pub const RELAY_STREAMS: &str = "relay_streams";
/// Of their resources, those that an opinion was about, by what became of it.
pub const RELAYED: &str = "relay_resources";
/// Policies by whether they are in force.
pub const POLICIES: &str = "policies";
/// Whether Weir is ready.
pub const READY: &str = "ready";
/// Open event streams.
pub const STREAMS: &str = "event_streams";
/// Requests to the API and pages, by kind of answer.
pub const REQUESTS: &str = "http_requests";

/// Bounds of a step's duration in seconds: a step of 10,000 endpoints is to stay under 10 ms, and
/// one of the length of the tick is late.
const STEP_BOUNDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];

/// The process's own metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    steps: Counter,
    step_duration: Histogram,
    last_step: Gauge<f64, AtomicU64>,
    services: Family<ModeLabel, Gauge>,
    stances: Family<StanceLabel, Gauge>,
    endpoints: Family<EndpointLabel, Gauge>,
    warnings: Family<WarningLabel, Gauge>,
    decisions: Family<DecisionLabel, Counter>,
    moved: Counter<f64, AtomicU64>,
    rollouts: Family<PhaseLabel, Gauge>,
    rollouts_held: Gauge,
    offers: Gauge,
    receipts: Family<OutcomeLabel, Counter>,
    sources: Family<SourceLabel, Gauge>,
    proxies: Family<ProxyLabel, Gauge>,
    relay_streams: Gauge,
    relayed: Family<RelayedLabel, Counter>,
    policies: Family<PolicyLabel, Gauge>,
    ready: Gauge,
    streams: Gauge,
    requests: Family<RequestLabel, Counter>,
}

macro_rules! labels {
    ($(#[$doc:meta])* $set:ident { $field:ident: $value:ident { $($variant:ident),+ $(,)? } }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $set {
            $field: $value,
        }

        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        enum $value {
            $($variant,)+
        }

        impl $value {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }

        impl EncodeLabelValue for $value {
            fn encode(
                &self,
                encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
            ) -> Result<(), std::fmt::Error> {
                snake(&format!("{self:?}")).as_str().encode(encoder)
            }
        }
    };
}

labels!(ModeLabel { mode: ModeValue { Observe, Recommend, Enforce } });
labels!(StanceLabel {
    stance: StanceValue {
        Resting,
        Steering,
        Decaying,
        Suspended,
        Unrecorded,
        Stale,
        Quorum,
        CommonCause,
        Mismatch,
        Refused,
    }
});
labels!(EndpointLabel { state: StateValue { Serving, Joining, Probation, Ejected, NotReady } });
labels!(WarningLabel { kind: WarningValue { Unusual, Shifted, Apart, Ahead, Misfit } });
labels!(DecisionLabel {
    kind: KindValue {
        Ejected,
        Probation,
        Rollout,
        Stance,
        Policy,
        Restored,
        Endpoints,
        Shares,
        First
    }
});
labels!(PhaseLabel { phase: PhaseValue { Stepping, Watching, Done, GivenUp, Paused } });
labels!(OutcomeLabel { outcome: OutcomeValue { Taken, Refused, Silent } });
labels!(SourceLabel { state: SourceValue { Working, Waiting, Failing } });
labels!(ProxyLabel { state: ProxyValue { Connected, Refusing, Gone } });
labels!(RelayedLabel { outcome: RelayedValue { Taken, Refused, Withheld, Blind, Repaired } });
labels!(PolicyLabel { state: PolicyValue { InForce, LastGood, Refused, Conflicted } });
labels!(RequestLabel { answer: AnswerValue { Ok, NotModified, ClientError, ServerError } });

fn snake(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            steps: Counter::default(),
            step_duration: Histogram::new(STEP_BOUNDS),
            last_step: Gauge::default(),
            services: Family::default(),
            stances: Family::default(),
            endpoints: Family::default(),
            warnings: Family::default(),
            decisions: Family::default(),
            moved: Counter::default(),
            rollouts: Family::default(),
            rollouts_held: Gauge::default(),
            offers: Gauge::default(),
            receipts: Family::default(),
            sources: Family::default(),
            proxies: Family::default(),
            relay_streams: Gauge::default(),
            relayed: Family::default(),
            policies: Family::default(),
            ready: Gauge::default(),
            streams: Gauge::default(),
            requests: Family::default(),
        };
        metrics.register_steps();
        metrics.register_surroundings();
        metrics.begin();
        metrics
    }

    fn register_steps(&mut self) {
        let registry = &mut self.registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which Weir this is", build);
        registry.register(STEPS, "Steps taken", self.steps.clone());
        registry.register_with_unit(
            STEP_DURATION,
            "How long a step takes, from observation to decision",
            Unit::Seconds,
            self.step_duration.clone(),
        );
        registry.register_with_unit(
            LAST_STEP,
            "When the last step was taken, in seconds since 1970",
            Unit::Seconds,
            self.last_step.clone(),
        );
        registry.register(SERVICES, "Services by mode", self.services.clone());
        let help = "Services by what Weir is doing with them";
        registry.register(STANCES, help, self.stances.clone());
        registry.register(ENDPOINTS, "Endpoints by state", self.endpoints.clone());
        let help = "Warnings that stand by kind; Weir moves no traffic for them";
        registry.register(WARNINGS, help, self.warnings.clone());
        let help = "Decisions that changed something, by kind of change";
        registry.register(DECISIONS, help, self.decisions.clone());
        let help = "Sum of the parts of their service's traffic that enforced decisions moved";
        registry.register(MOVED, help, self.moved.clone());
        let help = "New versions that take over, by how far they have come";
        registry.register(ROLLOUTS, help, self.rollouts.clone());
        let help = "New versions that something keeps from following the evidence";
        registry.register(ROLLOUTS_HELD, help, self.rollouts_held.clone());
        let help = "Decisions that wait for a person's approval";
        registry.register(OFFERS, help, self.offers.clone());
    }

    fn register_surroundings(&mut self) {
        let registry = &mut self.registry;
        registry.register(RECEIPTS, "Proxies' answers to pushes", self.receipts.clone());
        registry.register(SOURCES, "Telemetry sources by state", self.sources.clone());
        registry.register(PROXIES, "Proxies by state", self.proxies.clone());
        let help = "Streams of proxies that another control plane configures";
        registry.register(RELAY_STREAMS, help, self.relay_streams.clone());
        let help =
            "Resources of another control plane that an opinion was about, by what became of it";
        registry.register(RELAYED, help, self.relayed.clone());
        registry.register(POLICIES, "Policies by state", self.policies.clone());
        registry.register(READY, "Whether Weir is ready: 1 or 0", self.ready.clone());
        registry.register(STREAMS, "Open event streams", self.streams.clone());
        let help = "Requests to the API and the pages by kind of answer";
        registry.register(REQUESTS, help, self.requests.clone());
    }

    /// Every series exists from the start: what has not happened yet is zero, not absent.
    fn begin(&self) {
        for &kind in KindValue::ALL {
            self.decisions.get_or_create(&DecisionLabel { kind }).inc_by(0);
        }
        for &outcome in OutcomeValue::ALL {
            self.receipts.get_or_create(&OutcomeLabel { outcome }).inc_by(0);
        }
        for &answer in AnswerValue::ALL {
            self.requests.get_or_create(&RequestLabel { answer }).inc_by(0);
        }
        self.relay(&RelayView::default());
        self.count_states(None);
        self.count_rollouts(None);
        self.sources(&[]);
        self.proxies(&[]);
        self.policies(&[]);
    }

    pub(crate) fn record(&self, step: &Step<'_>, told: &[Arc<DecisionDetail>]) {
        self.steps.inc();
        self.last_step.set(step.decision.at.millis() as f64 / 1e3);
        self.count_states(Some(step));
        self.count_rollouts(Some(step));
        for decision in told {
            let kind = kind(decision.decision.kind);
            self.decisions.get_or_create(&DecisionLabel { kind }).inc();
        }
        let enforced = step.decision.services.iter().filter(|service| service.acts());
        self.moved.inc_by(enforced.map(|service| service.moved.value()).sum());
        for receipt in &step.observation.receipts {
            let outcome = match receipt.outcome {
                Outcome::Taken => OutcomeValue::Taken,
                Outcome::Refused(_) => OutcomeValue::Refused,
                Outcome::Silent => OutcomeValue::Silent,
            };
            self.receipts.get_or_create(&OutcomeLabel { outcome }).inc();
        }
    }

    /// How the relay stands: counts since it began.
    pub fn relay(&self, view: &RelayView) {
        self.relay_streams.set(view.streams.try_into().unwrap_or(i64::MAX));
        for &outcome in RelayedValue::ALL {
            let total = match outcome {
                RelayedValue::Taken => view.taken,
                RelayedValue::Refused => view.refused,
                RelayedValue::Withheld => view.withheld,
                RelayedValue::Blind => view.blind,
                RelayedValue::Repaired => view.repaired,
            };
            let counter = self.relayed.get_or_create(&RelayedLabel { outcome });
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }

    fn count_states(&self, step: Option<&Step<'_>>) {
        let services = || step.into_iter().flat_map(|step| &step.decision.services);
        for &mode in ModeValue::ALL {
            let count = services().filter(|service| self::mode(service.mode) == mode).count();
            self.services.get_or_create(&ModeLabel { mode }).set(gauge(count));
        }
        for &stance in StanceValue::ALL {
            let count =
                services().filter(|service| self::stance(&service.stance) == stance).count();
            self.stances.get_or_create(&StanceLabel { stance }).set(gauge(count));
        }
        for &state in StateValue::ALL {
            let endpoints = services().flat_map(|service| &service.endpoints);
            let count = endpoints.filter(|endpoint| self::state(endpoint.state) == state).count();
            self.endpoints.get_or_create(&EndpointLabel { state }).set(gauge(count));
        }
        for &kind in WarningValue::ALL {
            let warnings = services().flat_map(|service| &service.warnings);
            let count = warnings.filter(|one| warning(one.finding.kind()) == kind).count();
            self.warnings.get_or_create(&WarningLabel { kind }).set(gauge(count));
        }
    }

    fn count_rollouts(&self, step: Option<&Step<'_>>) {
        let rollouts = || step.into_iter().flat_map(|step| &step.decision.rollouts);
        for &phase in PhaseValue::ALL {
            let count = rollouts().filter(|one| self::phase(one.phase) == phase).count();
            self.rollouts.get_or_create(&PhaseLabel { phase }).set(gauge(count));
        }
        self.rollouts_held.set(gauge(rollouts().filter(|one| one.reason.is_held()).count()));
        let services = step.into_iter().flat_map(|step| &step.decision.services);
        let shares = services.filter(|service| service.offer.is_some()).count();
        let steps = rollouts().filter(|rollout| rollout.offer.is_some()).count();
        self.offers.set(gauge(shares + steps));
    }

    /// How long the last step took.
    pub fn step_took(&self, duration: Duration) {
        self.step_duration.observe(duration.as_secs_f64());
    }

    pub(crate) fn sources(&self, sources: &[SourceView]) {
        let of = |source: &SourceView| match (&source.error, source.last_success) {
            (Some(_), _) => SourceValue::Failing,
            (None, Some(_)) => SourceValue::Working,
            (None, None) => SourceValue::Waiting,
        };
        for &state in SourceValue::ALL {
            let count = sources.iter().filter(|source| of(source) == state).count();
            self.sources.get_or_create(&SourceLabel { state }).set(gauge(count));
        }
    }

    pub(crate) fn proxies(&self, proxies: &[ProxyView]) {
        let of = |proxy: &ProxyView| match (proxy.connected, proxy.refuses()) {
            (false, _) => ProxyValue::Gone,
            (true, true) => ProxyValue::Refusing,
            (true, false) => ProxyValue::Connected,
        };
        for &state in ProxyValue::ALL {
            let count = proxies.iter().filter(|proxy| of(proxy) == state).count();
            self.proxies.get_or_create(&ProxyLabel { state }).set(gauge(count));
        }
    }

    pub(crate) fn policies(&self, policies: &[PolicyView]) {
        let of = |policy: &PolicyView| match policy.state {
            PolicyState::InForce => PolicyValue::InForce,
            PolicyState::LastGood => PolicyValue::LastGood,
            PolicyState::Refused => PolicyValue::Refused,
            PolicyState::Conflicted => PolicyValue::Conflicted,
        };
        for &state in PolicyValue::ALL {
            let count = policies.iter().filter(|policy| of(policy) == state).count();
            self.policies.get_or_create(&PolicyLabel { state }).set(gauge(count));
        }
    }

    pub(crate) fn health(&self, health: &HealthView) {
        self.ready.set(i64::from(health.ready));
    }

    /// Counts an answer of the API or a page.
    pub(crate) fn answered(&self, status: u16) {
        let answer = match status {
            304 => AnswerValue::NotModified,
            400..=499 => AnswerValue::ClientError,
            500.. => AnswerValue::ServerError,
            _ => AnswerValue::Ok,
        };
        self.requests.get_or_create(&RequestLabel { answer }).inc();
    }

    pub(crate) fn streams(&self) -> &Gauge {
        &self.streams
    }

    /// All of it in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing into a string does not fail");
        text
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn mode(mode: Mode) -> ModeValue {
    match mode {
        Mode::Observe => ModeValue::Observe,
        Mode::Recommend => ModeValue::Recommend,
        Mode::Enforce => ModeValue::Enforce,
    }
}

fn stance(stance: &Stance) -> StanceValue {
    match stance {
        Stance::Resting => StanceValue::Resting,
        Stance::Steering => StanceValue::Steering,
        Stance::Decaying { .. } => StanceValue::Decaying,
        Stance::Holding(Hold::Suspended) => StanceValue::Suspended,
        Stance::Holding(Hold::Unrecorded) => StanceValue::Unrecorded,
        Stance::Holding(Hold::Stale { .. }) => StanceValue::Stale,
        Stance::Holding(Hold::Quorum { .. }) => StanceValue::Quorum,
        Stance::Holding(Hold::CommonCause { .. }) => StanceValue::CommonCause,
        Stance::Holding(Hold::Mismatch { .. }) => StanceValue::Mismatch,
        Stance::Holding(Hold::Refused { .. }) => StanceValue::Refused,
    }
}

fn state(state: EndpointState) -> StateValue {
    match state {
        EndpointState::Serving => StateValue::Serving,
        EndpointState::Joining => StateValue::Joining,
        EndpointState::Probation => StateValue::Probation,
        EndpointState::Ejected { .. } => StateValue::Ejected,
        EndpointState::NotReady => StateValue::NotReady,
    }
}

fn phase(phase: Phase) -> PhaseValue {
    match phase {
        Phase::Stepping { .. } => PhaseValue::Stepping,
        Phase::Watching => PhaseValue::Watching,
        Phase::Done => PhaseValue::Done,
        Phase::GivenUp => PhaseValue::GivenUp,
        Phase::Paused => PhaseValue::Paused,
    }
}

fn warning(kind: warning::Kind) -> WarningValue {
    match kind {
        warning::Kind::Unusual => WarningValue::Unusual,
        warning::Kind::Shifted => WarningValue::Shifted,
        warning::Kind::Apart => WarningValue::Apart,
        warning::Kind::Ahead => WarningValue::Ahead,
        warning::Kind::Misfit => WarningValue::Misfit,
    }
}

fn kind(kind: Kind) -> KindValue {
    match kind {
        Kind::Ejected => KindValue::Ejected,
        Kind::Probation => KindValue::Probation,
        Kind::Rollout => KindValue::Rollout,
        Kind::Stance => KindValue::Stance,
        Kind::Policy => KindValue::Policy,
        Kind::Restored => KindValue::Restored,
        Kind::Endpoints => KindValue::Endpoints,
        Kind::Shares => KindValue::Shares,
        Kind::First => KindValue::First,
    }
}
