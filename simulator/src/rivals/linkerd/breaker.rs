//! Linkerd's breaker of consecutive failures: seven in a row shut an endpoint out.
//!
//! After a backoff that doubles from 1 s to 60 s, plus up to half of it by chance, one request is
//! admitted. Answers are anonymous to it: whichever comes first in probation decides, even one to
//! a request sent before the endpoint was shut; while it is shut, answers mean nothing.
//!
//! Source: linkerd2-proxy release/v2.366.0 linkerd/app/outbound/src/http/breaker/
//! consecutive_failures.rs, linkerd/exp-backoff and linkerd/stack/src/gate.rs.

use crate::random::Random;

/// Failures in a row that shut it (`failure-accrual-consecutive-max-failures`).
const FAILURES_MAX: u32 = 7;
/// The first backoff in microseconds (`-min-penalty`).
const BACKOFF_MIN: u64 = 1_000_000;
/// The longest (`-max-penalty`), jitter included.
const BACKOFF_MAX: u64 = 60_000_000;
/// How much of a backoff may be added to it by chance (`-jitter-ratio`).
const JITTER: f64 = 0.5;

/// Whether one endpoint may be sent to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Breaker {
    /// Freely; so many requests in a row failed.
    Open { failures: u32 },
    /// Not until then, and then once. So many probes failed; `sent` says whether one is under way.
    Shut { until: u64, failed: u32, sent: bool },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Open { failures: 0 }
    }
}

impl Breaker {
    /// Without any request in flight a probe's answer was lost, for the proxy gave its host up.
    pub(super) fn admits(&self, now: u64, in_flight: u32) -> bool {
        match *self {
            Self::Open { .. } => true,
            Self::Shut { until, sent, .. } => now >= until && (!sent || in_flight == 0),
        }
    }

    /// A request was sent.
    pub(super) fn sent(&mut self, now: u64) {
        if let Self::Shut { until, sent, .. } = self {
            *sent = now >= *until;
        }
    }

    /// A request ended.
    pub(super) fn ended(&mut self, bad: bool, now: u64, random: &mut Random) {
        *self = match *self {
            Self::Shut { until, .. } if now < until => return,
            Self::Shut { failed, .. } if bad => Self::shut(failed + 1, now, random),
            Self::Open { failures } if bad && failures + 1 < FAILURES_MAX => {
                Self::Open { failures: failures + 1 }
            }
            Self::Open { .. } if bad => Self::shut(0, now, random),
            Self::Open { .. } | Self::Shut { .. } => Self::default(),
        };
    }

    fn shut(failed: u32, now: u64, random: &mut Random) -> Self {
        Self::Shut { until: now + backoff(failed, random), failed, sent: false }
    }
}

/// How long after so many failed probes.
fn backoff(failed: u32, random: &mut Random) -> u64 {
    let base = BACKOFF_MIN.saturating_mul(2_u64.saturating_pow(failed)).min(BACKOFF_MAX);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 30 s")]
    let jitter = (base as f64 * JITTER * random.unit()) as u64;
    (base + jitter).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_from_one_second_to_sixty_with_half_of_it_by_chance() {
        let random = &mut Random::of(4, 1, 1);
        for (failed, base) in [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (90, 60)] {
            let base = base * 1_000_000;
            let drawn: Vec<_> = (0..1_000).map(|_| backoff(failed, random)).collect();
            let most = (base + base / 2).min(BACKOFF_MAX);
            assert!(drawn.iter().all(|backoff| (base..=most).contains(backoff)));
            assert!(drawn.iter().max().unwrap() + base / 50 > most);
        }
    }
}
