//! How often a client is told something that it did not ask for.

use std::collections::VecDeque;
use std::time::Duration;

use weir_engine::units::Moment;

use super::slot::Owed;

/// Time that a client has to answer a response. A healthy proxy needs milliseconds; one that
/// needs longer is unknown, not up to date, and the latest state is offered to it again.
pub const ACK_DEADLINE: Duration = Duration::from_secs(5);
/// Pushes of one type to one client in any [`WINDOW`]: ten thousand endpoints cost a proxy 35 to
/// 57 ms of its main thread.
const PUSHES: usize = 2;
/// See [`PUSHES`].
const WINDOW: Duration = Duration::from_secs(1);
/// After a refusal, time until the next push of that type to that client: a bad source that
/// changes on each tick must not become a storm of refusals.
pub(super) const QUIET: Duration = Duration::from_secs(5);

/// What a client may be told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gate {
    /// What is owed less than this must wait...
    pub(super) least: Owed,
    /// ...until then, at the latest.
    pub(super) until: Option<Moment>,
}

impl Gate {
    /// The same, but closed until then for all that the client did not ask for.
    pub(super) fn after(self, ready: Option<Moment>) -> Self {
        match ready {
            Some(_) => Self { least: Owed::Answer, until: self.until.max(ready) },
            None => self,
        }
    }
}

/// The recent past of one type on one stream.
#[derive(Debug, Default)]
pub(super) struct Pace {
    pushes: VecDeque<Moment>,
    quiet_until: Option<Moment>,
}

impl Pace {
    /// What may be told now. `unanswered`: when the youngest response without an answer was sent.
    pub(super) fn gate(&self, unanswered: Option<Moment>, now: Moment) -> Gate {
        let in_flight = unanswered.map(|at| at.plus(ACK_DEADLINE)).filter(|until| *until > now);
        if let Some(until) = in_flight {
            return Gate { least: Owed::Answer, until: Some(until) };
        }
        let full = self.pushes.len() >= PUSHES;
        let rate = self.pushes.front().filter(|_| full).map(|first| first.plus(WINDOW));
        match rate.max(self.quiet_until).filter(|until| *until > now) {
            Some(until) => Gate { least: Owed::Repair, until: Some(until) },
            None => Gate { least: Owed::Nothing, until: None },
        }
    }

    /// Something was told that the client was not owed.
    pub(super) fn pushed(&mut self, now: Moment) {
        if self.pushes.len() >= PUSHES {
            self.pushes.pop_front();
        }
        self.pushes.push_back(now);
    }

    /// Whether the client refused something a short while ago.
    pub(super) fn is_quiet(&self, now: Moment) -> bool {
        self.quiet_until.is_some_and(|until| until > now)
    }

    /// The client refused something.
    pub(super) fn refused(&mut self, now: Moment) {
        self.quiet_until = Some(now.plus(QUIET));
    }
}
