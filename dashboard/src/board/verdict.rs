//! The verdict on a new version: a rollout's own, or one made of the last minutes of both services.
//!
//! The second keeps nothing: the same test reads the same counts from their beginning whenever
//! somebody asks, so that asking changes nothing and needs nobody's permission.

use std::time::Duration;

use weir_engine::comparison::{Bar, Finding, Look, Measured, Side, Signal, Verdict};
use weir_engine::goal::{Goal, Rollout};
use weir_engine::names::ServiceId;
use weir_engine::rollout::RolloutDecision;
use weir_engine::units::{Moment, Ratio};

use super::beats;
use super::rollout::{comparison, finding};
use super::track::COARSE;
use super::{Record, Snapshot};
use crate::view::verdict::{Basis, VerdictView, VersionView};
use crate::view::{Time, plain};

/// Who tells what a series of looks proves: the model's, which `weir` hands in.
pub type Judge = fn(&[Look], &Bar) -> Verdict;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The version in use, or the service that clients call.
    pub(crate) service: ServiceId,
    /// The new version.
    pub(crate) canary: ServiceId,
    /// How far back requests count.
    pub(crate) window: Duration,
    /// The part of all requests that the new version gets next.
    pub(crate) next: Ratio,
    /// When this try of it began, if that is known: earlier requests were another's.
    pub(crate) since: Moment,
}

impl Snapshot {
    /// The verdict; or the service that Weir knows nothing of.
    pub(crate) fn verdict(&self, asked: &Asked, judge: Judge) -> Result<VerdictView, ServiceId> {
        let pair = |service: &ServiceId, stable: &ServiceId, canary: &ServiceId| {
            *canary == asked.canary && [service, stable].contains(&&asked.service)
        };
        let decided = self.decision.rollouts.iter();
        let decided = decided.map(|one| &**one).find(|r| pair(&r.service, &r.stable, &r.canary));
        if let Some(rollout) = decided.filter(|rollout| rollout.acts() && rollout.yields.is_none())
        {
            return Ok(of_rollout(rollout));
        }
        let goals = self.goals.rollouts.iter();
        let goal = goals.into_iter().find(|r| pair(&r.service, &r.stable, &r.canary));
        let stable = goal.map_or(&asked.service, |goal| &goal.stable);
        self.recent(asked, (stable, goal), judge)
    }

    fn recent(
        &self,
        asked: &Asked,
        (stable, goal): (&ServiceId, Option<&Rollout>),
        judge: Judge,
    ) -> Result<VerdictView, ServiceId> {
        let now = self.decision.at;
        let window = u64::try_from(asked.window.as_millis()).unwrap_or(u64::MAX);
        let since = Moment::from_millis(now.millis().saturating_sub(window)).max(asked.since);
        let canary = &self.record(&asked.canary)?.beats;
        let (parts, begin) = beats::beside((canary, &self.record(stable)?.beats), (now, since));
        let bar = match goal {
            Some(goal) => Bar::of(&goal.objectives, goal.min_samples),
            None => self.bar(stable),
        };
        let looks = Look::gathered(parts.iter().cloned(), COARSE.step);
        let verdict = judge(&looks, &Bar { exposure: asked.next, ..bar });
        let sum = |side: fn(&Look) -> &Side| {
            parts
                .iter()
                .map(side)
                .fold((0.0, 0.0), |sum, side| (sum.0 + side.requests, sum.1 + side.errors))
        };
        let counts = [sum(|look| &look.stable), sum(|look| &look.canary)];
        let mut view = view(&verdict, [stable, &asked.canary], counts);
        view.since = begin.map(Time);
        if begin.is_none() {
            let gap = beats::GAP.as_secs() / 60;
            view.text = format!("{}: no request to it in the last {gap} minutes", view.text);
        }
        Ok(view)
    }

    /// Whether the new version gets no requests, as far as Weir sees, while the one in use does.
    pub(crate) fn untried(&self, asked: &Asked) -> bool {
        let now = self.decision.at;
        let called = |id: &ServiceId, since| {
            self.record(id).is_ok_and(|record| beats::called(&record.beats, (now, since)))
        };
        called(&asked.service, Moment::from_millis(0)) && !called(&asked.canary, asked.since)
    }

    /// Whether Weir knows anything of a service.
    pub(crate) fn knows(&self, id: &ServiceId) -> bool {
        self.record(id).is_ok()
    }

    fn record(&self, id: &ServiceId) -> Result<&Record, ServiceId> {
        let services = &self.decision.services;
        let at = services.binary_search_by(|service| service.service.cmp(id));
        at.ok().and_then(|at| self.services.get(at)).ok_or_else(|| id.clone())
    }

    fn bar(&self, service: &ServiceId) -> Bar {
        let unclaimed = || Goal::of_unclaimed(service.clone());
        let goal = self.goals.of(service).cloned().unwrap_or_else(unclaimed);
        Bar::of(&goal.objectives, goal.evaluation.min_samples)
    }
}

fn of_rollout(rollout: &RolloutDecision) -> VerdictView {
    let verdict = &rollout.verdict;
    let errors = verdict.comparisons.iter().find(|one| one.signal == Signal::Errors);
    let part = |measured: Measured| match measured {
        Measured::Part { events, requests } => (requests, events),
        Measured::Typical { requests, .. } => (requests, 0.0),
    };
    let counts = errors.map(|one| [part(one.stable), part(one.canary)]).unwrap_or_default();
    let view = view(verdict, [&rollout.stable, &rollout.canary], counts);
    VerdictView { basis: Basis::Rollout, ..view }
}

/// Versions and their requests and errors: the one in use, then the new one.
fn view(verdict: &Verdict, services: [&ServiceId; 2], counts: [(f64, f64); 2]) -> VerdictView {
    let [stable, canary] = services;
    let words = match verdict.finding {
        Finding::Pass => "may go on",
        Finding::Fail => "is worse",
        Finding::Inconclusive => "is neither proven good enough nor worse",
    };
    let errors = verdict.comparisons.iter().find(|one| one.signal == Signal::Errors);
    VerdictView {
        verdict: finding(verdict.finding),
        stable: version(stable, counts[0]),
        canary: version(canary, counts[1]),
        bound: errors.and_then(|one| one.at_most).map(Ratio::value),
        text: plain(&format!("{canary} {words} beside {stable}: {verdict}")),
        comparisons: verdict.comparisons.iter().map(comparison).collect(),
        ..VerdictView::default()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn version(service: &ServiceId, (requests, errors): (f64, f64)) -> VersionView {
    let service = plain(&service.to_string());
    VersionView { service, requests: requests as u64, errors: errors as u64 }
}
