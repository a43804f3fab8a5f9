//! Resources as they are sent: encoded once, shared by every stream.
//!
//! Encoding per proxy is what makes other management servers slow (ten to thirty times the CPU at
//! two hundred proxies), so a [`Resource`] carries its bytes and a hash of them, and streams share
//! it behind an `Arc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::runtime::v3::Runtime;
use envoy_types::pb::google::protobuf::Struct;
use prost::Message;
use sha2::{Digest, Sha256};
use weir_engine::names::{Node, Place, ServiceId};

/// The kinds of resources that Weir serves, in the order in which additions are sent: what is
/// referred to goes before what refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TypeUrl {
    /// Clusters (CDS).
    Cluster,
    /// A cluster's endpoints, `ClusterLoadAssignment` (EDS).
    Endpoints,
    /// Listeners (LDS).
    Listener,
    /// Route configurations (RDS).
    Route,
    /// Runtime layers (RTDS).
    Runtime,
}

impl TypeUrl {
    /// Every kind, in the order in which additions are sent.
    pub const ALL: [Self; 5] =
        [Self::Cluster, Self::Endpoints, Self::Listener, Self::Route, Self::Runtime];

    /// What people call the protocol of this kind.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Cluster => "CDS",
            Self::Endpoints => "EDS",
            Self::Listener => "LDS",
            Self::Route => "RDS",
            Self::Runtime => "RTDS",
        }
    }

    /// The type's URL, as it stands in requests and in `Any`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Runtime => "type.googleapis.com/envoy.service.runtime.v3.Runtime",
        }
    }
}

impl fmt::Display for TypeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A type of resources that Weir does not serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "resources of type {0:?} are not served by weir; let the proxy take them from another source"
)]
pub struct NotServed(pub String);

impl FromStr for TypeUrl {
    type Err = NotServed;

    fn from_str(url: &str) -> Result<Self, NotServed> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == url)
            .ok_or_else(|| NotServed(url.to_owned()))
    }
}

/// A hash of a resource's bytes: equal content has an equal version, across restarts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of these bytes: the first 64 bits of their SHA-256.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Self(digest.iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte)))
    }
}

impl Version {
    /// The hash itself.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Text that is no [`Version`] of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a resource version is sixteen hexadecimal digits")]
pub struct NotAVersion;

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        if text.len() != 16 || text.starts_with('+') {
            return Err(NotAVersion);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| NotAVersion)
    }
}

/// One resource in a proxy's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its name within its type.
    pub name: Arc<str>,
    /// Hash of `body`.
    pub version: Version,
    /// The encoded message: the value of the `Any` that is sent.
    pub body: Bytes,
    /// The decision that it carries, if it carries one.
    pub decision: Option<u64>,
    /// The service that it belongs to, if it belongs to one.
    pub service: Option<ServiceId>,
    /// The zone of the clients that it is for; empty: of any.
    pub zone: Place,
}

impl Resource {
    /// The resource of this name with `message` as its content.
    pub fn new(name: &str, message: &impl Message) -> Self {
        let body = Bytes::from(message.encode_to_vec());
        Self {
            name: Arc::from(name),
            version: Version::of(&body),
            body,
            decision: None,
            service: None,
            zone: Place::default(),
        }
    }

    /// The same resource as part of a decision for a service.
    #[must_use]
    pub fn deciding(mut self, decision: u64, service: ServiceId) -> Self {
        self.decision = Some(decision);
        self.service = Some(service);
        self
    }

    /// The same resource for clients of one zone only.
    #[must_use]
    pub fn in_zone(mut self, zone: Place) -> Self {
        self.zone = zone;
        self
    }

    /// Of a cluster: the name under which its endpoints are subscribed to.
    pub fn endpoints_name(&self) -> Arc<str> {
        let names = ClusterNames::decode(self.body.clone()).unwrap_or_default();
        match names.endpoints {
            Some(endpoints) if !endpoints.service_name.is_empty() => endpoints.service_name.into(),
            _ => self.name.clone(),
        }
    }

    /// The answer to a name that nothing is known of, where one must be given: silence lets a
    /// proxy wait for 15 s. Other types have no harmless empty resource.
    pub fn empty(kind: TypeUrl, name: &str) -> Option<Self> {
        match kind {
            TypeUrl::Endpoints => Some(Self::new(
                name,
                &ClusterLoadAssignment { cluster_name: name.to_owned(), ..Default::default() },
            )),
            TypeUrl::Runtime => Some(Self::new(
                name,
                &Runtime { name: name.to_owned(), layer: Some(Struct::default()) },
            )),
            TypeUrl::Cluster | TypeUrl::Listener | TypeUrl::Route => None,
        }
    }
}

/// The part of a cluster that says under which name its endpoints are subscribed to.
#[derive(Clone, PartialEq, Message)]
struct ClusterNames {
    #[prost(message, optional, tag = "3")]
    endpoints: Option<EndpointsName>,
}

#[derive(Clone, PartialEq, Message)]
struct EndpointsName {
    #[prost(string, tag = "2")]
    service_name: String,
}

/// Resources by type and name.
pub type Resources = BTreeMap<TypeUrl, BTreeMap<Arc<str>, Arc<Resource>>>;

/// Everything that proxies should have: a level, not an edge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What every node gets.
    pub types: Resources,
    /// What single nodes get instead or besides (their runtime layers).
    pub per_node: BTreeMap<Node, Resources>,
    /// What clients of one zone get instead: always beside one of the same type and name for all.
    pub per_zone: BTreeMap<Place, Resources>,
}

/// Who is to get something.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Its id.
    pub node: &'a Node,
    /// Its zone; empty where it did not say.
    pub zone: &'a Place,
}

impl Snapshot {
    /// Adds a resource for every node; one of the same type and name is replaced.
    pub fn insert(&mut self, kind: TypeUrl, resource: Resource) {
        let named = self.types.entry(kind).or_default();
        named.insert(resource.name.clone(), Arc::new(resource));
    }

    /// Adds a resource for one node only; there it takes precedence over one for every node.
    pub fn insert_for(&mut self, node: &Node, kind: TypeUrl, resource: Resource) {
        let types = self.per_node.entry(node.clone()).or_default();
        types.entry(kind).or_default().insert(resource.name.clone(), Arc::new(resource));
    }

    /// Adds a resource for the clients of its zone.
    pub fn insert_in_zone(&mut self, kind: TypeUrl, resource: Arc<Resource>) {
        let types = self.per_zone.entry(resource.zone.clone()).or_default();
        types.entry(kind).or_default().insert(resource.name.clone(), resource);
    }

    /// What this client gets under this name.
    pub fn find<'a>(
        &'a self,
        client: Client<'_>,
        kind: TypeUrl,
        name: &str,
    ) -> Option<&'a Arc<Resource>> {
        let named = |types: &'a Resources| types.get(&kind)?.get(name);
        let own = self.per_node.get(client.node).and_then(named);
        let near = || self.per_zone.get(client.zone).and_then(named);
        own.or_else(near).or_else(|| named(&self.types))
    }

    /// Has under a name what another snapshot has, whoever it is for; nothing where that has none.
    pub fn restore(&mut self, kind: TypeUrl, name: &Arc<str>, from: &Self) {
        let named = |types: &Resources| types.get(&kind).and_then(|all| all.get(name)).cloned();
        if let Some(old) = named(&from.types) {
            self.types.entry(kind).or_default().insert(name.clone(), old);
        }
        for types in self.per_zone.values_mut() {
            types.entry(kind).or_default().remove(name);
        }
        for old in from.per_zone.values().filter_map(named) {
            self.insert_in_zone(kind, old);
        }
    }

    /// What proxies are told anew by this snapshot after another: the audit of a push.
    pub fn changes_since(&self, last: Option<&Self>) -> Vec<Change> {
        let nothing = Resources::new();
        let mut changes = Vec::new();
        let all = last.map_or(&nothing, |last| &last.types);
        compare(&self.types, all, &To::All, &mut changes);
        let zones = self.per_zone.keys().chain(last.iter().flat_map(|last| last.per_zone.keys()));
        for zone in zones.collect::<BTreeSet<_>>() {
            let of = |snapshot: &Self| snapshot.per_zone.get(zone).cloned().unwrap_or_default();
            let (now, then) = (of(self), last.map(of).unwrap_or_default());
            compare(&now, &then, &To::Zone(zone.clone()), &mut changes);
        }
        let nodes = self.per_node.keys().chain(last.iter().flat_map(|last| last.per_node.keys()));
        for node in nodes.collect::<BTreeSet<_>>() {
            let of = |snapshot: &Self| snapshot.per_node.get(node).cloned().unwrap_or_default();
            let (now, then) = (of(self), last.map(of).unwrap_or_default());
            compare(&now, &then, &To::Node(node.clone()), &mut changes);
        }
        changes
    }

    /// The names of all resources of a type that this node may get.
    pub fn names(&self, node: &Node, kind: TypeUrl) -> impl Iterator<Item = &Arc<str>> {
        let own = self.per_node.get(node).and_then(|types| types.get(&kind));
        let shared = self.types.get(&kind);
        let only_own = own.into_iter().flatten().filter_map(move |(name, _)| {
            (!shared.is_some_and(|shared| shared.contains_key(name))).then_some(name)
        });
        shared.into_iter().flat_map(BTreeMap::keys).chain(only_own)
    }
}

/// Whom a change is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Everybody.
    All,
    /// The clients of a zone.
    Zone(Place),
    /// One node.
    Node(Node),
}

/// One resource that proxies are told anew, or told that it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its kind.
    pub kind: TypeUrl,
    /// Its name.
    pub name: Arc<str>,
    /// Whom it is for.
    pub to: To,
    /// What it is now; none: gone.
    pub version: Option<Version>,
}

fn compare(now: &Resources, then: &Resources, to: &To, changes: &mut Vec<Change>) {
    for kind in TypeUrl::ALL {
        let both = [now, then].into_iter().filter_map(|all| all.get(&kind));
        let both = both.flat_map(BTreeMap::keys);
        let version = |all: &Resources, name| Some(all.get(&kind)?.get(name)?.version);
        for name in both.collect::<BTreeSet<_>>() {
            let (now, then) = (version(now, name), version(then, name));
            if now != then {
                let (name, to) = (name.clone(), to.clone());
                changes.push(Change { kind, name, to, version: now });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_what_proxies_are_told_anew() {
        let mut last = Snapshot::default();
        last.insert(TypeUrl::Endpoints, Resource::new("kept", &1_u32));
        last.insert(TypeUrl::Endpoints, Resource::new("changed", &1_u32));
        last.insert(TypeUrl::Endpoints, Resource::new("gone", &1_u32));
        let mut now = Snapshot::default();
        now.insert(TypeUrl::Endpoints, Resource::new("kept", &1_u32));
        now.insert(TypeUrl::Endpoints, Resource::new("changed", &2_u32));
        let zone = Arc::new(Resource::new("kept", &3_u32).in_zone("a".into()));
        now.insert_in_zone(TypeUrl::Endpoints, zone.clone());
        let node = Node::from("n1");
        now.insert_for(&node, TypeUrl::Runtime, Resource::new("weir", &4_u32));
        let told: Vec<_> =
            now.changes_since(Some(&last)).into_iter().map(|c| (c.name, c.to)).collect();
        let expected: [(Arc<str>, To); 4] = [
            ("changed".into(), To::All),
            ("gone".into(), To::All),
            ("kept".into(), To::Zone("a".into())),
            ("weir".into(), To::Node(node)),
        ];
        assert_eq!(told, expected);
        assert_eq!(now.changes_since(Some(&now)), []);
        assert_eq!(now.changes_since(None).len(), 4);
    }

    #[test]
    fn a_type_is_read_back_from_its_url_and_others_are_refused() {
        for kind in TypeUrl::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let other = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
        assert_eq!(other.parse::<TypeUrl>(), Err(NotServed(other.to_owned())));
    }

    #[test]
    fn a_version_depends_on_the_content_only() {
        let one = Resource::empty(TypeUrl::Endpoints, "a").unwrap();
        let same = Resource::new(
            "other",
            &ClusterLoadAssignment { cluster_name: "a".into(), ..Default::default() },
        )
        .deciding(7, ServiceId::new("demo", "shop"));
        assert_eq!(one.version, same.version);
        assert_ne!(one.version, Resource::empty(TypeUrl::Endpoints, "b").unwrap().version);
        assert_eq!(one.version.to_string().parse(), Ok(one.version));
        for bad in ["", "12", "+123456789abcdef", "zzzzzzzzzzzzzzzz", "00000000000000000"] {
            assert_eq!(bad.parse::<Version>(), Err(NotAVersion), "{bad}");
        }
    }

    #[test]
    fn a_nodes_own_resource_takes_precedence() {
        let mut snapshot = Snapshot::default();
        let node = Node::from("n1");
        snapshot.insert(TypeUrl::Runtime, Resource::new("weir", &1_u32));
        snapshot.insert_for(&node, TypeUrl::Runtime, Resource::new("weir", &2_u32));
        snapshot.insert_for(&node, TypeUrl::Runtime, Resource::new("own", &3_u32));
        let found = |node: &str, name: &str| {
            let client = Client { node: &Node::from(node), zone: &Place::default() };
            let found = snapshot.find(client, TypeUrl::Runtime, name);
            found.map(|resource| resource.version)
        };
        assert_eq!(found("n1", "weir"), Some(Resource::new("weir", &2_u32).version));
        assert_eq!(found("n2", "weir"), Some(Resource::new("weir", &1_u32).version));
        assert_eq!(found("n2", "own"), None);
        let names = |node: &str| {
            let node = Node::from(node);
            snapshot.names(&node, TypeUrl::Runtime).map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names("n1"), ["weir", "own"]);
        assert_eq!(names("n2"), ["weir"]);
    }
}
