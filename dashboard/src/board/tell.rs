//! A decision that changes something, told with what it was made of.

use weir_engine::decision::{self, Realisation, Reason, ServiceDecision};
use weir_engine::goal::Goal;
use weir_engine::names::Address;
use weir_engine::observation::{Row, ServiceTraffic};
use weir_engine::rollout::RolloutDecision;
use weir_engine::units::{Moment, Ratio};

use super::feed::{Change, Changes, Stand};
use super::{rollout, words};
use crate::view::decision::{
    AnswersView, ChangeView, DecisionDetail, DecisionId, DecisionSummary, GroupView, InputRow,
    InputsView, Kind, MemberView, SentView, StandingView,
};
use crate::view::service::Stance;
use crate::view::{Time, plain};

/// So many endpoints, groups or clusters are kept of one decision; the rest are counted. With
/// 1,000 decisions kept that is some 8 MiB at the most.
const LISTED: usize = 16;

/// A line of reasons names so many endpoints.
const NAMED: usize = 2;

/// All that is told of one decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telling<'a> {
    pub(crate) id: DecisionId,
    pub(crate) at: Moment,
    pub(crate) layout: &'a [Address],
    pub(crate) service: &'a ServiceDecision,
    pub(crate) traffic: Option<&'a ServiceTraffic>,
    pub(crate) goal: &'a Goal,
    pub(crate) rollout: Option<&'a RolloutDecision>,
    pub(crate) fresh: Option<Moment>,
}

impl Telling<'_> {
    /// The whole story.
    pub(crate) fn tell(&self, changes: &Changes) -> DecisionDetail {
        let listed = changes.endpoints.iter().take(LISTED);
        DecisionDetail {
            decision: self.summary(changes),
            policy: Some(plain(self.service.policy.as_str())).filter(|name| !name.is_empty()),
            stance: words::stance(&self.service.stance),
            stance_text: self.service.stance.to_string(),
            changes: listed.map(|change| self.change(change)).collect(),
            changes_left_out: left_out(changes.endpoints.len()),
            inputs: self.inputs(changes),
            limits: words::limits(self.goal),
            sent: self.service.realisations.iter().take(LISTED).map(|made| sent(made)).collect(),
            rollout: self
                .rollout
                .filter(|_| changes.rollout.is_some() || changes.kind == Kind::First)
                .map(rollout::view),
            answers: AnswersView::default(),
            effect: None,
        }
    }

    fn summary(&self, changes: &Changes) -> DecisionSummary {
        DecisionSummary {
            id: self.id,
            at: Time(self.at),
            namespace: plain(&self.service.service.namespace),
            name: plain(&self.service.service.name),
            kind: changes.kind,
            title: self.title(changes),
            why: self.why(changes),
            mode: words::mode(self.service.mode),
            acted: self.acted(),
            moved: changes.moved,
        }
    }

    fn acted(&self) -> bool {
        self.service.acts()
    }

    fn title(&self, changes: &Changes) -> String {
        let who = named(changes);
        let percent = Ratio::clamped(changes.moved);
        match (changes.kind, self.acted()) {
            (Kind::Ejected, true) => format!("Ejected {who}"),
            (Kind::Ejected, false) => format!("Would eject {who}"),
            (Kind::Probation, _) => format!("{who} back on probation"),
            (Kind::Restored, _) => format!("{who} back to a full share"),
            (Kind::Endpoints, _) => endpoints(changes),
            (Kind::Shares, true) => format!("Moved {percent} of the traffic"),
            (Kind::Shares, false) => format!("Would move {percent} of the traffic"),
            (Kind::Policy, _) => self.policy(changes),
            (Kind::Rollout, _) => match self.rollout.zip(changes.rollout) {
                Some((rollout, turn)) => rollout::title(rollout, turn),
                None => "Rollout changed".into(),
            },
            (Kind::First, _) if rollout::is_route(self.service, self.rollout) => {
                "First seen, a route to its versions".into()
            }
            (Kind::First, _) => format!("First seen, {}", count(self.layout.len(), "endpoint")),
            (Kind::Stance, _) if changes.resumed => "Acting again".into(),
            (Kind::Stance, _) => match words::stance(&self.service.stance) {
                Stance::Decaying => "Going back to equal shares".into(),
                Stance::Resting | Stance::Steering | Stance::Holding => "Holding".into(),
            },
        }
    }

    fn policy(&self, changes: &Changes) -> String {
        let Some((mode, policy)) = &changes.policy else {
            return match &self.service.approval {
                Some(approval) => format!("Approved by {}: {}", approval.by, approval.scope),
                None => "Approval ended".into(),
            };
        };
        if *mode == self.service.mode {
            let name = |name: &str| if name.is_empty() { "none".into() } else { plain(name) };
            format!("Policy {} → {}", name(policy.as_str()), name(self.service.policy.as_str()))
        } else {
            format!("Mode {mode} → {}", self.service.mode)
        }
    }

    /// The reasons of the endpoints that make the decision what it is, else the stance's.
    fn why(&self, changes: &Changes) -> String {
        let route = rollout::is_route(self.service, self.rollout);
        if let Some(rollout) = self.rollout.filter(|_| route || changes.kind == Kind::Rollout) {
            return rollout::why(rollout);
        }
        let of_kind = changes.endpoints.iter().filter(|change| change.kind == changes.kind);
        let drawn = |change: &&Change| changes.kind == Kind::Shares && self.is_drawn_along(change);
        let movers: Vec<_> = of_kind.filter(|change| !drawn(change)).collect();
        if matches!(changes.kind, Kind::Stance | Kind::Policy | Kind::First) || movers.is_empty() {
            return match &self.service.stance {
                decision::Stance::Holding(hold) => hold.to_string(),
                stance @ (decision::Stance::Resting
                | decision::Stance::Steering
                | decision::Stance::Decaying { .. }) => stance.to_string(),
            };
        }
        let alone = movers.len() == 1 && changes.kind != Kind::Shares;
        let lines = movers.iter().take(NAMED).map(|change| {
            let reason = self.reason(change);
            if alone { reason } else { format!("{}: {reason}", plain(change.address.as_str())) }
        });
        let mut text = lines.collect::<Vec<_>>().join("; ");
        let more = movers.len().saturating_sub(NAMED);
        if more > 0 {
            text += &format!("; and {more} more");
        }
        text
    }

    /// Whether an endpoint's share changes only because others' do.
    fn is_drawn_along(&self, change: &Change) -> bool {
        let endpoint = change.after.and_then(|index| self.service.endpoints.get(index));
        endpoint
            .is_some_and(|endpoint| matches!(endpoint.reason, Reason::Remainder | Reason::Equal))
    }

    fn reason(&self, change: &Change) -> String {
        use decision::EndpointState::Joining;
        let before = change.before.map(|before| before.state);
        match change.after.and_then(|index| self.service.endpoints.get(index)) {
            None => "no longer declared".into(),
            Some(_) if change.kind == Kind::Probation => {
                "its ejection is over; little traffic until it has proven itself".into()
            }
            Some(_) if change.kind == Kind::Restored => match before {
                Some(Joining) => "its ramp is over".into(),
                _ => "it has proven itself".into(),
            },
            Some(endpoint) => {
                let text = endpoint.sentence(self.at);
                // "Ejected a:1" stands before it and need not be said again.
                text.strip_prefix("ejected ").map(str::to_owned).unwrap_or(text)
            }
        }
    }

    fn change(&self, change: &Change) -> ChangeView {
        let after = change.after.and_then(|index| self.service.endpoints.get(index));
        ChangeView {
            address: plain(change.address.as_str()),
            before: change.before.map(standing),
            after: after.map(|endpoint| StandingView {
                weight: endpoint.weight,
                share: endpoint.share.value(),
                state: words::state(endpoint.state),
            }),
            why: self.reason(change),
            evidence: after.and_then(words::evidence),
            bound: after.and_then(|endpoint| endpoint.bound).map(|bound| bound.to_string()),
        }
    }

    fn inputs(&self, changes: &Changes) -> InputsView {
        let Some(traffic) = self.traffic else {
            return InputsView { age_ms: self.age_ms(), ..InputsView::default() };
        };
        let changed = |row: &Row| {
            !changes.endpoints.iter().any(|change| {
                change.kind == changes.kind && change.after == Some(row.endpoint as usize)
            })
        };
        let mut rows: Vec<&Row> = traffic.rows.iter().collect();
        rows.sort_by_key(|row| changed(row));
        let counted = || traffic.rows.iter().filter(|row| row.clients > 0);
        InputsView {
            clients: traffic.clients,
            reporters: traffic.reporters,
            requests: counted().fold(0, |sum, row| row.requests.saturating_add(sum)),
            errors: counted().map(|row| row.errors).sum(),
            age_ms: self.age_ms(),
            rows: rows.iter().take(LISTED).map(|row| self.row(row)).collect(),
            rows_left_out: left_out(rows.len()),
        }
    }

    fn age_ms(&self) -> Option<u64> {
        let age = self.at.since(self.fresh?);
        u64::try_from(age.as_millis()).ok()
    }

    fn row(&self, row: &Row) -> InputRow {
        let address = self.layout.get(row.endpoint as usize);
        InputRow {
            address: address.map(|address| plain(address.as_str())).unwrap_or_default(),
            clients: row.clients,
            requests: row.requests,
            errors: row.errors,
            timeouts: row.timeouts,
            local_failures: row.local_failures,
            timed: row.latency.count,
            p99_ms: row.latency.quantile(Ratio::clamped(0.99)).map(f64::from),
            ejected_by: row.ejected_by,
        }
    }
}

fn standing(stand: Stand) -> StandingView {
    StandingView { weight: stand.weight, share: stand.share, state: words::state(stand.state) }
}

/// The endpoints that the decision is about: one by name, several by number.
fn named(changes: &Changes) -> String {
    let mut of_kind = changes.endpoints.iter().filter(|change| change.kind == changes.kind);
    match (of_kind.next(), of_kind.count()) {
        (Some(only), 0) => plain(only.address.as_str()),
        (_, others) => count(others + 1, "endpoint"),
    }
}

fn endpoints(changes: &Changes) -> String {
    let of_kind = || changes.endpoints.iter().filter(|change| change.kind == Kind::Endpoints);
    let came = of_kind().filter(|change| change.before.is_none()).count();
    let left = of_kind().filter(|change| change.after.is_none()).count();
    let other = of_kind().count() - came - left;
    let parts = [(came, "came"), (left, "left"), (other, "changed readiness")];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<_> = parts
        .enumerate()
        .map(|(index, (number, what))| match index {
            0 => format!("{} {what}", count(*number, "endpoint")),
            _ => format!("{number} {what}"),
        })
        .collect();
    parts.join(", ")
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn left_out(all: usize) -> u32 {
    u32::try_from(all.saturating_sub(LISTED)).unwrap_or(u32::MAX)
}

fn sent(realisation: &Realisation) -> SentView {
    let clusters = realisation.clusters.iter();
    let groups = realisation.groups.iter();
    SentView {
        clusters: clusters.take(LISTED).map(|cluster| plain(cluster.as_str())).collect(),
        clusters_left_out: left_out(realisation.clusters.len()),
        form: realisation.form.to_string(),
        groups: groups
            .take(LISTED)
            .map(|group| GroupView {
                locality: plain(group.locality.to_string().trim_end_matches('/')),
                weight: group.weight.get(),
                members: group
                    .members
                    .iter()
                    .take(LISTED)
                    .map(|member| MemberView {
                        address: plain(member.address.as_str()),
                        weight: member.weight.get(),
                        health: member.health.to_string(),
                    })
                    .collect(),
                members_left_out: left_out(group.members.len()),
            })
            .collect(),
        groups_left_out: left_out(realisation.groups.len()),
        panicking: realisation.panicking,
    }
}
