//! Why: one decision with the numbers it was made of.

use askama::Template;

use super::rollout::RolloutCard;
use super::text::{
    Frame, UNKNOWN, age, counted, grouped, latency, mode_class, mode_label, percent,
    percent_or_unknown, service_path, stance_class, stance_label, state_label, whole,
};
use crate::board::Snapshot;
use crate::chart::service::kind_class;
use crate::chart::small;
use crate::view::decision::{
    AnswersView, ChangeView, DecisionDetail, EvidenceView, InputRow, SentView, StandingView,
};
use crate::view::service::LimitView;

#[derive(Template)]
#[template(path = "decision.html")]
pub(crate) struct DecisionPage {
    frame: Frame,
    id: String,
    title: String,
    why: String,
    kind: &'static str,
    acted: bool,
    clock: String,
    time: String,
    namespace: String,
    name: String,
    service_path: String,
    mode: &'static str,
    mode_class: &'static str,
    stance: &'static str,
    stance_class: &'static str,
    policy: Option<String>,
    moved: String,
    facts: Vec<(&'static str, String)>,
    changes: Vec<ChangeRow>,
    changes_left_out: u32,
    evidence: Vec<EvidenceRow>,
    inputs: Vec<InputCells>,
    inputs_left_out: u32,
    limits: Vec<LimitView>,
    bounds: Vec<(String, String)>,
    sent: Vec<SentView>,
    rollout: Option<RolloutCard>,
    answers: AnswersView,
    effect: Option<Effect>,
    older: Option<String>,
    newer: Option<String>,
}

struct ChangeRow {
    address: String,
    before: Option<StandingCells>,
    after: Option<StandingCells>,
    same_state: bool,
    weight: String,
    share: String,
    why: String,
}

struct StandingCells {
    state: &'static str,
    class: &'static str,
}

struct EvidenceRow {
    address: String,
    name: String,
    measured: String,
    at_least: Option<String>,
    limit: String,
    picture: String,
}

struct InputCells {
    address: String,
    clients: String,
    requests: String,
    errors: String,
    timeouts: String,
    local_failures: String,
    timed: String,
    p99: String,
    ejected_by: String,
}

struct Effect {
    seconds_before: u32,
    seconds_after: u32,
    before: String,
    after: String,
    requests_before: String,
    requests_after: String,
}

impl DecisionPage {
    pub(crate) fn of(snapshot: &Snapshot, detail: DecisionDetail, frame: Frame) -> Self {
        let decision = &detail.decision;
        let (newer, older) = neighbours(snapshot, &detail);
        let bounds = detail
            .changes
            .iter()
            .filter_map(|change| change.bound.clone().map(|bound| (change.address.clone(), bound)));
        Self {
            frame,
            id: decision.id.to_string(),
            title: decision.title.clone(),
            why: decision.why.clone(),
            kind: kind_class(decision.kind),
            acted: decision.acted,
            clock: decision.at.day_and_clock(),
            time: decision.at.to_string(),
            namespace: decision.namespace.clone(),
            name: decision.name.clone(),
            service_path: service_path(&decision.namespace, &decision.name),
            mode: mode_label(decision.mode),
            mode_class: mode_class(decision.mode),
            stance: stance_label(detail.stance, decision.acted),
            stance_class: stance_class(detail.stance),
            policy: detail.policy.clone(),
            moved: percent(decision.moved),
            facts: facts(&detail),
            changes: detail.changes.iter().map(ChangeRow::of).collect(),
            changes_left_out: detail.changes_left_out,
            evidence: detail.changes.iter().filter_map(EvidenceRow::of).collect(),
            inputs: detail.inputs.rows.iter().map(InputCells::of).collect(),
            inputs_left_out: detail.inputs.rows_left_out,
            bounds: bounds.collect(),
            effect: detail.effect.map(|effect| Effect {
                seconds_before: effect.seconds_before,
                seconds_after: effect.seconds_after,
                before: percent_or_unknown(effect.error_ratio_before),
                after: percent_or_unknown(effect.error_ratio_after),
                requests_before: grouped(effect.requests_before),
                requests_after: grouped(effect.requests_after),
            }),
            limits: detail.limits,
            sent: detail.sent,
            rollout: detail.rollout.as_ref().map(RolloutCard::of),
            answers: detail.answers,
            older,
            newer,
        }
    }
}

/// The decisions of the same service after and before this one.
fn neighbours(snapshot: &Snapshot, detail: &DecisionDetail) -> (Option<String>, Option<String>) {
    let decision = &detail.decision;
    let mut newer = None;
    let mut of_service = snapshot.decisions(Some((&decision.namespace, &decision.name)));
    while let Some((_, other)) = of_service.next() {
        let id = other.decision.id;
        if id == decision.id {
            let older = of_service.next().map(|(_, older)| older.decision.id.to_string());
            return (newer, older);
        }
        newer = Some(id.to_string());
    }
    (None, None)
}

fn facts(detail: &DecisionDetail) -> Vec<(&'static str, String)> {
    let inputs = &detail.inputs;
    let errors = if inputs.requests == 0 {
        "none seen".into()
    } else {
        let ratio = inputs.errors as f64 / inputs.requests as f64;
        format!("{} of {} ({})", grouped(inputs.errors), grouped(inputs.requests), percent(ratio))
    };
    let reporters = counted(inputs.reporters as usize, "proxy", "proxies");
    let clients = counted(inputs.clients as usize, "client cluster", "client clusters");
    vec![
        ("Failed requests in the step", errors),
        ("Reported by", format!("{clients} of {reporters}")),
        ("Age of the newest counts", inputs.age_ms.map_or_else(|| "none yet".into(), age)),
    ]
}

impl ChangeRow {
    fn of(change: &ChangeView) -> Self {
        Self {
            address: change.address.clone(),
            before: change.before.map(StandingCells::of),
            after: change.after.map(StandingCells::of),
            same_state: change.before.map(|b| b.state) == change.after.map(|a| a.state),
            weight: from_to(change, |standing| format!("{:.2}", standing.weight)),
            share: from_to(change, |standing| percent(standing.share)),
            why: change.why.clone(),
        }
    }
}

/// A figure before and after, or once where it stays.
fn from_to(change: &ChangeView, figure: impl Fn(StandingView) -> String) -> String {
    let text = |standing: Option<StandingView>| standing.map_or_else(|| UNKNOWN.into(), &figure);
    let (before, after): (String, String) = (text(change.before), text(change.after));
    if before == after { after } else { format!("{before} → {after}") }
}

impl StandingCells {
    fn of(standing: StandingView) -> Self {
        Self { state: state_label(standing.state), class: small::state_class(standing.state) }
    }
}

impl EvidenceRow {
    fn of(change: &ChangeView) -> Option<Self> {
        let evidence = change.evidence.as_ref()?;
        let text = |value: f64| amount(evidence, value);
        Some(Self {
            address: change.address.clone(),
            name: evidence.name.clone(),
            measured: text(evidence.measured),
            at_least: evidence.at_least.map(text),
            limit: text(evidence.limit),
            picture: small::measure(evidence.measured, evidence.at_least, evidence.limit),
        })
    }
}

fn amount(evidence: &EvidenceView, value: f64) -> String {
    if evidence.unit == "ms" { latency(Some(value)) } else { percent(value) }
}

impl InputCells {
    fn of(row: &InputRow) -> Self {
        Self {
            address: row.address.clone(),
            clients: row.clients.to_string(),
            requests: grouped(row.requests),
            errors: grouped(row.errors),
            timeouts: grouped(row.timeouts),
            local_failures: grouped(row.local_failures),
            timed: grouped(whole(row.timed)),
            p99: latency(row.p99_ms),
            ejected_by: row.ejected_by.to_string(),
        }
    }
}
