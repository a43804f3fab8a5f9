//! A model as simple as can be, and a mesh of services that it decides.

use core::time::Duration;

use weir_engine::assessment::{Assessment, Judgement};
use weir_engine::decide;
use weir_engine::decision::{
    Decision, EndpointDecision, EndpointState, Failing, Reason, ServiceDecision,
};
use weir_engine::goal::{Goal, Goals, Mode};
use weir_engine::latency::Latency;
use weir_engine::model::{Model, View};
use weir_engine::names::{Locality, ServiceId};
use weir_engine::observation::{Observation, Row, ServiceTraffic, Source};
use weir_engine::plan::{Plan, Wish};
use weir_engine::state::State;
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology, Topology};
use weir_engine::units::{Millis, Moment, PerSecond, Ratio};

/// Weights by mean latency, out with whoever fails a fifth of twenty requests: of the newest
/// counts alone, and remembers them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Toy;

/// What it remembers of an endpoint.
pub(crate) type Memory = Vec<f64>;

impl Model for Toy {
    type Memory = Memory;

    fn version(&self) -> &'static str {
        "toy"
    }

    fn remap(&self, memory: &mut Memory, from: &[Option<usize>]) {
        let old = |old: usize| memory.get(old).copied();
        *memory = from.iter().map(|from| from.and_then(old).unwrap_or(0.0)).collect();
    }

    fn assess(&self, view: &View<'_>, memory: &mut Memory) -> Assessment {
        memory.resize(view.topology.endpoints.len(), 0.0);
        let endpoints = memory.iter_mut().enumerate();
        let endpoints = endpoints.map(|(index, ms)| {
            let row = view.history.pooled(index, Moment::default(), |row| row.requests > 0);
            *ms = row.latency.mean().map_or(*ms, Millis::value);
            judged(row.errors as f64, row.requests as f64)
        });
        let endpoints: Vec<Judgement> = endpoints.collect();
        let requests = endpoints.iter().map(|judgement| judgement.requests).sum();
        Assessment {
            endpoints,
            load: PerSecond::clamped(requests),
            persistence: 1.0,
            warnings: Vec::new(),
        }
    }

    fn share(&self, _: &View<'_>, assessment: &Assessment, memory: &mut Memory) -> Plan {
        let known = memory.iter().filter(|ms| **ms > 0.0);
        let mean = known.clone().sum::<f64>() / known.count().max(1) as f64;
        let wish = |(judgement, &ms): (&Judgement, &f64)| Wish {
            weight: if ms > 0.0 { mean / ms } else { 1.0 },
            eject: judgement.failing.is_some(),
            reason: judgement.failing.map_or(Reason::Equal, Reason::Failing),
        };
        let endpoints = assessment.endpoints.iter().zip(memory.iter()).map(wish).collect();
        Plan { endpoints, steering: true, ..Plan::default() }
    }
}

fn judged(errors: f64, requests: f64) -> Judgement {
    let part = Ratio::of(errors, requests);
    let failing = (requests >= 20.0 && part.value() > 0.2).then(|| Failing {
        errors,
        requests,
        bound: part,
        limit: Ratio::clamped(0.2),
    });
    Judgement { failing, bad: failing.is_some(), errors, requests, ..Judgement::default() }
}

/// What one endpoint is like: requests and errors a second, and milliseconds a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen(pub(crate) u64, pub(crate) u64, pub(crate) f64);

/// As good as any.
pub(crate) const FINE: Seen = Seen(100, 0, 40.0);
/// To be taken out.
pub(crate) const BROKEN: Seen = Seen(100, 60, 40.0);
/// Twice as slow as others.
pub(crate) const SLOW: Seen = Seen(100, 0, 80.0);

/// A service's name.
pub(crate) fn id(name: &str) -> ServiceId {
    ServiceId::new("demo", name)
}

/// The address of an endpoint by its number.
pub(crate) fn address(number: usize) -> String {
    format!("10.0.{}.{:03}:80", number / 250, number % 250)
}

/// A service of endpoints by their numbers.
pub(crate) fn service(name: &str, numbers: impl IntoIterator<Item = usize>) -> ServiceTopology {
    let endpoint = |number| Endpoint {
        address: address(number).into(),
        locality: Locality::default(),
        concurrency: None,
        ready: true,
    };
    let cluster = ClientCluster { name: name.into(), form: ClusterForm::native() };
    ServiceTopology {
        service: id(name),
        endpoints: numbers.into_iter().map(endpoint).collect(),
        clusters: vec![cluster],
        counts: Source::LoadReport,
    }
}

/// A goal in force.
pub(crate) fn enforce(name: &str) -> Goal {
    let policy = format!("demo/{name}").into();
    Goal { mode: Mode::Enforce, policy, ..Goal::of_unclaimed(id(name)) }
}

/// What a second of a service looks like.
pub(crate) fn traffic(name: &str, seen: &[Seen]) -> ServiceTraffic {
    let row = |(index, &Seen(requests, errors, ms)): (usize, &Seen)| Row {
        endpoint: index as u32,
        requests,
        errors,
        judged_requests: requests as f64,
        judged_errors: errors as f64,
        exposure: Duration::from_secs(4),
        clients: 4,
        latency: Latency {
            count: requests as f64,
            sum_ms: ms * requests as f64,
            ..Latency::default()
        },
        ..Row::default()
    };
    let rows = seen.iter().enumerate().map(row).collect();
    ServiceTraffic {
        service: id(name),
        clients: 4,
        reporters: 4,
        rows,
        ..ServiceTraffic::default()
    }
}

/// A mesh: what is declared and wanted, and the state that decides it.
#[derive(Clone, Debug)]
pub(crate) struct Mesh {
    pub(crate) state: State<Memory>,
    pub(crate) services: Vec<ServiceTopology>,
    pub(crate) goals: Vec<Goal>,
    pub(crate) at: Moment,
    told: Option<(Vec<ServiceTopology>, Vec<Goal>)>,
}

impl Mesh {
    /// Services by name and number of endpoints, in order of name; all in Enforce.
    pub(crate) fn of(services: &[(&str, usize)]) -> Self {
        Self {
            state: State::default(),
            services: services.iter().map(|&(name, count)| service(name, 0..count)).collect(),
            goals: services.iter().map(|(name, _)| enforce(name)).collect(),
            at: Moment::from_millis(1_000_000),
            told: None,
        }
    }

    /// What is observed now: topology and goals where they have changed.
    pub(crate) fn observe(&mut self, traffic: Vec<ServiceTraffic>) -> Observation {
        let (services, goals) = (self.services.clone(), self.goals.clone());
        let told = self.told.replace((services.clone(), goals.clone()));
        let changed = |change: bool| told.is_none() || change;
        let (old_services, old_goals) = told.clone().unwrap_or_default();
        Observation {
            at: self.at,
            topology: changed(old_services != services).then_some(Topology { services }),
            goals: changed(old_goals != goals)
                .then_some(Goals { services: goals, ..Goals::default() }),
            traffic,
            ..Observation::default()
        }
    }

    /// A step after a while.
    pub(crate) fn after(&mut self, while_: Duration, traffic: Vec<ServiceTraffic>) -> Decision {
        self.at = self.at.plus(while_);
        let observation = self.observe(traffic);
        decide(&mut self.state, &observation, &Toy)
    }

    /// A second in which the services, in order, look so.
    pub(crate) fn second(&mut self, seen: &[&[Seen]]) -> Decision {
        let names: Vec<_> = self.services.iter().map(|s| s.service.name.to_string()).collect();
        let traffic = names.iter().zip(seen).map(|(name, seen)| traffic(name, seen)).collect();
        self.after(Duration::from_secs(1), traffic)
    }

    /// So many such seconds; the last decision.
    pub(crate) fn seconds(&mut self, count: u32, seen: &[&[Seen]]) -> Decision {
        (0..count).map(|_| self.second(seen)).last().unwrap()
    }

    /// A second in which nothing is seen.
    pub(crate) fn silence(&mut self) -> Decision {
        self.after(Duration::from_secs(1), Vec::new())
    }

    /// The state written down and read back, as a restart does it.
    pub(crate) fn restart(&mut self) {
        let text = serde_json::to_vec(&self.state).unwrap();
        self.state = serde_json::from_slice(&text).unwrap();
        self.told = None;
    }
}

/// The only service of a decision.
pub(crate) fn only(decision: &Decision) -> &ServiceDecision {
    assert_eq!(decision.services.len(), 1);
    &decision.services[0]
}

/// Who is ejected, by number in the topology's order.
pub(crate) fn out(service: &ServiceDecision) -> Vec<usize> {
    let endpoints = service.endpoints.iter().enumerate();
    endpoints.filter(|(_, endpoint)| endpoint.is_ejected()).map(|(index, _)| index).collect()
}

/// The weights.
pub(crate) fn weights(service: &ServiceDecision) -> Vec<f64> {
    service.endpoints.iter().map(|endpoint| endpoint.weight).collect()
}

/// The shares that proxies make of it.
pub(crate) fn predicted(service: &ServiceDecision) -> Vec<f64> {
    service.realisations[0].predicted.iter().map(|share| share.value()).collect()
}

/// Half the sum of absolute changes of shares.
pub(crate) fn moved(before: &[f64], after: &[f64]) -> f64 {
    before.iter().zip(after).map(|(b, a)| (a - b).abs()).sum::<f64>() / 2.0
}

/// Whether all endpoints serve.
pub(crate) fn all_serve(endpoints: &[EndpointDecision]) -> bool {
    endpoints.iter().all(|endpoint| endpoint.state == EndpointState::Serving)
}

/// Asserts that all is equal.
#[track_caller]
pub(crate) fn assert_equal_shares(service: &ServiceDecision) {
    let equal = 1.0 / service.endpoints.len() as f64;
    for share in predicted(service) {
        assert!((share - equal).abs() < 1e-3, "{:?}", predicted(service));
    }
}
