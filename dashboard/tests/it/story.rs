//! A deterministic quarter of an hour in a small mesh, told to a board step by step.
//!
//! `demo/shop` is enforced and lives through a failing and then a slow endpoint; `demo/catalog` is
//! only observed; `pay/ledger` loses its telemetry. Noise comes from a counter, so that every run
//! shows the same page.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use weir_dashboard::board::{Board, Step};
use weir_dashboard::view::Time;
use weir_dashboard::view::health::{CheckView, HealthView};
use weir_dashboard::view::mesh::{
    PolicyState, PolicyView, ProblemView, ProxyView, Severity, SourceView, SubscriptionView, Sync,
};
use weir_engine::comparison::{Comparison, Finding, Measured, Signal, Verdict};
use weir_engine::decision::{
    Decision, EndpointDecision, EndpointState, Failing, Form, Group, Health, Hold, Member,
    ObjectiveStatus, Realisation, Reason, ServiceDecision, Stance,
};
use weir_engine::goal::{Goal, Goals, Indicator, Mode, Objective};
use weir_engine::latency::Latency;
use weir_engine::names::{Locality, PolicyName, ServiceId};
use weir_engine::observation::{Observation, Outcome, Receipt, Row, ServiceTraffic, Source};
use weir_engine::rollout::{self, Phase, RolloutDecision};
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology, Topology};
use weir_engine::units::{Millis, Moment, PerSecond, Ratio};
use weir_engine::warning::{self, Warning};

/// 2026-11-24 07:30:00 UTC.
pub const START: Moment = Moment::from_millis(1_795_505_400_000);

/// When the story stands still: five minutes later.
pub const STEPS: u64 = 300;

/// One service of the story.
pub struct Cast {
    pub id: ServiceId,
    pub endpoints: Vec<String>,
    pub mode: Mode,
    pub rps: f64,
}

/// A story and where it stands.
pub struct Story {
    pub board: Arc<Board>,
    pub step: u64,
    topology: Topology,
    goals: Goals,
    casts: Vec<Cast>,
    rollouts: fn(u64) -> Vec<Arc<RolloutDecision>>,
    /// What else is decided of a service at a step.
    pub also: fn(&mut ServiceDecision, u64),
}

pub fn at(step: u64) -> Moment {
    START.plus(Duration::from_secs(step))
}

impl Story {
    /// The story with its three services, at its beginning.
    pub fn new() -> Self {
        let addresses =
            |net: &str, count: u64| (1..=count).map(|host| format!("{net}.{host}:8080")).collect();
        Self::of(vec![
            Cast {
                id: ServiceId::new("demo", "catalog"),
                endpoints: addresses("10.0.1", 6),
                mode: Mode::Observe,
                rps: 240.0,
            },
            Cast {
                id: ServiceId::new("demo", "shop"),
                endpoints: addresses("10.0.0", 10),
                mode: Mode::Enforce,
                rps: 1_200.0,
            },
            Cast {
                id: ServiceId::new("pay", "ledger"),
                endpoints: addresses("10.0.2", 4),
                mode: Mode::Recommend,
                rps: 80.0,
            },
        ])
    }

    /// A story of other services, in ascending order of id.
    pub fn of(casts: Vec<Cast>) -> Self {
        Self {
            board: Arc::new(Board::new(START)),
            step: 0,
            topology: Topology { services: casts.iter().map(topology).collect() },
            goals: Goals { services: casts.iter().map(goal).collect(), ..Goals::default() },
            casts,
            rollouts: |_| Vec::new(),
            also: |_, _| {},
        }
    }

    /// Another story: `shop/search`, which is only a route, goes over from `search-v6` to a
    /// `search-v7` that turns out to be worse at its second step.
    pub fn of_a_rollout() -> Self {
        let cast = |name: &str, endpoints: &[&str], rps| Cast {
            id: ServiceId::new("shop", name),
            endpoints: endpoints.iter().map(ToString::to_string).collect(),
            mode: Mode::Enforce,
            rps,
        };
        let casts = vec![
            cast("search", &[], 0.0),
            cast("search-v6", &["10.0.6.1:9000", "10.0.6.2:9000"], 360.0),
            cast("search-v7", &["10.0.7.1:9000", "10.0.7.2:9000"], 40.0),
        ];
        Self { rollouts: |step| vec![Arc::new(rollout(step))], ..Self::of(casts) }
    }

    /// Tells so many steps more.
    pub fn tell(&mut self, steps: u64) -> &mut Self {
        for _ in 0..steps {
            self.step += 1;
            let decision = self.decide();
            let observation = self.observe();
            self.board.record(&Step {
                decision: &decision,
                observation: &observation,
                topology: &self.topology,
                goals: &self.goals,
            });
        }
        self
    }

    /// The whole story with all that stands around it.
    pub fn whole() -> Self {
        let mut story = Self::new();
        story.surround();
        story.tell(STEPS);
        story.surround();
        story
    }

    fn decide(&self) -> Decision {
        Decision {
            sequence: 1_000 + self.step,
            at: at(self.step),
            services: self
                .casts
                .iter()
                .map(|cast| {
                    let mut decided = decide_service_at(cast, self.step);
                    (self.also)(&mut decided, self.step);
                    Arc::new(decided)
                })
                .collect(),
            rollouts: (self.rollouts)(self.step),
            ..Decision::default()
        }
    }

    fn observe(&self) -> Observation {
        let traffic = self.casts.iter().filter_map(|cast| self.traffic(cast)).collect();
        let shop = |cast: &&Cast| &*cast.id.name == "shop";
        let receipts = self.casts.iter().filter(shop).flat_map(|cast| {
            (1..=4).map(|node| Receipt {
                node: format!("edge-{node}").into(),
                service: cast.id.clone(),
                decision: 1_000 + self.step - 1,
                outcome: Outcome::Taken,
            })
        });
        Observation {
            at: at(self.step),
            traffic,
            receipts: receipts.collect(),
            ..Observation::default()
        }
    }

    fn traffic(&self, cast: &Cast) -> Option<ServiceTraffic> {
        if &*cast.id.name == "ledger" && self.step > 240 {
            return None;
        }
        // What is seen in a step was sent under the decision before it.
        let shares = decide_service_at(cast, self.step.saturating_sub(1)).endpoints;
        let rows = shares.iter().enumerate().map(|(index, endpoint)| {
            let fault = fault(cast, index, self.step);
            let requests =
                cast.rps * endpoint.share.value() * (0.92 + 0.16 * noise(index, self.step));
            row(index, requests, &fault, noise(index + 100, self.step))
        });
        Some(ServiceTraffic {
            service: cast.id.clone(),
            clients: 40,
            reporters: 4,
            rows: rows.collect(),
            totals: None,
            zones: Vec::new(),
        })
    }

    /// Sources, proxies, policies and health as they stand now.
    pub fn surround(&self) {
        let now = Time(at(self.step));
        self.board.set_sources(sources(now));
        self.board.set_proxies(proxies(now));
        self.board.set_policies(policies());
        self.board.set_health(HealthView {
            ready: true,
            checks: vec![
                check("xds", "serving on 127.0.0.1:18010"),
                check("telemetry", "load reports are fresh"),
            ],
        });
    }
}

fn decide_service_at(cast: &Cast, step: u64) -> ServiceDecision {
    let plots: Vec<Plot> = (0..cast.endpoints.len()).map(|index| plot(cast, index, step)).collect();
    let sum: f64 = plots.iter().filter(|p| p.takes()).map(|p| p.weight).sum();
    let endpoints: Vec<_> = plots
        .iter()
        .zip(&cast.endpoints)
        .map(|(plot, address)| EndpointDecision {
            address: address.as_str().into(),
            weight: plot.weight,
            share: Ratio::of(if plot.takes() { plot.weight } else { 0.0 }, sum),
            state: plot.state,
            reason: plot.reason.clone(),
            bound: None,
        })
        .collect();
    let steering = plots.iter().any(|p| !p.takes() || (p.weight - 1.0).abs() > 1e-9);
    let ledger_is_blind = &*cast.id.name == "ledger" && step > 240;
    let stance = if ledger_is_blind {
        Stance::Holding(Hold::Stale { age: Duration::from_secs(step - 240) })
    } else if steering {
        Stance::Steering
    } else {
        Stance::Resting
    };
    ServiceDecision {
        warnings: warnings(cast, step),
        shed: weir_engine::units::Ratio::ZERO,
        zones: vec![],
        service: cast.id.clone(),
        policy: policy(cast),
        mode: cast.mode,
        stance,
        load: PerSecond::clamped(cast.rps),
        capacity: PerSecond::new(cast.rps * 1.66),
        realisations: match endpoints.len() {
            0 => Vec::new(),
            _ => vec![Arc::new(realisation(&endpoints, cast))],
        },
        endpoints,
        objectives: objectives(cast, step),
        moved: Ratio::ZERO,
        offer: None,
        approval: None,
    }
}

/// The rollout at a step: a minute at 2 %, half a minute on the way to 10 %, then given up.
fn rollout(step: u64) -> RolloutDecision {
    let (phase, weight, reason, failures) = match step {
        0..60 => (Phase::Stepping { step: 0 }, 0.02, rollout::Reason::Gathering, 0),
        60..90 => (Phase::Stepping { step: 1 }, 0.1, rollout::Reason::Gathering, 0),
        90.. => (Phase::GivenUp, 0.0, rollout::Reason::Worse, 1),
    };
    let worse = failures > 0;
    let part = |events: f64, requests| Measured::Part { events, requests };
    let typical = |ms, requests| Measured::Typical { latency: Millis::clamped(ms), requests };
    let errors = Comparison {
        signal: Signal::Errors,
        finding: if worse { Finding::Fail } else { Finding::Inconclusive },
        canary: part(if worse { 61.0 } else { 1.0 }, 1_200.0),
        stable: part(11.0, 10_800.0),
        ratio: Some(if worse { 49.91 } else { 0.82 }),
        lower: if worse { 20.4 } else { 0.02 },
        upper: (!worse).then_some(18.3),
        chance: Ratio::clamped(if worse { 0.000_01 } else { 1.0 }),
        at_most: Some(Ratio::clamped(0.07)),
    };
    let latency = Comparison {
        signal: Signal::Latency,
        finding: Finding::Pass,
        canary: typical(20.4, 900.0),
        stable: typical(20.1, 8_100.0),
        ratio: Some(1.01),
        lower: 0.93,
        upper: Some(1.11),
        chance: Ratio::ONE,
        at_most: None,
    };
    RolloutDecision {
        service: ServiceId::new("shop", "search"),
        policy: "shop/search".into(),
        mode: Mode::Enforce,
        stable: ServiceId::new("shop", "search-v6"),
        canary: ServiceId::new("shop", "search-v7"),
        weight: Ratio::clamped(weight),
        phase,
        steps: [0.02, 0.1, 0.5].map(Ratio::clamped).to_vec(),
        failures,
        verdict: Verdict { finding: errors.finding, comparisons: vec![errors, latency] },
        reason,
        offer: None,
    }
}

/// From eight seconds after the shop begins to fail.
fn warnings(cast: &Cast, step: u64) -> Vec<Warning> {
    const BEGUN: u64 = 240;
    if &*cast.id.name != "shop" || step < BEGUN {
        return Vec::new();
    }
    let errors = warning::Finding::Unusual {
        signal: warning::Signal::Errors,
        value: 0.038,
        usual: 0.000_4,
        deviations: 11.2,
    };
    let apart =
        warning::Finding::Apart { value: 96.1, siblings: 41.0, deviations: 8.7, samples: 5 };
    let about = |endpoint, finding| Warning { endpoint, since: at(BEGUN), finding };
    vec![about(None, errors), about(Some(3), apart)]
}

fn check(name: &str, text: &str) -> CheckView {
    CheckView { name: name.into(), passes: true, text: text.into() }
}

/// Steady noise in 0..1.
fn noise(index: usize, step: u64) -> f64 {
    let mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ step.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 40) as f64 / f64::from(1_u32 << 24)
}

/// What is wrong with an endpoint.
struct Fault {
    errors: f64,
    slower: f64,
}

fn fault(cast: &Cast, index: usize, step: u64) -> Fault {
    let shop = &*cast.id.name == "shop";
    let catalog = &*cast.id.name == "catalog";
    Fault {
        errors: if shop && index == 3 && step >= 232 {
            0.3
        } else if catalog && index == 1 && step > 200 {
            0.12
        } else {
            0.000_4
        },
        slower: if shop && index == 6 && (90..170).contains(&step) { 9.0 } else { 1.0 },
    }
}

/// What is decided for an endpoint.
struct Plot {
    weight: f64,
    state: EndpointState,
    reason: Reason,
}

impl Plot {
    fn takes(&self) -> bool {
        !matches!(self.state, EndpointState::Ejected { .. })
    }
}

fn plot(cast: &Cast, index: usize, step: u64) -> Plot {
    let (shop, catalog) = (&*cast.id.name == "shop", &*cast.id.name == "catalog");
    match (index, step) {
        (3, 234..) if shop => failing_plot(step),
        (6, 93..=185) if shop => slow_plot(step),
        (1, 203..) if catalog => out(203, 300, 1, (23.0, 191.0)),
        (_, 93..=185) if shop => Plot { reason: Reason::Remainder, ..calm() },
        _ => calm(),
    }
}

fn calm() -> Plot {
    Plot { weight: 1.0, state: EndpointState::Serving, reason: Reason::Equal }
}

/// Ejections of 10, 20 and 40 seconds with probations of three between them.
fn failing_plot(step: u64) -> Plot {
    let spells =
        [(234, 10, 1, (36.0, 118.0)), (247, 20, 2, (11.0, 34.0)), (270, 40, 3, (9.0, 33.0))];
    for (from, length, times, evidence) in spells {
        if (from..from + length).contains(&step) {
            return out(from, length, times, evidence);
        }
    }
    let since = spells.iter().map(|(from, length, ..)| from + length).filter(|end| *end <= step);
    Plot {
        weight: 0.3,
        state: EndpointState::Probation,
        reason: Reason::Proving { age: Duration::from_secs(step - since.max().unwrap()) },
    }
}

fn out(from: u64, length: u64, times: u32, (errors, requests): (f64, f64)) -> Plot {
    Plot {
        weight: 1.0,
        state: EndpointState::Ejected { until: at(from + length), times },
        reason: Reason::Failing(Failing {
            errors,
            requests,
            bound: Ratio::clamped(errors / requests * 0.73),
            limit: Ratio::clamped(0.01),
        }),
    }
}

fn slow_plot(step: u64) -> Plot {
    let down = step.saturating_sub(93) as f64;
    let up = step.saturating_sub(172) as f64;
    let weight =
        if step < 172 { (1.0 - down * 0.09).max(0.12) } else { (0.12 + up * 0.07).min(1.0) };
    Plot {
        weight,
        state: EndpointState::Serving,
        reason: Reason::ServiceTime {
            own: Millis::clamped(if step < 172 { 364.0 } else { 52.0 }),
            peers: Millis::clamped(40.4),
            persistence: 0.93,
        },
    }
}

fn row(index: usize, requests: f64, fault: &Fault, luck: f64) -> Row {
    let requests = requests.round().max(0.0);
    let errors = (requests * fault.errors + luck * 0.9).floor().min(requests);
    let mut latency = Latency::default();
    let timed = (requests / 8.0).ceil();
    let mut left = timed;
    for (multiple, part) in [(0.7, 0.35), (1.0, 0.35), (1.6, 0.2), (2.8, 0.08), (4.6 + luck, 1.0)] {
        let count = (timed * part).ceil().min(left);
        left -= count;
        let ms = 40.0 * multiple * fault.slower;
        latency.add_to_bucket(weir_engine::latency::bucket_of(Millis::clamped(ms)), count);
        latency.count += count;
        latency.sum_ms += count * ms;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and positive"
    )]
    let whole = |value: f64| value as u64;
    Row {
        endpoint: u32::try_from(index).unwrap(),
        requests: whole(requests),
        errors: whole(errors),
        timeouts: whole(errors / 5.0),
        judged_requests: requests,
        judged_errors: errors,
        exposure: Duration::from_secs(40),
        clients: 40,
        latency,
        opinions: 40,
        ..Row::default()
    }
}

fn topology(cast: &Cast) -> ServiceTopology {
    let zone = |index: usize| ["a", "b"][index % 2];
    let endpoints = cast.endpoints.iter().enumerate();
    ServiceTopology {
        service: cast.id.clone(),
        endpoints: endpoints
            .map(|(index, address)| Endpoint {
                address: address.as_str().into(),
                locality: Locality {
                    region: "eu-1".into(),
                    zone: format!("eu-1{}", zone(index)).as_str().into(),
                    sub_zone: "".into(),
                },
                concurrency: NonZeroU32::new(8),
                ready: true,
            })
            .collect(),
        clusters: vec![ClientCluster {
            name: cast.id.name.as_ref().into(),
            form: ClusterForm::native(),
        }],
        counts: Source::LoadReport,
    }
}

fn policy(cast: &Cast) -> PolicyName {
    match cast.mode {
        Mode::Observe => PolicyName::default(),
        Mode::Recommend | Mode::Enforce => cast.id.to_string().into(),
    }
}

fn goal(cast: &Cast) -> Goal {
    let mut goal = Goal::of_unclaimed(cast.id.clone());
    goal.mode = cast.mode;
    goal.policy = policy(cast);
    if cast.mode != Mode::Observe {
        let window = Duration::from_secs(28 * 86_400);
        goal.objectives = vec![
            Objective {
                name: "availability".into(),
                target: Ratio::clamped(0.999),
                window,
                indicator: Indicator::Availability,
            },
            Objective {
                name: "latency".into(),
                target: Ratio::clamped(0.99),
                window,
                indicator: Indicator::Latency { threshold: Millis::clamped(500.0) },
            },
        ];
    }
    goal
}

fn objectives(cast: &Cast, step: u64) -> Vec<ObjectiveStatus> {
    if cast.mode == Mode::Observe {
        return Vec::new();
    }
    let spent =
        if cast.mode == Mode::Enforce { (step.min(260).saturating_sub(232)) as f64 } else { 0.0 };
    vec![
        ObjectiveStatus {
            name: "availability".into(),
            target: Ratio::clamped(0.999),
            good: Some(Ratio::clamped(0.999_71 - spent * 1e-6)),
            budget_left: 0.71 - spent * 0.006,
            burn_rate: 0.4 + spent * 0.07,
        },
        ObjectiveStatus {
            name: "latency".into(),
            target: Ratio::clamped(0.99),
            good: Some(Ratio::clamped(0.9962)),
            budget_left: 0.62,
            burn_rate: 0.4,
        },
    ]
}

fn realisation(endpoints: &[EndpointDecision], cast: &Cast) -> Realisation {
    let light = endpoints.iter().filter(|e| e.weight < 0.995).count();
    let member = |endpoint: &EndpointDecision| Member {
        address: endpoint.address.clone(),
        weight: NonZeroU32::MIN,
        health: match endpoint.state {
            EndpointState::Ejected { .. } => Health::Unhealthy,
            EndpointState::Serving
            | EndpointState::Joining
            | EndpointState::Probation
            | EndpointState::NotReady => Health::Healthy,
        },
    };
    let locality = |class: &str| Locality {
        region: "eu-1".into(),
        zone: "eu-1a".into(),
        sub_zone: class.into(),
    };
    let group = |class: &str, weight: u32, light: bool| Group {
        locality: locality(class),
        weight: NonZeroU32::new(weight).unwrap(),
        members: endpoints.iter().filter(|e| (e.weight < 0.995) == light).map(member).collect(),
    };
    let mut groups = vec![group("", 1_000, false)];
    if light > 0 {
        groups.push(group("weir-light", 120, true));
    }
    Realisation {
        shed: weir_engine::units::Ratio::ZERO,
        zones: vec![],
        clusters: vec![cast.id.name.as_ref().into()],
        form: if light > 0 { Form::Classes } else { Form::InOut },
        groups,
        predicted: endpoints.iter().map(|endpoint| endpoint.share).collect(),
        panicking: false,
    }
}

fn sources(now: Time) -> Vec<SourceView> {
    let earlier = |seconds: u64| Some(Time(Moment::from_millis(now.0.millis() - seconds * 1_000)));
    vec![
        SourceView {
            name: "push".into(),
            kind: "load reports".into(),
            target: "127.0.0.1:18010".into(),
            last_success: earlier(0),
            error: None,
            delivered: 12_400,
            dropped: 0,
        },
        SourceView {
            name: "edge".into(),
            kind: "scrape".into(),
            target: "http://127.0.0.1:9901/stats/prometheus".into(),
            last_success: earlier(3),
            error: None,
            delivered: 1_180,
            dropped: 0,
        },
        SourceView {
            name: "prometheus".into(),
            kind: "prometheus".into(),
            target: "http://prometheus.monitoring:9090".into(),
            last_success: earlier(61),
            error: Some(
                "http://prometheus.monitoring:9090/api/v1/query: connection refused; is Prometheus \
                 running there?"
                    .into(),
            ),
            delivered: 204,
            dropped: 0,
        },
    ]
}

fn proxies(now: Time) -> Vec<ProxyView> {
    let subscription = |kind: &str, version: &str| SubscriptionView {
        kind: kind.into(),
        sync: Sync::Synced,
        sent_version: version.into(),
        taken_version: version.into(),
        sent: Some(now),
        lag_ms: Some(2.4),
        error: None,
    };
    (1..=4)
        .map(|number| ProxyView {
            node: format!("edge-{number}"),
            cluster: "edge".into(),
            version: "envoy 1.40.0".into(),
            connected: true,
            last_seen: Some(now),
            types: vec![subscription("CDS", "7"), subscription("EDS", "1300")],
        })
        .collect()
}

/// A policy that is in force.
pub fn policies() -> Vec<PolicyView> {
    vec![PolicyView {
        name: "demo/shop".into(),
        path: "policies/shop.yaml".into(),
        targets: vec!["demo/shop".into()],
        mode: Some(weir_dashboard::view::service::Mode::Enforce),
        suspended: false,
        objectives: vec![
            "99.9 % of requests succeed over 28 d".into(),
            "99 % of requests within 500 ms over 28 d".into(),
        ],
        state: PolicyState::InForce,
        problems: Vec::new(),
    }]
}

/// A policy whose file is wrong.
pub fn wrong_policy() -> PolicyView {
    let text = "error[WEIR0012]: unknown field `maxEjectionPercnt`\n \
                --> policies/ledger.yaml:14:5\n   |\n14 |     maxEjectionPercnt: 20\n   |     \
                ^^^^^^^^^^^^^^^^^ did you mean `maxEjectionPercent`?";
    PolicyView {
        name: "pay/ledger".into(),
        path: "policies/ledger.yaml".into(),
        targets: vec!["pay/ledger".into()],
        mode: Some(weir_dashboard::view::service::Mode::Recommend),
        suspended: false,
        objectives: Vec::new(),
        state: PolicyState::LastGood,
        problems: vec![ProblemView {
            severity: Severity::Error,
            code: "WEIR0012".into(),
            path: "policies/ledger.yaml".into(),
            line: 14,
            column: 5,
            what: "unknown field `maxEjectionPercnt`".into(),
            mend: "write `maxEjectionPercent`".into(),
            text: text.into(),
        }],
    }
}

/// A proxy that refuses what it is sent.
pub fn refusing_proxy() -> ProxyView {
    ProxyView {
        node: "edge-5".into(),
        cluster: "edge".into(),
        version: "envoy 1.28.0".into(),
        connected: true,
        last_seen: Some(Time(at(STEPS))),
        types: vec![SubscriptionView {
            kind: "CDS".into(),
            sync: Sync::Refused,
            sent_version: "8".into(),
            taken_version: "7".into(),
            sent: Some(Time(at(STEPS))),
            lag_ms: None,
            error: Some(
                "Error adding/updating cluster(s) shop: Proto constraint validation failed \
                 (ClusterValidationError.LbPolicy: value must be one of the defined enum values)"
                    .into(),
            ),
        }],
    }
}
