//! Policies and proxies: simple tables, with what is wrong and where.

use askama::Template;

use super::text::{Frame, age, mode_class, mode_label, service_path};
use crate::board::Snapshot;
use crate::board::read::millis;
use crate::view::mesh::{PolicyState, PolicyView, ProblemView, ProxyView, SubscriptionView, Sync};

#[derive(Template)]
#[template(path = "policies.html")]
pub(crate) struct PoliciesPage {
    frame: Frame,
    policies: Vec<PolicyRow>,
}

struct PolicyRow {
    name: String,
    path: String,
    /// Name and page of each governed service; no page for one that Weir does not see.
    targets: Vec<(String, Option<String>)>,
    mode: Option<(&'static str, &'static str)>,
    suspended: bool,
    objectives: Vec<String>,
    state: &'static str,
    state_class: &'static str,
    problems: Vec<ProblemView>,
}

#[derive(Template)]
#[template(path = "proxies.html")]
pub(crate) struct ProxiesPage {
    frame: Frame,
    proxies: Vec<ProxyRow>,
}

struct ProxyRow {
    node: String,
    cluster: String,
    version: String,
    connected: bool,
    seen: String,
    types: Vec<TypeRow>,
}

struct TypeRow {
    kind: String,
    state: &'static str,
    class: &'static str,
    version: String,
    lag: String,
    error: Option<String>,
}

impl PoliciesPage {
    pub(crate) fn of(snapshot: &Snapshot, frame: Frame) -> Self {
        let policies = snapshot.policies().iter();
        Self { frame, policies: policies.map(|policy| PolicyRow::of(policy, snapshot)).collect() }
    }
}

impl PolicyRow {
    fn of(policy: &PolicyView, snapshot: &Snapshot) -> Self {
        let (state, state_class) = match policy.state {
            PolicyState::InForce => ("in force", "good"),
            PolicyState::LastGood => ("wrong; last good version in force", "warn"),
            PolicyState::Refused => ("wrong; not in force", "bad"),
            PolicyState::Conflicted => ("an older policy has its target", "warn"),
        };
        let target = |target: &String| {
            let known = target
                .split_once('/')
                .filter(|(namespace, name)| snapshot.service(namespace, name).is_some());
            (target.clone(), known.map(|(namespace, name)| service_path(namespace, name)))
        };
        Self {
            name: policy.name.clone(),
            path: policy.path.clone(),
            targets: policy.targets.iter().map(target).collect(),
            mode: policy.mode.map(|mode| (mode_label(mode), mode_class(mode))),
            suspended: policy.suspended,
            objectives: policy.objectives.clone(),
            state,
            state_class,
            problems: policy.problems.clone(),
        }
    }
}

impl ProxiesPage {
    pub(crate) fn of(snapshot: &Snapshot, frame: Frame) -> Self {
        let mut proxies: Vec<_> = snapshot.proxies().iter().collect();
        proxies.sort_by_key(|proxy| (!proxy.refuses(), !proxy.connected));
        let proxies = proxies.into_iter().map(|proxy| ProxyRow::of(proxy, &frame)).collect();
        Self { frame, proxies }
    }
}

impl ProxyRow {
    fn of(proxy: &ProxyView, frame: &Frame) -> Self {
        let seen = proxy.last_seen.map(|seen| millis(frame.now.since(seen.0)));
        Self {
            node: proxy.node.clone(),
            cluster: proxy.cluster.clone(),
            version: proxy.version.clone(),
            connected: proxy.connected,
            seen: seen.map_or_else(|| "never".into(), |seen| format!("{} ago", age(seen))),
            types: proxy.types.iter().map(TypeRow::of).collect(),
        }
    }
}

impl TypeRow {
    fn of(subscription: &SubscriptionView) -> Self {
        let (state, class) = match subscription.sync {
            Sync::NotSent => ("not sent", "idle"),
            Sync::Synced => ("synced", "good"),
            Sync::Pending => ("pending", "warn"),
            Sync::Refused => ("refused", "bad"),
        };
        let (taken, sent) = (&subscription.taken_version, &subscription.sent_version);
        let version = if taken == sent || taken.is_empty() {
            sent.clone()
        } else {
            format!("{taken} (sent {sent})")
        };
        Self {
            kind: subscription.kind.clone(),
            state,
            class,
            version,
            lag: subscription.lag_ms.map_or_else(|| "–".into(), |lag| format!("{lag:.1} ms")),
            error: subscription.error.clone(),
        }
    }
}
