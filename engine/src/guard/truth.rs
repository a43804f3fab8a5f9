//! Whether proxies do what they were told: measured shares against those predicted.
//!
//! Under least request traffic moves within a locality by design, so there only the sums of
//! localities are compared; an ejected endpoint must get (next to) nothing in any form.

use alloc::sync::Arc;
use alloc::vec::Vec;
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
    realisations: &[Arc<Realisation>],
    topology: &ServiceTopology,
    history: &History,
    pushed: Moment,
) -> Option<Hold> {
    let [realisation] = realisations else { return None };
    // Equal shares of healthy endpoints leave nothing to compare.
    if realisation.panicking || realisation.form == Form::Equal {
        return None;
    }
    let measured = measured(topology.endpoints.len(), history, pushed.plus(SETTLING));
    let total: f64 = measured.iter().sum();
    if total < REQUESTS_LEAST {
        return None;
    }
    let worst = parts(realisation, topology, &measured, total)
        .into_iter()
        .map(|(predicted, seen, least)| {
            let sigma = libm::sqrt(predicted * (1.0 - predicted) / total);
            ((predicted - seen).abs(), least.max(3.0 * sigma))
        })
        .filter(|(difference, tolerance)| difference > tolerance)
        .max_by(|a, b| (a.0 - a.1).total_cmp(&(b.0 - b.1)))?;
    Some(Hold::Mismatch { difference: Ratio::clamped(worst.0), tolerance: Ratio::clamped(worst.1) })
}

fn measured(endpoints: usize, history: &History, since: Moment) -> Vec<f64> {
    let mut sums = alloc::vec![0.0; endpoints];
    for window in history.newest_first().take_while(|window| window.at >= since) {
        for row in &*window.rows {
            if let Some(sum) = sums.get_mut(row.endpoint as usize) {
                *sum += row.requests as f64;
            }
        }
    }
    sums
}

/// (predicted, measured, least tolerance) of what can be compared.
fn parts(
    realisation: &Realisation,
    topology: &ServiceTopology,
    measured: &[f64],
    total: f64,
) -> Vec<(f64, f64, f64)> {
    let exact = matches!(realisation.form, Form::Weights | Form::Localities);
    let mut parts = Vec::new();
    let mut likely = 0;
    for group in &realisation.groups {
        let mut sum = (0.0, 0.0);
        for member in &group.members {
            let Some(index) = topology.index_near(&member.address, likely) else { continue };
            likely = index + 1;
            let seen = measured.get(index).map(|seen| seen / total);
            let predicted = realisation.predicted.get(index).map(|ratio| ratio.value());
            let Some((predicted, seen)) = predicted.zip(seen) else { continue };
            sum = (sum.0 + predicted, sum.1 + seen);
            if member.health != Health::Healthy {
                parts.push((predicted, seen, EJECTED_MOST));
            } else if exact {
                parts.push((predicted, seen, TOLERANCE));
            }
        }
        if realisation.form == Form::Classes {
            parts.push((sum.0, sum.1, TOLERANCE));
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Group, Member};
    use crate::names::{Locality, ServiceId};
    use crate::observation::{Row, ServiceTraffic, Source};
    use crate::topology::Endpoint;
    use core::num::NonZeroU32;

    /// Four endpoints in one group; the last is ejected. What each got per second, for 20 s.
    fn compare(form: Form, predicted: [f64; 4], requests: [u64; 4]) -> Option<Hold> {
        let address = |index: usize| format!("10.0.0.{index}:80").as_str().into();
        let topology = ServiceTopology {
            service: ServiceId::new("a", "b"),
            endpoints: (0..4)
                .map(|index| Endpoint {
                    address: address(index),
                    locality: Locality::default(),
                    concurrency: None,
                    ready: true,
                })
                .collect(),
            clusters: Vec::new(),
            counts: Source::LoadReport,
        };
        let member = |index: usize| Member {
            address: address(index),
            weight: NonZeroU32::MIN,
            health: if index == 3 { Health::Unhealthy } else { Health::Healthy },
        };
        let group = |range: core::ops::Range<usize>| Group {
            locality: Locality::default(),
            weight: NonZeroU32::MIN,
            members: range.map(member).collect(),
        };
        let realisation = Realisation {
            shed: Ratio::ZERO,
            zones: Vec::new(),
            clusters: Vec::new(),
            form,
            groups: alloc::vec![group(0..1), group(1..4)],
            predicted: predicted.into_iter().map(Ratio::clamped).collect(),
            panicking: false,
        };
        let mut history = History::default();
        for second in 0..20 {
            let rows = requests.iter().zip(0..).map(|(&requests, endpoint)| Row {
                endpoint,
                requests,
                clients: 1,
                ..Row::default()
            });
            let traffic = ServiceTraffic { rows: rows.collect(), ..ServiceTraffic::default() };
            history.absorb(Moment::from_millis(second * 1_000), 4, Some(&traffic));
        }
        mismatch(&[Arc::new(realisation)], &topology, &history, Moment::default())
    }

    #[test]
    fn what_was_told_is_what_happens() {
        let predicted = [0.2, 0.4, 0.4, 0.0];
        assert_eq!(compare(Form::Weights, predicted, [40, 80, 80, 0]), None);
        // Least request moves load within a locality.
        assert_eq!(compare(Form::Classes, predicted, [40, 120, 40, 0]), None);
        assert_eq!(compare(Form::InOut, predicted, [90, 70, 40, 0]), None);
    }

    #[test]
    fn what_was_not_told_is_noticed() {
        let predicted = [0.2, 0.4, 0.4, 0.0];
        assert!(compare(Form::Weights, predicted, [40, 120, 40, 0]).is_some());
        assert!(compare(Form::Classes, predicted, [80, 80, 40, 0]).is_some());
        for form in [Form::InOut, Form::Classes, Form::Weights] {
            let leaking = compare(form, predicted, [39, 78, 78, 5]);
            assert!(leaking.is_some(), "an ejected endpoint gets 2.5 % under {form:?}");
        }
    }

    #[test]
    fn few_requests_say_nothing() {
        assert_eq!(compare(Form::Weights, [0.2, 0.4, 0.4, 0.0], [0, 12, 0, 12]), None);
    }
}
