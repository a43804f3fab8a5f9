//! `weir explain`: why a decision was taken, and what came of it.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use weir_engine::assessment::Judgement;
use weir_engine::decision::EndpointDecision;
use weir_engine::names::{Address, ServiceId};
use weir_engine::units::Millis;

use super::replay::unreadable;
use super::{BAD_INPUT, OK};
use crate::cli::{About, Explain, Output};
use crate::recording::Recording;
use crate::replay::explain::{Explained, Sums, Which, explain};
use crate::times::{When, shown};

/// Runs the command.
pub fn run(asked: &Explain) -> anyhow::Result<u8> {
    let recording = match Recording::open(&asked.journal) {
        Ok(recording) => recording,
        Err(error) => return unreadable(&error.into()),
    };
    let which = match (&asked.about, asked.at) {
        (About::Decision(number), _) => Which::Number(*number),
        (_, Some(when)) => match start(&recording, when) {
            Ok(at) => at,
            Err(error) => return unreadable(&error),
        },
        (_, None) => Which::Last,
    };
    let (service, endpoint) = match &asked.about {
        About::Decision(_) => (None, None),
        About::Endpoint(service, endpoint) => (Some(service), Some(endpoint)),
        About::Service(service) => (Some(service), None),
    };
    let wanted = |id: &ServiceId| service.is_none_or(|service| service == id);
    let found = match explain(&recording, which, wanted) {
        Ok(found) => found,
        Err(error) => return unreadable(&error),
    };
    if let Some(what) = missing(&found, (service, endpoint), &asked.journal) {
        writeln!(anstream::stderr(), "error: {what}")?;
        return Ok(BAD_INPUT);
    }
    match asked.output {
        Output::Table => {
            for one in &found {
                print(one, endpoint)?;
            }
        }
        Output::Json => {
            let decisions: Vec<Value> = found.iter().map(|one| document(one, endpoint)).collect();
            writeln!(anstream::stdout(), "{:#}", json!({ "decisions": decisions }))?;
        }
    }
    Ok(OK)
}

/// The moment that is meant, in this recording.
fn start(recording: &Recording, when: When) -> Result<Which, crate::replay::ReplayError> {
    Ok(Which::At(when.of(recording.begins()?)))
}

fn missing(
    found: &[Explained],
    (service, endpoint): (Option<&ServiceId>, Option<&Address>),
    journal: &Path,
) -> Option<String> {
    let journal = journal.display();
    let Some(first) = found.first() else {
        let what = service.map_or_else(|| "such decision".to_owned(), |id| format!("{id} then"));
        return Some(format!("{journal} has no {what}; `weir journal ls` says what it covers"));
    };
    let endpoint = endpoint?;
    let known = first.decision.endpoints.iter().map(|one| one.address.to_string());
    let names: Vec<String> = known.collect();
    (!names.contains(&endpoint.to_string())).then(|| {
        format!(
            "{} has no endpoint {endpoint} then; it has {}",
            first.decision.service,
            names.join(", ")
        )
    })
}

fn print(found: &Explained, endpoint: Option<&Address>) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    let decision = &found.decision;
    let policy = decision.policy.as_str();
    let policy =
        if policy.is_empty() { "no policy".to_owned() } else { format!("policy {policy}") };
    writeln!(
        out,
        "decision {} at {}, {policy}, {}",
        found.sequence,
        shown(found.at),
        decision.mode
    )?;
    writeln!(out, "  {}", decision.summary())?;
    for (index, one) in decision.endpoints.iter().enumerate() {
        if endpoint.map_or_else(|| is_telling(one), |endpoint| *endpoint == one.address) {
            writeln!(out, "\n{} {}", decision.service, one.address)?;
            for (what, text) in endpoint_lines(found, index) {
                writeln!(out, "  {what:<10} {text}")?;
            }
        }
    }
    writeln!(out, "\n{} as a whole: errors and mean latency", decision.service)?;
    for (what, text) in alternatives(found) {
        writeln!(out, "  {what:<34} {text}")?;
    }
    Ok(())
}

fn is_telling(endpoint: &EndpointDecision) -> bool {
    endpoint.is_ejected() || endpoint.bound.is_some() || (endpoint.weight - 1.0).abs() > 0.005
}

/// The way from what was seen of an endpoint to what came of it.
fn endpoint_lines(found: &Explained, index: usize) -> Vec<(&'static str, String)> {
    let endpoint = &found.decision.endpoints[index];
    let mut lines = vec![("seen", format!("{}, in 10 s", counts(found.seen[index])))];
    if let Some(judgement) = found.assessment.endpoints.get(index) {
        lines.push(("expected", expected(judgement)));
    }
    if let Some(wish) = found.plan.endpoints.get(index) {
        let what = if wish.eject {
            "out".to_owned()
        } else {
            format!("{:.2} x an equal share", wish.weight)
        };
        lines.push(("wished", format!("{what}: {}", wish.reason)));
    }
    let bound = endpoint.bound.map_or_else(|| "by nothing".to_owned(), |bound| bound.to_string());
    lines.push(("held back", bound));
    let percent = 100.0 * endpoint.share.value();
    let decided = endpoint.sentence(found.at);
    lines.push((
        "decided",
        format!("{:.2} x, {percent:.1} % of the traffic: {decided}", endpoint.weight),
    ));
    lines.push((
        "came",
        match &found.came {
            None => "not known: the journal ends before".to_owned(),
            Some(came) => {
                let all = Sums::of_all(came).requests;
                let share = if all > 0.0 { 100.0 * came[index].requests / all } else { 0.0 };
                format!(
                    "{share:.1} % of the traffic: {}, in the 10 s from 3 s after",
                    counts(came[index])
                )
            }
        },
    ));
    lines
}

fn counts(sums: Sums) -> String {
    let mean = sums.mean_ms().map(|mean| format!(", mean {mean:.1} ms")).unwrap_or_default();
    format!("{:.0} requests, {:.0} failed{mean}", sums.requests, sums.errors)
}

fn expected(judgement: &Judgement) -> String {
    let Some(known) = &judgement.expectation else {
        return "unknown: too little was seen".to_owned();
    };
    let mut text = format!(
        "{:.1} ms of work (give or take {:.0} %), {:.1} workers, {:.0} % of them busy",
        known.service_time.value(),
        100.0 * known.deviation,
        known.concurrency,
        100.0 * known.utilization.value()
    );
    if known.capacity.value() > 0.0 {
        text += &format!(", carries {:.0} requests a second", known.capacity.value());
    }
    if let Some(failing) = &judgement.failing {
        text += &format!("; {}", weir_engine::decision::Reason::Failing(*failing));
    }
    if let Some(slow) = &judgement.slow {
        text += &format!("; {}", weir_engine::decision::Reason::Slow(*slow));
    }
    text
}

/// What else could have been done, and what came of what was.
fn alternatives(found: &Explained) -> Vec<(&'static str, String)> {
    let expect = |shares: Option<Vec<f64>>| {
        shares
            .and_then(|shares| found.prospect(&shares))
            .map_or_else(|| "not known".to_owned(), both)
    };
    let measured = |sums: &[Sums]| {
        let all = Sums::of_all(sums);
        let pair = all.error_ratio().map(|errors| (errors, all.mean_ms().unwrap_or(0.0)));
        pair.map_or_else(|| "nothing was seen".to_owned(), both)
    };
    vec![
        ("measured in the 10 s before", measured(&found.seen)),
        ("expected of shares as they stood", expect(found.stood())),
        ("expected of equal shares", expect(Some(found.equal()))),
        ("expected of what the model wished", expect(Some(found.wished()))),
        ("expected of what was decided", expect(Some(found.decided()))),
        (
            "measured from 3 to 13 s after",
            found.came.as_ref().map_or_else(
                || "not known: the journal ends before".to_owned(),
                |came| measured(came),
            ),
        ),
    ]
}

fn both((errors, millis): (f64, f64)) -> String {
    format!("{:.3} %, {:.1} ms", 100.0 * errors, Millis::clamped(millis).value())
}

fn document(found: &Explained, endpoint: Option<&Address>) -> Value {
    let decision = &found.decision;
    let endpoints = decision.endpoints.iter().enumerate();
    let endpoints = endpoints.filter(|(_, one)| endpoint.is_none_or(|it| *it == one.address));
    let endpoints = endpoints.map(|(index, one)| {
        json!({
            "endpoint": one.address,
            "seen": sums(found.seen[index]),
            "expected": found.assessment.endpoints.get(index),
            "wished": found.plan.endpoints.get(index),
            "decided": one,
            "why": one.sentence(found.at),
            "came": found.came.as_ref().map(|came| sums(came[index])),
        })
    });
    let prospect = |shares: Option<Vec<f64>>| {
        let both = shares.and_then(|shares| found.prospect(&shares));
        both.map(|(errors, mean)| json!({ "error_ratio": errors, "mean_ms": mean }))
    };
    json!({
        "at": shown(found.at),
        "decision": found.sequence,
        "service": decision.service,
        "policy": decision.policy,
        "mode": decision.mode,
        "summary": decision.summary(),
        "endpoints": endpoints.collect::<Vec<_>>(),
        "expected": {
            "as_it_stood": prospect(found.stood()),
            "equal": prospect(Some(found.equal())),
            "wished": prospect(Some(found.wished())),
            "decided": prospect(Some(found.decided())),
        },
        "measured": {
            "before": sums(Sums::of_all(&found.seen)),
            "after": found.came.as_ref().map(|came| sums(Sums::of_all(came))),
        },
    })
}

fn sums(sums: Sums) -> Value {
    json!({
        "requests": sums.requests,
        "errors": sums.errors,
        "error_ratio": sums.error_ratio(),
        "mean_ms": sums.mean_ms(),
    })
}
