//! Whether to act at all: evidence must be fresh, broad enough and not about everybody at once.

use core::time::Duration;

use super::Memory;
use crate::assessment::Assessment;
use crate::decision::{Hold, Stance};
use crate::goal::OnStale;
use crate::model::View;
use crate::observation::Row;
use crate::units::Moment;

/// Stale evidence is held for so long; then shares go back to equal.
pub(super) const HOLD: Duration = Duration::from_secs(5 * 60);

/// Over how long they go back.
pub(super) const DECAY: Duration = Duration::from_secs(10 * 60);

/// How long refusals count: as long as the server of proxies keeps a refused service still at
/// first.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Part of the endpoints that must be covered before a service is acted on.
const COVERED_LEAST: f64 = 0.7;

/// Above this part of bad endpoints the cause is not an endpoint's.
const COMMON_CAUSE: f64 = 0.5;

/// Evidence is not called stale before this age, however fast the tick.
const STALE_LEAST: Duration = Duration::from_secs(3);

/// Nor can it be called fresh after this age, however slow the source.
const STALE_MOST: Duration = Duration::from_secs(120);

/// What may be done with a service now, before its endpoints are looked at.
pub(super) fn stance(assessment: &Assessment, view: &View<'_>, memory: &mut Memory) -> Stance {
    if view.goal.suspended {
        return Stance::Holding(Hold::Suspended);
    }
    if view.unrecorded {
        return Stance::Holding(Hold::Unrecorded);
    }
    if let Some(stale) = stale(view, memory) {
        return stale;
    }
    if let Some(hold) =
        refused(memory, view.at).or_else(|| quorum(view)).or_else(|| common(assessment))
    {
        return Stance::Holding(hold);
    }
    if let Some(hold) = memory.mismatch.clone() {
        return Stance::Holding(hold);
    }
    Stance::Steering
}

/// The age at which evidence becomes stale.
fn stale_after(view: &View<'_>) -> Duration {
    view.goal.evaluation.stale_after.unwrap_or_else(|| {
        let interval = view.goal.evaluation.interval.unwrap_or(view.elapsed);
        let slower = interval.max(spacing(view));
        slower.saturating_mul(2).clamp(STALE_LEAST, STALE_MOST)
    })
}

/// How far apart counts come, as they say themselves: the time that the newest ones cover.
fn spacing(view: &View<'_>) -> Duration {
    let mut spans = view
        .history
        .newest_first()
        .map(|window| window.rows.iter().map(Row::span).max().unwrap_or_default());
    spans.find(|span| !span.is_zero()).unwrap_or_default()
}

fn stale(view: &View<'_>, memory: &mut Memory) -> Option<Stance> {
    let after = stale_after(view);
    // Never any evidence: nothing was moved, so there is nothing to hold.
    let fresh = view.history.fresh?;
    let age = view.at.since(fresh);
    if age <= after {
        memory.stale_since = None;
        return None;
    }
    let since = *memory.stale_since.get_or_insert(fresh);
    let stale = view.at.since(since);
    let decays = view.goal.evaluation.on_stale == OnStale::Fallback && stale > HOLD;
    Some(if decays { Stance::Decaying { stale } } else { Stance::Holding(Hold::Stale { age }) })
}

/// A push that one node in a hundred, and at least two, refuse is not tried on the rest, for a
/// while: what it was refused for may be over, and nodes that refused may be gone.
fn refused(memory: &Memory, at: Moment) -> Option<Hold> {
    let lately = memory.refusing.values().filter(|one| at.since(one.at) < REFUSED_FOR);
    let refusing = lately.count();
    let many = (memory.answering.len() / 100).max(2);
    (refusing >= many).then(|| Hold::Refused { nodes: u32::try_from(refusing).unwrap_or(u32::MAX) })
}

fn quorum(view: &View<'_>) -> Option<Hold> {
    let endpoints = view.topology.endpoints.iter().filter(|endpoint| endpoint.ready).count();
    let needed = view.goal.evaluation.min_samples;
    let (mut covered, mut requests) = (0, 0_u64);
    let mut seen = alloc::vec![false; view.topology.endpoints.len()];
    for window in view.history.newest_first() {
        for row in window.rows.iter().filter(|row| row.clients > 0) {
            let index = row.endpoint as usize;
            requests = row.requests.saturating_add(requests);
            if !seen[index] && view.topology.endpoints[index].ready {
                seen[index] = true;
                covered += 1;
            }
        }
        if requests >= needed && f64::from(covered) >= COVERED_LEAST * endpoints as f64 {
            return None;
        }
    }
    let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX);
    Some(Hold::Quorum { covered, endpoints, requests, needed })
}

fn common(assessment: &Assessment) -> Option<Hold> {
    let judged = assessment.endpoints.iter().filter(|judgement| judgement.requests > 0.0).count();
    let bad = assessment.endpoints.iter().filter(|judgement| judgement.bad).count();
    // One of one or two says nothing about the others; small services are never ejected from.
    (judged > 2 && bad as f64 > COMMON_CAUSE * judged as f64).then(|| Hold::CommonCause {
        bad: u32::try_from(bad).unwrap_or(u32::MAX),
        judged: u32::try_from(judged).unwrap_or(u32::MAX),
    })
}
