//! How a new version takes over: step by step, as far as it is proven, and back when it is not.
//!
//! The model judges; here stands only what follows. A step ends when the model lets the new
//! version pass, is given up when it has failed as often as the policy allows, and otherwise waits
//! for evidence. Traffic goes back no faster than the version in use can take it. Once the new
//! version has taken over, it is judged for a while against what the old one did, which stays
//! warm. Without telemetry everything stays as it is, and that time does not count.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::comparison::{ALPHA, Bar, Finding, Look, Side, Verdict};
use crate::decision::{EndpointState, ServiceDecision};
use crate::goal::{Goals, Mode, OnFailure, Rollout};
use crate::model::Model;
use crate::names::ServiceId;
use crate::observation::Observation;
use crate::units::{Moment, Ratio};

mod decided;
mod approved;
mod seen;
mod share;
mod words;

pub use approved::StepOffer;
pub use decided::{Phase, Reason, RolloutDecision};

/// At most so many rollouts are remembered: as many as services that nobody configured.
const ROLLOUTS_MAX: usize = 1_000;

/// How long a version that has taken over is still judged, and in how many parts what the old one
/// did is held against it.
const WATCH: Duration = Duration::from_secs(600);
const WATCH_LOOKS: f64 = 60.0;

/// Evidence older than this is silence, where the policy names nothing else.
const STALE_AFTER: Duration = Duration::from_secs(15);

/// What is remembered of a rollout. `M` is the model's memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress<M> {
    goal: Rollout,
    /// Whether anybody wanted it at the last step.
    wanted: bool,
    /// Where it goes before other versions begin, if they are waited for.
    leads_to: Option<Ratio>,
    phase: Phase,
    weight: Ratio,
    /// How many of its steps a person has approved; only asked in Recommend.
    #[serde(default)]
    approved: u32,
    /// The step that waits for a person, and when it was first offered.
    #[serde(default)]
    offer: Option<StepOffer>,
    failures: u32,
    verdict: Verdict,
    /// Why it was given up.
    cause: Option<Reason>,
    /// The time spent with telemetry: of all steps, and since the takeover.
    spent: Duration,
    watched: Duration,
    /// When either version was last seen.
    fresh: Moment,
    /// The look that is being gathered, and since when.
    look: Look,
    looking: Duration,
    /// What the version in use did during the steps.
    past: Side,
    /// The model's memories: of all steps, and of this one.
    whole: M,
    step: M,
    /// The last decision.
    pub last: Option<Arc<RolloutDecision>>,
}

/// What a step of Weir brings.
pub(crate) struct Given<'a> {
    /// Now.
    pub(crate) at: Moment,
    /// Which step of Weir this is.
    pub(crate) sequence: u64,
    /// Since the last step.
    pub(crate) elapsed: Duration,
    /// What was seen.
    pub(crate) observation: &'a Observation,
    /// What is decided for the services themselves.
    pub(crate) services: &'a [Arc<ServiceDecision>],
}

/// Takes all rollouts one step on.
pub(crate) fn decide<M: Model>(
    progress: &mut Vec<Progress<M::Memory>>,
    goals: &Goals,
    given: &Given<'_>,
    model: &M,
) -> Vec<Arc<RolloutDecision>> {
    follow(progress, goals, given.at);
    let declared = |id: &ServiceId| given.services.iter().any(|one| one.service == *id);
    progress.retain(|one| {
        let wanted = goals.rollouts.iter().any(|goal| goal.service == one.goal.service);
        // What nobody wants and nothing is left of leads nowhere.
        wanted || declared(&one.goal.stable) || declared(&one.goal.canary)
    });
    progress
        .iter_mut()
        .map(|one| {
            one.wanted = goals.rollouts.iter().any(|goal| goal.service == one.goal.service);
            given.observation.words.iter().for_each(|word| one.hear(word));
            let decided = Arc::new(one.decide(given, model));
            one.last = Some(Arc::clone(&decided));
            decided
        })
        .collect()
}

/// Whether requests go to the versions of a rollout.
pub(crate) fn acts<M>(progress: &[Progress<M>], goal: &Rollout) -> bool {
    let of = |one: &&Progress<M>| one.goal.service == goal.service;
    goal.mode == Mode::Enforce || progress.iter().find(of).is_some_and(Progress::has_begun)
}

/// Begins what is new and begins anew what leads to another version, or what was given up and is
/// wanted again after nobody wanted it. What nobody wants any more stays as it is: its route is in
/// use.
fn follow<M: Default>(progress: &mut Vec<Progress<M>>, goals: &Goals, at: Moment) {
    for goal in &goals.rollouts {
        let room = progress.len() < ROLLOUTS_MAX;
        match progress.iter_mut().find(|one| one.goal.service == goal.service) {
            Some(one) if one.goes_on_with(goal) => {
                if one.goal.steps != goal.steps
                    && let Phase::Stepping { .. } = one.phase
                {
                    one.phase = one.step_of(goal);
                    one.approved = one.approved_of(goal);
                }
                one.goal = goal.clone();
                one.leads_to = None;
            }
            Some(one) => match one.before(goal) {
                Some(to) if one.weight != to => one.give_way(goal, to),
                Some(_) | None => *one = Progress::new(goal.clone(), at),
            },
            None if room => progress.push(Progress::new(goal.clone(), at)),
            None => {}
        }
    }
    progress.sort_by(|a, b| a.goal.service.cmp(&b.goal.service));
}

impl<M: Default> Progress<M> {
    fn new(goal: Rollout, at: Moment) -> Self {
        Self {
            goal,
            wanted: true,
            leads_to: None,
            phase: Phase::Stepping { step: 0 },
            weight: Ratio::ZERO,
            approved: 0,
            offer: None,
            failures: 0,
            verdict: Verdict::default(),
            cause: None,
            spent: Duration::ZERO,
            watched: Duration::ZERO,
            fresh: at,
            look: Look::default(),
            looking: Duration::ZERO,
            past: Side::default(),
            whole: M::default(),
            step: M::default(),
            last: None,
        }
    }

    /// Whether what this goal wants is under way already, or has come to its end.
    fn goes_on_with(&self, goal: &Rollout) -> bool {
        let same = self.goal.stable == goal.stable && self.goal.canary == goal.canary;
        let gone_back = self.phase == Phase::GivenUp && self.weight == Ratio::ZERO;
        same && (self.wanted || !gone_back)
    }

    /// The weight at which all traffic is with the version that another rollout calls the one in
    /// use; none if it is neither of these two.
    fn before(&self, goal: &Rollout) -> Option<Ratio> {
        let gone_over = (goal.stable == self.goal.canary).then_some(Ratio::ONE);
        gone_over.or((goal.stable == self.goal.stable).then_some(Ratio::ZERO))
    }

    /// Goes to where another rollout begins: what it calls the version in use has to be it first,
    /// and takes over no faster than any other.
    fn give_way(&mut self, goal: &Rollout, to: Ratio) {
        self.leads_to = Some(to);
        self.goal.mode = goal.mode;
        self.goal.suspended = goal.suspended;
        self.goal.yields.clone_from(&goal.yields);
    }

    /// The step of other steps that this weight has not passed yet.
    fn step_of(&self, goal: &Rollout) -> Phase {
        let at = goal.steps.iter().position(|step| *step >= self.weight);
        let at = at.unwrap_or(goal.steps.len().saturating_sub(1));
        Phase::Stepping { step: u32::try_from(at).unwrap_or(u32::MAX) }
    }

    /// The part that this phase leads to.
    fn target(&self) -> Ratio {
        if let Some(to) = self.leads_to {
            return to;
        }
        match self.phase {
            Phase::Stepping { step } if self.awaits(step) => self.weight,
            Phase::Stepping { step } => {
                self.goal.steps.get(step as usize).copied().unwrap_or(Ratio::ZERO)
            }
            Phase::Watching | Phase::Done => Ratio::ONE,
            Phase::GivenUp => Ratio::ZERO,
            Phase::Paused => self.weight,
        }
    }

    fn decide<D: Model<Memory = M>>(&mut self, given: &Given<'_>, model: &D) -> RolloutDecision {
        // What another controller's split shows is no proof for this one.
        let seen = self.goal.yields.is_none() && self.see(given);
        let versions = share::Versions::of(&self.goal, given.services);
        let held = self.held(given);
        let reason = held.unwrap_or_else(|| {
            if seen {
                self.judge(model);
            }
            self.move_on(&versions, given)
        });
        self.offer = self.offered(given);
        RolloutDecision {
            service: self.goal.service.clone(),
            policy: self.goal.policy.clone(),
            mode: self.goal.mode,
            stable: self.goal.stable.clone(),
            canary: self.goal.canary.clone(),
            weight: self.weight,
            phase: self.phase,
            steps: self.goal.steps.clone(),
            failures: self.failures,
            verdict: self.verdict.clone(),
            reason,
            yields: self.goal.yields.clone(),
            offer: self.offer,
        }
    }

    /// Why everything stays as it is, if it does.
    fn held(&self, given: &Given<'_>) -> Option<Reason> {
        let age = given.at.since(self.fresh);
        if !self.wanted {
            Some(Reason::Gone)
        } else if self.goal.mode == Mode::Observe {
            Some(Reason::Observing)
        } else if !self.has_begun() {
            Some(Reason::Awaiting)
        } else if self.goal.suspended {
            Some(Reason::Suspended)
        } else if self.goal.yields.is_some() {
            Some(Reason::Yielding)
        } else if given.observation.unrecorded {
            Some(Reason::Unrecorded)
        } else if age > self.goal.stale_after.unwrap_or(STALE_AFTER) {
            Some(Reason::Silent { age })
        } else {
            None
        }
    }

    /// Gathers what was seen of both versions; whether anything was.
    fn see(&mut self, given: &Given<'_>) -> bool {
        let canary = seen::side(given.observation, &self.goal.canary);
        let stable = seen::side(given.observation, &self.goal.stable);
        let seen = canary.is_some() || stable.is_some();
        if seen {
            self.fresh = given.at;
            self.looking = self.looking.saturating_add(given.elapsed);
            self.look.canary.add(&canary.unwrap_or_default());
            self.look.stable.add(&stable.unwrap_or_default());
            match self.phase {
                // The time that a person takes is not the new version's.
                Phase::Stepping { step } if self.awaits(step) => {}
                Phase::Stepping { .. } => self.spent = self.spent.saturating_add(given.elapsed),
                Phase::Watching => self.watched = self.watched.saturating_add(given.elapsed),
                Phase::Done | Phase::GivenUp | Phase::Paused => {}
            }
        }
        seen
    }

    /// Has a full look judged, and draws the conclusion.
    fn judge<D: Model<Memory = M>>(&mut self, model: &D) {
        let judged = matches!(self.phase, Phase::Stepping { .. } | Phase::Watching);
        if !judged || self.leads_to.is_some() {
            self.look = Look::default();
            return;
        }
        if self.phase == Phase::Watching {
            // What is left of the old version's traffic says less than all that it had.
            self.look.stable = self.past.part(1.0 / WATCH_LOOKS);
        }
        if !self.look.is_full(self.looking, self.goal.interval) {
            return;
        }
        let look = core::mem::take(&mut self.look);
        self.looking = Duration::ZERO;
        if matches!(self.phase, Phase::Stepping { .. }) {
            self.past.add(&look.stable);
        }
        let whole = model.compare(&look, &self.bar(ALPHA), &mut self.whole);
        // As much again for all steps together.
        let steps = self.goal.steps.len() as f64 + 1.0;
        let step = model.compare(&look, &self.bar(ALPHA / steps), &mut self.step);
        self.verdict = if whole.finding == Finding::Fail { whole } else { step };
        self.conclude();
    }

    fn conclude(&mut self) {
        match self.verdict.finding {
            Finding::Fail => {
                self.failures += 1;
                if self.failures >= self.goal.failures_max.max(1) {
                    self.give_up(Reason::Worse);
                }
            }
            Finding::Pass => {
                if let Phase::Stepping { step } = self.phase
                    && !self.awaits(step)
                    && self.weight >= self.target()
                {
                    self.pass(step);
                }
            }
            Finding::Inconclusive => {}
        }
    }

    fn pass(&mut self, step: u32) {
        let last = step as usize + 1 >= self.goal.steps.len();
        self.phase = if last { Phase::Watching } else { Phase::Stepping { step: step + 1 } };
        self.step = M::default();
        if last {
            self.whole = M::default();
        }
    }

    fn give_up(&mut self, cause: Reason) {
        self.cause = Some(cause);
        self.phase = match self.goal.on_failure {
            OnFailure::Rollback => Phase::GivenUp,
            OnFailure::Pause => Phase::Paused,
        };
    }

    /// What the new version has to reach, for the share that it gets next.
    fn bar(&self, alpha: f64) -> Bar {
        let next = match self.phase {
            Phase::Stepping { step } => self.goal.steps.get(step as usize + 1).copied(),
            Phase::Watching | Phase::Done | Phase::GivenUp | Phase::Paused => None,
        };
        Bar {
            alpha: Ratio::clamped(alpha),
            exposure: next.unwrap_or(Ratio::ONE),
            ..Bar::of(&self.goal.objectives, self.goal.min_samples)
        }
    }

    /// Moves the weight as far as it may go at once, and says why it is what it is.
    fn move_on(&mut self, versions: &share::Versions, given: &Given<'_>) -> Reason {
        let judged = self.leads_to.is_none();
        let stepping = matches!(self.phase, Phase::Stepping { .. });
        if judged && stepping && self.spent >= self.goal.deadline {
            self.give_up(Reason::Late { deadline: self.goal.deadline });
        }
        if judged && self.phase == Phase::Watching && self.watched >= WATCH {
            self.phase = Phase::Done;
        }
        if versions.canary.serving == 0 {
            // Its requests fail anyhow; the others can at least try.
            if versions.stable.serving > 0 {
                self.weight = Ratio::ZERO;
            }
            return Reason::NoEndpoint { canary: true };
        }
        let target = self.target();
        if versions.stable.serving == 0 && target < self.weight {
            return Reason::NoEndpoint { canary: false };
        }
        self.weight = versions.towards(self.weight, target, given.elapsed);
        self.reason(target)
    }

    fn reason(&self, target: Ratio) -> Reason {
        match self.phase {
            _ if self.leads_to.is_some() => Reason::Moving { to: target },
            Phase::GivenUp | Phase::Paused => self.cause.unwrap_or(Reason::Worse),
            Phase::Stepping { .. } | Phase::Watching | Phase::Done if self.weight != target => {
                Reason::Moving { to: target }
            }
            Phase::Stepping { .. } | Phase::Watching if self.failures > 0 => {
                Reason::Failing { failures: self.failures, limit: self.goal.failures_max.max(1) }
            }
            Phase::Stepping { step } if self.awaits(step) => Reason::Awaiting,
            Phase::Stepping { .. } => Reason::Gathering,
            Phase::Watching => Reason::Watched { left: WATCH.saturating_sub(self.watched) },
            Phase::Done => Reason::TakenOver,
        }
    }
}

/// Whether an endpoint takes traffic.
fn serves(state: EndpointState) -> bool {
    !matches!(state, EndpointState::Ejected { .. } | EndpointState::NotReady)
}

#[cfg(test)]
mod tests;
