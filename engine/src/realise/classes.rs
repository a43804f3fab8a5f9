//! Weight classes as localities: few, lasting, with names that never change.
//!
//! Every endpoint rests in the main class: its original locality. Two more exist per locality.
//! `weir-low` takes single endpoints below about a tenth of an equal share: new ones while they
//! ramp, those that prove themselves, slow lanes. `weir-half` takes groups of lastingly slower
//! endpoints, at least three, since a class of one or two under real load has no choice of two.

use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::hosts::OVERPROVISIONING;
use super::{Part, SCALE, whole_sum};
use crate::decision::{Form, Group, Health, Member};
use crate::names::Locality;
use crate::topology::ServiceTopology;
use crate::units::Moment;

/// An endpoint's class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    /// The original locality.
    #[default]
    Main,
    /// Lastingly slower endpoints.
    Half,
    /// Below a tenth of an equal share, or ramping.
    Low,
}

/// An endpoint's class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Where it is.
    pub lane: Lane,
    /// When it came there, if it ever moved.
    pub moved: Option<Moment>,
    known: bool,
}

/// An endpoint moves at most once in this time.
const MOVE_APART: Duration = Duration::from_secs(30);

/// At most this part of the endpoints (and at least one) moves in one push: to a class of less
/// weight, where waiting costs requests; and back, where it costs nothing as long as others differ.
/// How long a difference must last before it counts is judged before, and not again here: two
/// seconds more cost a tenth of the tail where four of ten slow down.
const MOVED_DOWN_MOST: f64 = 0.5;
const MOVED_UP_MOST: f64 = 0.1;

/// At or below this weight an endpoint may stand alone in the low class.
const LOW: f64 = 0.15;

/// The half class opens below this ratio to the largest weights and closes above the next.
const HALF_OPENS: f64 = 0.70;
const HALF_CLOSES: f64 = 0.80;

/// Below this ratio an endpoint leaves the others even with too few of its like for a class: that
/// it has no choice of two beside it costs less than an equal share.
const ALONE: f64 = 0.5;

/// Members that a class under real load needs.
const MEMBERS_LEAST: usize = 3;

/// Decides which class each endpoint is in, within the budget for moves; returns whether any
/// moved.
pub(super) fn settle(parts: &[Part], at: Moment, places: &mut Vec<Place>) -> bool {
    places.resize_with(parts.len(), Place::default);
    let wanted = wanted(parts, places);
    let resting = rests(parts);
    let most = |part: f64| libm::floor(part * parts.len() as f64).max(1.0);
    let (most_down, most_up) = (most(MOVED_DOWN_MOST), most(MOVED_UP_MOST));
    let (mut moves, mut moved) = (0.0, false);
    for ((place, part), lane) in places.iter_mut().zip(parts).zip(wanted) {
        // A host that the proxies do not know yet loses nothing by a move.
        let free = !place.known && part.passing;
        place.known = true;
        if lane == place.lane {
            continue;
        }
        // Out of the low class at once: it may be alone there, and gets a full share.
        let leaves = place.lane == Lane::Low;
        let rested = leaves || place.moved.is_none_or(|moved| at.since(moved) >= MOVE_APART);
        let budget = if lane > place.lane { most_down } else { most_up };
        let due = resting || rested && moves < budget;
        if free || due && part.ejected_by_proxies <= 0.0 {
            moves += if free { 0.0 } else { 1.0 };
            (place.lane, moved) = (lane, true);
            place.moved = (!free).then_some(at).or(place.moved);
        }
    }
    moved
}

/// Whether nobody is to get more or less than others. Then all come back together, since classes of
/// equal weights keep apart what the proxies' own choice of two would even out.
fn rests(parts: &[Part]) -> bool {
    let rests = |part: &Part| !part.passing && (part.weight - 1.0).abs() < 1e-9;
    parts.iter().all(rests)
}

/// The class that each endpoint should be in by its weight and by how it stands now.
fn wanted(parts: &[Part], places: &[Place]) -> Vec<Lane> {
    let serving = |part: &Part| part.health == Health::Healthy && !part.passing;
    let largest = parts.iter().filter(|p| serving(p)).map(|p| p.weight).fold(0.0, f64::max);
    let below = |part: &Part, place: &Place| {
        let edge = if place.lane == Lane::Half { HALF_CLOSES } else { HALF_OPENS };
        part.weight < edge * largest && part.weight > LOW
    };
    let alone = |part: &Part, place: &Place| {
        let edge = if place.lane == Lane::Low { HALF_CLOSES } else { ALONE };
        part.weight < edge * largest
    };
    let pairs = || parts.iter().zip(places);
    let slower = pairs().filter(|(part, place)| serving(part) && below(part, place)).count();
    let others = parts.iter().filter(|part| serving(part)).count() - slower;
    let split = slower >= MEMBERS_LEAST && others >= MEMBERS_LEAST;
    pairs()
        .map(|(part, place)| match part.health {
            // Out of use: it stays where it is.
            Health::Unhealthy | Health::Draining => place.lane,
            Health::Healthy if part.passing || part.weight <= LOW => Lane::Low,
            Health::Healthy if split && below(part, place) => Lane::Half,
            Health::Healthy if alone(part, place) => Lane::Low,
            Health::Healthy => Lane::Main,
        })
        .collect()
}

/// The localities of a locality-weighted cluster, and the form they amount to.
pub(super) fn groups(
    parts: &[Part],
    topology: &ServiceTopology,
    places: &[Place],
) -> (Form, Vec<Group>) {
    let mut classes: Vec<(Locality, Vec<usize>)> = Vec::new();
    for (index, endpoint) in topology.endpoints.iter().enumerate() {
        let lane = places.get(index).map_or(Lane::Main, |place| place.lane);
        let locality = named(&endpoint.locality, lane);
        match classes.iter_mut().find(|(known, _)| *known == locality) {
            Some((_, members)) => members.push(index),
            None => classes.push((locality, alloc::vec![index])),
        }
    }
    classes.sort_by(|a, b| a.0.cmp(&b.0));
    let in_main = places.iter().all(|place| place.lane == Lane::Main);
    let groups = classes
        .into_iter()
        .map(|(locality, members)| Group {
            locality,
            weight: class_weight(&members, parts),
            members: members
                .iter()
                .map(|&index| Member {
                    address: topology.endpoints[index].address.clone(),
                    weight: core::num::NonZeroU32::MIN,
                    health: parts[index].health,
                })
                .collect(),
        })
        .collect();
    (if in_main { Form::InOut } else { Form::Classes }, groups)
}

fn named(original: &Locality, lane: Lane) -> Locality {
    let name = match lane {
        Lane::Main => return original.clone(),
        Lane::Half => "weir-half",
        Lane::Low => "weir-low",
    };
    let sub_zone = if original.sub_zone.as_str().is_empty() {
        name.into()
    } else {
        alloc::format!("{}-{name}", original.sub_zone).into()
    };
    Locality { sub_zone, ..original.clone() }
}

/// The sum of the members in use, made good for what Envoy takes off where many are out.
fn class_weight(members: &[usize], parts: &[Part]) -> core::num::NonZeroU32 {
    let in_use = |&&index: &&usize| parts[index].health == Health::Healthy;
    let sum: f64 = members.iter().filter(in_use).map(|&index| parts[index].weight).sum();
    let healthy = members.iter().filter(in_use).count() as f64 / members.len().max(1) as f64;
    let factor = (OVERPROVISIONING * healthy).min(1.0);
    whole_sum(if factor > 0.0 { SCALE * sum / factor } else { 0.0 })
}
