//! `weir diff`: what enforcing would change now.

use std::io::Write;
use std::sync::Arc;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use weir_engine::decision::{Decision, ServiceDecision};
use weir_engine::goal::{Goals, Mode};
use weir_engine::topology::Topology;
use weir_engine::units::Moment;
use weir_proxy_adapter::native::Native;
use weir_proxy_adapter::readable;
use weir_proxy_adapter::resource::TypeUrl;
use weir_proxy_adapter::translate::translate;
use weir_proxy_adapter::writers;

use super::replay::unreadable;
use super::{BAD_INPUT, OK};
use crate::cli::{Diff, Output};
use crate::recording::Recording;
use crate::replay::compare::beside;
use crate::times::shown;

/// The last step as it was decided, and as it would be if all were enforced.
struct Now {
    at: Moment,
    topology: Topology,
    decided: Decision,
    enforced: Decision,
}

/// Runs the command.
pub fn run(asked: &Diff) -> anyhow::Result<u8> {
    let recording = match Recording::open(&asked.journal) {
        Ok(recording) => recording.last(),
        Err(error) => return unreadable(&error.into()),
    };
    let mut now: Option<Now> = None;
    let replayed = beside(&recording, enforcing, |turn, enforced| {
        let declared = turn.state.services.iter().map(|service| service.topology.clone());
        now = Some(Now {
            at: turn.decision.at,
            topology: Topology { services: declared.collect() },
            decided: turn.decision.clone(),
            enforced: enforced.clone(),
        });
    });
    if let Err(error) = replayed {
        return unreadable(&error);
    }
    let wanted = |one: &&Arc<ServiceDecision>| {
        asked.service.as_ref().is_none_or(|service| *service == one.service)
    };
    let Some(now) = now.filter(|now| now.decided.services.iter().any(|one| wanted(&one))) else {
        let what = asked.service.as_ref().map_or_else(|| "a step".to_owned(), ToString::to_string);
        writeln!(
            anstream::stderr(),
            "error: {} does not end with {what}",
            asked.journal.display()
        )?;
        return Ok(BAD_INPUT);
    };
    let pairs = now.decided.services.iter().zip(&now.enforced.services);
    let pairs: Vec<_> = pairs.filter(|(decided, _)| wanted(decided)).collect();
    match asked.output {
        Output::Table => {
            writeln!(anstream::stdout(), "as of {}\n", shown(now.at))?;
            for (decided, enforced) in &pairs {
                print(decided, enforced)?;
                if asked.objects {
                    writeln!(anstream::stdout(), "{:#}\n", objects(&now, decided))?;
                }
            }
        }
        Output::Json => {
            let services = pairs.iter().map(|(decided, enforced)| {
                let mut document = document(decided, enforced);
                if asked.objects {
                    document["objects"] = objects(&now, decided);
                }
                document
            });
            let services: Vec<Value> = services.collect();
            writeln!(
                anstream::stdout(),
                "{:#}",
                json!({ "at": shown(now.at), "services": services })
            )?;
        }
    }
    Ok(OK)
}

/// The same goals, all enforced.
fn enforcing(recorded: &Goals) -> Goals {
    let mut goals = recorded.clone();
    goals.services.iter_mut().for_each(|goal| goal.mode = Mode::Enforce);
    goals.rollouts.iter_mut().for_each(|rollout| rollout.mode = Mode::Enforce);
    goals
}

/// The shares that proxies make of a decision, of an average client.
fn shares(decision: &ServiceDecision) -> Vec<f64> {
    let made = decision.realisations.first();
    let predicted = made.map(|made| made.predicted.iter().map(|share| share.value()).collect());
    predicted.unwrap_or_else(|| {
        let count = decision.endpoints.len();
        vec![1.0 / count as f64; count]
    })
}

fn moved(decided: &ServiceDecision, enforced: &ServiceDecision) -> f64 {
    let pairs = shares(decided).into_iter().zip(shares(enforced));
    pairs.map(|(before, after)| (before - after).abs()).sum::<f64>() / 2.0
}

fn print(decided: &ServiceDecision, enforced: &ServiceDecision) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    let (service, policy, mode) = (&decided.service, decided.policy.as_str(), decided.mode);
    let policy =
        if policy.is_empty() { "no policy".to_owned() } else { format!("policy {policy}") };
    let moved = moved(decided, enforced);
    if mode == Mode::Enforce {
        writeln!(out, "{service} ({policy}): enforced already\n")?;
        return Ok(());
    }
    if moved < 1e-6 && enforced.shed.value() <= 0.0 {
        writeln!(out, "{service} ({policy}, {mode}): enforcing would change nothing now\n")?;
        return Ok(());
    }
    writeln!(
        out,
        "{service} ({policy}, {mode}): enforcing would move {:.1} % of its traffic now",
        100.0 * moved
    )?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["endpoint", "now", "enforced", "why"]);
    let pairs = shares(decided).into_iter().zip(shares(enforced));
    for (endpoint, (before, after)) in enforced.endpoints.iter().zip(pairs) {
        table.add_row([
            endpoint.address.to_string(),
            format!("{:.1} %", 100.0 * before),
            format!("{:.1} %", 100.0 * after),
            endpoint.reason.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{table}\n")?;
    Ok(())
}

fn document(decided: &ServiceDecision, enforced: &ServiceDecision) -> Value {
    let pairs = shares(decided).into_iter().zip(shares(enforced));
    let endpoints = enforced.endpoints.iter().zip(pairs).map(|(endpoint, (before, after))| {
        json!({
            "endpoint": endpoint.address,
            "share": before,
            "enforced": after,
            "state": endpoint.state,
            "why": endpoint.reason.to_string(),
        })
    });
    json!({
        "service": decided.service,
        "mode": decided.mode,
        "moved": moved(decided, enforced),
        "shed": enforced.shed,
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

/// What proxies have of a service, and what they would get, as Envoy's objects and as the fields of
/// those of Kubernetes that can carry it.
fn objects(now: &Now, service: &ServiceDecision) -> Value {
    json!({ "envoy": envoy(now, service), "kubernetes": kubernetes(now, service) })
}

/// New versions' weights and the zones' shares. Those of single endpoints are in none of them.
fn kubernetes(now: &Now, service: &ServiceDecision) -> Value {
    let id = &service.service;
    let topology = now.topology.services.iter().find(|one| one.service == *id);
    let of = |decision: &Decision| -> Vec<Value> {
        let acting = decision.rollouts.iter().filter(|one| one.service == *id && one.acts());
        let routes = acting
            .flat_map(|rollout| [writers::http_route(rollout), writers::virtual_service(rollout)]);
        let acting = decision.services.iter().filter(|one| one.service == *id && one.acts());
        let rules = acting.filter_map(|service| writers::destination_rule(service, topology?));
        routes.chain(rules).collect()
    };
    json!({ "now": of(&now.decided), "enforced": of(&now.enforced) })
}

fn envoy(now: &Now, service: &ServiceDecision) -> Value {
    let of = |decision: &Decision| -> Vec<Value> {
        let snapshot = translate(decision, &now.topology, &Native::default()).snapshot;
        let named = snapshot.types.get(&TypeUrl::Endpoints);
        let resources = named.into_iter().flat_map(|named| named.values());
        let own = resources.filter(|one| one.service.as_ref() == Some(&service.service));
        own.filter_map(|resource| readable::assignment(resource).ok()).collect()
    };
    json!({ "now": of(&now.decided), "enforced": of(&now.enforced) })
}
