//! Whether proxies do what they were told: measured shares against those predicted.
//!
//! Under least request traffic moves within a locality by design, so there only the sums of
//! localities are compared; an ejected endpoint must get (next to) nothing in any form.

use core::time::Duration;

use crate::decision::{Form, Health, Hold, Realisation};
use crate::history::History;
use crate::topology::ServiceTopology;
use crate::units::{Moment, Ratio};

/// Requests that were on their way when a push was taken still count for the old shares.
const SETTLING: Duration = Duration::from_secs(5);

/// Below this many requests a share says nothing.
const REQUESTS_LEAST: f64 = 1_000.0;

/// Differences up to this are tolerated whatever the statistics say.
const TOLERANCE: f64 = 0.02;

/// An ejected endpoint may get up to this part.
const EJECTED_MOST: f64 = 0.005;

/// Compares what was measured since `pushed` with the realisation in force, if there is one and
/// enough was seen. With several realisations at work nobody knows who made which part.
pub fn mismatch(
    realisations: &[Realisation],
    topology: &ServiceTopology,
    history: &History,
    pushed: Moment,
) -> Option<Hold> {
    let [realisation] = realisations else { return None };
    if realisation.panicking {
        return None;
    }
    let measured = measured(topology.endpoints.len(), history, pushed.plus(SETTLING));
    let total: f64 = measured.iter().sum();
    if total < REQUESTS_LEAST {
        return None;
    }
    let worst = parts(realisation, topology, &measured, total)
        .map(|(predicted, seen, least)| {
            let sigma = libm::sqrt(predicted * (1.0 - predicted) / total);
            ((predicted - seen).abs(), least.max(3.0 * sigma))
        })
        .filter(|(difference, tolerance)| difference > tolerance)
        .max_by(|a, b| (a.0 - a.1).total_cmp(&(b.0 - b.1)))?;
    Some(Hold::Mismatch { difference: Ratio::clamped(worst.0), tolerance: Ratio::clamped(worst.1) })
}

fn measured(endpoints: usize, history: &History, since: Moment) -> alloc::vec::Vec<f64> {
    let mut sums = alloc::vec![0.0; endpoints];
    for window in history.newest_first().take_while(|window| window.at >= since) {
        for (sum, row) in sums.iter_mut().zip(&window.rows) {
            *sum += row.as_ref().map_or(0.0, |row| row.requests as f64);
        }
    }
    sums
}

/// (predicted, measured, least tolerance) of what can be compared.
fn parts<'a>(
    realisation: &'a Realisation,
    topology: &'a ServiceTopology,
    measured: &'a [f64],
    total: f64,
) -> impl Iterator<Item = (f64, f64, f64)> + 'a {
    let exact = matches!(realisation.form, Form::Weights | Form::Localities);
    let by_group = realisation.form == Form::Classes;
    realisation.groups.iter().flat_map(move |group| {
        let members = group.members.iter().filter_map(move |member| {
            let index = topology.index_of(&member.address)?;
            let seen = measured.get(index)? / total;
            let predicted = realisation.predicted.get(index)?.value();
            Some((member.health, predicted, seen))
        });
        let out = members.clone().filter(|m| m.0 != Health::Healthy);
        let hosts = members.clone().filter(move |m| exact && m.0 == Health::Healthy);
        let sum = members.fold((0.0, 0.0), |sum, m| (sum.0 + m.1, sum.1 + m.2));
        let group = by_group.then_some((sum.0, sum.1, TOLERANCE));
        out.map(|m| (m.1, m.2, EJECTED_MOST))
            .chain(hosts.map(|m| (m.1, m.2, TOLERANCE)))
            .chain(group)
    })
}
