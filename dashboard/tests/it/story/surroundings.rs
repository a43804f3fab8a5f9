//! What stands around the story: sources, proxies and policies.

use weir_dashboard::view::Time;
use weir_dashboard::view::health::CheckView;
use weir_dashboard::view::mesh::{
    PolicyState, PolicyView, ProblemView, ProxyView, Severity, SourceView, SubscriptionView, Sync,
};
use weir_engine::units::Moment;

use super::{STEPS, at};

pub(super) fn sources(now: Time) -> Vec<SourceView> {
    let earlier = |seconds: u64| Some(Time(Moment::from_millis(now.0.millis() - seconds * 1_000)));
    vec![
        SourceView {
            name: "push".into(),
            kind: "load reports".into(),
            target: "127.0.0.1:18010".into(),
            last_success: earlier(0),
            error: None,
            delivered: 12_400,
            dropped: 0,
        },
        SourceView {
            name: "edge".into(),
            kind: "scrape".into(),
            target: "http://127.0.0.1:9901/stats/prometheus".into(),
            last_success: earlier(3),
            error: None,
            delivered: 1_180,
            dropped: 0,
        },
        SourceView {
            name: "prometheus".into(),
            kind: "prometheus".into(),
            target: "http://prometheus.monitoring:9090".into(),
            last_success: earlier(61),
            error: Some(
                "http://prometheus.monitoring:9090/api/v1/query: connection refused; is Prometheus \
                 running there?"
                    .into(),
            ),
            delivered: 204,
            dropped: 0,
        },
    ]
}

pub(super) fn proxies(now: Time) -> Vec<ProxyView> {
    let subscription = |kind: &str, version: &str| SubscriptionView {
        kind: kind.into(),
        sync: Sync::Synced,
        sent_version: version.into(),
        taken_version: version.into(),
        sent: Some(now),
        lag_ms: Some(2.4),
        error: None,
    };
    (1..=4)
        .map(|number| ProxyView {
            node: format!("edge-{number}"),
            cluster: "edge".into(),
            version: "envoy 1.40.0".into(),
            connected: true,
            last_seen: Some(now),
            types: vec![subscription("CDS", "7"), subscription("EDS", "1300")],
        })
        .collect()
}

/// A policy that is in force.
pub fn policies() -> Vec<PolicyView> {
    vec![PolicyView {
        name: "demo/shop".into(),
        path: "policies/shop.yaml".into(),
        targets: vec!["demo/shop".into()],
        mode: Some(weir_dashboard::view::service::Mode::Enforce),
        suspended: false,
        objectives: vec![
            "99.9 % of requests succeed over 28 d".into(),
            "99 % of requests within 500 ms over 28 d".into(),
        ],
        state: PolicyState::InForce,
        problems: Vec::new(),
    }]
}

/// A policy whose file is wrong.
pub fn wrong_policy() -> PolicyView {
    let text = "error[WEIR0012]: unknown field `maxEjectionPercnt`\n \
                --> policies/ledger.yaml:14:5\n   |\n14 |     maxEjectionPercnt: 20\n   |     \
                ^^^^^^^^^^^^^^^^^ did you mean `maxEjectionPercent`?";
    PolicyView {
        name: "pay/ledger".into(),
        path: "policies/ledger.yaml".into(),
        targets: vec!["pay/ledger".into()],
        mode: Some(weir_dashboard::view::service::Mode::Recommend),
        suspended: false,
        objectives: Vec::new(),
        state: PolicyState::LastGood,
        problems: vec![ProblemView {
            severity: Severity::Error,
            code: "WEIR0012".into(),
            path: "policies/ledger.yaml".into(),
            line: 14,
            column: 5,
            what: "unknown field `maxEjectionPercnt`".into(),
            mend: "write `maxEjectionPercent`".into(),
            text: text.into(),
        }],
    }
}

/// A proxy that refuses what it is sent.
pub fn refusing_proxy() -> ProxyView {
    ProxyView {
        node: "edge-5".into(),
        cluster: "edge".into(),
        version: "envoy 1.28.0".into(),
        connected: true,
        last_seen: Some(Time(at(STEPS))),
        types: vec![SubscriptionView {
            kind: "CDS".into(),
            sync: Sync::Refused,
            sent_version: "8".into(),
            taken_version: "7".into(),
            sent: Some(Time(at(STEPS))),
            lag_ms: None,
            error: Some(
                "Error adding/updating cluster(s) shop: Proto constraint validation failed \
                 (ClusterValidationError.LbPolicy: value must be one of the defined enum values)"
                    .into(),
            ),
        }],
    }
}

pub(super) fn check(name: &str, text: &str) -> CheckView {
    CheckView { name: name.into(), passes: true, text: text.into() }
}
