//! `weir journal export`: JSON lines with everything, or CSV with a row for each endpoint and step.

use std::io::{self, BufWriter, Write};

use serde_json::{Value, json};
use weir_engine::decision::{EndpointDecision, EndpointState, ServiceDecision};
use weir_engine::latency::Latency;
use weir_engine::observation::Row;
use weir_engine::units::Ratio;

use super::{Failed, is_wanted, steps};
use crate::cli::{Format, Stretch};
use crate::commands::OK;
use crate::recording::hex;
use crate::replay::Turn;
use crate::times::shown;

/// Writes a stretch to standard output.
pub(super) fn run(part: &Stretch, format: Format) -> Result<u8, Failed> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    match format {
        Format::Jsonl => {
            steps(part, |turn| writeln!(out, "{}", document(part, turn)))?;
        }
        Format::Csv => {
            let mut rows = csv::Writer::from_writer(&mut out);
            rows.write_record(COLUMNS).map_err(io::Error::from)?;
            steps(part, |turn| write_rows(part, turn, &mut rows))?;
            rows.flush()?;
        }
    }
    out.flush()?;
    Ok(OK)
}

/// One step: what was seen, and what was decided on it.
fn document(part: &Stretch, turn: Turn<'_>) -> Value {
    let services = turn.decision.services.iter().filter(|one| is_wanted(part, one));
    json!({
        "at": shown(turn.decision.at),
        "epoch": turn.epoch,
        "decision": turn.decision.sequence,
        "digest": hex(&turn.step.decision),
        "identical": turn.is_same(),
        "observation": turn.step.observation,
        "services": services.collect::<Vec<_>>(),
        "rollouts": turn.decision.rollouts,
        "sampling": turn.decision.sampling,
        "pushed": turn.step.pushed,
    })
}

const COLUMNS: [&str; 21] = [
    "at",
    "decision",
    "service",
    "mode",
    "stance",
    "endpoint",
    "zone",
    "requests",
    "errors",
    "timeouts",
    "seconds",
    "clients",
    "in_flight",
    "timed",
    "mean_ms",
    "p50_ms",
    "p99_ms",
    "weight",
    "share",
    "state",
    "why",
];

fn write_rows(
    part: &Stretch,
    turn: Turn<'_>,
    rows: &mut csv::Writer<impl Write>,
) -> io::Result<()> {
    for decision in turn.decision.services.iter().filter(|one| is_wanted(part, one)) {
        let traffic = turn.step.observation.traffic.iter();
        let traffic = traffic.clone().find(|traffic| traffic.service == decision.service);
        let known = turn.state.services.iter().find(|one| one.topology.service == decision.service);
        for (index, endpoint) in decision.endpoints.iter().enumerate() {
            let row =
                traffic.and_then(|t| t.rows.iter().find(|row| row.endpoint as usize == index));
            let declared = known.and_then(|known| known.topology.endpoints.get(index));
            let zone = declared.map(|one| one.locality.zone.to_string()).unwrap_or_default();
            let record = record(turn, (decision, endpoint), row, zone);
            rows.write_record(&record).map_err(io::Error::from)?;
        }
    }
    Ok(())
}

fn record(
    turn: Turn<'_>,
    (decision, endpoint): (&ServiceDecision, &EndpointDecision),
    row: Option<&Row>,
    zone: String,
) -> Vec<String> {
    let number = |of: fn(&Row) -> u64| row.map(|row| of(row).to_string()).unwrap_or_default();
    let timed = |of: &dyn Fn(&Latency) -> Option<f64>| {
        row.and_then(|row| of(&row.latency)).map(|it| it.to_string()).unwrap_or_default()
    };
    let quantile = |q: f64| move |it: &Latency| Some(it.quantile(Ratio::clamped(q))?.value());
    let stance = format!("{:?}", decision.stance);
    let stance = stance.split([' ', '(', '{']).next().unwrap_or_default();
    vec![
        shown(turn.decision.at),
        turn.decision.sequence.to_string(),
        decision.service.to_string(),
        decision.mode.to_string(),
        stance.to_owned(),
        endpoint.address.to_string(),
        zone,
        number(|row| row.requests),
        number(|row| row.errors),
        number(|row| row.timeouts),
        row.map(|row| row.exposure.as_secs_f64() / f64::from(row.clients.max(1)))
            .map(|seconds| seconds.to_string())
            .unwrap_or_default(),
        number(|row| u64::from(row.clients)),
        row.and_then(|row| row.in_flight).map(|it| it.to_string()).unwrap_or_default(),
        timed(&|it| Some(it.count)),
        timed(&|it| Some(it.mean()?.value())),
        timed(&quantile(0.5)),
        timed(&quantile(0.99)),
        endpoint.weight.to_string(),
        endpoint.share.value().to_string(),
        state(endpoint.state).to_owned(),
        endpoint.sentence(turn.decision.at),
    ]
}

fn state(state: EndpointState) -> &'static str {
    match state {
        EndpointState::Serving => "serving",
        EndpointState::Joining => "joining",
        EndpointState::Probation => "probation",
        EndpointState::Ejected { .. } => "ejected",
        EndpointState::NotReady => "not ready",
    }
}
