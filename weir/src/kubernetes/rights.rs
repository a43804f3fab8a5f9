//! Which rights Weir needs in a cluster, one table: what is not here is not asked for.
//!
//! A chart's roles are held against it. No secrets, no wildcard, and nothing is written but what
//! Weir owns (the status of policies, events, its own lease) unless `kubernetes.writes` asks for more.

use weir_policies::crd::PLURAL;
use weir_policies::document::GROUP;

/// One thing that Weir does in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource, with its subresource.
    pub resource: &'static str,
    /// What is done with it.
    pub verbs: &'static [&'static str],
    /// Where.
    pub scope: Scope,
    /// What for, and what is missing without it.
    pub why: &'static str,
}

/// Where a right is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In every watched namespace; in the whole cluster where all are watched.
    Watched,
    /// In the whole cluster: the resource has no namespace.
    Cluster,
    /// In Weir's own namespace.
    Own,
}

const READ: &[&str] = &["get", "list", "watch"];

/// Those that it needs in any case.
pub const RIGHTS: &[Right] = &[
    Right {
        group: "discovery.k8s.io",
        resource: "endpointslices",
        verbs: READ,
        scope: Scope::Watched,
        why: "who a service's endpoints are; needed",
    },
    Right {
        group: "",
        resource: "services",
        verbs: READ,
        scope: Scope::Watched,
        why: "which ports a service has; needed",
    },
    Right {
        group: "",
        resource: "nodes",
        verbs: READ,
        scope: Scope::Cluster,
        why: "in which region and zone an endpoint stands; without it there are no regions",
    },
    Right {
        group: GROUP,
        resource: PLURAL,
        verbs: READ,
        scope: Scope::Watched,
        why: "what is wanted; not needed with policies: false",
    },
    Right {
        group: GROUP,
        resource: "adaptivetrafficpolicies/status",
        verbs: &["patch"],
        scope: Scope::Watched,
        why: "to say what became of a policy; without it nobody is told in the cluster",
    },
    Right {
        group: "events.k8s.io",
        resource: "events",
        verbs: &["create"],
        scope: Scope::Watched,
        why: "to say what happened; without it events are in the log only",
    },
    Right {
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["get", "create", "update"],
        scope: Scope::Own,
        why: "which replica decides; only where there are several",
    },
];

/// Those that `kubernetes.writes` asks for on top of them.
pub const WRITING: &[Right] = &[
    Right {
        group: "gateway.networking.k8s.io",
        resource: "httproutes",
        verbs: &["list", "patch"],
        scope: Scope::Watched,
        why: "weights of versions; only with writes: [routes]",
    },
    Right {
        group: "gateway.networking.k8s.io",
        resource: "grpcroutes",
        verbs: &["list", "patch"],
        scope: Scope::Watched,
        why: "weights of versions; only with writes: [routes]",
    },
    Right {
        group: "gateway.networking.k8s.io",
        resource: "tcproutes",
        verbs: &["list", "patch"],
        scope: Scope::Watched,
        why: "weights of versions; only with writes: [routes]",
    },
    Right {
        group: "networking.istio.io",
        resource: "virtualservices",
        verbs: &["list", "patch"],
        scope: Scope::Watched,
        why: "weights of versions; only with writes: [routes]",
    },
    Right {
        group: "flagger.app",
        resource: "canaries",
        verbs: &["list"],
        scope: Scope::Watched,
        why: "whether Flagger is at work on a service; only with writes: other than draining, or a relay",
    },
    Right {
        group: "argoproj.io",
        resource: "rollouts",
        verbs: &["list"],
        scope: Scope::Watched,
        why: "whether Argo Rollouts is at work on a service; only with writes: other than draining, or a relay",
    },
    Right {
        group: "",
        resource: "pods",
        verbs: &["list", "patch"],
        scope: Scope::Watched,
        why: "Istio's label that takes a pod out; only with writes: [draining]",
    },
    Right {
        group: GROUP,
        resource: "adaptivetrafficpolicies",
        verbs: &["patch"],
        scope: Scope::Watched,
        why: "the finalizer of enforced policies; only with writes:",
    },
    Right {
        group: "networking.istio.io",
        resource: "destinationrules",
        verbs: &["list", "patch"],
        scope: Scope::Watched,
        why: "zones, ejections, newcomers; only with writes: [destination_rules]",
    },
    Right {
        group: "policy.linkerd.io",
        resource: "httproutes",
        verbs: &["list", "patch"],
        scope: Scope::Watched,
        why: "weights of versions; only with writes: [linkerd]",
    },
    Right {
        group: "",
        resource: "services",
        verbs: &["patch"],
        scope: Scope::Watched,
        why: "annotations of failure accrual; only with writes: [linkerd]",
    },
    Right {
        group: "linkerd.io",
        resource: "serviceprofiles",
        verbs: &["list"],
        scope: Scope::Watched,
        why: "whether a profile stands against annotations; only with writes: [linkerd]",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_for_that_a_stranger_should_not_have() {
        for right in RIGHTS.iter().chain(WRITING) {
            let words =
                [right.group, right.resource].into_iter().chain(right.verbs.iter().copied());
            assert!(words.clone().all(|word| !word.contains('*')), "{right:?}");
            assert!(words.clone().all(|word| !word.contains("secret")), "{right:?}");
            assert!(!right.why.is_empty());
            let writes = right.verbs.iter().any(|verb| !READ.contains(verb));
            let ours = ["adaptivetrafficpolicies/status", "events", "leases"];
            let asked = WRITING.contains(right);
            assert_eq!(asked, right.why.contains("only with writes:"));
            assert!(!writes || asked || ours.contains(&right.resource), "{right:?}");
        }
    }

    /// People read the same table.
    #[test]
    fn every_right_is_described() {
        let page = include_str!("../../../docs/kubernetes.md");
        for right in RIGHTS.iter().chain(WRITING) {
            assert!(page.contains(&format!("`{}`", right.resource)), "{right:?}");
        }
    }
}
