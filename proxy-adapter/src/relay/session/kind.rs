//! Resources of one type on one stream: what the server sent, and what the client has of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_engine::units::Moment;

use super::told::{From, Owed, Sent, Thought, Unanswered};
use super::{Event, Out, Sort, VERDICT, World, hash};
use crate::relay::assignment::{Floor, Key};
use crate::relay::envelope::{Own, Response, own, with_bodies};
use crate::relay::store::{Original, Store};
use crate::relay::{Malformed, Patched, Refusal};
use crate::session::Dialect;

/// What nonces of the relay's own begin with; no server's does.
pub(super) const OWN_NONCE: &str = "weir:";

/// How long a resource is left alone after a client has refused a change of it, however opinions change.
const REFUSED: Duration = Duration::from_secs(5);

/// How long what was thought of an endpoint is forgotten for after the server has taken it away: what
/// comes back under its address may be somebody else.
const DEPARTED: Duration = Duration::from_secs(60);

/// Above the panic threshold by so much, or a proxy is one endpoint's failure away from ignoring health.
const MARGIN: f64 = 0.1;

/// The server's last word on a type.
#[derive(Clone, Debug, Default)]
pub(super) struct Last {
    pub(super) nonce: String,
    pub(super) version: String,
}

/// A resource that the server has sent.
#[derive(Debug)]
struct Held {
    original: Arc<Original>,
    version: String,
    /// The hash of what the client was sent last, where that is not the original.
    shown: Option<u64>,
    /// Endpoints that the server has taken away, and when.
    departed: BTreeMap<Key, Moment>,
    /// Why an opinion is not applied, as it was told last.
    withheld: Option<Refusal>,
}

/// Resources of one type.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) sort: Sort,
    pub(super) dialect: Dialect,
    /// Whether the client has asked for anything of the type yet.
    pub(super) met: bool,
    pub(super) wanted: BTreeSet<String>,
    pub(super) last: Last,
    pub(super) unanswered: Unanswered,
    /// The client's last request of a stream whose requests say everything.
    pub(super) latest: Bytes,
    held: BTreeMap<String, Held>,
    /// Changes that the client has refused, and when.
    refused: BTreeMap<String, (Thought, Moment)>,
    /// Resources that the client waits for, whether or not they have changed.
    asked: BTreeSet<String>,
    /// Resources that the client wants, an opinion is about, and the server has not sent.
    blind: BTreeSet<String>,
    /// Whether the client may have something else than what is thought now.
    doubtful: bool,
    /// Resources that the client gets as they were, at once, and what the server waits for meanwhile.
    fallback: Option<(Vec<String>, Option<Owed>)>,
}

impl Kind {
    pub(super) fn new(sort: Sort, dialect: Dialect) -> Self {
        Self {
            sort,
            dialect,
            met: false,
            wanted: BTreeSet::new(),
            last: Last::default(),
            unanswered: Unanswered::default(),
            latest: Bytes::new(),
            held: BTreeMap::new(),
            refused: BTreeMap::new(),
            asked: BTreeSet::new(),
            blind: BTreeSet::new(),
            doubtful: false,
            fallback: None,
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.held.contains_key(name)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// Lets the client have a resource once more; says whether there is one.
    pub(super) fn ask(&mut self, name: &str) -> bool {
        let known = self.held.contains_key(name) && self.wanted.contains(name);
        if known {
            self.asked.insert(name.to_owned());
        }
        known
    }

    /// Something else may be thought now.
    pub(super) fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// The client wants a resource no more, or the server has taken it away.
    pub(super) fn forget(&mut self, name: &str) {
        self.held.remove(name);
        self.asked.remove(name);
        self.refused.remove(name);
    }

    pub(super) fn due(&self) -> Option<Moment> {
        self.unanswered.owed_since().map(|since| since.plus(VERDICT))
    }

    /// The server's response on its way to the client.
    pub(super) fn response(
        &mut self,
        bytes: &Bytes,
        response: Response,
        (world, store, now): (&World, &Store, Moment),
        out: &mut Vec<Out>,
    ) -> Result<(), Malformed> {
        for name in &response.removed {
            self.forget(name);
        }
        let mut bodies = Vec::with_capacity(response.resources.len());
        let mut names = Vec::with_capacity(response.resources.len());
        let mut changed = BTreeMap::new();
        for resource in response.resources {
            let name = resource.name;
            let original = store.keep(&resource.body, self.sort == Sort::Endpoints);
            self.hold(&name, original, resource.version, now);
            self.asked.remove(&name);
            let body = self.show(&name, self.patched(&name, (world, now)), out);
            if body.is_some() {
                changed.insert(name.clone(), self.thought(&name, world));
            }
            bodies.push(body);
            names.push(name);
        }
        self.last = Last { nonce: response.nonce.clone(), version: response.version };
        let to_client = if changed.is_empty() {
            bytes.clone()
        } else {
            with_bodies(bytes, self.dialect, &bodies)?
        };
        self.unanswered.push(Sent { nonce: response.nonce, from: From::Server, names, changed });
        out.push(Out::Client(to_client));
        Ok(())
    }

    fn hold(&mut self, name: &str, original: Arc<Original>, version: String, now: Moment) {
        let before = self.held.remove(name);
        let mut departed = BTreeMap::new();
        if let Some(before) = before {
            let gone = before.original.endpoints.iter();
            let gone = gone.filter(|key| !original.endpoints.contains(key));
            departed.extend(gone.map(|key| (key.clone(), now)));
            let recent = before.departed.into_iter();
            departed.extend(recent.filter(|(_, since)| now.since(*since) < DEPARTED));
        }
        let held = Held { original, version, shown: None, departed, withheld: None };
        self.held.insert(name.to_owned(), held);
    }

    /// Remembers what the client gets of a resource now; gives it where that is not the original.
    fn show(&mut self, name: &str, patched: Patched, out: &mut Vec<Out>) -> Option<Bytes> {
        let held = self.held.get_mut(name)?;
        let body = match patched {
            Patched::Changed(body) => Some(body),
            Patched::Same => {
                held.withheld = None;
                None
            }
            Patched::Refused(refusal) => {
                if held.withheld.as_ref() != Some(&refusal) {
                    held.withheld = Some(refusal.clone());
                    out.push(Out::Told(Event::Withheld(self.sort, name.to_owned(), refusal)));
                }
                None
            }
        };
        held.shown = body.as_deref().map(hash);
        body
    }

    fn patched(&self, name: &str, (world, now): (&World, Moment)) -> Patched {
        let Some(held) = self.held.get(name) else { return Patched::Same };
        let thought = self.thought(name, world);
        let refused = self.refused.get(name);
        if refused.is_some_and(|(what, when)| *what == thought || now.since(*when) < REFUSED) {
            return Patched::Same;
        }
        match thought {
            Thought::Routes(_) => world.opinions.patch_routes(&held.original.body),
            Thought::Endpoints(opinion, parts) => {
                let met = |key| opinion.stands.contains_key(key);
                if parts.is_empty() && !held.original.endpoints.iter().any(met) {
                    return Patched::Same;
                }
                let panic = world.panics.get(name).copied().unwrap_or_default();
                let healthy = (panic + MARGIN).min(1.0).max(world.opinions.healthy);
                let stale = |key: &Key| {
                    let left = held.departed.get(key);
                    left.is_some_and(|since| now.since(*since) < DEPARTED)
                };
                world.opinions.patch(name, &held.original.body, Floor { healthy }, stale)
            }
        }
    }

    fn thought(&self, name: &str, world: &World) -> Thought {
        match self.sort {
            Sort::Endpoints => {
                let opinions = &world.opinions;
                Thought::Endpoints(Arc::clone(opinions.of(name)), Arc::clone(&opinions.parts))
            }
            Sort::Routes => Thought::Routes(Arc::clone(&world.opinions.splits)),
        }
    }

    /// The client has refused a response of changed resources: it gets them as they were.
    pub(super) fn fall_back(
        &mut self,
        sent: Sent,
        owed: Option<Owed>,
        (error, now): (&str, Moment),
        out: &mut Vec<Out>,
    ) {
        let names = sent.changed.keys().cloned().collect();
        out.push(Out::Told(Event::Refused(self.sort, names, error.to_owned())));
        self.refused.extend(sent.changed.into_iter().map(|(name, what)| (name, (what, now))));
        self.fallback = Some((sent.names, owed));
    }

    /// Sends what the client has to have, once it has answered what it was sent before.
    pub(super) fn flush(&mut self, at: (&World, Moment), nonces: &mut u64, out: &mut Vec<Out>) {
        if let Some((names, owed)) = self.fallback.take() {
            let names = names.into_iter().filter(|name| self.has(name)).collect();
            self.push((names, owed), at, nonces, out);
        }
        if !self.unanswered.is_empty() {
            return;
        }
        let mut names = std::mem::take(&mut self.asked);
        names.retain(|name| self.has(name));
        if std::mem::take(&mut self.doubtful) {
            self.look(at.0, out);
            names.extend(self.differing(at, out));
        }
        names.retain(|name| self.wanted.contains(name));
        if !names.is_empty() {
            self.push((names, None), at, nonces, out);
        }
    }

    /// Resources of which the client has something else than it should.
    fn differing(&mut self, at: (&World, Moment), out: &mut Vec<Out>) -> Vec<String> {
        let names: Vec<String> = self.held.keys().cloned().collect();
        let mut differing = Vec::new();
        for name in names {
            let patched = self.patched(&name, at);
            let Some(held) = self.held.get(&name) else { continue };
            let should =
                if let Patched::Changed(body) = &patched { Some(hash(body)) } else { None };
            if should != held.shown {
                differing.push(name);
            } else if should.is_none() {
                self.show(&name, patched, out);
            }
        }
        differing
    }

    /// Tells of opinions about what the server has not sent.
    fn look(&mut self, world: &World, out: &mut Vec<Out>) {
        if self.sort != Sort::Endpoints || self.last.nonce.is_empty() {
            return;
        }
        let named = &world.opinions.named;
        let blind: BTreeSet<String> = self
            .wanted
            .iter()
            .filter(|name| named.contains_key(*name) && !self.held.contains_key(*name))
            .cloned()
            .collect();
        let new = blind.difference(&self.blind);
        out.extend(new.map(|name| Out::Told(Event::Blind(name.clone()))));
        self.blind = blind;
    }

    /// Sends resources of the relay's own accord.
    fn push(
        &mut self,
        (names, owed): (BTreeSet<String>, Option<Owed>),
        at: (&World, Moment),
        nonces: &mut u64,
        out: &mut Vec<Out>,
    ) {
        let mut changed = BTreeMap::new();
        let mut bodies = Vec::with_capacity(names.len());
        for name in &names {
            let body = self.show(name, self.patched(name, at), out);
            if body.is_some() {
                changed.insert(name.clone(), self.thought(name, at.0));
            }
            bodies.push(body);
        }
        *nonces += 1;
        let nonce = format!("{OWN_NONCE}{nonces}");
        let resources = names.iter().zip(&bodies).filter_map(|(name, body)| {
            let held = self.held.get(name)?;
            let changed = body.is_some();
            let body = body.as_ref().unwrap_or(&held.original.body);
            Some(Own { name, version: &held.version, body, changed })
        });
        let resources: Vec<Own<'_>> = resources.collect();
        let kind = (self.dialect, self.sort.type_url());
        out.push(Out::Client(own(kind, (&nonce, &self.last.version), &resources)));
        let names = names.into_iter().collect();
        self.unanswered.push(Sent { nonce, from: From::Relay(owed), names, changed });
    }
}
