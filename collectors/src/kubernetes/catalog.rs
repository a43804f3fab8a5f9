//! What a cluster says of its services, joined: EndpointSlices, Services and Nodes. Pure.
//!
//! An endpoint is an address of a slice with the port that the service is asked for by. Slices of
//! one service are merged, and where two of them name one address the better word stands. Of a
//! service of two families only the first counts, since every pod would stand there twice.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/>

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use weir_engine::names::{Locality, Place as PlaceName, ServiceId};
use weir_engine::topology::Endpoint;

use crate::endpoints::{ENDPOINTS_MAX, plain, reachable};

/// The label by which a slice says whose it is.
const OWNER: &str = "kubernetes.io/service-name";

/// Labels of nodes.
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";

/// By which port a service is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// The name of one of its ports.
    Name(String),
    /// The number of one of its ports: the service's own, not its pods'.
    Number(u16),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; empty where it is the only one.
    pub name: String,
    /// Its number.
    pub number: u16,
}

/// A Service as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownService {
    /// Its TCP ports, as it lists them.
    pub ports: Vec<ServicePort>,
    /// Whether it has no endpoints by its nature: its type is `ExternalName`.
    pub external: bool,
    /// Whether IPv6 is its first family; none if it does not say.
    pub v6_first: Option<bool>,
}

impl KnownService {
    /// The port that is meant.
    pub fn port(&self, wanted: Option<&Port>) -> Option<&ServicePort> {
        match wanted {
            Some(Port::Name(name)) => self.ports.iter().find(|port| port.name == *name),
            Some(Port::Number(number)) => self.ports.iter().find(|port| port.number == *number),
            None => match self.ports.as_slice() {
                [only] => Some(only),
                _ => None,
            },
        }
    }
}

/// Why there is no list of a service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// There is no such Service.
    #[error("there is no Service {0}: create it, or name one that is there")]
    NoService(ServiceId),
    /// It leads out of the cluster.
    #[error("Service {0} is of type ExternalName and has no endpoints: name a dns source instead")]
    External(ServiceId),
    /// It has no such port.
    #[error("Service {service} has no TCP port {port}; it has {has}")]
    NoPort {
        /// Which.
        service: ServiceId,
        /// Asked for.
        port: Port,
        /// What there is.
        has: String,
    },
    /// Which of its ports is meant cannot be told.
    #[error("Service {service} has not one TCP port but {has}: say which is meant")]
    Ambiguous {
        /// Which.
        service: ServiceId,
        /// What there is.
        has: String,
    },
    /// More endpoints than one process is built for.
    #[error("Service {0} has more than {ENDPOINTS_MAX} endpoints")]
    TooMany(ServiceId),
}

/// One slice.
#[derive(Clone, Debug, PartialEq)]
struct Slice {
    owner: ServiceId,
    v6: bool,
    ports: Vec<(String, u16)>,
    endpoints: Vec<Member>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq)]
struct Member {
    ip: IpAddr,
    zone: Option<String>,
    node: Option<String>,
    word: Word,
}

/// What a slice says of an endpoint, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    /// It does not answer.
    NotReady,
    /// It is on its way out and still answers.
    Draining,
    /// It may take traffic.
    Ready,
}

/// A slice's own name.
type SliceName = (String, String);

/// Everything that is known of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    slices: BTreeMap<SliceName, Slice>,
    owned: BTreeMap<ServiceId, BTreeSet<String>>,
    services: BTreeMap<ServiceId, KnownService>,
    nodes: BTreeMap<String, (PlaceName, PlaceName)>,
}

impl Catalog {
    /// All Services.
    pub fn services(&self) -> &BTreeMap<ServiceId, KnownService> {
        &self.services
    }

    /// Takes in a slice; says whose endpoints that may change.
    pub fn apply_slice(&mut self, slice: &EndpointSlice) -> Vec<ServiceId> {
        let mut touched = self.delete_slice(slice);
        if let Some(read) = read_slice(slice) {
            let (namespace, name) = name_of(slice);
            self.owned.entry(read.owner.clone()).or_default().insert(name.clone());
            touched.push(read.owner.clone());
            self.slices.insert((namespace, name), read);
        }
        touched
    }

    /// Forgets a slice; says whose it was.
    pub fn delete_slice(&mut self, slice: &EndpointSlice) -> Vec<ServiceId> {
        self.forget(&name_of(slice)).into_iter().collect()
    }

    /// These are all slices of a namespace, or of all.
    pub fn replace_slices(&mut self, namespace: Option<&str>, slices: &[EndpointSlice]) {
        let within = |name: &SliceName| namespace.is_none_or(|namespace| name.0 == namespace);
        let gone: Vec<SliceName> =
            self.slices.keys().filter(|name| within(name)).cloned().collect();
        for name in gone {
            self.forget(&name);
        }
        for slice in slices {
            self.apply_slice(slice);
        }
    }

    fn forget(&mut self, name: &SliceName) -> Option<ServiceId> {
        let old = self.slices.remove(name)?;
        if let Some(names) = self.owned.get_mut(&old.owner) {
            names.remove(&name.1);
            if names.is_empty() {
                self.owned.remove(&old.owner);
            }
        }
        Some(old.owner)
    }

    /// Takes in a Service.
    pub fn apply_service(&mut self, service: &Service) -> ServiceId {
        let id = id_of(service);
        self.services.insert(id.clone(), read_service(service));
        id
    }

    /// Forgets a Service.
    pub fn delete_service(&mut self, service: &Service) -> ServiceId {
        let id = id_of(service);
        self.services.remove(&id);
        id
    }

    /// These are all Services of a namespace, or of all.
    pub fn replace_services(&mut self, namespace: Option<&str>, services: &[Service]) {
        self.services
            .retain(|id, _| namespace.is_some_and(|namespace| *id.namespace != *namespace));
        for service in services {
            self.apply_service(service);
        }
    }

    /// Takes in a node; says whether that moves anybody.
    pub fn apply_node(&mut self, node: &PartialObjectMeta<Node>) -> bool {
        let label =
            |name: &str| PlaceName::from(node.labels().get(name).map_or("", String::as_str));
        let place = (label(REGION), label(ZONE));
        self.nodes.insert(node.name_any(), place.clone()) != Some(place)
    }

    /// Forgets a node: where its endpoints stood is known until they are gone too.
    pub fn replace_nodes(&mut self, nodes: &[PartialObjectMeta<Node>]) {
        self.nodes.clear();
        for node in nodes {
            self.apply_node(node);
        }
    }

    /// The endpoints of a service, an address as often as slices name it, the best word last.
    pub fn resolve(
        &self,
        id: &ServiceId,
        port: Option<&Port>,
    ) -> Result<Vec<Endpoint>, Unresolved> {
        let Some(service) = self.services.get(id) else {
            return Err(Unresolved::NoService(id.clone()));
        };
        if service.external {
            return Err(Unresolved::External(id.clone()));
        }
        let Some(port) = service.port(port) else {
            let (service, has) = (id.clone(), listed(&service.ports));
            return Err(match port {
                Some(port) => Unresolved::NoPort { service, port: port.clone(), has },
                None => Unresolved::Ambiguous { service, has },
            });
        };
        let mut members = self.members(id, service, &port.name);
        if members.len() > ENDPOINTS_MAX {
            return Err(Unresolved::TooMany(id.clone()));
        }
        members.sort_by_key(|(_, member)| member.word);
        // As kube-proxy has it: where nobody else is left, those who still answer do.
        let best = members.last().map_or(Word::Ready, |(_, member)| member.word);
        let least = best.clamp(Word::Draining, Word::Ready);
        let endpoint = |(address, member): (SocketAddr, &Member)| Endpoint {
            locality: self.locality(member),
            ready: member.word >= least,
            ..plain(address)
        };
        Ok(members.into_iter().map(endpoint).collect())
    }

    /// Everybody in the service's slices that has this port.
    fn members(
        &self,
        id: &ServiceId,
        service: &KnownService,
        port: &str,
    ) -> Vec<(SocketAddr, &Member)> {
        let names = self.owned.get(id).into_iter().flatten();
        let slices: Vec<&Slice> = names
            .filter_map(|name| self.slices.get(&(id.namespace.to_string(), name.clone())))
            .collect();
        let first = service.v6_first.filter(|first| slices.iter().any(|slice| slice.v6 == *first));
        let mut members = Vec::new();
        for slice in slices.into_iter().filter(|slice| first.is_none_or(|v6| slice.v6 == v6)) {
            for (_, number) in slice.ports.iter().filter(|(name, _)| name == port) {
                let addressed = slice.endpoints.iter().filter_map(|member| {
                    let address = reachable(SocketAddr::new(member.ip, *number))?;
                    Some((address, member))
                });
                members.extend(addressed);
            }
        }
        members
    }

    fn locality(&self, member: &Member) -> Locality {
        let node = member.node.as_ref().and_then(|node| self.nodes.get(node)).cloned();
        let (region, zone) = node.unwrap_or_default();
        let zone = member.zone.as_deref().map_or(zone, PlaceName::from);
        Locality { region, zone, sub_zone: PlaceName::default() }
    }
}

fn listed(ports: &[ServicePort]) -> String {
    let ports: Vec<String> = ports
        .iter()
        .map(|port| match port.name.as_str() {
            "" => port.number.to_string(),
            name => format!("{name} ({})", port.number),
        })
        .collect();
    if ports.is_empty() { "none".to_owned() } else { ports.join(", ") }
}

fn name_of(slice: &EndpointSlice) -> SliceName {
    (slice.namespace().unwrap_or_default(), slice.name_any())
}

fn id_of(service: &Service) -> ServiceId {
    ServiceId::new(&service.namespace().unwrap_or_default(), &service.name_any())
}

/// A port's number; what stands for "all ports" or is out of range is none.
fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port > 0)
}

fn is_tcp(protocol: Option<&String>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}

/// None where it belongs to no service, or names hosts instead of addresses.
fn read_slice(slice: &EndpointSlice) -> Option<Slice> {
    let owner = slice.labels().get(OWNER)?;
    let v6 = match slice.address_type.as_str() {
        "IPv4" => false,
        "IPv6" => true,
        _ => return None,
    };
    let ports = slice.ports.iter().flatten().filter(|port| is_tcp(port.protocol.as_ref()));
    let ports = ports.filter_map(|port| {
        Some((port.name.clone().unwrap_or_default(), port.port.and_then(number)?))
    });
    let members = slice.endpoints.iter().flatten().filter_map(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        let ready = conditions.and_then(|all| all.ready).unwrap_or(true);
        let leaving = conditions.and_then(|all| all.terminating).unwrap_or(false);
        let serving = conditions.and_then(|all| all.serving).unwrap_or(ready);
        let word = match (ready, leaving, serving) {
            (true, false, _) => Word::Ready,
            (_, true, true) => Word::Draining,
            _ => Word::NotReady,
        };
        Some(Member {
            // No meaning is defined for more than the first.
            ip: endpoint.addresses.first()?.parse().ok()?,
            zone: endpoint.zone.clone().filter(|zone| !zone.is_empty()),
            node: endpoint.node_name.clone(),
            word,
        })
    });
    Some(Slice {
        owner: ServiceId::new(&slice.namespace().unwrap_or_default(), owner),
        v6,
        ports: ports.collect(),
        endpoints: members.collect(),
    })
}

fn read_service(service: &Service) -> KnownService {
    let Some(spec) = &service.spec else { return KnownService::default() };
    let ports = spec.ports.iter().flatten().filter(|port| is_tcp(port.protocol.as_ref()));
    let ports = ports.filter_map(|port| {
        let name = port.name.clone().unwrap_or_default();
        Some(ServicePort { name, number: number(port.port)? })
    });
    KnownService {
        ports: ports.collect(),
        external: spec.type_.as_deref() == Some("ExternalName"),
        v6_first: spec.ip_families.iter().flatten().next().map(|family| family == "IPv6"),
    }
}
