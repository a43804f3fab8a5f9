//! One service: what is promised, where its traffic goes, what Weir did about it and why.

use askama::Template;

use super::fleet::{budget_class, errors_class};
use super::rollout::RolloutCard;
use super::text::{
    FeedLine, Frame, UNKNOWN, beside_stance, latency, mode_class, mode_label, percent,
    percent_good, percent_or_unknown, rate, segment, service_path, stance_class, stance_label,
    state_label,
};
use crate::board::Snapshot;
use crate::board::read::{Range, Service};
use crate::chart::heat::{self, Metric, Swatch};
use crate::chart::service::{Drawing, ServiceChart};
use crate::chart::small;
use crate::view::offer::{ApprovalView, OfferView};
use crate::view::service::{
    EndpointState, EndpointView, LimitView, ObjectiveView, ServiceDetail, WarningView, ZoneView,
};

/// Endpoints in the table if not all are asked for.
const ENDPOINTS: usize = 100;

/// What of the service is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) range: Range,
    pub(crate) metric: Metric,
    pub(crate) all: bool,
}

#[derive(Template)]
#[template(path = "service.html")]
pub(crate) struct ServicePage {
    frame: Frame,
    namespace: String,
    name: String,
    policy: Option<String>,
    mode: &'static str,
    mode_class: &'static str,
    acts: bool,
    stance: &'static str,
    stance_class: &'static str,
    stance_text: String,
    offer: Option<OfferView>,
    approval: Option<ApprovalView>,
    tiles: Vec<Tile>,
    promises: bool,
    rollouts: Vec<RolloutCard>,
    routed: bool,
    ranges: Vec<Choice>,
    metrics: Vec<Choice>,
    history_path: String,
    chart: ServiceChart,
    chart_rows: usize,
    legend: Vec<Swatch>,
    endpoints: Vec<EndpointRow>,
    endpoints_left_out: usize,
    all_path: String,
    warnings: Vec<WarningView>,
    limits: Vec<LimitView>,
    feed: Vec<FeedLine>,
}

/// One number with what it means.
struct Tile {
    label: String,
    value: String,
    class: &'static str,
    bar: Option<String>,
    note: String,
}

/// One of several ways to look at the chart.
struct Choice {
    label: &'static str,
    path: String,
    current: bool,
}

struct EndpointRow {
    address: String,
    colour: Option<usize>,
    locality: String,
    state: &'static str,
    state_class: &'static str,
    weight: String,
    share: String,
    bar: String,
    rate: String,
    errors: String,
    errors_class: &'static str,
    p99: String,
    why: String,
}

impl ServicePage {
    pub(crate) fn of(snapshot: &Snapshot, service: Service<'_>, view: View, frame: Frame) -> Self {
        let detail = service.detail(snapshot);
        let (namespace, name) = (&*service.id.namespace, &*service.id.name);
        let path = Paths { namespace, name, view };
        let matrix = service.matrix(view.range);
        let chart = Drawing {
            matrix: &matrix,
            decisions: &detail.decisions,
            metric: view.metric,
            heat_url: &path.heat(snapshot.decision.sequence),
        }
        .draw();
        let rows = endpoint_rows(&detail.endpoints, &chart);
        let shown = if view.all { rows.len() } else { ENDPOINTS };
        let left_out = rows.len().saturating_sub(shown);
        let summary = &detail.service;
        Self {
            frame,
            namespace: summary.namespace.clone(),
            name: summary.name.clone(),
            policy: summary.policy.clone(),
            mode: mode_label(summary.mode),
            mode_class: mode_class(summary.mode),
            acts: summary.acts(),
            stance: if service.is_route() {
                "Route"
            } else {
                stance_label(summary.stance, summary.acts())
            },
            stance_class: stance_class(summary.stance),
            stance_text: beside_stance(summary.stance, &summary.stance_text),
            offer: summary.offer.clone(),
            approval: summary.approval.clone(),
            tiles: tiles(&detail, service.is_route()),
            promises: !summary.objectives.is_empty(),
            rollouts: detail.rollouts.iter().map(RolloutCard::of).collect(),
            routed: service.is_route(),
            ranges: path.ranges(),
            metrics: path.metrics(),
            history_path: path.history(),
            chart,
            chart_rows: matrix.rows.len(),
            legend: heat::legend(view.metric),
            endpoints: rows.into_iter().take(shown).collect(),
            endpoints_left_out: left_out,
            all_path: path.page(View { all: true, ..view }),
            feed: detail.decisions.iter().map(FeedLine::of).collect(),
            warnings: detail.warnings,
            limits: detail.limits,
        }
    }
}

/// Addresses of this page with other choices.
struct Paths<'a> {
    namespace: &'a str,
    name: &'a str,
    view: View,
}

impl Paths<'_> {
    fn page(&self, view: View) -> String {
        let path = service_path(self.namespace, self.name);
        let all = if view.all { "&endpoints=all" } else { "" };
        format!("{path}?range={}&metric={}{all}", view.range.name(), view.metric.name())
    }

    /// The sequence makes each step's picture another one, so that browsers ask for it.
    fn heat(&self, sequence: u64) -> String {
        let path = service_path(self.namespace, self.name);
        let View { range, metric, .. } = self.view;
        format!("{path}/heat.png?range={}&metric={}&step={sequence}", range.name(), metric.name())
    }

    fn history(&self) -> String {
        format!(
            "/api/v1/services/{}/{}/history?range={}",
            segment(self.namespace),
            segment(self.name),
            self.view.range.name()
        )
    }

    fn ranges(&self) -> Vec<Choice> {
        Range::ALL
            .into_iter()
            .map(|range| Choice {
                label: match range {
                    Range::Short => "5 min",
                    Range::Long => "15 min",
                },
                path: self.page(View { range, ..self.view }),
                current: range == self.view.range,
            })
            .collect()
    }

    fn metrics(&self) -> Vec<Choice> {
        Metric::ALL
            .into_iter()
            .map(|metric| Choice {
                label: metric.label(),
                path: self.page(View { metric, ..self.view }),
                current: metric == self.view.metric,
            })
            .collect()
    }
}

fn tiles(detail: &ServiceDetail, routed: bool) -> Vec<Tile> {
    let summary = &detail.service;
    let mut tiles: Vec<_> = summary.objectives.iter().map(Tile::of_objective).collect();
    if routed {
        return tiles;
    }
    let load = summary.traffic.requests_per_second;
    let used = load.zip(summary.capacity_per_second).filter(|(_, capacity)| *capacity > 0.0);
    tiles.push(Tile {
        label: "Load".into(),
        value: format!("{} rps", rate(load)),
        class: "",
        bar: used.map(|(load, capacity)| small::bar(load / capacity, "calm")),
        note: used.map_or_else(
            || "capacity not known yet".into(),
            |(load, capacity)| {
                let part = percent(load / capacity);
                format!("{part} of about {} rps capacity", rate(Some(capacity)))
            },
        ),
    });
    tiles.push(Tile {
        label: "Errors now".into(),
        value: percent_or_unknown(summary.traffic.error_ratio),
        class: errors_class(summary.traffic.error_ratio),
        bar: None,
        note: format!("p99 {}", latency(summary.traffic.p99_ms)),
    });
    tiles.extend(near(&summary.zones));
    let counts = &summary.endpoints;
    let taking = counts.total - counts.ejected - counts.not_ready;
    tiles.push(Tile {
        label: "Endpoints in".into(),
        value: format!("{taking} of {}", counts.total),
        class: if counts.ejected > 0 { "warn" } else { "" },
        bar: Some(small::endpoint_strip(counts)),
        note: states(detail),
    });
    tiles
}

/// How many requests stay in their clients' zones, where clients of each zone have shares of their
/// own.
fn near(zones: &[ZoneView]) -> Option<Tile> {
    let home = |zone: &ZoneView| zone.shares.get(&zone.client).copied().unwrap_or(0.0);
    let parts: f64 = zones.iter().map(|zone| zone.part).sum();
    let near: f64 = zones.iter().map(|zone| zone.part * home(zone)).sum();
    let each = zones.iter().map(|zone| format!("{} {}", zone.client, percent(home(zone))));
    let note = each.take(4).collect::<Vec<_>>().join(" · ");
    (parts > 0.0).then(|| Tile {
        label: "In the clients' zone".into(),
        value: percent(near / parts),
        class: "",
        bar: Some(small::bar(near / parts, "calm")),
        note,
    })
}

fn states(detail: &ServiceDetail) -> String {
    let counts = &detail.service.endpoints;
    let parts = [
        (counts.ejected, "out"),
        (counts.probation, "on probation"),
        (counts.joining, "joining"),
        (counts.not_ready, "not ready"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts.map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { "all serving".into() } else { parts.join(", ") }
}

impl Tile {
    fn of_objective(objective: &ObjectiveView) -> Self {
        let class = budget_class(objective.budget_left);
        let good = objective.good.map_or_else(|| "no request yet".into(), percent_good);
        Self {
            label: if objective.text.is_empty() {
                objective.name.clone()
            } else {
                objective.text.clone()
            },
            value: percent(objective.budget_left),
            class,
            bar: Some(small::bar(objective.budget_left, class)),
            note: format!("budget left · {good} good · burning {:.1} x", objective.burn_rate),
        }
    }
}

/// Endpoints in order of interest: out first, then the ones whose weight strays most.
fn endpoint_rows(endpoints: &[EndpointView], chart: &ServiceChart) -> Vec<EndpointRow> {
    let most = endpoints.iter().map(|endpoint| endpoint.share).fold(f64::MIN_POSITIVE, f64::max);
    let mut order: Vec<usize> = (0..endpoints.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&endpoints[a], &endpoints[b]);
        interest(b).total_cmp(&interest(a))
    });
    order
        .into_iter()
        .map(|index| {
            let endpoint = &endpoints[index];
            let colour = chart.colours.get(index).copied().flatten();
            EndpointRow::of(endpoint, colour, endpoint.share / most)
        })
        .collect()
}

fn interest(endpoint: &EndpointView) -> f64 {
    let state = match endpoint.state {
        EndpointState::Ejected => 100.0,
        EndpointState::Probation => 50.0,
        EndpointState::Joining => 40.0,
        EndpointState::NotReady => 30.0,
        EndpointState::Serving => 0.0,
    };
    // Below a hundredth of an equal share order is by address, so that rows do not dance.
    let stray = (endpoint.weight - 1.0).abs();
    state + if stray >= 0.01 { (stray * 20.0).round() / 20.0 } else { 0.0 }
}

impl EndpointRow {
    fn of(endpoint: &EndpointView, colour: Option<usize>, part: f64) -> Self {
        let class = small::state_class(endpoint.state);
        Self {
            address: endpoint.address.clone(),
            colour,
            locality: endpoint.locality.clone(),
            state: state_label(endpoint.state),
            state_class: class,
            weight: match endpoint.state {
                EndpointState::Ejected | EndpointState::NotReady => UNKNOWN.into(),
                EndpointState::Serving | EndpointState::Joining | EndpointState::Probation => {
                    format!("{:.2}", endpoint.weight)
                }
            },
            share: percent(endpoint.share),
            bar: small::bar(part, "calm"),
            rate: rate(endpoint.traffic.requests_per_second),
            errors: percent_or_unknown(endpoint.traffic.error_ratio),
            errors_class: errors_class(endpoint.traffic.error_ratio),
            p99: latency(endpoint.traffic.p99_ms),
            why: endpoint.why.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_how_many_requests_stay_in_their_clients_zone() {
        let zone = |client: &str, part: f64, home: f64| ZoneView {
            client: client.into(),
            part,
            shares: [(client.to_owned(), home), ("c".into(), 1.0 - home)].into(),
        };
        let tile = near(&[zone("a", 0.75, 0.8), zone("b", 0.25, 1.0)]);
        let said = tile.map(|tile| (tile.value, tile.note));
        assert_eq!(said, Some(("85 %".into(), "a 80 % · b 100 %".into())));
        assert!(near(&[]).is_none());
    }
}
