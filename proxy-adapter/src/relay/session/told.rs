//! What a client has been sent of one type, and has not answered yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use weir_engine::units::Moment;

use crate::relay::assignment::Opinion;
use crate::relay::parts::Parts;
use crate::relay::route::Split;

/// So many responses may wait for an answer; of more the oldest are forgotten. A server that sends this
/// much unasked has no flow control, and its client is far behind.
const UNANSWERED_MAX: usize = 1_024;

/// A response on its way.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) nonce: String,
    /// Who sent it.
    pub(super) from: From,
    /// All resources in it.
    pub(super) names: Vec<String>,
    /// Those that are not as the server sent them, and of what opinion.
    pub(super) changed: BTreeMap<String, Thought>,
}

/// What was thought of a resource.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Thought {
    Endpoints(Arc<Opinion>, Arc<[Parts]>),
    Routes(Arc<[Split]>),
}

/// Who sent a response.
#[derive(Clone, Debug)]
pub(super) enum From {
    /// The server, which awaits the answer.
    Server,
    /// The relay; the server awaits the answer to another one, where that is named.
    Relay(Option<Owed>),
}

/// An answer that a server awaits, to a response that the client refused as it was changed.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) nonce: String,
    pub(super) version: String,
    pub(super) since: Moment,
}

/// Responses in the order in which they were sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Unanswered {
    sent: VecDeque<Sent>,
}

impl Unanswered {
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub(super) fn push(&mut self, sent: Sent) {
        if self.sent.len() == UNANSWERED_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
    }

    /// The response with this nonce, and what a server awaits for those that were sent before it and are
    /// passed over: clients answer in order.
    pub(super) fn take(&mut self, nonce: &str) -> (Option<Sent>, Vec<Owed>) {
        let Some(at) = self.sent.iter().position(|sent| sent.nonce == nonce) else {
            return (None, Vec::new());
        };
        let skipped = self.sent.drain(..at).filter_map(|sent| match sent.from {
            From::Relay(owed) => owed,
            From::Server => None,
        });
        let skipped = skipped.collect();
        (self.sent.pop_front(), skipped)
    }

    /// When the earliest owed answer has been owed from.
    pub(super) fn owed_since(&self) -> Option<Moment> {
        self.owed().map(|owed| owed.since).min()
    }

    fn owed(&self) -> impl Iterator<Item = &Owed> {
        self.sent.iter().filter_map(|sent| match &sent.from {
            From::Relay(owed) => owed.as_ref(),
            From::Server => None,
        })
    }

    /// Answers that have been owed since before this: they are owed no more.
    pub(super) fn overdue(&mut self, before: Moment) -> Vec<Owed> {
        let mut overdue = Vec::new();
        for sent in &mut self.sent {
            if let From::Relay(owed) = &mut sent.from {
                overdue.extend(owed.take_if(|owed| owed.since <= before));
            }
        }
        overdue
    }
}
