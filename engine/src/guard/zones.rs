//! Keeping the clients of a zone near, as far as the endpoints there can take it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Granted, Memory, adaptive, stance, steps};
use crate::assessment::Assessment;
use crate::decision::Stance;
use crate::model::View;
use crate::names::Place;
use crate::plan::Plan;
use crate::units::Ratio;
use crate::zones::ZoneSplit;

/// Changes of shares up to this are not worth a push.
const DEAD_BAND: f64 = 0.05;

/// Departures from an average client's shares up to this are none.
const EVEN: f64 = 0.001;

/// Endpoints whose capacity is not known are not asked for more than this multiple of an average
/// client's share.
const UNKNOWN_MOST: f64 = 1.05;

/// Where endpoints of a zone would get too much, they are taken this far below: the next breath of
/// the load is no reason for another push.
const BACK_TO: f64 = 0.97;

/// More zones are not told apart: more than a region of any provider has.
const ZONES_MOST: usize = 64;

/// Moves the clients of each zone towards the plan, within the limits.
pub(super) fn follow(
    endpoints: &[Granted],
    (plan, stance): (&Plan, &Stance),
    assessment: &Assessment,
    view: &View<'_>,
    (memory, mesh): (&mut Memory, &mut steps::Mesh),
) {
    if plan.zones.is_empty() && memory.zones.is_empty() {
        return;
    }
    let Some(scene) = Scene::of(endpoints, assessment, view) else { return };
    let moves = match stance {
        Stance::Resting | Stance::Steering => {
            let mut moves = scene.moves(plan, memory, view);
            let load = steps::measured(view.history).unwrap_or(0.0);
            let counted = (&memory.zone_moves, &mesh.zone_moves);
            let (allowed, _) = steps::allowed(load, view, counted, mesh);
            let moved = scene.bound(&mut moves, allowed);
            memory.zone_moves.add(view.at, moved);
            if view.acting {
                mesh.zone_moves.add(view.at, moved * load);
            }
            moves
        }
        Stance::Decaying { stale } => {
            let part = steps::part_back(stale.saturating_sub(stance::HOLD), view.elapsed);
            let mut moves = scene.moves(&Plan::default(), memory, view);
            for one in &mut moves {
                one.go(part);
            }
            moves
        }
        Stance::Holding(_) => return,
    };
    memory.zones = scene.splits(moves, &memory.zones);
}

/// What the clients of one zone have, and should have: parts of their requests by endpoint zone.
struct Move {
    client: Place,
    part: f64,
    before: Vec<f64>,
    after: Vec<f64>,
}

impl Move {
    fn largest(&self) -> f64 {
        self.before.iter().zip(&self.after).map(|(b, a)| (a - b).abs()).fold(0.0, f64::max)
    }

    /// The part of the service's requests that goes elsewhere.
    fn moved(&self) -> f64 {
        let changes = self.before.iter().zip(&self.after).map(|(b, a)| (a - b).abs());
        self.part * changes.sum::<f64>() / 2.0
    }

    /// Goes only a part of the way.
    fn go(&mut self, part: f64) {
        for (after, before) in self.after.iter_mut().zip(&self.before) {
            *after = before + part * (*after - before);
        }
    }
}

/// The endpoint zones as they stand.
struct Scene {
    /// Their weights for an average client, in ascending order of zone.
    zones: Vec<(Place, f64)>,
    /// An average client's shares of them.
    even: Vec<f64>,
    /// The service's part that each may get at most.
    most: Vec<f64>,
}

impl Scene {
    fn of(endpoints: &[Granted], assessment: &Assessment, view: &View<'_>) -> Option<Self> {
        let declared = &view.topology.endpoints;
        let names: BTreeSet<&Place> = declared.iter().map(|e| &e.locality.zone).collect();
        let all: f64 = endpoints.iter().filter(|e| e.is_in()).map(|e| e.weight).sum();
        if names.len() < 2 || names.len() > ZONES_MOST || !(all.is_finite() && all > 0.0) {
            return None;
        }
        let mut scene = Self { zones: Vec::new(), even: Vec::new(), most: Vec::new() };
        for name in names {
            let members = || {
                let inside = endpoints.iter().zip(declared).enumerate();
                inside
                    .filter(|(_, (granted, e))| granted.is_in() && e.locality.zone == *name)
                    .map(|(index, (granted, _))| (index, granted.weight))
            };
            let weight: f64 = members().map(|(_, weight)| weight).sum();
            let most = members().map(|(index, weight)| {
                let average = weight / all;
                let known = room(index, weight, assessment, view);
                known.unwrap_or(UNKNOWN_MOST * average).max(average)
            });
            scene.most.push(most.sum());
            scene.even.push(weight / all);
            scene.zones.push((name.clone(), weight));
        }
        Some(scene)
    }

    /// From what is in force to what is wished. Back to an average client's shares, where the plan
    /// has none.
    fn moves(&self, plan: &Plan, memory: &Memory, view: &View<'_>) -> Vec<Move> {
        let wished = if adaptive(view) { &plan.zones[..] } else { &[] };
        let all = wished.iter().chain(&memory.zones);
        let clients: BTreeSet<&Place> = all.map(|split| &split.client).collect();
        let shares = |splits: &[ZoneSplit], client: &Place| {
            let split = splits.iter().find(|split| split.client == *client)?;
            let shares = split.shares(&self.zones)?;
            shares.iter().all(|share| *share >= 0.0).then_some((split.part.value(), shares))
        };
        clients
            .into_iter()
            .take(ZONES_MOST)
            .map(|client| {
                let before = shares(&memory.zones, client);
                let after = shares(wished, client);
                let part = after.as_ref().or(before.as_ref()).map_or(0.0, |(part, _)| *part);
                let or_even = |known: Option<(f64, Vec<f64>)>| {
                    known.map_or_else(|| self.even.clone(), |(_, shares)| shares)
                };
                Move {
                    client: client.clone(),
                    part,
                    before: or_even(before),
                    after: or_even(after),
                }
            })
            .collect()
    }

    /// Bounds moves by what is worth a push, by the step that is allowed and by capacity; returns
    /// the part of the requests that moves.
    fn bound(&self, moves: &mut [Move], allowed: f64) -> f64 {
        let largest = moves.iter().map(Move::largest).fold(0.0, f64::max);
        let back = moves.iter().all(|one| self.is_even(&one.after));
        let part = if largest <= DEAD_BAND && !(back && largest > EVEN) {
            0.0
        } else {
            let moved: f64 = moves.iter().map(Move::moved).sum();
            if moved > allowed { allowed / moved } else { 1.0 }
        };
        for one in moves.iter_mut() {
            one.go(part);
        }
        self.within_capacity(moves);
        moves.iter().map(Move::moved).sum()
    }

    fn is_even(&self, shares: &[f64]) -> bool {
        shares.iter().zip(&self.even).all(|(share, even)| (share - even).abs() <= EVEN)
    }

    /// Where a zone would get more than it can take, all clients come nearer to average shares.
    fn within_capacity(&self, moves: &mut [Move]) {
        let parts: f64 = moves.iter().map(|one| one.part).sum();
        let scale = parts.max(1.0);
        let mut part = 1.0_f64;
        for (zone, (&even, &most)) in self.even.iter().zip(&self.most).enumerate() {
            let extra = |one: &Move| one.part / scale * (one.after[zone] - even);
            let extra: f64 = moves.iter().map(extra).sum();
            if extra > most - even && extra > EVEN {
                part = part.min((BACK_TO * most - even).max(0.0) / extra);
            }
        }
        if part < 1.0 {
            for one in moves {
                for (after, even) in one.after.iter_mut().zip(&self.even) {
                    *after = even + part * (*after - even);
                }
            }
        }
    }

    /// What is in force from now on. Who does not move keeps the very same factors.
    fn splits(&self, moves: Vec<Move>, before: &[ZoneSplit]) -> Vec<ZoneSplit> {
        if moves.iter().all(|one| self.is_even(&one.after)) {
            return Vec::new();
        }
        moves
            .into_iter()
            .map(|one| {
                let part = Ratio::clamped(one.part);
                let kept = before.iter().find(|split| split.client == one.client);
                match kept.filter(|_| one.largest() <= 0.0) {
                    Some(kept) => ZoneSplit { part, ..kept.clone() },
                    None => ZoneSplit::of_shares(one.client, part, &self.zones, &one.after),
                }
            })
            .collect()
    }
}

/// The part of the service's requests that an endpoint can take, where its capacity is known.
fn room(index: usize, weight: f64, assessment: &Assessment, view: &View<'_>) -> Option<f64> {
    let known = assessment.endpoints.get(index)?.expectation.as_ref()?;
    let (load, capacity) = (assessment.load.value(), known.surely());
    let most = view.goal.guardrails.max_utilization.value() * capacity * weight.min(1.0);
    (load > 0.0 && capacity > 0.0).then_some(most / load)
}
