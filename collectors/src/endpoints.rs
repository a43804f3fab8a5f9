//! The endpoints of a service: from a file or DNS, and what telemetry names.
//!
//! Whatever the source, what comes out is the same: the latest whole list in a `watch`, each
//! address once, checked, in ascending order, behind a [`gate`] that withholds the loss of most
//! endpoints until it has been seen for a minute. A source that fails keeps its last list and
//! says so in its status; nothing ever becomes an empty list because something could not be read.
//!
//! A source for one service is a variant of [`Source`]; Kubernetes, which is asked once for all
//! services, is [`kubernetes`](crate::kubernetes). Both hand their lists to the same gate.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_engine::names::{Address, Locality, ServiceId};
use weir_engine::topology::Endpoint;

use crate::Now;
use crate::status::{Kind, Publisher, Status};

mod dns;
pub mod document;
mod file;
pub mod gate;
pub mod telemetry;
use gate::Gate;

/// Endpoints of one service: as many as one process is built for over all services.
pub const ENDPOINTS_MAX: usize = 10_000;

/// How often a source is read again: half the time that Kubernetes takes to drain an endpoint,
/// and often enough that a withheld removal passes soon after its minute.
pub const REFRESH: Duration = Duration::from_secs(5);

/// Where a service's endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file as [`document`] describes it, watched.
    File(PathBuf),
    /// A name with a port, `shop.internal:8080`: every A and AAAA record is an endpoint.
    Dns(String),
}

/// Which service's endpoints to discover, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// The service.
    pub service: ServiceId,
    /// Where its endpoints come from.
    pub source: Source,
    /// What an earlier run served last, if that is known: it stands behind the gate from the
    /// start.
    pub last_known: Vec<Endpoint>,
}

/// What is known of a service's endpoints.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Discovered {
    /// The endpoints to serve, in ascending order of address, each once.
    pub endpoints: Vec<Endpoint>,
    /// Whether the source has been read at least once. Until then `endpoints` is only what an
    /// earlier run served: an empty list says nothing.
    pub listed: bool,
    /// How many of the endpoints the source no longer names: their removal is withheld.
    pub withheld: usize,
    /// How many entries of the source repeat another's address.
    pub duplicates: usize,
}

/// A discovery that is ready to run.
#[derive(Debug)]
pub struct Discovery {
    config: Config,
    outlet: Outlet,
}

impl Config {
    /// A discovery, what it finds, and how it fares.
    pub fn build(
        self,
        now: Now,
    ) -> (Discovery, watch::Receiver<Arc<Discovered>>, watch::Receiver<Status>) {
        let target = match &self.source {
            Source::File(path) => path.display().to_string(),
            Source::Dns(name) => name.clone(),
        };
        let outlet = Outlet::of(&self.service, &target, &self.last_known, now);
        let (reader, status) = (outlet.found.subscribe(), outlet.publisher.subscribe());
        (Discovery { config: self, outlet }, reader, status)
    }
}

impl Discovery {
    /// Keeps the list current until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let forever = async {
            match &self.config.source {
                Source::File(path) => file::follow(path, &mut self.outlet).await,
                Source::Dns(name) => dns::follow(name, &mut self.outlet).await,
            }
        };
        stop.run_until_cancelled(forever).await;
    }
}

/// Where sources put their lists.
pub(crate) struct Outlet {
    gate: Gate,
    found: watch::Sender<Arc<Discovered>>,
    publisher: Publisher,
    now: Now,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl Outlet {
    /// Of a service whose endpoints come from `target`; what an earlier run served stands.
    pub(crate) fn of(service: &ServiceId, target: &str, last: &[Endpoint], now: Now) -> Self {
        let (publisher, _) = Publisher::new(&service.to_string(), Kind::Endpoints, target);
        let known = Discovered { endpoints: last.to_vec(), ..Discovered::default() };
        let (found, _) = watch::channel(Arc::new(known));
        Self { gate: Gate::serving(last), found, publisher, now }
    }

    /// What is known now.
    pub(crate) fn found(&self) -> Arc<Discovered> {
        Arc::clone(&self.found.borrow())
    }

    /// How the source fares.
    pub(crate) fn status(&self) -> Status {
        self.publisher.subscribe().borrow().clone()
    }

    /// The source was read: this is its whole list.
    pub(crate) fn list(&mut self, endpoints: Vec<Endpoint>) {
        self.publisher.succeeded((self.now)());
        self.propose(endpoints);
    }

    /// The source could not be read. What it said last stands.
    pub(crate) fn fail(&self, error: &dyn std::error::Error) {
        self.publisher.failed((self.now)(), error);
    }

    /// As [`Self::list`], of what was said earlier: time passes for what is withheld of it.
    pub(crate) fn propose(&mut self, endpoints: Vec<Endpoint>) {
        let given = endpoints.len();
        let endpoints = distinct(endpoints);
        let gate = std::mem::take(&mut self.gate);
        let (gate, passed) = gate.pass(&endpoints, (self.now)());
        self.gate = gate;
        let next = Discovered {
            endpoints: passed.endpoints,
            listed: true,
            withheld: passed.withheld,
            duplicates: given - endpoints.len(),
        };
        let service = &self.publisher.subscribe().borrow().name.clone();
        self.found.send_if_modified(|last| {
            if **last == next {
                return false;
            }
            if next.withheld > 0 && last.withheld == 0 {
                tracing::warn!(
                    %service,
                    withheld = next.withheld,
                    "source dropped most endpoints; they are kept until it has done so for 60 s"
                );
            }
            *last = Arc::new(next);
            true
        });
    }
}

/// Each address once, in ascending order. Of entries that share one the last stands.
fn distinct(endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    let by_address: BTreeMap<Address, Endpoint> =
        endpoints.into_iter().map(|endpoint| (endpoint.address.clone(), endpoint)).collect();
    by_address.into_values().collect()
}

/// An endpoint of which only the address is known.
pub(crate) fn plain(address: SocketAddr) -> Endpoint {
    Endpoint {
        address: Address::from(address.to_string()),
        locality: Locality::default(),
        concurrency: None,
        ready: true,
    }
}

/// Text that is no endpoint's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no IP address with a port.
    #[error(
        "{0:?} is no address; write 10.0.0.1:8080 or \"[fd00::1]:8080\", names go to a dns source"
    )]
    NotAnAddress(String),
    /// It is an address that no endpoint can have.
    #[error("{0:?} cannot be reached: port 0, multicast, or an address that means \"any\"")]
    NotReachable(String),
}

/// Reads `ip:port` or `[v6]:port`.
pub fn address(text: &str) -> Result<SocketAddr, AddressError> {
    let shown = || text.chars().take(64).collect();
    let address: SocketAddr = text.parse().map_err(|_| AddressError::NotAnAddress(shown()))?;
    // Proxies know no scopes: `[fe80::1%2]:80` names another host at each of them.
    if matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0) {
        return Err(AddressError::NotAnAddress(shown()));
    }
    reachable(address).ok_or_else(|| AddressError::NotReachable(shown()))
}

/// The address, if an endpoint can have it.
pub(crate) fn reachable(address: SocketAddr) -> Option<SocketAddr> {
    let ip = address.ip();
    (address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()).then_some(address)
}

#[cfg(test)]
mod tests;
