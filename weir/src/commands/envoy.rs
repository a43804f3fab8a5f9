//! `weir envoy bootstrap`.

use std::io::Write;

use weir_engine::names::Locality;
use weir_proxy_adapter::bootstrap::{
    HostPort, Identity, Listener, Options, Problem, Protocol, Telemetry, generate, merge,
};

use super::{BAD_INPUT, OK};
use crate::cli::{Bootstrap, Envoy, TelemetryProfile};

/// Runs the command.
pub fn run(command: &Envoy) -> anyhow::Result<u8> {
    let Envoy::Bootstrap(asked) = command;
    let options = match options(asked) {
        Ok(options) => options,
        Err(wrong) => {
            writeln!(anstream::stderr(), "error: {wrong}")?;
            return Ok(BAD_INPUT);
        }
    };
    let made = match &asked.merge {
        None => generate(&options).map(|yaml| (yaml, Vec::new())),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|cause| {
                anyhow::anyhow!("cannot read {}: {cause}; name Envoy's bootstrap", path.display())
            })?;
            merge(&text, &options).map(|merged| (merged.yaml, merged.notes))
        }
    };
    match made {
        Ok((yaml, notes)) => {
            write!(anstream::stdout(), "{yaml}")?;
            for note in notes {
                writeln!(anstream::stderr(), "note: {note}")?;
            }
            Ok(OK)
        }
        Err(problems) => refuse(&problems),
    }
}

fn refuse(problems: &[Problem]) -> anyhow::Result<u8> {
    for problem in problems {
        writeln!(anstream::stderr(), "error: {problem}")?;
    }
    Ok(BAD_INPUT)
}

fn options(asked: &Bootstrap) -> Result<Options, String> {
    let host = |text: &str| text.parse::<HostPort>().map_err(|wrong| wrong.to_string());
    let mut places = asked.locality.splitn(3, '/').map(Into::into);
    let mut place = || places.next().unwrap_or_default();
    Ok(Options {
        telemetry: match asked.telemetry {
            TelemetryProfile::Push => Telemetry::Push,
            TelemetryProfile::Scrape => Telemetry::Scrape,
        },
        node: Identity {
            id: asked.node.clone(),
            cluster: asked.node_cluster.clone(),
            locality: Locality { region: place(), zone: place(), sub_zone: place() },
        },
        admin: Some(host(&asked.admin)?),
        weir: asked.weir.iter().map(|text| host(text)).collect::<Result<_, _>>()?,
        protocol: if asked.sotw { Protocol::StateOfTheWorld } else { Protocol::Delta },
        clusters_min: asked.clusters_min,
        access_log: !asked.no_access_log,
        listeners: asked.listen.iter().map(|text| listener(text)).collect::<Result<_, _>>()?,
    })
}

fn listener(text: &str) -> Result<Listener, String> {
    let (at, cluster) = text
        .split_once('=')
        .filter(|(_, cluster)| !cluster.is_empty())
        .ok_or_else(|| format!("{text:?} names no cluster; write 127.0.0.1:8080=shop"))?;
    let at = at
        .parse()
        .map_err(|wrong: weir_proxy_adapter::bootstrap::NotAHostPort| wrong.to_string())?;
    Ok(Listener { at, cluster: cluster.into() })
}
