//! `weir record`: a journal of what a Prometheus remembers, so that Weir can be tried on last
//! week's traffic before anything is installed.
//!
//! The same queries, the same counting and the same decisions as in the live loop; only time
//! passes by pages of the past. A step is in the journal or it is not: whatever interrupts, the
//! same command goes on after the last one.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use weir_collectors::http::{self, Credentials, Options};
use weir_collectors::prometheus::history::History;
use weir_collectors::prometheus::mesh::Mesh;
use weir_collectors::prometheus::{Client, Error};
use weir_engine::goal::{Goals, Indicator, Mode};
use weir_engine::units::Moment;
use weir_policies::check::check;
use weir_policies::problem::{Colour, Problem, render};

use super::{BAD_INPUT, OK, run as running};
use crate::cli::{MeshPreset, Record};
use crate::clock::Clock;
use crate::times::shown;
use crate::{goals, store};

mod course;
mod manifest;
mod pages;
mod preflight;
mod recorder;
mod summary;
mod time;

use course::{Course, Ended, Interrupt, advised};
use manifest::{Manifest, Request, Time};
use recorder::Recorder;
use summary::Summary;
use time::Steps;

/// Interrupted by the user: what shells expect after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Runs the command.
pub fn run(asked: &Record, colour: Colour) -> anyhow::Result<u8> {
    running::log_quietly();
    let goals = match goals(asked.policies.as_deref()) {
        Ok(goals) => goals,
        Err(problems) => {
            anstream::eprintln!("{}", render(&problems, colour));
            return Ok(BAD_INPUT);
        }
    };
    let request = request(asked, &goals)?;
    let client = Client::of_the_past(&asked.prometheus, &options(asked)?)?;
    let runtime = running::runtime()?;
    runtime.block_on(record(asked, &request, goals, &client))
}

/// The policies' goals, with nothing to be changed.
fn goals(folder: Option<&Path>) -> Result<Goals, Vec<Problem>> {
    let Some(folder) = folder else { return Ok(Goals::default()) };
    let mut goals = check(&goals::documents(&[folder.to_owned()])?)?.goals;
    for goal in &mut goals.services {
        goal.mode = Mode::Observe;
        for objective in &goal.objectives {
            if matches!(objective.indicator, Indicator::Prometheus { .. }) {
                let (name, service) = (&objective.name, &goal.service);
                note(&format!(
                    "objective {name} of {service} has queries of its own, which are not recorded: it stays unknown"
                ));
            }
        }
    }
    for rollout in &mut goals.rollouts {
        rollout.mode = Mode::Observe;
    }
    Ok(goals)
}

fn note(text: &str) {
    anstream::eprintln!("note: {text}");
}

fn request(asked: &Record, goals: &Goals) -> anyhow::Result<Request> {
    let now = Clock::start(None).now();
    let moment = |written: &str| {
        let at = time::parse(written, now).map_err(anyhow::Error::msg)?;
        Ok::<_, anyhow::Error>(Time { written: written.to_owned(), millis: at.millis() })
    };
    let (start, end) = (moment(&asked.start)?, moment(&asked.end)?);
    if end.millis > now.millis() {
        let (end, now) = (&end.written, shown(now));
        bail!("--end {end} is in the future, it is {now}: record what has been");
    }
    Ok(Request {
        server: http::shown(&http::target(&asked.prometheus)?),
        preset: asked.preset.map(|preset| match preset {
            MeshPreset::Istio => Mesh::Istio,
            MeshPreset::Linkerd => Mesh::Linkerd,
            MeshPreset::Envoy => Mesh::Envoy,
        }),
        start,
        end,
        step: asked.step,
        policies: manifest::digest(goals),
    })
}

/// How to present oneself to the server.
fn options(asked: &Record) -> anyhow::Result<Options> {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Ok::<_, anyhow::Error>(text.trim_end().to_owned())
    };
    let credentials = match (&asked.token_file, &asked.user, &asked.password_file) {
        (Some(token), _, _) => Some(Credentials::Bearer(read(token)?)),
        (None, Some(user), Some(password)) => {
            Some(Credentials::Basic { user: user.clone(), password: read(password)? })
        }
        (None, _, _) => None,
    };
    let ca_pem = asked.ca.as_deref().map(read).transpose()?.map(String::into_bytes);
    Ok(Options { credentials, ca_pem, headers: asked.header.clone() })
}

async fn record(
    asked: &Record,
    request: &Request,
    goals: Goals,
    client: &Client,
) -> anyhow::Result<u8> {
    let mut interrupt = Interrupt::listen()?;
    let out = &asked.out;
    let manifest = if let Some(kept) = Manifest::load(out)? {
        kept.refuse_another(request, out)?;
        kept
    } else {
        tokio::select! {
            biased;
            () = interrupt.comes() => return Ok(INTERRUPTED),
            settled = settle(request, client) => settled?,
        }
    };
    let (steps, mesh, journal) = (manifest.steps()?, manifest.mesh()?, out.join("journal"));
    let _ours = store::take(out)?;
    manifest.keep(out)?;
    let (recorder, before) = Recorder::open(&journal, mesh, goals.clone())?;
    if before.finished {
        note(&format!("{} is complete; name another --out for another recording", out.display()));
    } else {
        let from = before.last.map_or(0, |last| steps.after(last));
        let history = History::new(mesh.recipes()?, steps.length());
        let course = Course { steps, from, recorder, history };
        if let Ended::Interrupted { done } = course.run(client, &mut interrupt).await? {
            let (out, count) = (out.display(), steps.count);
            anstream::eprintln!(
                "interrupted: {out} has {done} of {count} steps, the same command goes on from there"
            );
            return Ok(INTERRUPTED);
        }
    }
    tell(&Summary::of(&journal)?, &goals, asked)?;
    Ok(OK)
}

/// Looks at what the server has, and settles what was left open.
async fn settle(request: &Request, client: &Client) -> anyhow::Result<Manifest> {
    let told = |error: Error| advised(error).context(format!("asking {}", request.server));
    let at = |time: &Time| Moment::from_millis(time.millis);
    let step = request.step.unwrap_or(preflight::STEP);
    let steps = Steps::between(at(&request.start), at(&request.end), step);
    let steps = steps.map_err(anyhow::Error::msg)?;
    let span = steps.span(&(0..steps.count));
    let found = preflight::mesh(client, request.preset, span).await.map_err(told)?;
    let mesh = found.map_err(anyhow::Error::msg)?;
    let every = preflight::sampled_every(client, mesh, (span.first, span.last)).await;
    let (step, word) = preflight::step(request.step, every.map_err(told)?);
    if let Some(word) = word {
        note(&word);
    }
    let manifest = request.settled(mesh, step);
    let count = manifest.steps()?.count;
    note(&format!("{} metrics of {}, {count} steps of {step:?}", mesh.name(), request.server));
    Ok(manifest)
}

/// Says what there is, and what can be done with it.
fn tell(summary: &Summary, goals: &Goals, asked: &Record) -> anyhow::Result<()> {
    let out = asked.out.display();
    let mut text = format!("recorded in {out}\n");
    for line in summary.lines(goals) {
        text += &format!("  {line}\n");
    }
    match summary.service() {
        None => {
            text += "  no endpoint has an address with a port in these metrics, so there is \
                     nothing to decide about\n";
        }
        Some(service) => {
            text += &format!(
                "try next:\n  weir journal show {out} --service {service}\n  \
                 weir replay {out} --policy policy.yaml\n  \
                 weir what-if {out} --service {service} --policy policy.yaml\n"
            );
        }
    }
    write!(anstream::stdout(), "{text}").context("writing to standard output")
}
