//! What happens to endpoints: which fail or are slow, and what is decided for them.

use std::time::Duration;

use weir_engine::decision::{EndpointState, Failing, Reason};
use weir_engine::latency::Latency;
use weir_engine::observation::Row;
use weir_engine::units::{Millis, Ratio};

use super::{Cast, at};

/// What is wrong with an endpoint.
pub(super) struct Fault {
    errors: f64,
    slower: f64,
}

pub(super) fn fault(cast: &Cast, index: usize, step: u64) -> Fault {
    let shop = &*cast.id.name == "shop";
    let catalog = &*cast.id.name == "catalog";
    Fault {
        errors: if shop && index == 3 && step >= 232 {
            0.3
        } else if catalog && index == 1 && step > 200 {
            0.12
        } else {
            0.000_4
        },
        slower: if shop && index == 6 && (90..170).contains(&step) { 9.0 } else { 1.0 },
    }
}

/// What is decided for an endpoint.
pub(super) struct Plot {
    pub(super) weight: f64,
    pub(super) state: EndpointState,
    pub(super) reason: Reason,
}

impl Plot {
    pub(super) fn takes(&self) -> bool {
        !matches!(self.state, EndpointState::Ejected { .. })
    }
}

pub(super) fn plot(cast: &Cast, index: usize, step: u64) -> Plot {
    let (shop, catalog) = (&*cast.id.name == "shop", &*cast.id.name == "catalog");
    match (index, step) {
        (3, 234..) if shop => failing_plot(step),
        (6, 93..=185) if shop => slow_plot(step),
        (1, 203..) if catalog => out(203, 300, 1, (23.0, 191.0)),
        (_, 93..=185) if shop => Plot { reason: Reason::Remainder, ..calm() },
        _ => calm(),
    }
}

fn calm() -> Plot {
    Plot { weight: 1.0, state: EndpointState::Serving, reason: Reason::Equal }
}

/// Ejections of 10, 20 and 40 seconds with probations of three between them.
fn failing_plot(step: u64) -> Plot {
    let spells =
        [(234, 10, 1, (36.0, 118.0)), (247, 20, 2, (11.0, 34.0)), (270, 40, 3, (9.0, 33.0))];
    for (from, length, times, evidence) in spells {
        if (from..from + length).contains(&step) {
            return out(from, length, times, evidence);
        }
    }
    let since = spells.iter().map(|(from, length, ..)| from + length).filter(|end| *end <= step);
    Plot {
        weight: 0.3,
        state: EndpointState::Probation,
        reason: Reason::Proving { age: Duration::from_secs(step - since.max().unwrap()) },
    }
}

fn out(from: u64, length: u64, times: u32, (errors, requests): (f64, f64)) -> Plot {
    Plot {
        weight: 1.0,
        state: EndpointState::Ejected { until: at(from + length), times },
        reason: Reason::Failing(Failing {
            errors,
            requests,
            bound: Ratio::clamped(errors / requests * 0.73),
            limit: Ratio::clamped(0.01),
        }),
    }
}

fn slow_plot(step: u64) -> Plot {
    let down = step.saturating_sub(93) as f64;
    let up = step.saturating_sub(172) as f64;
    let weight =
        if step < 172 { (1.0 - down * 0.09).max(0.12) } else { (0.12 + up * 0.07).min(1.0) };
    Plot {
        weight,
        state: EndpointState::Serving,
        reason: Reason::ServiceTime {
            own: Millis::clamped(if step < 172 { 364.0 } else { 52.0 }),
            peers: Millis::clamped(40.4),
            persistence: 0.93,
        },
    }
}

pub(super) fn row(index: usize, requests: f64, fault: &Fault, luck: f64) -> Row {
    let requests = requests.round().max(0.0);
    let errors = (requests * fault.errors + luck * 0.9).floor().min(requests);
    let mut latency = Latency::default();
    let timed = (requests / 8.0).ceil();
    let mut left = timed;
    for (multiple, part) in [(0.7, 0.35), (1.0, 0.35), (1.6, 0.2), (2.8, 0.08), (4.6 + luck, 1.0)] {
        let count = (timed * part).ceil().min(left);
        left -= count;
        let ms = 40.0 * multiple * fault.slower;
        latency.add_to_bucket(weir_engine::latency::bucket_of(Millis::clamped(ms)), count);
        latency.count += count;
        latency.sum_ms += count * ms;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and positive"
    )]
    let whole = |value: f64| value as u64;
    Row {
        endpoint: u32::try_from(index).unwrap(),
        requests: whole(requests),
        errors: whole(errors),
        timeouts: whole(errors / 5.0),
        judged_requests: requests,
        judged_errors: errors,
        exposure: Duration::from_secs(40),
        clients: 40,
        latency,
        opinions: 40,
        ..Row::default()
    }
}

/// Steady noise in 0..1.
pub(super) fn noise(index: usize, step: u64) -> f64 {
    let mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ step.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 40) as f64 / f64::from(1_u32 << 24)
}
