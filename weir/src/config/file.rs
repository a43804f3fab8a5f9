//! The shape of `weir.yaml`.

use std::collections::BTreeMap;

use serde::Deserialize;
use weir_policies::reader::{At, Limits};

/// For a mesh of 1,000 services at 20 lines each.
pub const LIMITS: Limits = Limits { bytes_max: 4 << 20, nodes_max: 200_000, depth_max: 16 };

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Where to listen.
    pub listen: Listen,
    /// Where the journal and the last good state are; `weir-data` by default.
    pub data_dir: Option<String>,
    /// How large the journal may grow.
    pub journal: Journal,
    /// Time from one decision to the next; 1s by default.
    pub tick: Option<At<String>>,
    /// The folder of policies.
    pub policies: Option<String>,
    /// A Kubernetes API server, if one is asked.
    pub kubernetes: Option<Kubernetes>,
    /// What is governed.
    pub services: Vec<Service>,
    /// Where telemetry comes from; `push` by default.
    pub sources: Vec<At<SourceEntry>>,
    /// In front of another control plane.
    pub relay: Option<super::relay::Relay>,
    /// Beside an Envoy Gateway.
    pub envoy_gateway: Option<super::relay::EnvoyGateway>,
}

/// Where to listen.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Proxies: xDS, load reports, access log.
    pub xds: Option<At<String>>,
    /// API and pages.
    pub api: Option<At<String>>,
    /// Metrics.
    pub metrics: Option<At<String>>,
    /// Names besides `localhost` by which API and pages may be asked for.
    pub hosts: Vec<At<String>>,
}

/// The journal's bounds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// MiB on disk; 256 by default, at least 32.
    pub max_mib: Option<At<u64>>,
}

/// A governed service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its namespace; `default` if it is left out.
    pub namespace: Option<At<String>>,
    /// Its name.
    pub name: At<String>,
    /// Its port, for policies that name one.
    pub port: Option<u16>,
    /// The Envoy clusters that lead to it; its own name if left out.
    #[serde(default)]
    pub clusters: Vec<At<String>>,
    /// Where its endpoints come from.
    pub endpoints: At<Endpoints>,
    /// Whether Weir writes these clusters (CDS). If not, it only sends their endpoints.
    #[serde(default)]
    pub write_clusters: bool,
    /// What the clusters' proxies make of endpoint sets, where Weir does not write them; where it
    /// does, who the clients are and nothing else.
    pub balancer: Option<At<Balancer>>,
}

/// Where a service's endpoints come from: exactly one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoints {
    /// A watched file, relative to the configuration's folder.
    pub file: Option<String>,
    /// `name:port`.
    pub dns: Option<String>,
    /// A Service of the cluster that `kubernetes` leads to.
    pub kubernetes: Option<KubernetesService>,
    /// Whoever the telemetry names.
    pub telemetry: bool,
    /// None: a policy's rollout says which services are its versions.
    pub versions: bool,
}

/// A Kubernetes API server, and what is asked of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// A kubeconfig, relative to the configuration's folder; the pod's service account if left out.
    pub kubeconfig: Option<At<String>>,
    /// The context in it; its current one if left out.
    pub context: Option<At<String>>,
    /// The namespaces that are watched; all if left out.
    pub namespaces: Option<At<Vec<At<String>>>>,
    /// The lease by which one of several replicas decides, in Weir's own namespace.
    pub lease: Option<At<String>>,
    /// Whether policies are read from there; true by default.
    pub policies: Option<bool>,
    /// What is written into objects of others: `routes`, `destination_rules`, `linkerd`, `draining`; nothing
    /// by default.
    pub writes: Option<Vec<At<String>>>,
    /// How proxies name the cluster of a service that only policies name.
    pub clusters: Option<At<String>>,
    /// What the proxies make of such clusters.
    pub balancer: Option<At<Balancer>>,
}

/// A Service of a Kubernetes cluster.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesService {
    /// Its name; that of the service if left out.
    pub service: Option<At<String>>,
    /// Its namespace; that of the service if left out.
    pub namespace: Option<At<String>>,
    /// The name or the number of its port; needed where it has several.
    pub port: Option<At<Port>>,
}

/// A port: its name, or its number.
#[derive(Debug)]
pub enum Port {
    /// `http`.
    Name(String),
    /// `80`.
    Number(u64),
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl serde::de::Visitor<'_> for Either {
            type Value = Port;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name or the number of a port")
            }

            fn visit_str<E>(self, name: &str) -> Result<Port, E> {
                Ok(Port::Name(name.to_owned()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Port, E> {
                Ok(Port::Number(number))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// How a cluster that others write picks endpoints.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Balancer {
    /// `LEAST_REQUEST`, `ROUND_ROBIN` or `RANDOM`.
    pub policy: Option<At<String>>,
    /// Whether `locality_weighted_lb_config` is set.
    pub locality_weighted: bool,
    /// Whether zone-aware routing is on.
    pub zone_aware: bool,
    /// Whether Envoy's slow start is on.
    pub slow_start: bool,
    /// Per cent of healthy endpoints below which health is ignored; 50 by default.
    pub healthy_panic_threshold: Option<At<f64>>,
    /// `envoy` or `grpc`.
    pub client: Option<At<String>>,
}

/// A telemetry source: exactly one of the three.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceEntry {
    /// Load reports and access log, on the xDS port.
    pub push: Option<Push>,
    /// Envoys' own statistics.
    pub scrape: Option<Scrape>,
    /// A Prometheus server.
    pub prometheus: Option<Prometheus>,
}

/// Load reports and access log.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Push {
    /// How often proxies report; 1s by default, never less.
    pub interval: Option<At<String>>,
    /// Access log entries per second over all proxies; 2,000 by default.
    pub entries_per_second: Option<At<u32>>,
}

/// Envoys' own statistics.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scrape {
    /// Admin addresses: `http://127.0.0.1:9901`.
    pub targets: At<Vec<At<String>>>,
    /// 1s by default.
    pub interval: Option<At<String>>,
    /// How to present oneself.
    #[serde(default)]
    pub http: Http,
}

/// A Prometheus server, or one that speaks like it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prometheus {
    /// `http://prometheus:9090`.
    pub url: At<String>,
    /// 5s by default.
    pub interval: Option<At<String>>,
    /// `envoy` (the default), `istio` or `none`.
    pub preset: Option<At<String>>,
    /// Queries of one's own, by what they give.
    #[serde(default)]
    pub queries: Queries,
    /// How to present oneself.
    #[serde(default)]
    pub http: Http,
}

/// Templates of queries, by what they count.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queries {
    /// Requests that ended.
    pub requests: Option<At<String>>,
    /// Of these, failed.
    pub errors: Option<At<String>>,
    /// Of the errors, timeouts.
    pub timeouts: Option<At<String>>,
    /// Of the errors, those that never reached an endpoint.
    pub local_failures: Option<At<String>>,
}

/// How to present oneself to a server. Secrets stand in files or in the environment, never here.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// File with a bearer token.
    pub bearer_token_file: Option<At<String>>,
    /// User for basic authentication.
    pub user: Option<At<String>>,
    /// File with its password.
    pub password_file: Option<At<String>>,
    /// File with certificates in PEM to trust instead of the system's.
    pub ca_file: Option<At<String>>,
    /// More headers.
    pub headers: BTreeMap<String, String>,
}
