//! Discovery of endpoints from an API server: all watches in, one list per wanted service out.
//!
//! Changes are gathered for a moment before lists are made of them, so that a rollout of a hundred
//! pods is a few lists and not hundreds. Every list is made again every few seconds, for what the
//! gate withholds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream, SelectAll};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use weir_engine::names::ServiceId;
use weir_engine::topology::Endpoint;

use super::catalog::{Catalog, KnownService, Port, Unresolved};
use super::trouble::{Place, Trouble};
use super::watch::{Event, follow};
use crate::Now;
use crate::endpoints::{Discovered, Outlet, REFRESH};
use crate::status::{Kind, Publisher, Status};

/// How long changes are gathered: well below a step, well above the time between two of a storm.
const GATHER: Duration = Duration::from_millis(100);

/// Which namespaces are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// All, which needs rights on the whole cluster.
    #[default]
    All,
    /// Only these, which needs rights in each.
    Only(BTreeSet<String>),
}

impl Namespaces {
    /// Whether a namespace is among them.
    pub fn hold(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(namespace),
        }
    }

    /// Each, as a watch names it: none stands for all.
    pub fn each(&self) -> Vec<Option<String>> {
        match self {
            Self::All => vec![None],
            Self::Only(names) => names.iter().cloned().map(Some).collect(),
        }
    }
}

/// A service whose endpoints are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The service as Weir knows it.
    pub service: ServiceId,
    /// The Kubernetes Service.
    pub of: ServiceId,
    /// By which port; needed where it has several.
    pub port: Option<Port>,
    /// What an earlier run served last, if that is known.
    pub last_known: Vec<Endpoint>,
}

/// What to discover.
#[derive(Debug)]
pub struct Config {
    /// Where.
    pub namespaces: Namespaces,
    /// Whose endpoints. May change at any time.
    pub wanted: watch::Receiver<Arc<Vec<Wanted>>>,
}

/// The Services that there are.
pub type Services = BTreeMap<ServiceId, KnownService>;

/// What is found, and how the watches fare.
#[derive(Clone, Debug)]
pub struct Found {
    /// Per wanted service, its endpoints.
    pub endpoints: watch::Receiver<Arc<BTreeMap<ServiceId, Arc<Discovered>>>>,
    /// All Services; none before every watch of them has listed.
    pub services: watch::Receiver<Option<Arc<Services>>>,
    /// How each watch fares, and each service with which something is wrong.
    pub statuses: watch::Receiver<Arc<Vec<Status>>>,
}

/// What the watches bring.
#[expect(clippy::large_enum_variant, reason = "each lives until the next is taken")]
enum Change {
    Slices(Option<String>, Event<EndpointSlice>),
    Services(Option<String>, Event<Service>),
    Nodes(Event<PartialObjectMeta<Node>>),
}

/// A discovery that is ready to run.
pub struct Discovery {
    wanted: watch::Receiver<Arc<Vec<Wanted>>>,
    changes: SelectAll<BoxStream<'static, Change>>,
    catalog: Catalog,
    watches: BTreeMap<Place, Watched>,
    outlets: BTreeMap<ServiceId, Served>,
    changed: Changed,
    now: Now,
    endpoints: watch::Sender<Arc<BTreeMap<ServiceId, Arc<Discovered>>>>,
    services: watch::Sender<Option<Arc<Services>>>,
    statuses: watch::Sender<Arc<Vec<Status>>>,
}

/// One watch's standing.
struct Watched {
    listed: bool,
    trouble: Option<Trouble>,
    publisher: Publisher,
}

/// One wanted service.
struct Served {
    of: ServiceId,
    port: Option<Port>,
    outlet: Outlet,
    last: Option<Vec<Endpoint>>,
}

/// Whose lists have to be made anew.
#[derive(Default)]
struct Changed {
    all: bool,
    some: BTreeSet<ServiceId>,
    services: bool,
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discovery").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

impl Config {
    /// A discovery, and what it finds.
    pub fn build(self, client: &Client, now: Now) -> (Discovery, Found) {
        let mut changes = SelectAll::new();
        let mut watches = BTreeMap::new();
        for namespace in self.namespaces.each() {
            let place = slices_at(namespace.clone());
            changes.push(
                slices(client, place.clone())
                    .map(move |event| Change::Slices(place.namespace.clone(), event))
                    .boxed(),
            );
            let place = services_at(namespace.clone());
            changes.push(
                follow(api::<Service>(client, namespace.as_deref()), place.clone())
                    .map(move |event| Change::Services(place.namespace.clone(), event))
                    .boxed(),
            );
            for place in [slices_at(namespace.clone()), services_at(namespace)] {
                watches.insert(place.clone(), Watched::at(&place));
            }
        }
        let nodes = Api::<PartialObjectMeta<Node>>::all(client.clone());
        changes.push(follow(nodes, nodes_at()).map(Change::Nodes).boxed());
        watches.insert(nodes_at(), Watched::at(&nodes_at()));
        let (endpoints, read) = watch::channel(Arc::default());
        let (services, known) = watch::channel(None);
        let (statuses, standing) = watch::channel(Arc::default());
        let discovery = Discovery {
            wanted: self.wanted,
            changes,
            catalog: Catalog::default(),
            watches,
            outlets: BTreeMap::new(),
            changed: Changed::default(),
            now,
            endpoints,
            services,
            statuses,
        };
        (discovery, Found { endpoints: read, services: known, statuses: standing })
    }
}

fn slices(
    client: &Client,
    place: Place,
) -> impl stream::Stream<Item = Event<EndpointSlice>> + use<> {
    follow(api::<EndpointSlice>(client, place.namespace.as_deref()), place)
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn slices_at(namespace: Option<String>) -> Place {
    Place { resource: "endpointslices", group: "discovery.k8s.io", namespace }
}

fn services_at(namespace: Option<String>) -> Place {
    Place { resource: "services", group: "", namespace }
}

fn nodes_at() -> Place {
    Place { resource: "nodes", group: "", namespace: None }
}

impl Watched {
    fn at(place: &Place) -> Self {
        let (publisher, _) = Publisher::new("kubernetes", Kind::Kubernetes, &place.to_string());
        Self { listed: false, trouble: None, publisher }
    }
}

impl Discovery {
    /// Keeps all lists current until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut gathered = interval(GATHER);
        let mut repeated = interval(REFRESH);
        self.want();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        // Nobody is left to want anything.
                        stop.cancelled().await;
                        return;
                    }
                    self.want();
                }
                _ = gathered.tick() => self.flush(),
                _ = repeated.tick() => {
                    self.changed.all = true;
                    self.flush();
                }
                Some(change) = self.changes.next() => self.take(change),
            }
        }
    }

    /// Takes over who is wanted.
    fn want(&mut self) {
        let wanted = Arc::clone(&self.wanted.borrow_and_update());
        let same =
            |served: &Served, wanted: &Wanted| served.of == wanted.of && served.port == wanted.port;
        self.outlets.retain(|id, served| {
            wanted.iter().any(|wanted| wanted.service == *id && same(served, wanted))
        });
        for wanted in wanted.iter() {
            if self.outlets.contains_key(&wanted.service) {
                continue;
            }
            let target = match &wanted.port {
                Some(port) => format!("Service {} port {port}", wanted.of),
                None => format!("Service {}", wanted.of),
            };
            let now = Arc::clone(&self.now);
            let served = Served {
                of: wanted.of.clone(),
                port: wanted.port.clone(),
                outlet: Outlet::of(&wanted.service, &target, &wanted.last_known, now),
                last: None,
            };
            self.outlets.insert(wanted.service.clone(), served);
        }
        self.changed.all = true;
        self.flush();
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Slices(namespace, event) => {
                let place = slices_at(namespace);
                self.note(&place, &event);
                let touched = match event {
                    Event::Listed(all) => {
                        self.catalog.replace_slices(place.namespace.as_deref(), &all);
                        self.changed.all = true;
                        return;
                    }
                    Event::Applied(slice) => self.catalog.apply_slice(&slice),
                    Event::Deleted(slice) => self.catalog.delete_slice(&slice),
                    Event::Alive | Event::Failed(_) => return,
                };
                self.changed.some.extend(touched);
            }
            Change::Services(namespace, event) => {
                let place = services_at(namespace);
                self.note(&place, &event);
                let touched = match event {
                    Event::Listed(all) => {
                        self.catalog.replace_services(place.namespace.as_deref(), &all);
                        self.changed.all = true;
                        self.changed.services = true;
                        return;
                    }
                    Event::Applied(service) => self.catalog.apply_service(&service),
                    Event::Deleted(service) => self.catalog.delete_service(&service),
                    Event::Alive | Event::Failed(_) => return,
                };
                self.changed.services = true;
                self.changed.some.insert(touched);
            }
            Change::Nodes(event) => {
                self.note(&nodes_at(), &event);
                let moved = match event {
                    Event::Listed(all) => {
                        self.catalog.replace_nodes(&all);
                        true
                    }
                    Event::Applied(node) => self.catalog.apply_node(&node),
                    // Where its endpoints stood is still true until they are gone too.
                    Event::Deleted(_) | Event::Alive | Event::Failed(_) => false,
                };
                self.changed.all |= moved;
            }
        }
    }

    /// Notes how a watch fares.
    fn note<K>(&mut self, place: &Place, event: &Event<K>) {
        let Some(watched) = self.watches.get_mut(place) else { return };
        let at = (self.now)();
        if let Event::Failed(trouble) = event {
            watched.publisher.failed(at, trouble);
            watched.trouble = Some(trouble.clone());
            self.changed.all = true;
        } else {
            watched.publisher.succeeded(at);
            self.changed.all |= watched.trouble.take().is_some();
            watched.listed |= matches!(event, Event::Listed(_));
        }
    }

    /// Makes the lists that have to be made anew, and tells of them.
    fn flush(&mut self) {
        let Changed { all, some, services } = std::mem::take(&mut self.changed);
        if !all && !services && some.is_empty() {
            return;
        }
        let watches = &self.watches;
        for (_, served) in self.outlets.iter_mut().filter(|(_, s)| all || some.contains(&s.of)) {
            served.propose(&self.catalog, watches);
        }
        let found: BTreeMap<_, _> =
            self.outlets.iter().map(|(id, served)| (id.clone(), served.outlet.found())).collect();
        self.endpoints.send_if_modified(|last| {
            let news = **last != found;
            *last = Arc::new(found);
            news
        });
        if services && self.all_services_listed() {
            self.services.send_replace(Some(Arc::new(self.catalog.services().clone())));
        }
        self.tell();
    }

    fn all_services_listed(&self) -> bool {
        let mut services = self.watches.iter().filter(|(place, _)| place.resource == "services");
        services.all(|(_, watched)| watched.listed)
    }

    fn tell(&self) {
        let watches = self.watches.values().map(|w| w.publisher.subscribe().borrow().clone());
        let services = self.outlets.values().map(|served| served.outlet.status());
        let wrong = services.filter(|status| status.last_error.is_some());
        let statuses: Vec<Status> = watches.chain(wrong).collect();
        self.statuses.send_replace(Arc::new(statuses));
    }
}

impl Served {
    /// Hands over what the catalog says now, once it says anything.
    fn propose(&mut self, catalog: &Catalog, watches: &BTreeMap<Place, Watched>) {
        let namespace = Some(self.of.namespace.to_string());
        let at = |place: fn(Option<String>) -> Place| {
            watches.get(&place(None)).or_else(|| watches.get(&place(namespace.clone())))
        };
        let (Some(slices), Some(services)) = (at(slices_at), at(services_at)) else {
            return self.outlet.fail(&NotWatched(self.of.clone()));
        };
        // Where an endpoint stands should not change a moment after it was first told.
        let nodes = watches.get(&nodes_at());
        let placed = nodes.is_none_or(|nodes| nodes.listed || nodes.trouble.is_some());
        let trouble = slices.trouble.as_ref().or(services.trouble.as_ref());
        if !(slices.listed && services.listed && placed) {
            if let Some(trouble) = trouble {
                self.outlet.fail(trouble);
            }
            return;
        }
        match catalog.resolve(&self.of, self.port.as_ref()) {
            Ok(endpoints) => self.found(endpoints, trouble),
            // That it is not there is known: its endpoints go as others go, through the gate.
            Err(missing @ Unresolved::NoService(_)) => {
                self.outlet.fail(&missing);
                self.outlet.propose(Vec::new());
                self.last = Some(Vec::new());
            }
            Err(unclear) => {
                self.outlet.fail(&unclear);
                if let Some(last) = &self.last {
                    self.outlet.propose(last.clone());
                }
            }
        }
    }

    fn found(&mut self, endpoints: Vec<Endpoint>, trouble: Option<&Trouble>) {
        match trouble {
            None => self.outlet.list(endpoints.clone()),
            // The last good word still stands, and time passes for what is withheld of it.
            Some(trouble) => {
                self.outlet.fail(trouble);
                self.outlet.propose(endpoints.clone());
            }
        }
        self.last = Some(endpoints);
    }
}

/// A service in a namespace that is not watched.
#[derive(Debug, thiserror::Error)]
#[error(
    "Service {0} is in a namespace that is not watched: name the namespace in weir.yaml under \
     kubernetes: {{namespaces: [...]}}"
)]
struct NotWatched(ServiceId);
