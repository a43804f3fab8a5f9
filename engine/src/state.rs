//! All memory: plain data, so that a journal of observations replays to the same decisions.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::approval::{self, Word};
use crate::budget::Budgets;
use crate::decision::{self, ServiceDecision};
use crate::goal::{Goal, Goals, Mode, Rollout};
use crate::history::History;
use crate::model::Model;
use crate::names::ServiceId;
use crate::observation::{Observation, ServiceTraffic};
use crate::topology::{ServiceTopology, Topology};
use crate::units::{Moment, Ratio};
use crate::{guard, realise, rollout, sampling};

/// A longer time between two steps is a pause, not a tick (which is a minute at most): Weir was not
/// running, or the machine slept.
const PAUSE: Duration = Duration::from_secs(120);

/// Everything that deciding remembers. `M` is the model's memory of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State<M> {
    /// Steps taken.
    pub sequence: u64,
    /// When the last step was taken.
    pub at: Moment,
    /// Goals in force.
    pub goals: Goals,
    /// One per service, in ascending order of id.
    pub services: Vec<ServiceState<M>>,
    /// New versions that take over, in ascending order of the service that clients call.
    pub rollouts: Vec<rollout::Progress<M>>,
    /// What the guard remembers of the mesh.
    pub mesh: guard::Mesh,
    /// Access log sampling.
    pub sampling: sampling::Memory,
}

/// What is remembered of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceState<M> {
    /// What is declared.
    pub topology: ServiceTopology,
    /// What is wanted.
    pub goal: Goal,
    /// What was seen lately.
    pub history: History,
    /// The model's own.
    pub memory: M,
    /// The guard's.
    pub guard: guard::Memory,
    /// The realiser's.
    pub realised: realise::Memory,
    /// The objectives' budgets.
    pub budgets: Budgets,
    /// When this service was last decided.
    pub decided: Option<Moment>,
    /// What is offered and approved.
    #[serde(default)]
    pub approval: approval::Memory,
    /// The last decision.
    pub last: Option<Arc<ServiceDecision>>,
}

impl<M: Clone + Default> State<M> {
    /// Takes in what was seen; returns the time since the last step.
    pub(crate) fn absorb<D>(&mut self, observation: &Observation, model: &D) -> Duration
    where
        D: Model<Memory = M>,
    {
        let elapsed =
            if self.sequence == 0 { Duration::from_secs(1) } else { observation.at.since(self.at) };
        if elapsed > PAUSE {
            for service in &mut self.services {
                service.guard.paused(observation.at);
            }
        }
        self.sequence += 1;
        self.at = self.at.max(observation.at);
        if let Some(goals) = &observation.goals {
            self.goals = goals.clone();
        }
        if let Some(topology) = &observation.topology {
            self.follow(topology, model);
        }
        let acted_on = |goal: &Rollout| rollout::acts(&self.rollouts, goal);
        for service in &mut self.services {
            if observation.goals.is_some() || service.decided.is_none() {
                service.steer(&self.goals, self.at);
            }
            let traffic = traffic_of(observation, &service.topology.service);
            service.history.absorb(self.at, service.topology.endpoints.len(), traffic);
            service.budgets.absorb(self.at, &service.goal, traffic);
            // What clients of a service were promised holds for all of its versions.
            for version in self.goals.versions_of(&service.topology, acted_on) {
                let traffic = traffic_of(observation, version);
                service.budgets.absorb(self.at, &service.goal, traffic);
            }
        }
        for fitted in &observation.fitted {
            if let Ok(at) = self.find(&fitted.service) {
                model.adopt(fitted, &mut self.services[at].memory);
            }
        }
        self.absorb_indicated(observation);
        self.absorb_receipts(observation);
        self.absorb_words(observation);
        let load = self.load();
        self.mesh.load = load.unwrap_or(0.0);
        self.sampling.absorb(&observation.logs, load, observation.log_budget);
        elapsed.min(PAUSE)
    }

    fn absorb_indicated(&mut self, observation: &Observation) {
        for indicated in &observation.indicated {
            if let Ok(at) = self.find(&indicated.service) {
                let service = &mut self.services[at];
                service.budgets.indicated(self.at, &service.goal, indicated);
            }
        }
    }

    fn absorb_receipts(&mut self, observation: &Observation) {
        for receipt in &observation.receipts {
            if let Ok(at) = self.find(&receipt.service) {
                self.services[at].guard.answered(receipt, self.at);
            }
        }
    }

    fn absorb_words(&mut self, observation: &Observation) {
        for service in &mut self.services {
            if service.approval.expire(self.at) {
                service.decided = None;
            }
        }
        for word in &observation.words {
            if let Ok(at) = self.find(&word.service) {
                self.services[at].heard(word, self.at);
            }
        }
    }

    /// Requests per second of all services over their newest windows.
    fn load(&self) -> Option<f64> {
        let loads = self.services.iter().filter_map(|s| guard::measured(&s.history));
        loads.reduce(|a, b| a + b)
    }

    fn find(&self, service: &ServiceId) -> Result<usize, usize> {
        self.services.binary_search_by(|state| state.topology.service.cmp(service))
    }

    fn follow<D: Model<Memory = M>>(&mut self, topology: &Topology, model: &D) {
        let mut old = core::mem::take(&mut self.services);
        for declared in &topology.services {
            let known = old.iter().position(|state| state.topology.service == declared.service);
            let mut service = match known {
                Some(index) => old.swap_remove(index),
                None => ServiceState::new(declared.service.clone(), declared.counts),
            };
            service.declare(declared, self.at, model);
            self.services.push(service);
        }
        self.services.sort_by(|a, b| a.topology.service.cmp(&b.topology.service));
    }
}

fn traffic_of<'a>(observation: &'a Observation, service: &ServiceId) -> Option<&'a ServiceTraffic> {
    let traffic = &observation.traffic;
    let at = traffic.binary_search_by(|traffic| traffic.service.cmp(service)).ok()?;
    traffic.get(at)
}

impl<M: Clone + Default> ServiceState<M> {
    fn new(service: ServiceId, counts: crate::observation::Source) -> Self {
        Self {
            goal: Goal::of_unclaimed(service.clone()),
            topology: ServiceTopology {
                service,
                endpoints: Vec::new(),
                clusters: Vec::new(),
                counts,
            },
            history: History::default(),
            memory: M::default(),
            guard: guard::Memory::default(),
            realised: realise::Memory::default(),
            budgets: Budgets::default(),
            decided: None,
            approval: approval::Memory::default(),
            last: None,
        }
    }

    /// Whether anything of what is decided is done.
    pub(crate) fn acts(&self) -> bool {
        decision::acts(self.goal.mode, self.approval.approval.as_ref())
    }

    /// Takes a person's word. What comes into force by it begins at equal shares and moves from there
    /// as fast as under any policy.
    fn heard(&mut self, word: &Word, at: Moment) {
        let acted = self.acts();
        if self.approval.heard(word, at) {
            self.decided = None;
            if self.acts() && !acted {
                self.guard.begin(at);
            }
        }
    }

    /// The time that this service's decision has to answer for: since its own last one, which is
    /// more than a tick where the policy's interval is.
    pub(crate) fn elapsed(&self, at: Moment, step: Duration) -> Duration {
        self.decided.map_or(step, |decided| at.since(decided).min(PAUSE))
    }

    /// The last decision, as long as the policy's interval has not passed. It moves nothing again.
    pub(crate) fn not_due(&mut self, at: Moment) -> Option<Arc<ServiceDecision>> {
        let interval = self.goal.evaluation.interval?;
        let decided = self.decided?;
        let same = self.last.as_mut()?;
        if at.since(decided) >= interval {
            return None;
        }
        if same.moved > Ratio::ZERO {
            Arc::make_mut(same).moved = Ratio::ZERO;
        }
        Some(Arc::clone(same))
    }

    fn steer(&mut self, goals: &Goals, at: Moment) {
        let service = &self.topology.service;
        let goal =
            goals.of(service).cloned().unwrap_or_else(|| Goal::of_unclaimed(service.clone()));
        if self.goal != goal {
            // What was decided for another goal is no answer to this one.
            self.decided = None;
        }
        let acted = self.acts();
        if goal.mode != Mode::Recommend {
            self.approval = approval::Memory::default();
        }
        if goal.mode == Mode::Enforce && !acted {
            self.guard.begin(at);
        }
        self.goal = goal;
        self.budgets.follow(&self.goal);
    }

    fn declare<D>(&mut self, declared: &ServiceTopology, at: Moment, model: &D)
    where
        D: Model<Memory = M>,
    {
        let addresses = |topology: &ServiceTopology| -> Vec<_> {
            topology.endpoints.iter().map(|endpoint| endpoint.address.clone()).collect()
        };
        if addresses(declared) != addresses(&self.topology) {
            let from: Vec<Option<usize>> = declared
                .endpoints
                .iter()
                .map(|endpoint| self.topology.index_of(&endpoint.address))
                .collect();
            self.history.remap(&from);
            model.remap(&mut self.memory, &from);
            self.guard.remap(&from, at, self.goal.balancing.slow_start);
            self.realised.remap(&from);
        }
        if self.topology != *declared {
            self.decided = None;
            self.realised.forget();
        }
        self.topology = declared.clone();
    }
}
