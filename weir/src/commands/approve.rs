//! `weir approve`: lists what waits, approves it, or takes an approval back.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::pin;

use anyhow::Context;
use axum::http::{Method, Request, header};
use bytes::Bytes;
use comfy_table::{Table, presets};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use weir_dashboard::view::offer::OfferView;
use weir_dashboard::view::service::ServiceSummary;
use weir_dashboard::web::problem::Problem;
use weir_policies::problem::{Colour, render};

use super::{BAD_INPUT, OK, run};
use crate::cli::{Approve, Output};
use crate::config::{self, Given, Origin};
use crate::control::{self, APPROVALS, Asked, Done, SOCKET};

/// Runs the command.
pub fn run(asked: &Approve, colour: Colour) -> anyhow::Result<u8> {
    let given = Given {
        file: asked.config.clone(),
        data_dir: asked.data_dir.clone().map(|folder| (folder, Origin::Flag)),
        ..Given::default()
    };
    let data_dir = match config::load(given) {
        Ok(config) => config.data_dir,
        Err(problems) => {
            writeln!(anstream::stderr(), "{}", render(&problems, colour))?;
            return Ok(BAD_INPUT);
        }
    };
    run::runtime()?.block_on(async {
        match &asked.offer {
            None => list(&data_dir, asked.output).await,
            Some(offer) => say(&data_dir, offer, asked).await,
        }
    })
}

async fn say(data_dir: &Path, offer: &str, asked: &Approve) -> anyhow::Result<u8> {
    let body = Asked {
        offer: offer.to_owned(),
        lasts: asked.lasts.clone(),
        withdraw: asked.withdraw,
        by: asked.by.clone(),
    };
    let body = serde_json::to_string(&body).context("writing the question")?;
    let done: Done = match ask(data_dir, Method::POST, APPROVALS, body).await? {
        Ok(done) => done,
        Err(problem) => return refused(&problem),
    };
    let mut out = anstream::stdout();
    match asked.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&done)?)?,
        Output::Table if asked.withdraw => {
            writeln!(out, "{}: withdrawn; shares are equal again ({})", done.id, done.text)?;
        }
        Output::Table => {
            let until = done.until.map_or_else(String::new, |until| format!(" until {until}"));
            writeln!(out, "{}: approved{until}: {}", done.id, done.text)?;
        }
    }
    Ok(OK)
}

async fn list(data_dir: &Path, output: Output) -> anyhow::Result<u8> {
    let get = async |path| ask(data_dir, Method::GET, path, String::new()).await;
    let offers: Vec<OfferView> = match get("/api/v1/offers").await? {
        Ok(offers) => offers,
        Err(problem) => return refused(&problem),
    };
    let services: Vec<ServiceSummary> =
        match ask(data_dir, Method::GET, "/api/v1/services", String::new()).await? {
            Ok(services) => services,
            Err(problem) => return refused(&problem),
        };
    let approvals: Vec<_> = services.into_iter().filter_map(|service| service.approval).collect();
    let mut out = anstream::stdout();
    if let Output::Json = output {
        let all = serde_json::json!({ "offers": offers, "approvals": approvals });
        writeln!(out, "{all:#}")?;
        return Ok(OK);
    }
    if offers.is_empty() && approvals.is_empty() {
        writeln!(out, "nothing waits for approval; policies with mode: Recommend make offers")?;
        return Ok(OK);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["OFFER", "STANDS", "WHAT"]);
    for offer in offers {
        table.add_row([offer.id, format!("waits since {}", offer.since.clock()), offer.text]);
    }
    for approval in approvals {
        let stands =
            format!("approved by {} until {}", approval.by, approval.until.day_and_clock());
        table.add_row([approval.id, stands, approval.text]);
    }
    writeln!(out, "{table}")?;
    Ok(OK)
}

fn refused(problem: &Problem) -> anyhow::Result<u8> {
    writeln!(anstream::stderr(), "error: {}", problem.detail)?;
    Ok(BAD_INPUT)
}

/// Asks a Weir that runs.
async fn ask<T: DeserializeOwned>(
    data_dir: &Path,
    method: Method,
    path: &str,
    body: String,
) -> anyhow::Result<Result<T, Problem>> {
    let socket: PathBuf = data_dir.join(SOCKET);
    let stream = UnixStream::connect(&socket).await.with_context(|| {
        format!(
            "no weir answers at {}; start one with weir run, or name its data folder with \
             --data-dir",
            socket.display()
        )
    })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body.into()))?;
    let mut talk = pin!(async {
        let answer = sender.send_request(request).await.context("asking weir")?;
        let status = answer.status();
        let body = answer.into_body().collect().await.context("reading weir's answer")?;
        anyhow::Ok((status, body.to_bytes()))
    });
    let (status, bytes) = tokio::select! {
        biased;
        said = &mut talk => said,
        // What was read before the connection ended is still an answer.
        _ = connection => talk.await,
    }?;
    if status.is_success() {
        return Ok(Ok(serde_json::from_slice(&bytes).context("reading weir's answer")?));
    }
    let plain = |_| control::problem(status, "refused", &String::from_utf8_lossy(&bytes));
    Ok(Err(serde_json::from_slice(&bytes).unwrap_or_else(plain)))
}
