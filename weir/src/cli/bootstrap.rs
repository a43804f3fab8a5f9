//! `weir envoy` and `weir grpc`: what proxies and clients need to know.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use weir_proxy_adapter::bootstrap::{Destination, HostPort, Listener, NotAHostPort};

use super::recorded::service;

/// Envoy.
#[derive(Debug, Subcommand)]
pub enum Envoy {
    /// Print a bootstrap for a proxy that Weir serves, or add Weir to an existing one.
    Bootstrap(Bootstrap),
}

/// A bootstrap's options.
#[derive(Args, Clone, Debug)]
pub struct Bootstrap {
    /// How the proxy tells Weir what it sees.
    #[arg(long, value_enum, default_value_t = TelemetryProfile::Push)]
    pub telemetry: TelemetryProfile,
    /// Add to this file instead of writing a new one.
    #[arg(long, value_name = "FILE")]
    pub merge: Option<PathBuf>,
    /// Where Weir's xDS port is; twice for two replicas.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:18010")]
    pub weir: Vec<HostPort>,
    /// The proxy's node id, unique among proxies; needed unless --merge's file has one.
    #[arg(long, value_name = "ID", required_unless_present = "merge")]
    pub node: Option<String>,
    /// What the proxy belongs to; needed unless --merge's file says it.
    #[arg(long, value_name = "NAME", required_unless_present = "merge")]
    pub node_cluster: Option<String>,
    /// Its region, zone and sub-zone: `eu-west-1/eu-west-1a`.
    #[arg(long, value_name = "LOCALITY", default_value = "")]
    pub locality: String,
    /// Where the proxy's admin interface listens: on loopback, since it can stop the proxy.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9901", value_parser = loopback)]
    pub admin: HostPort,
    /// State of the world instead of incremental xDS.
    #[arg(long)]
    pub sotw: bool,
    /// A listener and the cluster that it leads to; may be given several times.
    #[arg(long, value_name = "HOST:PORT=CLUSTER", value_parser = listener)]
    pub listen: Vec<Listener>,
    /// A listener that takes its route from Weir, as a rollout of the service needs it; may be
    /// given several times, also with --merge.
    #[arg(long, value_name = "HOST:PORT=SERVICE", value_parser = routed)]
    pub listen_route: Vec<Listener>,
    /// Least number of clusters that an update may leave: a guard against an empty answer.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub clusters_min: u32,
    /// Leave the access log out: no latency per endpoint, errors are judged all the same.
    #[arg(long)]
    pub no_access_log: bool,
}

/// How a proxy tells Weir what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TelemetryProfile {
    /// Load reports each second.
    Push,
    /// Statistics per endpoint, read by Weir or a Prometheus.
    Scrape,
}

/// Proxyless gRPC.
#[derive(Debug, Subcommand)]
pub enum Grpc {
    /// Print a bootstrap for gRPC clients that Weir serves without a proxy: the file that
    /// GRPC_XDS_BOOTSTRAP names.
    Bootstrap(GrpcBootstrap),
}

/// The options of a gRPC client's bootstrap.
#[derive(Args, Clone, Debug)]
pub struct GrpcBootstrap {
    /// Where Weir's xDS port is; twice for two replicas.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:18010")]
    pub weir: Vec<HostPort>,
    /// The client's node id, unique among clients and proxies.
    #[arg(long, value_name = "ID")]
    pub node: String,
    /// What the client belongs to.
    #[arg(long, value_name = "NAME")]
    pub node_cluster: Option<String>,
    /// Its region, zone and sub-zone: `eu-west-1/eu-west-1a`.
    #[arg(long, value_name = "LOCALITY", default_value = "")]
    pub locality: String,
    /// Where `xds:///NAME` looks for services; without it the client says `xds:///NAMESPACE/NAME`.
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

fn loopback(text: &str) -> Result<HostPort, String> {
    let at: HostPort = text.parse().map_err(|wrong: NotAHostPort| wrong.to_string())?;
    let ours = at.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let open = "others could reach it there and stop the proxy; use 127.0.0.1 or [::1]";
    if ours { Ok(at) } else { Err(open.to_owned()) }
}

fn listener(text: &str) -> Result<Listener, String> {
    let (at, cluster) = text
        .split_once('=')
        .filter(|(_, cluster)| !cluster.is_empty())
        .ok_or_else(|| "it names no cluster; write 127.0.0.1:8080=shop".to_owned())?;
    let at = at.parse().map_err(|wrong: NotAHostPort| wrong.to_string())?;
    Ok(Listener { at, to: Destination::Cluster(cluster.into()) })
}

fn routed(text: &str) -> Result<Listener, String> {
    let parts = text.split_once('=').and_then(|(at, name)| Some((at, service(name).ok()?)));
    let (at, service) =
        parts.ok_or_else(|| "it names no service; write 127.0.0.1:8080=demo/shop".to_owned())?;
    let at = at.parse().map_err(|wrong: NotAHostPort| wrong.to_string())?;
    Ok(Listener { at, to: Destination::Route(service) })
}
