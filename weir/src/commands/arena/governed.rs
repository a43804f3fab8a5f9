//! The Weir that governs its side's Envoys: it runs in this process exactly as `weir run` would,
//! with a configuration and a policy written as files and read like a user's.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use serde_json::json;
use weir_simulator::scenario::Scenario;
use weir_testbed::arena::cluster_name;

use super::scale::peak;
use crate::commands::demo::any_port;
use crate::config::{self, Config, Given};
use crate::scenarios::Policy;
use crate::wire::{self, Listeners, Running};

/// Log entries a second that Weir asks for, in peak rates: so many that it never asks for less
/// than all of them where a scenario says that all requests are timed.
const LOGGED_OF_PEAK: f64 = 4.0;

/// What it governs.
pub(super) struct Served<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) policy: &'a Policy,
    /// The file that lists the endpoints.
    pub(super) endpoints: &'a Path,
    /// Where Envoys' admin interfaces are.
    pub(super) admins: &'a [SocketAddr],
    /// Clusters of the Envoy that has most.
    pub(super) clusters: usize,
}

/// A Weir that runs.
pub(super) struct Governed(Running);

/// Sockets for it, on free ports.
pub(super) async fn sockets() -> anyhow::Result<Listeners> {
    let (xds, api) = (any_port().await?, any_port().await?);
    Ok(Listeners {
        xds,
        api,
        metrics: any_port().await?,
        beside: wire::beside::Listeners::default(),
    })
}

impl Governed {
    pub(super) fn start(
        served: &Served<'_>,
        folder: &Path,
        sockets: Listeners,
    ) -> anyhow::Result<Self> {
        Ok(Self(wire::start_on(served.configured(folder)?, sockets)?))
    }

    pub(super) async fn ended(&mut self) -> anyhow::Error {
        self.0.ended().await
    }

    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}

impl Served<'_> {
    fn configured(&self, folder: &Path) -> anyhow::Result<Config> {
        let policies = folder.join("policies");
        std::fs::create_dir_all(&policies).context("making the folder of policies")?;
        for (index, document) in self.policy.documents.iter().enumerate() {
            let path = policies.join(format!("{index}.json"));
            std::fs::write(path, document.to_string()).context("writing the policy")?;
        }
        let text = self.file().to_string();
        let path = folder.join("weir.yaml");
        std::fs::write(&path, &text).context("writing weir.yaml")?;
        config::from_bytes(&path, text.as_bytes(), Given::default()).map_err(|problems| {
            let words =
                weir_policies::problem::render(&problems, weir_policies::problem::Colour::Never);
            anyhow::anyhow!("the arena's own configuration is refused:\n{words}")
        })
    }

    /// `weir.yaml`; JSON is YAML too.
    fn file(&self) -> serde_json::Value {
        let tick = format!("{}ms", self.scenario.telemetry.tick.as_millis());
        // Envoy reports at most once a second.
        let interval = format!("{}ms", self.scenario.telemetry.tick.as_millis().max(1_000));
        let (sampled, peak) = (self.scenario.telemetry.sampled, peak(self.scenario));
        let part = if sampled < 1.0 { sampled } else { LOGGED_OF_PEAK };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 1")]
        let entries = (peak * part).ceil().max(1.0) as u32;
        let targets = self.admins.iter().map(|admin| format!("http://{admin}"));
        let clusters = (0..self.clusters).map(cluster_name);
        json!({
            "data_dir": "data",
            "policies": "policies",
            "tick": tick,
            "services": [{
                "namespace": self.policy.service.namespace,
                "name": self.policy.service.name,
                "clusters": clusters.collect::<Vec<_>>(),
                "endpoints": {"file": self.endpoints},
                "write_clusters": true,
            }],
            "sources": [
                {"push": {"interval": interval, "entries_per_second": entries}},
                {"scrape": {"targets": targets.collect::<Vec<_>>()}},
            ],
        })
    }
}
