//! `weir config view`.

use std::io::Write;

use weir_policies::problem::{Colour, render};

use super::{BAD_INPUT, OK};
use crate::config::relay::RelayConfig;
use crate::config::{self, Config, Given};

/// Prints the settings in force, and where each comes from if asked.
pub fn view(given: Given, origin: bool, colour: Colour) -> anyhow::Result<u8> {
    let config = match config::load(given) {
        Ok(config) => config,
        Err(problems) => {
            writeln!(anstream::stderr(), "{}", render(&problems, colour))?;
            return Ok(BAD_INPUT);
        }
    };
    for (name, value) in settings(&config) {
        match config.origins.get(name) {
            Some(from) if origin => {
                writeln!(anstream::stdout(), "{:<40}# {from}", format!("{name}: {value}"))?;
            }
            _ => writeln!(anstream::stdout(), "{name}: {value}")?,
        }
    }
    Ok(OK)
}

fn settings(config: &Config) -> Vec<(&'static str, String)> {
    let policies = config.policies.as_ref();
    vec![
        ("listen.xds", config.xds.to_string()),
        ("listen.api", config.api.to_string()),
        ("listen.metrics", config.metrics.to_string()),
        ("listen.hosts", list(config.hosts.iter().cloned())),
        ("data_dir", config.data_dir.display().to_string()),
        ("journal.max_mib", (config.journal_max >> 20).to_string()),
        ("tick", format!("{:?}", config.tick)),
        ("policies", policies.map_or_else(|| "none".to_owned(), |p| p.display().to_string())),
        ("kubernetes", config.kubernetes.as_ref().map_or("none".to_owned(), ToString::to_string)),
        ("services", list(config.services.iter().map(|service| service.id.to_string()))),
        ("relay", config.relay.as_ref().map_or_else(|| "none".to_owned(), relay)),
        (
            "envoy_gateway",
            config.envoy_gateway.map_or_else(|| "none".to_owned(), |listen| listen.to_string()),
        ),
        ("sources", list(config.sources.iter().map(ToString::to_string))),
    ]
}

fn relay(relay: &RelayConfig) -> String {
    format!("{} to {}", relay.listen, relay.relay.upstream.address)
}

fn list(names: impl Iterator<Item = String>) -> String {
    format!("[{}]", names.collect::<Vec<_>>().join(", "))
}
