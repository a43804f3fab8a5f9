//! Envoy's own configuration, as far as Weir needs a word in it (`weir envoy bootstrap`).
//!
//! [`generate`] writes a whole bootstrap, [`merge`] adds to one that somebody else wrote. Both
//! are pure; [`parts`] has the pieces for whoever composes a configuration of their own.
//!
//! One Envoy cannot send load reports and count per endpoint at once, hence two [`Telemetry`]
//! profiles. What both have in common keeps requests flowing without Weir: a short back-off, a
//! least number of clusters, and nothing that makes endpoints expire.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use weir_engine::names::{ClusterName, Locality, ServiceId};

mod document;
mod generate;
mod grpc;
mod merge;
pub mod parts;

pub use generate::generate;
pub use grpc::{GrpcOptions, grpc};
pub use merge::{Merged, merge};

/// What a bootstrap is asked to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How the proxy tells Weir what it sees.
    pub telemetry: Telemetry,
    /// Who the proxy is.
    pub node: Identity,
    /// Where the proxy's admin interface listens: loopback only, since whoever reaches it can
    /// stop the proxy. Merging adds it only where there is none; nothing: none is added.
    pub admin: Option<HostPort>,
    /// Where Weir's xDS port is: one address, or more of replicas.
    pub weir: Vec<HostPort>,
    /// Which variant of xDS the proxy speaks.
    pub protocol: Protocol,
    /// The least number of clusters that an update may leave; 0: any. More than Weir serves, and
    /// the proxy refuses them all from the first.
    pub clusters_min: u32,
    /// Whether requests are logged to Weir, a sample of them: the only source of each endpoint's
    /// latency.
    pub access_log: bool,
    /// Listeners to write. Merging adds those that take their route from Weir, and no others.
    pub listeners: Vec<Listener>,
}

/// How a proxy tells Weir what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telemetry {
    /// It sends load reports, each second.
    Push,
    /// Weir, or a Prometheus, reads its statistics, which it keeps per endpoint.
    Scrape,
}

/// Who a proxy is. What is missing here has to stand in the file or on Envoy's command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its id, unique among proxies.
    pub id: Option<String>,
    /// What it belongs to.
    pub cluster: Option<String>,
    /// Where it stands.
    pub locality: Locality,
}

/// The variant of xDS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Incremental: only what changed is sent.
    #[default]
    Delta,
    /// State of the world.
    StateOfTheWorld,
}

/// A listener of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub at: HostPort,
    /// Where requests go.
    pub to: Destination,
}

/// Where a listener's requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To this cluster of Weir's, for good.
    Cluster(ClusterName),
    /// By the route that Weir has for this service, which a rollout moves.
    Route(ServiceId),
}

/// A host, by name or by number, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A DNS name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Text that is no host with a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no host with a port; write HOST:PORT, such as 10.0.0.1:7400, weir.mesh:7400 or [::1]:7400"
)]
pub struct NotAHostPort(String);

impl FromStr for HostPort {
    type Err = NotAHostPort;

    fn from_str(text: &str) -> Result<Self, NotAHostPort> {
        let refused = || NotAHostPort(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let valid = match bracketed {
            Some(number) => matches!(number.parse(), Ok(IpAddr::V6(_))),
            None => {
                !host.is_empty()
                    && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
            }
        };
        match port.parse() {
            Ok(port) if valid => Ok(Self { host: bracketed.unwrap_or(host).to_owned(), port }),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// What stands in the way of a bootstrap: where, what, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}; {mend}", Self::prefix(at))]
pub struct Problem {
    /// The path in the file, such as `static_resources.clusters[3].name`; empty: the file as a
    /// whole, or an option.
    pub at: String,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub mend: String,
}

impl Problem {
    fn new(at: &str, what: impl Into<String>, mend: &str) -> Self {
        Self { at: at.to_owned(), what: what.into(), mend: mend.to_owned() }
    }

    fn prefix(at: &str) -> String {
        if at.is_empty() { String::new() } else { format!("{at}: ") }
    }
}

/// What is wrong with the options themselves.
fn check(options: &Options) -> Vec<Problem> {
    let mut problems = Vec::new();
    if options.weir.is_empty() {
        let mend = "give the address of its xDS port";
        problems.push(Problem::new("", "where weir listens is not said", mend));
    }
    if let Some(port) = options.weir.iter().find(|at| at.port == 0) {
        problems.push(Problem::new("", format!("{port} has no port"), "give weir's xDS port"));
    }
    if let Some(admin) = &options.admin
        && !is_loopback(&admin.host)
    {
        let what =
            format!("the admin interface at {admin} is open to others, who could stop the proxy");
        problems.push(Problem::new("", what, "let it listen on 127.0.0.1 or ::1"));
    }
    problems
}

fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
