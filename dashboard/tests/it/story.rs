//! A deterministic quarter of an hour in a small mesh, told to a board step by step.
//!
//! `demo/shop` is enforced and lives through a failing and then a slow endpoint; `demo/catalog` is
//! only observed; `pay/ledger` loses its telemetry. Noise comes from a counter, so that every run
//! shows the same page.

use std::sync::Arc;
use std::time::Duration;

use weir_dashboard::board::{Board, Step};
use weir_dashboard::view::Time;
use weir_dashboard::view::health::HealthView;
use weir_engine::decision::{Decision, ServiceDecision};
use weir_engine::goal::{Goals, Mode};
use weir_engine::names::ServiceId;
use weir_engine::observation::{Observation, Outcome, Receipt, ServiceTraffic};
use weir_engine::rollout::RolloutDecision;
use weir_engine::topology::Topology;
use weir_engine::units::Moment;

// By path: another crate's tests take the story as a file of theirs.
#[path = "story/decided.rs"]
mod decided;
#[path = "story/declared.rs"]
mod declared;
#[path = "story/plot.rs"]
mod plot;
#[path = "story/surroundings.rs"]
pub mod surroundings;

use decided::{decide_service_at, rollout};
use declared::{goal, topology};
use plot::{fault, noise, row};
use surroundings::{check, policies, proxies, sources};

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
