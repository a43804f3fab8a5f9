//! The first page: which services need a look, what Weir changed, and what it stands on.

use askama::Template;

use super::text::{
    FeedLine, Frame, age, beside_stance, counted, latency, mode_class, mode_label, percent,
    percent_or_unknown, rate, service_path, stance_class, stance_label,
};
use crate::board::Snapshot;
use crate::board::read::{Range, Service, millis};
use crate::chart::small;
use crate::view::mesh::SourceView;
use crate::view::service::{ObjectiveView, ServiceSummary};

/// Decisions on the first page.
const FEED: usize = 40;

/// Services on the first page; those with the least budget come first.
const SERVICES: usize = 500;

#[derive(Template)]
#[template(path = "fleet.html")]
pub(crate) struct FleetPage {
    frame: Frame,
    subtitle: String,
    services: Vec<ServiceRow>,
    services_left_out: usize,
    feed: Vec<FeedLine>,
    sources: Vec<SourceRow>,
    proxies: ProxyCounts,
}

struct ServiceRow {
    path: String,
    namespace: String,
    name: String,
    mode: &'static str,
    mode_class: &'static str,
    stance: &'static str,
    stance_class: &'static str,
    stance_text: String,
    budget: Option<Budget>,
    rate: String,
    errors: String,
    errors_class: &'static str,
    p99: String,
    spark: String,
    strip: String,
    endpoints: String,
}

/// The objective that has the least budget left.
struct Budget {
    left: String,
    class: &'static str,
    bar: String,
    text: String,
}

struct SourceRow {
    name: String,
    kind: String,
    target: String,
    class: &'static str,
    state: String,
    error: Option<String>,
    dropped: Option<String>,
}

struct ProxyCounts {
    total: usize,
    connected: usize,
    refusing: usize,
}

impl FleetPage {
    pub(crate) fn of(snapshot: &Snapshot, frame: Frame) -> Self {
        let mut services: Vec<_> =
            snapshot.services().map(|service| (service, service.summary())).collect();
        services.sort_by(|a, b| least(&a.1).total_cmp(&least(&b.1)));
        let proxies = snapshot.proxies();
        Self {
            subtitle: subtitle(snapshot, &services),
            services_left_out: services.len().saturating_sub(SERVICES),
            services: services
                .iter()
                .take(SERVICES)
                .map(|(service, summary)| ServiceRow::of(service, summary))
                .collect(),
            feed: snapshot
                .decisions(None)
                .take(FEED)
                .map(|(_, detail)| FeedLine::of(&detail.decision))
                .collect(),
            sources: snapshot.sources().iter().map(|s| SourceRow::of(s, &frame)).collect(),
            proxies: ProxyCounts {
                total: proxies.len(),
                connected: proxies.iter().filter(|proxy| proxy.connected).count(),
                refusing: proxies.iter().filter(|proxy| proxy.refuses()).count(),
            },
            frame,
        }
    }
}

/// What orders services: the least budget left; those without an objective come last, and among
/// equals those come first that Weir is doing something with.
fn least(summary: &ServiceSummary) -> f64 {
    summary.objectives.iter().map(|objective| objective.budget_left).fold(2.0, f64::min)
}

fn subtitle(snapshot: &Snapshot, services: &[(Service<'_>, ServiceSummary)]) -> String {
    let sum = |count: fn(&ServiceSummary) -> u32| {
        services.iter().map(|(_, summary)| count(summary) as usize).sum::<usize>()
    };
    let mut parts = vec![
        counted(services.len(), "service", "services"),
        counted(sum(|s| s.endpoints.total), "endpoint", "endpoints"),
    ];
    let out = sum(|s| s.endpoints.ejected);
    if out > 0 {
        parts.push(format!("{out} out"));
    }
    parts.push(counted(snapshot.proxies().len(), "proxy", "proxies"));
    parts.join(" · ")
}

impl ServiceRow {
    fn of(service: &Service<'_>, summary: &ServiceSummary) -> Self {
        let counts = &summary.endpoints;
        let taking = counts.total - counts.ejected - counts.not_ready;
        Self {
            path: service_path(&summary.namespace, &summary.name),
            namespace: summary.namespace.clone(),
            name: summary.name.clone(),
            mode: mode_label(summary.mode),
            mode_class: mode_class(summary.mode),
            stance: stance_label(summary.stance, summary.acts()),
            stance_class: stance_class(summary.stance),
            stance_text: beside_stance(summary.stance, &summary.stance_text),
            budget: Budget::of(&summary.objectives),
            rate: rate(summary.traffic.requests_per_second),
            errors: percent_or_unknown(summary.traffic.error_ratio),
            errors_class: errors_class(summary.traffic.error_ratio),
            p99: latency(summary.traffic.p99_ms),
            spark: small::spark(service.columns(Range::Short)),
            strip: small::endpoint_strip(counts),
            endpoints: format!("{taking} of {} in", counts.total),
        }
    }
}

/// From one failed request in a hundred on, an error ratio is worth a colour.
pub(super) fn errors_class(ratio: Option<f64>) -> &'static str {
    match ratio {
        Some(ratio) if ratio >= 0.01 => "bad",
        Some(ratio) if ratio >= 0.001 => "warn",
        _ => "",
    }
}

/// A budget is fine until half of it is gone, and spent at zero.
pub(super) fn budget_class(left: f64) -> &'static str {
    match left {
        left if left <= 0.0 => "bad",
        left if left < 0.5 => "warn",
        _ => "good",
    }
}

impl Budget {
    fn of(objectives: &[ObjectiveView]) -> Option<Self> {
        let least = objectives.iter().min_by(|a, b| a.budget_left.total_cmp(&b.budget_left))?;
        let class = budget_class(least.budget_left);
        Some(Self {
            left: percent(least.budget_left),
            class,
            bar: small::bar(least.budget_left, class),
            text: format!("{}, burning {:.1} x", least.name, least.burn_rate),
        })
    }
}

impl SourceRow {
    fn of(source: &SourceView, frame: &Frame) -> Self {
        let since = source.last_success.map(|last| age(millis(frame.now.since(last.0))));
        let (class, state) = match (&source.error, since) {
            (Some(_), Some(since)) => ("bad", format!("failing, last good {since} ago")),
            (Some(_), None) => ("bad", "failing, never good".into()),
            (None, Some(since)) => ("good", format!("{since} ago")),
            (None, None) => ("idle", "nothing yet".into()),
        };
        let dropped = (source.dropped > 0)
            .then(|| format!("{} reports lost", super::text::grouped(source.dropped)));
        Self {
            name: source.name.clone(),
            kind: source.kind.clone(),
            target: source.target.clone(),
            class,
            state,
            error: source.error.clone(),
            dropped,
        }
    }
}
