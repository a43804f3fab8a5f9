//! One proxy's stream and the stream to its server that belongs to it, without a socket.
//!
//! Everything goes through as it comes. Of two types, endpoints and routes, the session keeps what the
//! server sent last, so that it can say it again: changed, when an opinion changes; as it was, when the
//! client refuses the change. What it sends of its own accord has nonces that no server gives, and the
//! server never sees them.
//!
//! Servers differ in what they forgive: some lose a request whose nonce is not their last, some send
//! nothing more of a type until they are answered, some send everything again over a version that is
//! not theirs. So each response of the server gets one answer, each answer carries the server's own
//! nonce and version, and names that ride on an answer which the server would lose go by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use weir_engine::units::Moment;

use super::clusters::Cluster;
use super::envelope::{self, Response};
use super::opinions::Opinions;
use super::request::{Client, Request};
use super::store::Store;
use super::{Malformed, Refusal};
use crate::session::Dialect;

mod answers;
mod kind;
mod told;

use kind::Kind;

pub(super) const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub(super) const ENDPOINTS: &str =
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
pub(super) const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// How long the server may take to send the endpoints of a cluster that it has just changed: a proxy
/// waits for them, up to 15 s, and some servers never send what has not changed itself.
pub const WARMING: Duration = Duration::from_millis(20);

/// How long the server may wait for an answer while the client is asked once more without changes.
pub const VERDICT: Duration = Duration::from_secs(1);

/// What has to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// This goes to the server.
    Server(Bytes),
    /// This goes to the client.
    Client(Bytes),
    /// This is worth telling.
    Told(Event),
}

/// Which resources an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Endpoints of clusters (EDS).
    Endpoints,
    /// Routes (RDS).
    Routes,
}

impl Sort {
    fn type_url(self) -> &'static str {
        match self {
            Self::Endpoints => ENDPOINTS,
            Self::Routes => ROUTES,
        }
    }
}

/// What is worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client has taken changed resources.
    Taken(Sort, Vec<String>),
    /// The client has refused them, in its own words, and gets what the server sent.
    Refused(Sort, Vec<String>, String),
    /// There is an opinion of a resource, and it is not applied.
    Withheld(Sort, String, Refusal),
    /// There is an opinion of a resource that the server has not sent on this stream.
    Blind(String),
    /// A changed cluster got its endpoints from here, since the server sent none.
    Repaired(String),
}

/// Why a stream is ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// The first request does not say who asks.
    #[error(
        "the first request of a stream names no node; set node.id in the proxy's bootstrap, a server may not survive a request without"
    )]
    NoNode,
    /// A request is no discovery request.
    #[error("a request is not understood: {0}")]
    Malformed(#[from] Malformed),
}

/// What holds for all types of a stream.
#[derive(Debug, Default)]
struct World {
    opinions: Arc<Opinions>,
    /// By assignment, the part of healthy endpoints below which a cluster ignores health.
    panics: BTreeMap<String, f64>,
}

/// A proxy's stream.
#[derive(Debug)]
pub struct Session {
    dialect: Dialect,
    /// What requests are about that do not say so.
    only: &'static str,
    client: Option<Client>,
    world: World,
    store: Arc<Store>,
    endpoints: Kind,
    routes: Kind,
    /// By cluster, what it was when the server sent it last.
    clusters: BTreeMap<String, (u64, Cluster)>,
    /// Assignments whose clusters have changed, and when they have to be there.
    warming: BTreeMap<String, Moment>,
    nonces: u64,
}

impl Session {
    /// A stream that begins with these opinions.
    pub fn new(dialect: Dialect, opinions: Arc<Opinions>, store: Arc<Store>) -> Self {
        Self {
            dialect,
            only: "",
            client: None,
            world: World { opinions, panics: BTreeMap::new() },
            store,
            endpoints: Kind::new(Sort::Endpoints, dialect),
            routes: Kind::new(Sort::Routes, dialect),
            clusters: BTreeMap::new(),
            warming: BTreeMap::new(),
            nonces: 0,
        }
    }

    /// A stream that is about one type only, which its requests need not name.
    #[must_use]
    pub fn about(self, only: Option<&'static str>) -> Self {
        Self { only: only.unwrap_or_default(), ..self }
    }

    /// Who it is, once that is known.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// The client says something.
    ///
    /// # Errors
    ///
    /// If the stream has to end.
    pub fn request(&mut self, bytes: &Bytes, now: Moment) -> Result<Vec<Out>, Ending> {
        let mut request = Request::read(bytes, self.dialect)?;
        if self.client.is_none() {
            self.client = Some(request.node.take().ok_or(Ending::NoNode)?);
        }
        let mut out = Vec::new();
        let named = request.type_url.as_str();
        match if named.is_empty() { self.only } else { named } {
            ENDPOINTS => self.endpoints.request(bytes, &request, now, &mut out)?,
            ROUTES => self.routes.request(bytes, &request, now, &mut out)?,
            _ => out.push(Out::Server(bytes.clone())),
        }
        self.flush(now, &mut out);
        Ok(out)
    }

    /// The server says something. What is not understood goes through.
    pub fn response(&mut self, bytes: &Bytes, now: Moment) -> Vec<Out> {
        let mut out = Vec::new();
        if self.read(bytes, now, &mut out).is_err() {
            out = vec![Out::Client(bytes.clone())];
        }
        self.flush(now, &mut out);
        out
    }

    fn read(&mut self, bytes: &Bytes, now: Moment, out: &mut Vec<Out>) -> Result<(), Malformed> {
        match envelope::type_url(bytes)?.as_str() {
            ENDPOINTS => {
                let response = Response::read(bytes, self.dialect)?;
                for resource in &response.resources {
                    self.warming.remove(&resource.name);
                }
                self.endpoints.response(bytes, response, (&self.world, &self.store, now), out)
            }
            ROUTES => {
                let response = Response::read(bytes, self.dialect)?;
                self.routes.response(bytes, response, (&self.world, &self.store, now), out)
            }
            CLUSTERS => {
                out.push(Out::Client(bytes.clone()));
                self.cluster(&Response::read(bytes, self.dialect)?, now)
            }
            _ => {
                out.push(Out::Client(bytes.clone()));
                Ok(())
            }
        }
    }

    /// Clusters have changed, or come anew: their endpoints are awaited.
    fn cluster(&mut self, response: &Response, now: Moment) -> Result<(), Malformed> {
        if self.dialect == Dialect::StateOfTheWorld {
            let named = |name: &String| response.resources.iter().any(|one| one.name == *name);
            self.clusters.retain(|name, _| named(name));
        }
        for name in &response.removed {
            self.clusters.remove(name);
        }
        for resource in &response.resources {
            let Some(cluster) = Cluster::read(&resource.body)? else { continue };
            let hash = hash(&resource.body);
            let same = self.clusters.get(&resource.name).is_some_and(|known| known.0 == hash);
            if !same && self.endpoints.has(&cluster.assignment) {
                self.warming.insert(cluster.assignment.clone(), now.plus(WARMING));
            }
            self.world.panics.insert(cluster.assignment.clone(), cluster.panic);
            self.clusters.insert(resource.name.clone(), (hash, cluster));
        }
        let clusters = &self.clusters;
        let used = |name: &String| clusters.values().any(|(_, one)| one.assignment == *name);
        if self.world.panics.len() > 2 * clusters.len() {
            self.world.panics.retain(|name, _| used(name));
        }
        Ok(())
    }

    /// Opinions have changed.
    pub fn opine(&mut self, opinions: Arc<Opinions>, now: Moment) -> Vec<Out> {
        self.world.opinions = opinions;
        self.endpoints.doubt();
        self.routes.doubt();
        let mut out = Vec::new();
        self.flush(now, &mut out);
        out
    }

    /// When [`Self::wake`] has something to do.
    pub fn due(&self) -> Option<Moment> {
        let warming = self.warming.values().copied();
        warming.chain(self.endpoints.due()).chain(self.routes.due()).min()
    }

    /// Time has passed.
    pub fn wake(&mut self, now: Moment) -> Vec<Out> {
        let mut out = Vec::new();
        let late: Vec<String> = self
            .warming
            .iter()
            .filter(|(_, due)| **due <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in late {
            self.warming.remove(&name);
            if self.endpoints.ask(&name) {
                out.push(Out::Told(Event::Repaired(name)));
            }
        }
        self.endpoints.overdue(now, &mut out);
        self.routes.overdue(now, &mut out);
        self.flush(now, &mut out);
        out
    }

    /// Whether the client has answered everything of endpoints and routes.
    pub fn is_settled(&self) -> bool {
        self.endpoints.is_settled() && self.routes.is_settled()
    }

    fn flush(&mut self, now: Moment, out: &mut Vec<Out>) {
        self.endpoints.flush((&self.world, now), &mut self.nonces, out);
        self.routes.flush((&self.world, now), &mut self.nonces, out);
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
