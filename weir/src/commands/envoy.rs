//! `weir envoy bootstrap` and `weir grpc bootstrap`.

use std::io::Write;

use weir_engine::names::Locality;
use weir_proxy_adapter::bootstrap::{
    GrpcOptions, Identity, Options, Problem, Protocol, Telemetry, generate, grpc, merge,
};

use super::{BAD_INPUT, OK};
use crate::cli::{Bootstrap, Envoy, Grpc, TelemetryProfile};

/// Runs the command.
pub fn run(command: &Envoy) -> anyhow::Result<u8> {
    let Envoy::Bootstrap(asked) = command;
    let options = options(asked);
    let Some(path) = &asked.merge else { return show(generate(&options), "") };
    let shown = path.display();
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let merged = merge(&text, &options);
            let written = merged.as_ref().map(|merged| merged.yaml.clone());
            let code = show(written.map_err(Clone::clone), &format!("{shown}: "))?;
            for note in merged.iter().flat_map(|merged| &merged.notes) {
                writeln!(anstream::stderr(), "note: {note}")?;
            }
            Ok(code)
        }
        Err(cause) => {
            let mend = "name the file of Envoy's bootstrap";
            writeln!(anstream::stderr(), "error: {shown} cannot be read: {cause}; {mend}")?;
            Ok(BAD_INPUT)
        }
    }
}

/// Runs `weir grpc`.
pub fn run_grpc(command: &Grpc) -> anyhow::Result<u8> {
    let Grpc::Bootstrap(asked) = command;
    let options = GrpcOptions {
        node: Identity {
            id: Some(asked.node.clone()),
            cluster: asked.node_cluster.clone(),
            locality: locality(&asked.locality),
        },
        weir: asked.weir.clone(),
        namespace: asked.namespace.clone(),
    };
    show(grpc(&options), "")
}

/// Prints a bootstrap, or what stands in its way and in which file.
fn show(made: Result<String, Vec<Problem>>, file: &str) -> anyhow::Result<u8> {
    match made {
        Ok(yaml) => {
            write!(anstream::stdout(), "{yaml}")?;
            Ok(OK)
        }
        Err(problems) => {
            for problem in problems {
                writeln!(anstream::stderr(), "error: {file}{problem}")?;
            }
            Ok(BAD_INPUT)
        }
    }
}

fn options(asked: &Bootstrap) -> Options {
    Options {
        telemetry: match asked.telemetry {
            TelemetryProfile::Push => Telemetry::Push,
            TelemetryProfile::Scrape => Telemetry::Scrape,
        },
        node: Identity {
            id: asked.node.clone(),
            cluster: asked.node_cluster.clone(),
            locality: locality(&asked.locality),
        },
        admin: Some(asked.admin.clone()),
        weir: asked.weir.clone(),
        protocol: if asked.sotw { Protocol::StateOfTheWorld } else { Protocol::Delta },
        clusters_min: asked.clusters_min,
        access_log: !asked.no_access_log,
        listeners: asked.listen.iter().chain(&asked.listen_route).cloned().collect(),
    }
}

/// Region, zone and sub-zone, as far as they are given.
fn locality(text: &str) -> Locality {
    let mut places = text.splitn(3, '/').map(Into::into);
    let mut place = || places.next().unwrap_or_default();
    Locality { region: place(), zone: place(), sub_zone: place() }
}
