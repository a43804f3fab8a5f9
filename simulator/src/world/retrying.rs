//! What is tried again, and when a request's sender loses patience.

use std::collections::BTreeMap;

use super::calls::Call;
use super::{BACKOFF, Event, World};
use crate::backend::Number;
use crate::telemetry::End;

/// The first back-off is a random part of this; each further one of twice as much, up to the most.
const BACKOFF_MICROS: u64 = 25_000;
const BACKOFF_MICROS_MAX: u64 = 250_000;

/// Keys of retries are their request's with their count above these bits, four for each tier.
const KEY_BITS: u32 = 48;

/// Requests that are being tried again, by their first try.
#[derive(Clone, Debug, Default)]
pub(super) struct Retrying {
    requests: BTreeMap<Number, Retried>,
}

#[derive(Clone, Debug)]
struct Retried {
    count: u32,
    /// Whether one counts in its proxy's budget: from the back-off to its end.
    active: bool,
    current: Number,
    tried: Vec<usize>,
}

impl World<'_> {
    /// Whether a request whose newest try ended goes on with another one.
    pub(super) fn tries_again(&mut self, first: Number, end: End) -> bool {
        let Call { tier, proxy, pick, asked, key, .. } = self.calls[first];
        let place = &mut self.tiers[tier];
        let Some(retries) = place.retries else { return false };
        let wanted = match end {
            End::Success => false,
            End::Error => retries.on_errors,
            End::Timeout => retries.per_try.is_some(),
        };
        if !wanted || !asked {
            return false;
        }
        let fresh = || Retried { count: 0, active: false, current: first, tried: Vec::new() };
        let retried = self.retrying.requests.entry(first).or_insert_with(fresh);
        place.retrying[proxy] -= u32::from(core::mem::take(&mut retried.active));
        let allowed = retries.allowed(place.proxies[proxy].open());
        if retried.count >= retries.max || place.retrying[proxy] >= allowed {
            return false;
        }
        let last = if retried.count == 0 { pick } else { self.calls[retried.current].pick };
        retried.tried.push(last.backend);
        retried.count += 1;
        retried.active = true;
        place.retrying[proxy] += 1;
        let (count, key) = (retried.count, retry_key(key, tier, retried.count));
        let most = (BACKOFF_MICROS << (count - 1).min(10)).min(BACKOFF_MICROS_MAX);
        let wait = libm::floor(self.draws(tier, BACKOFF, key).unit() * most as f64);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a quarter of a second"
        )]
        self.schedule(wait as u64, Event::Retry(first));
        true
    }

    /// A back-off is over.
    pub(super) fn retry(&mut self, first: Number) {
        let call = self.calls[first];
        let number = self.calls.len();
        let Some(retried) = self.retrying.requests.get_mut(&first) else { return };
        let avoids = self.tiers[call.tier].retries.is_some_and(|all| all.avoids_previous);
        let tried = if avoids { retried.tried.clone() } else { Vec::new() };
        let key = retry_key(call.key, call.tier, retried.count);
        retried.current = number;
        let Some(pick) = self.pick(call.tier, call.proxy, &tried) else {
            return self.settle(first, End::Error);
        };
        self.score.retries += u64::from(call.tier == 0 && self.scenario.is_counted(call.sent));
        let sent = self.now;
        self.calls.push(Call { pick, sent, open: true, waiting: false, asked: false, key, ..call });
        if !self.send(number) {
            self.settle(first, End::Error);
        }
    }

    /// Whoever sent a request waits no longer.
    pub(super) fn lose_patience(&mut self, first: Number) {
        let retried = self.retrying.requests.get(&first);
        let current = retried.map_or(first, |retried| retried.current);
        if self.calls.get(current).is_some_and(|call| call.open) {
            self.close(current, End::Timeout);
        }
        self.settle(first, End::Timeout);
    }

    /// A request is over: nothing of its retries is kept.
    pub(super) fn forget(&mut self, first: Number) {
        if let Some(retried) = self.retrying.requests.remove(&first) {
            let Call { tier, proxy, .. } = self.calls[first];
            self.tiers[tier].retrying[proxy] -= u32::from(retried.active);
        }
    }
}

fn retry_key(key: u64, tier: usize, count: u32) -> u64 {
    // A try of the second tier may be work for a retry of the first.
    key.wrapping_add(u64::from(count) << (KEY_BITS + 4 * u32::from(tier > 0)))
}
