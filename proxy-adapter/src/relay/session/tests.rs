//! The session between a client and servers as they are: what each of them was seen to do on the wire.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use weir_engine::units::Moment;

use super::*;
use crate::relay::assignment::{Opinion, Stand};

mod client;
mod closed;
mod endpoints;
mod refusals;
mod rules;
mod server;

use client::Client;
use server::{Manner, Server};

pub(super) const DIALECTS: [Dialect; 2] = [Dialect::StateOfTheWorld, Dialect::Incremental];
pub(super) const MANNERS: [Manner; 2] = [Manner::Istiod, Manner::Gateway];

/// A client, a session and a server, with nothing on the way between them but what is written down.
pub(super) struct Site {
    pub(super) session: Session,
    pub(super) client: Client,
    pub(super) server: Server,
    pub(super) now: Moment,
    pub(super) told: Vec<Event>,
    /// What went to the server and to the client, in order.
    pub(super) sent: (Vec<Bytes>, Vec<Bytes>),
}

impl Site {
    pub(super) fn new(dialect: Dialect, manner: Manner) -> Self {
        Self::with(Client::new(dialect), Server::new(manner, dialect), opinions(&[]))
    }

    /// A fresh relay between a client and a server that go on.
    pub(super) fn with(client: Client, server: Server, opinions: Opinions) -> Self {
        let dialect = client.dialect;
        Self {
            session: Session::new(dialect, Arc::new(opinions), Arc::default()),
            client,
            server,
            now: Moment::from_millis(1_000_000),
            told: Vec::new(),
            sent: (Vec::new(), Vec::new()),
        }
    }

    /// Carries out what the session wants, and all that follows from it.
    pub(super) fn carry(&mut self, out: Vec<Out>) {
        let mut queue: std::collections::VecDeque<Out> = out.into();
        let mut steps = 0;
        while let Some(next) = queue.pop_front() {
            steps += 1;
            assert!(steps < 2_000, "they go round in circles");
            match next {
                Out::Server(bytes) => {
                    assert!(!bytes.windows(2).any(|two| two == b"~w"), "a version of the relay's");
                    self.sent.0.push(bytes.clone());
                    for response in self.server.request(&bytes) {
                        queue.extend(self.session.response(&response, self.now));
                    }
                }
                Out::Client(bytes) => {
                    self.sent.1.push(bytes.clone());
                    let answer = self.client.response(&bytes);
                    queue.extend(self.session.request(&answer, self.now).expect("goes on"));
                }
                Out::Told(event) => self.told.push(event),
            }
        }
    }

    pub(super) fn want(&mut self, names: &[&str]) {
        let request = self.client.want(names);
        let out = self.session.request(&request, self.now).expect("goes on");
        self.carry(out);
    }

    /// The server has other endpoints of a name: weights by the last number of their addresses.
    pub(super) fn serve(&mut self, name: &str, weights: &[(u8, u32)]) {
        let responses = self.server.change(name, weights);
        self.respond(responses);
    }

    pub(super) fn respond(&mut self, responses: Vec<Bytes>) {
        for response in responses {
            let out = self.session.response(&response, self.now);
            self.carry(out);
        }
    }

    pub(super) fn opine(&mut self, opinions: Opinions) {
        let out = self.session.opine(Arc::new(opinions), self.now);
        self.carry(out);
    }

    pub(super) fn wait(&mut self, millis: u64) {
        self.now = Moment::from_millis(self.now.millis() + millis);
        let out = self.session.wake(self.now);
        self.carry(out);
    }

    /// What the client would do: weights of a name by the last number of their addresses; those that are out
    /// have none.
    #[track_caller]
    pub(super) fn has(&self, name: &str, expected: &[(u8, u32)]) {
        assert_eq!(self.client.weights(name), expected.iter().copied().collect(), "{name}");
    }
}

/// Opinions of endpoints anywhere, by the last number of their addresses: times so much, zero for out.
pub(super) fn opinions(stands: &[(u8, f64)]) -> Opinions {
    let stands = stands.iter().map(|&(number, multiplier)| {
        let out = multiplier == 0.0;
        let multiplier = if out { 1.0 } else { multiplier };
        ((Arc::from(format!("10.0.0.{number}")), 80), Stand { multiplier, out })
    });
    let anywhere = Arc::new(Opinion { stands: stands.collect() });
    Opinions { anywhere, ..Opinions::default() }
}

pub(super) fn weights(of: &[(u8, u32)]) -> BTreeMap<u8, u32> {
    of.iter().copied().collect()
}
