//! One stream's side of the protocol, without a socket: requests in, responses out, time given.
//!
//! A [`Session`] serves both dialects of xDS, state of the world and incremental, on one stream
//! that may carry every type. It owes a client three things that the protocol text leaves to the
//! server. Whoever is told a cluster is told its endpoints again right after: a proxy lets a
//! changed cluster wait for them (15 s, measured), and with it every later change of clusters.
//! Additions go out before what refers to them, and removals after; a route even waits until the
//! clusters that it may lead to were taken. And a client that refuses
//! something keeps, and is offered again, what it last took.
//!
//! Level, not edge: a session keeps names that may need telling, never queued messages. A client
//! that is slow to answer gets the latest state when it is ready, not every state in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use weir_engine::names::{Node, Place};
use weir_engine::units::Moment;

use crate::resource::{Resource, TypeUrl};
use crate::view::{PushVersion, View};

mod pace;
mod slot;
mod verdict;
mod wants;
mod watch;
#[cfg(test)]
mod tests;

pub use pace::ACK_DEADLINE;
pub use verdict::{Event, Refusal};
use watch::{Batch, Removals, Watch};

/// Names that a client may subscribe to, per type: far more than one proxy's configuration, and
/// few enough that a stream cannot eat the memory of all.
pub const NAMES_MAX: usize = 10_000;
/// Bytes of node metadata: a sidecar's are a few kilobytes.
pub const METADATA_MAX: usize = 64 << 10;
/// Bytes of a node id or a resource name. A Kubernetes name is at most 253.
pub const NAME_MAX: usize = 1024;
/// Types asked for but not served that a stream remembers, for people to see.
const UNSERVED_KEPT: usize = 8;
/// How long clusters that a reconnected client still has, and that are gone, stay: on a new
/// stream its listeners and routes are told only after its clusters.
const RECONNECT_GRACE: Duration = Duration::from_secs(1);

/// How a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Each request names everything that the client wants.
    StateOfTheWorld,
    /// Requests and responses carry changes.
    Incremental,
}

/// A request, decoded.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The client, on the first request at least.
    pub node: Option<NodeInfo>,
    /// The type that it is about; may be empty where the stream carries one type only.
    pub type_url: String,
    /// The response that it answers; empty if none.
    pub nonce: String,
    /// Why that response was refused.
    pub error: Option<String>,
    /// What the client wants.
    pub ask: Ask,
}

/// What a client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its id.
    pub id: String,
    /// The zone that it says it stands in; empty if it does not.
    pub zone: String,
    /// Program and version.
    pub agent: String,
    /// Size of its metadata.
    pub metadata_bytes: usize,
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// State of the world: all names, and the version that the client has.
    Names {
        /// The version that the client last took; empty if none.
        version: String,
        /// Every name that it wants; none at all: every resource there is, of clusters and
        /// listeners.
        names: Vec<String>,
    },
    /// Incremental: what to add and to drop.
    Changes {
        /// Names to add, `*` for every resource there is.
        subscribe: Vec<String>,
        /// Names to drop.
        unsubscribe: Vec<String>,
        /// Versions of what the client has, on a stream's first request of a type.
        has: Vec<(String, String)>,
    },
}

impl Default for Ask {
    fn default() -> Self {
        Self::Names { version: String::new(), names: Vec::new() }
    }
}

/// A response to be encoded in the stream's dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The type.
    pub kind: TypeUrl,
    /// The push that last changed the type.
    pub version: PushVersion,
    /// What the client's answer will quote.
    pub nonce: String,
    /// The resources.
    pub resources: Vec<Arc<Resource>>,
    /// Names that no longer exist (incremental only).
    pub removed: Vec<Arc<str>>,
}

/// Why a stream must end: the client broke a rule or a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Nobody to serve.
    #[error("the first request carries no node id; set node.id in the proxy's bootstrap")]
    NodeMissing,
    /// A name longer than any real one.
    #[error("a name of {0} bytes; at most {NAME_MAX} are accepted")]
    NameTooLong(usize),
    /// Metadata beyond the limit.
    #[error("node metadata of {0} bytes; at most {METADATA_MAX} are accepted")]
    MetadataTooLarge(usize),
    /// Too many names.
    #[error("{0} names of one type; at most {NAMES_MAX} are accepted")]
    TooManyNames(usize),
    /// A stream of one type was asked for another.
    #[error("this service carries {served} only, not {asked:?}")]
    WrongType {
        /// The type that the stream carries.
        served: TypeUrl,
        /// What was asked for.
        asked: String,
    },
}

/// What one type of a stream looks like, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeStatus {
    /// The type.
    pub kind: TypeUrl,
    /// Whether every resource there is is wanted.
    pub wildcard: bool,
    /// Names that the stream knows.
    pub names: usize,
    /// The version last sent.
    pub sent: Option<PushVersion>,
    /// The version last taken.
    pub acked: Option<PushVersion>,
    /// The last refusal.
    pub refusal: Option<Refusal>,
    /// Time from sending to the last acknowledgement.
    pub lag: Option<Duration>,
    /// Since when a response has had no answer.
    pub unanswered_since: Option<Moment>,
    /// Whether something waits to be sent or answered.
    pub pending: bool,
}

/// What every part of a session looks at while it makes up its mind.
struct Scene<'a> {
    view: &'a View,
    node: &'a Node,
    zone: &'a Place,
    dialect: Dialect,
    now: Moment,
}

/// One stream.
#[derive(Debug)]
pub struct Session {
    dialect: Dialect,
    stream: u64,
    only: Option<TypeUrl>,
    opened: Moment,
    node: Option<Node>,
    zone: Place,
    agent: String,
    watches: BTreeMap<TypeUrl, Watch>,
    /// Clusters told on this stream whose endpoints the client has not asked for yet.
    renewed: BTreeSet<Arc<str>>,
    responses: u64,
    unserved: BTreeSet<String>,
    events: Vec<Event>,
    wake: Option<Moment>,
}

impl Session {
    /// A new stream; `only` for a service that carries one type.
    pub fn new(dialect: Dialect, stream: u64, only: Option<TypeUrl>, now: Moment) -> Self {
        Self {
            dialect,
            stream,
            only,
            opened: now,
            node: None,
            zone: Place::default(),
            agent: String::new(),
            watches: BTreeMap::new(),
            renewed: BTreeSet::new(),
            responses: 0,
            unserved: BTreeSet::new(),
            events: Vec::new(),
            wake: None,
        }
    }

    /// Answers a request.
    pub fn handle(
        &mut self,
        request: Request,
        view: &View,
        now: Moment,
    ) -> Result<Vec<Response>, Violation> {
        let node = self.introduce(request.node.as_ref())?;
        let Some(kind) = self.kind_of(&request.type_url)? else { return Ok(Vec::new()) };
        self.hear(kind, request, now)?;
        let zone = self.zone.clone();
        Ok(self.flush(&Scene { view, node: &node, zone: &zone, dialect: self.dialect, now }))
    }

    /// Tells the client what changed: on every new view, and at [`Session::wake`].
    pub fn update(&mut self, view: &View, now: Moment) -> Vec<Response> {
        let Some(node) = self.node.clone() else { return Vec::new() };
        let zone = self.zone.clone();
        self.flush(&Scene { view, node: &node, zone: &zone, dialect: self.dialect, now })
    }

    /// When [`Session::update`] has something to do even if nothing else happens.
    pub fn wake(&self) -> Option<Moment> {
        self.wake
    }

    /// What the client said of earlier responses since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The client, once it has said who it is.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Program and version of the client.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Types that the client asks for and Weir does not serve.
    pub fn unserved(&self) -> impl Iterator<Item = &str> {
        self.unserved.iter().map(String::as_str)
    }

    /// The stream's types, for people.
    pub fn status(&self) -> Vec<TypeStatus> {
        self.watches.values().map(Watch::status).collect()
    }

    /// Some clients say who they are in every request, some in the first only.
    fn introduce(&mut self, info: Option<&NodeInfo>) -> Result<Node, Violation> {
        if let Some(info) = info {
            check_name(&info.id)?;
            check_name(&info.zone)?;
            if info.metadata_bytes > METADATA_MAX {
                return Err(Violation::MetadataTooLarge(info.metadata_bytes));
            }
        }
        if let Some(node) = &self.node {
            return Ok(node.clone());
        }
        let info = info.filter(|info| !info.id.is_empty()).ok_or(Violation::NodeMissing)?;
        let node = Node::from(info.id.as_str());
        self.agent = verdict::one_line(&info.agent, NAME_MAX);
        self.zone = Place::from(info.zone.as_str());
        self.node = Some(node.clone());
        Ok(node)
    }

    /// A type that Weir does not serve is no reason to end a stream that carries others.
    fn kind_of(&mut self, url: &str) -> Result<Option<TypeUrl>, Violation> {
        let kind = match (self.only, url.parse::<TypeUrl>()) {
            (Some(served), _) if url.is_empty() => Some(served),
            (Some(served), parsed) if parsed != Ok(served) => {
                let asked = verdict::one_line(url, NAME_MAX);
                return Err(Violation::WrongType { served, asked });
            }
            (_, parsed) => parsed.ok(),
        };
        if kind.is_none() && self.unserved.len() < UNSERVED_KEPT {
            self.unserved.insert(verdict::one_line(url, NAME_MAX));
        }
        Ok(kind)
    }

    fn hear(&mut self, kind: TypeUrl, request: Request, now: Moment) -> Result<(), Violation> {
        let known = self.watches.contains_key(&kind);
        let watch = self.watches.entry(kind).or_insert_with(|| Watch::new(kind));
        let Request { nonce, error, ask, .. } = request;
        match ask {
            Ask::Names { version, names } => {
                check_names(names.len(), &names)?;
                let initial = !known || nonce.is_empty();
                let last = watch.is_last(&nonce);
                if initial {
                    watch.restart(version.is_empty());
                } else {
                    self.events.extend(watch.judge(&nonce, error, (self.dialect, now)));
                }
                if initial || last {
                    watch.want(&names, initial);
                }
            }
            Ask::Changes { subscribe, unsubscribe, has } => {
                check_names(watch.wants.explicit + subscribe.len(), &subscribe)?;
                if !nonce.is_empty() {
                    self.events.extend(watch.judge(&nonce, error, (self.dialect, now)));
                }
                if !known {
                    watch.begin(&subscribe, &has);
                }
                let renewed = (kind == TypeUrl::Endpoints).then_some(&mut self.renewed);
                watch.alter(&subscribe, &unsubscribe, renewed);
            }
        }
        Ok(())
    }

    /// Everything that may be told now, in an order in which nothing refers to the unknown.
    fn flush(&mut self, scene: &Scene<'_>) -> Vec<Response> {
        let mut out = Vec::new();
        self.wake = None;
        for kind in TypeUrl::ALL {
            let removals = if is_referred_to(kind) { Removals::Later } else { Removals::Now };
            out.extend(self.offer(kind, scene, removals));
        }
        let grace = self.opened.plus(RECONNECT_GRACE);
        if scene.now < grace {
            self.wake_by(grace);
        } else if self.referrers_settled(scene) {
            for kind in TypeUrl::ALL.into_iter().filter(|kind| is_referred_to(*kind)) {
                out.extend(self.offer(kind, scene, Removals::Now));
            }
        }
        for watch in self.watches.values_mut() {
            self.events.extend(watch.silence(scene.now));
        }
        for at in self.watches.values().filter_map(Watch::wake).collect::<Vec<_>>() {
            self.wake_by(at);
        }
        out
    }

    fn wake_by(&mut self, at: Moment) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Whether listeners and routes are where they should be, so that what they do not refer to
    /// may go.
    fn referrers_settled(&self, scene: &Scene<'_>) -> bool {
        [TypeUrl::Listener, TypeUrl::Route]
            .iter()
            .filter_map(|kind| self.watches.get(kind))
            .all(|watch| watch.is_settled(scene))
    }

    fn offer(&mut self, kind: TypeUrl, scene: &Scene<'_>, removals: Removals) -> Option<Response> {
        let ready = self.ready(kind, scene.now);
        let batch = self.watches.get_mut(&kind)?.offer(scene, removals, ready)?;
        if kind == TypeUrl::Cluster {
            self.repair(&batch);
        }
        self.responses += 1;
        let nonce = format!("{:x}.{}", self.stream, self.responses);
        let version = scene.view.version(kind);
        self.watches.get_mut(&kind)?.sent(&batch, &nonce, version, scene.now);
        let Batch { resources, removed, .. } = batch;
        Some(Response { kind, version, nonce, resources, removed })
    }

    /// Until when a route waits for the client to take clusters and endpoints: a proxy takes a
    /// cluster once it can use it, and a route to one that it cannot use yet fails requests. Who
    /// leaves the oldest of them unanswered for too long is not waited for: traffic must be able
    /// to go back.
    fn ready(&self, kind: TypeUrl, now: Moment) -> Option<Moment> {
        let awaited = TypeUrl::ALL.into_iter().filter(|kind| is_referred_to(*kind));
        let awaited = awaited.filter(|_| kind == TypeUrl::Route);
        awaited.filter_map(|kind| self.watches.get(&kind)?.unanswered_until(now)).max()
    }

    /// Owes the client the endpoints of every cluster that it is about to be told.
    fn repair(&mut self, batch: &Batch) {
        for cluster in &batch.renewed {
            let name = cluster.endpoints_name();
            let endpoints = self.watches.get_mut(&TypeUrl::Endpoints);
            if !endpoints.is_some_and(|endpoints| endpoints.owe(&name)) {
                self.renewed.insert(name);
            }
        }
        for name in &batch.removed {
            self.renewed.remove(name);
        }
    }
}

/// Whether other types refer to this one by name.
const fn is_referred_to(kind: TypeUrl) -> bool {
    matches!(kind, TypeUrl::Cluster | TypeUrl::Endpoints)
}

fn check_name(name: &str) -> Result<(), Violation> {
    if name.len() > NAME_MAX { Err(Violation::NameTooLong(name.len())) } else { Ok(()) }
}

fn check_names(count: usize, names: &[String]) -> Result<(), Violation> {
    if count > NAMES_MAX {
        return Err(Violation::TooManyNames(count));
    }
    names.iter().try_for_each(|name| check_name(name))
}
