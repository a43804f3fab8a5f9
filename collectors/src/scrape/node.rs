//! Who a proxy is: votes are counted by node, so a report without one is worth nothing.

use reqwest::{Client, Url};
use serde::Deserialize;
use weir_engine::names::{Node, Place};

use super::Error;
use crate::http;

/// `/server_info` has a few KiB; with all extensions listed some hundred.
const BODY_MAX: usize = 4 * 1024 * 1024;

/// A proxy's name and zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) node: Node,
    pub(super) zone: Place,
}

/// What is configured of [`Who`], and what the proxy itself said last.
#[derive(Debug)]
pub(super) struct Identity {
    node: Option<Node>,
    zone: Option<Place>,
    server_info: Url,
    known: Option<Who>,
}

impl Identity {
    pub(super) fn new(node: Option<Node>, zone: Option<Place>, server_info: Url) -> Self {
        let known = match (&node, &zone) {
            (Some(node), Some(zone)) => Some(Who { node: node.clone(), zone: zone.clone() }),
            _ => None,
        };
        Self { node, zone, server_info, known }
    }

    /// Asks the proxy unless everything is known.
    pub(super) async fn learn(&mut self, client: &Client) -> Result<Who, Error> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        let response = http::get(client, self.server_info.clone(), "application/json").await?;
        let body =
            http::Body::of(response, BODY_MAX, &["application/json"], "Envoy's server_info")?;
        let said = said(&body.all().await?).unwrap_or_default();
        let node = self.node.clone().or(said.id.filter(|id| !id.is_empty()).map(Node::from));
        let zone = self.zone.clone().unwrap_or_else(|| Place::from(said.locality.zone));
        let who = Who { node: node.ok_or(Error::Nameless)?, zone };
        self.known = Some(who.clone());
        Ok(who)
    }

    /// After a failure another proxy may stand at the address.
    pub(super) fn doubt(&mut self) {
        if self.node.is_none() || self.zone.is_none() {
            self.known = None;
        }
    }
}

#[derive(Default, Deserialize)]
struct ServerInfo {
    #[serde(default)]
    node: Said,
}

#[derive(Default, Deserialize)]
struct Said {
    id: Option<String>,
    #[serde(default)]
    locality: SaidLocality,
}

#[derive(Default, Deserialize)]
struct SaidLocality {
    #[serde(default)]
    zone: String,
}

fn said(body: &[u8]) -> Option<Said> {
    serde_json::from_slice::<ServerInfo>(body).ok().map(|info| info.node)
}
