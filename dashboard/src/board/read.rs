//! Views of a snapshot: what the API serves and the pages are made of.

use std::sync::Arc;
use std::time::Duration;

use weir_engine::decision::{Decision, EndpointDecision, EndpointState, ServiceDecision};
use weir_engine::goal::{Goal, Objective};
use weir_engine::names::ServiceId;
use weir_engine::rollout::RolloutDecision;
use weir_engine::topology::ServiceTopology;
use weir_engine::units::Moment;
use weir_engine::warning::Warning;
use weir_engine::zones::{Way, ZoneSplit};

use super::log::Log;
use super::matrix::Matrix;
use super::track::{COARSE, Column, FINE, Scale};
use super::{Record, Snapshot, offer, rollout, words};
use crate::view::decision::{DecisionDetail, DecisionId, EffectView};
use crate::view::health::HealthView;
use crate::view::mesh::{PolicyState, PolicyView, ProxyView, SourceView, SubscriptionView, Sync};
use crate::view::service::{
    EndpointCounts, EndpointView, ObjectiveView, ServiceDetail, ServiceSummary, Stance,
    TrafficView, WarningView, ZoneView,
};
use crate::view::{Time, plain};

/// Rates are taken over the last ten seconds of telemetry.
const RECENT: Duration = Duration::from_secs(10);

/// A source that answers this seldom is stale rather than slow.
const RECENT_COLUMNS: usize = 120;

/// A decision's effect is measured against the last seconds before it: a fault is seldom older.
const BEFORE: Duration = Duration::from_secs(5);

/// And over these after it: long enough for proxies to act, too short for the next decision.
const AFTER: Duration = Duration::from_secs(15);

/// Decisions on a service's page.
const DECISIONS_OF_SERVICE: usize = 50;

/// Which of the two tracks is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Range {
    /// Five minutes in seconds.
    #[default]
    Short,
    /// A quarter of an hour in steps of five seconds.
    Long,
}

impl Range {
    pub(crate) const ALL: [Self; 2] = [Self::Short, Self::Long];

    /// As it is written in a query.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Short => "5m",
            Self::Long => "15m",
        }
    }

    pub(crate) const fn scale(self) -> Scale {
        match self {
            Self::Short => FINE,
            Self::Long => COARSE,
        }
    }
}

/// One service in a snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service<'a> {
    pub(crate) id: &'a ServiceId,
    pub(crate) decision: &'a ServiceDecision,
    pub(crate) at: Moment,
    record: &'a Record,
    goal: Option<&'a Goal>,
    topology: Option<&'a ServiceTopology>,
    rollout: Option<&'a RolloutDecision>,
}

impl Snapshot {
    /// When the last step was taken; none before the first.
    pub(crate) fn at(&self) -> Option<Moment> {
        (self.decision.sequence > 0).then_some(self.decision.at)
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = Service<'_>> {
        let decision: &Decision = &self.decision;
        decision.services.iter().zip(&self.services).map(|(service, record)| Service {
            id: &service.service,
            decision: service,
            at: decision.at,
            record,
            goal: self.goals.of(&service.service),
            topology: self.topology_of(&service.service),
            rollout: super::rollout_of(decision, &service.service),
        })
    }

    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<Service<'_>> {
        self.services()
            .find(|service| *service.id.namespace == *namespace && *service.id.name == *name)
    }

    fn topology_of(&self, id: &ServiceId) -> Option<&ServiceTopology> {
        let services = &self.topology.services;
        let at = services.binary_search_by(|topology| topology.service.cmp(id)).ok()?;
        services.get(at)
    }

    pub(crate) fn summaries(&self) -> Vec<ServiceSummary> {
        self.services().map(|service| service.summary()).collect()
    }

    /// Decisions newest first, optionally of one service.
    pub(crate) fn decisions<'a>(
        &'a self,
        of: Option<(&'a str, &'a str)>,
    ) -> impl Iterator<Item = (u64, &'a Arc<DecisionDetail>)> {
        self.feed.iter().rev().filter(move |(_, detail)| {
            of.is_none_or(|(namespace, name)| {
                detail.decision.namespace == namespace && detail.decision.name == name
            })
        })
    }

    /// One decision with what was measured after it.
    pub(crate) fn decision(&self, id: DecisionId) -> Option<DecisionDetail> {
        let (_, detail) = self.feed.iter().rev().find(|(_, detail)| detail.decision.id == id)?;
        let mut detail = DecisionDetail::clone(detail);
        let decision = &detail.decision;
        let service = self.service(&decision.namespace, &decision.name);
        detail.effect = service.and_then(|service| service.effect(decision.at.0));
        Some(detail)
    }

    /// Rollouts that a service has a part in.
    pub(crate) fn rollouts_of(&self, id: &ServiceId) -> impl Iterator<Item = &RolloutDecision> {
        let rollouts = self.decision.rollouts.iter().map(|rollout| &**rollout);
        rollouts.filter(move |one| [&one.service, &one.stable, &one.canary].contains(&id))
    }

    pub(crate) fn sources(&self) -> &[SourceView] {
        &self.sources
    }

    pub(crate) fn proxies(&self) -> &[ProxyView] {
        &self.proxies
    }

    pub(crate) fn policies(&self) -> &[PolicyView] {
        &self.policies
    }

    pub(crate) fn health(&self) -> &HealthView {
        &self.health
    }
}

fn zone_view(split: &ZoneSplit) -> ZoneView {
    let share = |way: &Way| (plain(way.zone.as_str()), way.share.value());
    ZoneView {
        client: plain(split.client.as_str()),
        part: split.part.value(),
        shares: split.ways.iter().map(share).collect(),
    }
}

impl<'a> Service<'a> {
    pub(crate) fn summary(&self) -> ServiceSummary {
        let decision = self.decision;
        ServiceSummary {
            namespace: plain(&self.id.namespace),
            name: plain(&self.id.name),
            policy: Some(plain(decision.policy.as_str())).filter(|policy| !policy.is_empty()),
            mode: words::mode(decision.mode),
            stance: if self.is_route() { Stance::Resting } else { words::stance(&decision.stance) },
            stance_text: self.doing(),
            stale: self.is_stale(),
            telemetry_age_ms: self.record.fresh.map(|fresh| millis(self.at.since(fresh))),
            traffic: self.traffic(),
            capacity_per_second: decision.capacity.map(f64::from),
            zones: decision.zones.iter().map(zone_view).collect(),
            endpoints: self.counts(),
            objectives: decision
                .objectives
                .iter()
                .map(|status| ObjectiveView {
                    name: plain(&status.name),
                    text: self.objective(&status.name).map(words::promise).unwrap_or_default(),
                    target: status.target.value(),
                    good: status.good.map(f64::from),
                    budget_left: status.budget_left,
                    burn_rate: status.burn_rate,
                })
                .collect(),
            warnings: u32::try_from(decision.warnings.len()).unwrap_or(u32::MAX),
            offer: offer::of_service(decision),
            approval: offer::approval(decision),
        }
    }

    fn warnings(&self) -> Vec<WarningView> {
        let address = |index: u32| {
            let endpoint = self.decision.endpoints.get(index as usize)?;
            Some(plain(endpoint.address.as_str()))
        };
        let view = |warning: &Warning| WarningView {
            endpoint: warning.endpoint.and_then(address),
            kind: words::warning(warning.finding.kind()),
            signal: warning.finding.signal().to_string(),
            since: Time(warning.since),
            text: warning.finding.to_string(),
        };
        self.decision.warnings.iter().map(view).collect()
    }

    /// What Weir is doing and why, without the service's name before it.
    fn doing(&self) -> String {
        if let Some(rollout) = self.rollout.filter(|_| self.is_route()) {
            return rollout::parts(rollout);
        }
        let summary = self.decision.summary();
        let name = format!("{}: ", self.id);
        plain(summary.strip_prefix(&name).unwrap_or(&summary))
    }

    /// Whether it is nothing but a route to its versions, which have all the endpoints.
    pub(crate) fn is_route(&self) -> bool {
        super::rollout::is_route(self.decision, self.rollout)
    }

    /// Whether Weir holds, or goes back to equal shares, for want of fresh telemetry.
    pub(crate) fn is_stale(&self) -> bool {
        use weir_engine::decision::{Hold, Stance};
        let stale = matches!(
            self.decision.stance,
            Stance::Decaying { .. } | Stance::Holding(Hold::Stale { .. })
        );
        stale && !self.is_route()
    }

    pub(crate) fn detail(&self, snapshot: &Snapshot) -> ServiceDetail {
        let of = (&*self.id.namespace, &*self.id.name);
        let unclaimed = || Goal::of_unclaimed(self.id.clone());
        let decisions = snapshot.decisions(Some(of)).take(DECISIONS_OF_SERVICE);
        ServiceDetail {
            service: self.summary(),
            endpoints: self.endpoints(),
            rollouts: snapshot.rollouts_of(self.id).map(rollout::view).collect(),
            warnings: self.warnings(),
            limits: match self.goal {
                Some(goal) => words::limits(goal),
                None => words::limits(&unclaimed()),
            },
            decisions: decisions.map(|(_, detail)| detail.decision.clone()).collect(),
        }
    }

    fn objective(&self, name: &str) -> Option<&'a Objective> {
        self.goal?.objectives.iter().find(|objective| objective.name == name)
    }

    fn counts(&self) -> EndpointCounts {
        let mut counts = EndpointCounts::default();
        for endpoint in &self.decision.endpoints {
            counts.total += 1;
            *match endpoint.state {
                EndpointState::Serving => &mut counts.serving,
                EndpointState::Joining => &mut counts.joining,
                EndpointState::Probation => &mut counts.probation,
                EndpointState::Ejected { .. } => &mut counts.ejected,
                EndpointState::NotReady => &mut counts.not_ready,
            } += 1;
        }
        counts
    }

    fn endpoints(&self) -> Vec<EndpointView> {
        let traffic = self.traffic_by_endpoint();
        let endpoints = self.decision.endpoints.iter().zip(traffic).enumerate();
        endpoints
            .map(|(index, (endpoint, traffic))| EndpointView {
                address: plain(endpoint.address.as_str()),
                locality: self.locality(index),
                weight: endpoint.weight,
                share: endpoint.share.value(),
                state: words::state(endpoint.state),
                until: match endpoint.state {
                    EndpointState::Ejected { until, .. } => Some(Time(until)),
                    EndpointState::Serving
                    | EndpointState::Joining
                    | EndpointState::Probation
                    | EndpointState::NotReady => None,
                },
                why: self.why(endpoint),
                bound: endpoint.bound.map(|bound| bound.to_string()),
                traffic,
            })
            .collect()
    }

    /// Why an endpoint stands as it stands now: of an ejected one, how much longer.
    fn why(&self, endpoint: &EndpointDecision) -> String {
        let EndpointState::Ejected { until, times } = endpoint.state else {
            return endpoint.sentence(self.at);
        };
        let left = words::span(Duration::from_secs(until.since(self.at).as_secs()));
        let again =
            if times > 1 { format!("ejected {times} times in a row, ") } else { String::new() };
        format!("{again}back on probation in {left}: {}", endpoint.reason)
    }

    fn locality(&self, index: usize) -> String {
        let declared = self.topology.and_then(|topology| topology.endpoints.get(index));
        let Some(endpoint) = declared else { return String::new() };
        let locality = plain(&endpoint.locality.to_string());
        locality.trim_end_matches('/').to_owned()
    }

    /// The columns from the newest back that hold the last seconds of telemetry.
    fn recent(&self) -> impl Iterator<Item = &'a Arc<Column>> {
        let mut span = Duration::ZERO;
        let newest = self.record.fine.iter().rev().take(RECENT_COLUMNS).map(|(_, column)| column);
        newest.take_while(move |column| {
            let more = span < RECENT;
            span += column.span;
            more
        })
    }

    fn traffic(&self) -> TrafficView {
        if self.is_stale() {
            // What was true some time ago is not shown as what is.
            return TrafficView::default();
        }
        let (mut requests, mut errors, mut span) = (0, 0, Duration::ZERO);
        for column in self.recent() {
            if let Some(sums) = column.sums() {
                requests += sums.0;
                errors += sums.1;
                span += column.span;
            }
        }
        let p99 = self
            .record
            .coarse
            .iter()
            .rev()
            .nth(1)
            .or_else(|| self.record.coarse.iter().next_back());
        rates(requests, errors, span, p99.map_or(f32::NAN, |(_, column)| column.p99_ms))
    }

    fn traffic_by_endpoint(&self) -> Vec<TrafficView> {
        let count = self.decision.endpoints.len();
        let mut sums = vec![(0_u64, 0_u64, Duration::ZERO); count];
        let layout = self.record.fine.last().map(|column| Arc::clone(&column.layout));
        let layout = layout.filter(|_| !self.is_stale());
        let Some(layout) = layout else { return vec![TrafficView::default(); count] };
        for column in self.recent().filter(|column| Arc::ptr_eq(&column.layout, &layout)) {
            for (sum, cell) in sums.iter_mut().zip(&column.cells).filter(|(_, cell)| cell.known) {
                sum.0 += u64::from(cell.requests);
                sum.1 += u64::from(cell.errors);
                sum.2 += column.span;
            }
        }
        let complete = self.record.coarse.iter().rev().map(|(_, column)| column);
        let complete: Vec<_> =
            complete.take(2).filter(|column| Arc::ptr_eq(&column.layout, &layout)).collect();
        let p99 = |index: usize| {
            let cells = complete.iter().rev().filter_map(|column| column.cells.get(index));
            cells.map(|cell| cell.p99_ms).find(|p99| !p99.is_nan()).unwrap_or(f32::NAN)
        };
        let sums = sums.into_iter().enumerate();
        sums.map(|(index, (requests, errors, span))| rates(requests, errors, span, p99(index)))
            .collect()
    }

    pub(crate) fn columns(&self, range: Range) -> &'a Log<Column> {
        match range {
            Range::Short => &self.record.fine,
            Range::Long => &self.record.coarse,
        }
    }

    /// The last minutes as a matrix, oldest column first.
    pub(crate) fn matrix(&self, range: Range) -> Matrix {
        Matrix::of(self.columns(range), self.at, range.scale())
    }

    /// What was measured shortly before and after a moment.
    fn effect(&self, decided: Moment) -> Option<EffectView> {
        let ago = self.at.since(decided);
        if ago < AFTER {
            return None;
        }
        let reach = FINE.step * u32::try_from(FINE.columns).unwrap_or(u32::MAX);
        let columns = if ago + BEFORE < reach { &self.record.fine } else { &self.record.coarse };
        let oldest = columns.iter().next()?.1.at;
        if oldest > decided {
            return None;
        }
        let (mut before, mut after) = ((0, 0), (0, 0));
        for (_, column) in columns.iter() {
            // What is seen in the step of a decision was sent before it.
            let side = if column.at <= decided && decided.since(column.at) < BEFORE {
                &mut before
            } else if column.at > decided && column.at.since(decided) <= AFTER {
                &mut after
            } else {
                continue;
            };
            let (requests, errors) = column.sums().unwrap_or_default();
            *side = (side.0 + requests, side.1 + errors);
        }
        let seconds = |side: Duration| u32::try_from(side.as_secs()).unwrap_or(u32::MAX);
        Some(EffectView {
            seconds_before: seconds(BEFORE),
            requests_before: before.0,
            error_ratio_before: ratio(before.1, before.0),
            seconds_after: seconds(AFTER),
            requests_after: after.0,
            error_ratio_after: ratio(after.1, after.0),
        })
    }
}

fn rates(requests: u64, errors: u64, span: Duration, p99_ms: f32) -> TrafficView {
    let seconds = span.as_secs_f64();
    TrafficView {
        requests_per_second: (seconds > 0.0).then(|| requests as f64 / seconds),
        error_ratio: ratio(errors, requests),
        p99_ms: Some(f64::from(p99_ms)).filter(|p99| !p99.is_nan()),
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl ProxyView {
    /// Whether its last answer to any type was a refusal.
    pub fn refuses(&self) -> bool {
        self.types.iter().any(|subscription| subscription.sync == Sync::Refused)
    }

    /// Without what changes all the time.
    pub(super) fn lasting(&self) -> Self {
        let types = self.types.iter().cloned();
        let types = types.map(|kind| SubscriptionView { sent: None, lag_ms: None, ..kind });
        Self { last_seen: None, types: types.collect(), ..self.clone() }
    }
}

impl SourceView {
    /// Without what changes all the time.
    pub(super) fn lasting(&self) -> Self {
        let last_success = self.last_success.map(|_| Time::default());
        Self { last_success, delivered: 0, dropped: 0, ..self.clone() }
    }
}

impl PolicyView {
    /// Whether the document as it stands is not in force.
    pub fn is_wrong(&self) -> bool {
        self.state != PolicyState::InForce
    }
}
