//! What the configuration says of a Kubernetes cluster.

use std::collections::BTreeSet;
use std::fmt;

use weir_collectors::kubernetes::catalog::{Port, ServicePort};
use weir_collectors::kubernetes::discovery::Namespaces;
use weir_collectors::kubernetes::reach::Reach;
use weir_engine::names::{ClusterName, ServiceId};
use weir_engine::observation::Source as Counts;
use weir_engine::topology::ClusterForm;
use weir_policies::problem::Code;
use weir_policies::reader::At;
use weir_policies::source::Span;

use super::balancer::form;
use super::check::{Check, ONE_SOURCE};
use super::{Endpoints, file};
use crate::kubernetes::writing::Writes;

/// At most so many namespaces are watched one by one: each costs two connections to the API server.
const NAMESPACES_MAX: usize = 100;

/// A Kubernetes API server, and what is asked of it.
#[derive(Clone, Debug, PartialEq)]
pub struct KubernetesConfig {
    /// How it is reached.
    pub reach: Reach,
    /// Which namespaces are watched.
    pub namespaces: Namespaces,
    /// What proxies call the cluster of a service that only policies name.
    pub clusters: ClusterNames,
    /// What proxies make of the endpoints of such a cluster.
    pub form: ClusterForm,
    /// What is written into objects of others.
    pub writes: Writes,
    /// Whose counts are believed of such a service.
    pub counts: Counts,
    /// Whether policies are read from there.
    pub policies: bool,
    /// The lease by which one of several replicas decides; none where there is one.
    pub lease: Option<String>,
}

impl fmt::Display for KubernetesConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reach {
            Reach::InCluster => f.write_str("in-cluster")?,
            Reach::Kubeconfig { path, context: None } => {
                f.write_str(&path.display().to_string())?;
            }
            Reach::Kubeconfig { path, context: Some(context) } => {
                write!(f, "{} context {context}", path.display())?;
            }
        }
        match &self.namespaces {
            Namespaces::All => f.write_str(", all namespaces")?,
            Namespaces::Only(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                write!(f, ", namespaces [{}]", names.join(", "))?;
            }
        }
        Ok(())
    }
}

/// A pattern of a cluster's name, with `{service}`, `{namespace}` and `{port}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNames(String);

impl Default for ClusterNames {
    /// As Istio's sidecars name them.
    fn default() -> Self {
        Self("outbound|{port}||{service}.{namespace}.svc.cluster.local".to_owned())
    }
}

impl ClusterNames {
    /// The name of a service's cluster.
    pub fn of(&self, service: &ServiceId, port: &ServicePort) -> ClusterName {
        let name = self.0.replace("{service}", &service.name);
        let name = name.replace("{namespace}", &service.namespace);
        ClusterName::from(name.replace("{port}", &port.number.to_string()))
    }
}

/// The whole section.
pub(super) fn config(
    written: file::Kubernetes,
    counts: Counts,
    check: &mut Check<'_>,
) -> KubernetesConfig {
    let reach = match (&written.kubeconfig, &written.context) {
        (Some(path), context) => Reach::Kubeconfig {
            path: check.folder.join(&path.value),
            context: context.as_ref().map(|context| context.value.clone()),
        },
        (None, Some(context)) => {
            let what = "a context is of a kubeconfig, and none is named";
            let mend = "name the file as kubeconfig: PATH, or leave out context";
            check.contradicts(context.span, "kubernetes.context", what, mend);
            Reach::InCluster
        }
        (None, None) => Reach::InCluster,
    };
    let form = match &written.balancer {
        Some(balancer) => form(&balancer.value, "kubernetes.balancer", check),
        None => ClusterForm { locality_weighted: false, ..ClusterForm::native() },
    };
    KubernetesConfig {
        reach,
        namespaces: namespaces(written.namespaces, check),
        clusters: clusters(written.clusters, check),
        form,
        counts,
        policies: written.policies.unwrap_or(true),
        writes: writes(written.writes, check),
        lease: written
            .lease
            .filter(|name| is_name(name, "kubernetes.lease", check))
            .map(|name| name.value),
    }
}

fn writes(written: Option<Vec<At<String>>>, check: &mut Check<'_>) -> Writes {
    let mut writes = Writes::default();
    for one in written.unwrap_or_default() {
        match one.value.as_str() {
            "routes" => writes.routes = true,
            "destination_rules" => writes.destination_rules = true,
            "linkerd" => writes.linkerd = true,
            "draining" => writes.draining = true,
            other => {
                let what = format!("nothing is written that is called {other:?}");
                let mend = "use routes, destination_rules, linkerd, draining";
                check.wrong(one.span, "kubernetes.writes", what, mend);
            }
        }
    }
    writes
}

fn namespaces(written: Option<At<Vec<At<String>>>>, check: &mut Check<'_>) -> Namespaces {
    let Some(At { value, span }) = written else { return Namespaces::All };
    let field = "kubernetes.namespaces";
    if value.is_empty() || value.len() > NAMESPACES_MAX {
        let what = format!("{} namespaces cannot be watched one by one", value.len());
        let mend = format!("name 1 to {NAMESPACES_MAX}, or leave this out for all");
        check.wrong(span, field, what, &mend);
    }
    for name in &value {
        is_name(name, field, check);
    }
    Namespaces::Only(value.into_iter().map(|name| name.value).collect::<BTreeSet<_>>())
}

/// Whether it can be a name in Kubernetes; what it is made of goes into a path.
fn is_name(name: &At<String>, field: &str, check: &mut Check<'_>) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let fine = !name.value.is_empty() && name.value.len() <= 253 && name.value.chars().all(letter);
    if !fine {
        let what = format!("{:?} is no name of a Kubernetes object", name.value);
        check.wrong(name.span, field, what, "use lower case letters, digits and dashes");
    }
    fine
}

fn clusters(written: Option<At<String>>, check: &mut Check<'_>) -> ClusterNames {
    let Some(At { value, span }) = written else { return ClusterNames::default() };
    if !(value.contains("{service}") && value.contains("{namespace}")) {
        let what = format!("with {value:?} two services would have one cluster");
        let mend = "write a name with {service} and {namespace} in it, and {port} if it has that";
        check.wrong(span, "kubernetes.clusters", what, mend);
    }
    ClusterNames(value)
}

/// The endpoints of one configured service.
pub(super) fn service(
    (written, span): (&file::KubernetesService, Span),
    id: &ServiceId,
    (field, cluster): (&str, Option<&KubernetesConfig>),
    check: &mut Check<'_>,
) -> Endpoints {
    for name in written.service.iter().chain(&written.namespace) {
        is_name(name, field, check);
    }
    let name = |written: &Option<At<String>>, own: &str| {
        written.as_ref().map_or(own.to_owned(), |name| name.value.clone())
    };
    let of =
        ServiceId::new(&name(&written.namespace, &id.namespace), &name(&written.service, &id.name));
    match cluster {
        None => {
            let what = "no Kubernetes cluster is named";
            let mend = "add a section kubernetes: {}, or kubernetes: {kubeconfig: PATH}";
            check.contradicts(span, field, what, mend);
        }
        Some(cluster) if !cluster.namespaces.hold(&of.namespace) => {
            let what = format!("namespace {} is not among those that are watched", of.namespace);
            let mend = "add it to kubernetes.namespaces";
            check.wrong(span, field, what, mend);
        }
        Some(_) => {}
    }
    Endpoints::Kubernetes { of, port: port(written.port.as_ref(), field, check) }
}

fn port(written: Option<&At<file::Port>>, field: &str, check: &mut Check<'_>) -> Option<Port> {
    let At { value, span } = written?;
    match value {
        file::Port::Name(name) => Some(Port::Name(name.clone())),
        file::Port::Number(number) => match u16::try_from(*number) {
            Ok(number) if number > 0 => Some(Port::Number(number)),
            _ => {
                let what = format!("{number} is no number of a port");
                check.wrong(*span, field, what, "write 1 to 65535, or the port's name");
                None
            }
        },
    }
}

/// One source of endpoints, and no second.
pub(super) fn alone(written: &At<file::Endpoints>, field: &str, check: &mut Check<'_>) {
    let file::Endpoints { file, dns, telemetry, versions, .. } = &written.value;
    if file.is_some() || dns.is_some() || *telemetry || *versions {
        let what = "a service has exactly one source of endpoints".to_owned();
        check.refuse(written.span, field, (Code::Contradiction, what, ONE_SOURCE));
    }
}
