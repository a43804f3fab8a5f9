//! A proxy's own opinion of its endpoints, read from its admin page `/clusters?format=json`.
//!
//! Only the health flags are read. The counters on that page are latched: load reports reset them
//! every second, so that beside load reports they are remainders of no known interval. Flags that
//! management servers set (`eds_health_status`) are no opinion of the proxy's and are left out, or
//! Weir would take its own ejections for evidence.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::future::join_all;
use reqwest::{Client, Url};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use weir_engine::names::Node;

use crate::status::{Kind, Publisher, Status};
use crate::{Intake, Now, http};

mod page;
use page::Origin;
pub use page::PageError;

/// How often a proxy is asked: its page costs it 20 ms of its main thread per 1,000 endpoints.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// Largest page: 10,000 endpoints take 8 MB.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// Longest wait between attempts at a proxy that does not answer.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// Proxies that are asked: as many as may report load.
pub const TARGETS_MAX: usize = crate::load_reports::STREAMS_MAX;

/// A proxy's admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its base address: `http://127.0.0.1:9901`.
    pub url: String,
    /// The proxy's node id. Without it the proxy is asked for it (`/server_info`).
    pub node: Option<Node>,
}

/// Which proxies to ask.
#[derive(Clone, Debug)]
pub struct Config {
    /// The proxies.
    pub targets: Vec<Target>,
    /// How often; [`INTERVAL`] unless there is a reason.
    pub interval: Duration,
    /// How to present oneself to them.
    pub http: http::Options,
    /// The cluster through which proxies reach Weir itself, which is left out.
    pub own_cluster: String,
}

/// A configuration that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// More proxies than are asked.
    #[error("{0} admin targets; at most {TARGETS_MAX} are asked")]
    TooMany(usize),
    /// An address or an option that no client can be built from.
    #[error(transparent)]
    Http(#[from] http::BuildError),
}

/// A configuration that is ready to run.
#[derive(Debug)]
pub struct Admin {
    pollers: Vec<Poller>,
}

impl Config {
    /// Something to run, and one status per target in their order.
    pub fn build(self, now: &Now) -> Result<(Admin, Vec<watch::Receiver<Status>>), BuildError> {
        if self.targets.len() > TARGETS_MAX {
            return Err(BuildError::TooMany(self.targets.len()));
        }
        let client = http::client(&self.http)?;
        let mut pollers = Vec::with_capacity(self.targets.len());
        let mut statuses = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            let url = http::target(&target.url)?;
            let (publisher, status) = Publisher::new("admin", Kind::Admin, &http::shown(&url));
            statuses.push(status);
            pollers.push(Poller {
                client: client.clone(),
                clusters: page::address(&url, "clusters", Some("format=json")),
                server_info: page::address(&url, "server_info", None),
                interval: self.interval.max(Duration::from_secs(1)),
                own_cluster: self.own_cluster.clone(),
                origin: target.node.clone().map(Origin::named),
                publisher,
                now: now.clone(),
            });
        }
        Ok((Admin { pollers }, statuses))
    }
}

impl Admin {
    /// Asks every proxy until `stop`; one that does not answer holds up no other.
    pub async fn run(self, intake: Intake, stop: CancellationToken) {
        let polling = join_all(self.pollers.into_iter().map(|poller| poller.poll(&intake)));
        stop.run_until_cancelled(polling).await;
    }
}

/// One proxy.
struct Poller {
    client: Client,
    clusters: Url,
    server_info: Url,
    interval: Duration,
    own_cluster: String,
    origin: Option<Origin>,
    publisher: Publisher,
    now: Now,
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").field("clusters", &self.clusters.as_str()).finish_non_exhaustive()
    }
}

impl Poller {
    async fn poll(mut self, intake: &Intake) {
        let mut waits = self.back_off();
        loop {
            let next = Instant::now() + self.interval;
            match self.ask(intake).await {
                Ok(()) => {
                    waits = self.back_off();
                    sleep_until(next).await;
                }
                Err(error) => {
                    self.publisher.failed((self.now)(), &error);
                    // It may have been replaced by another proxy at the same address.
                    self.origin = self.origin.take().filter(Origin::is_configured);
                    sleep(waits.next().unwrap_or(BACK_OFF_MAX)).await;
                }
            }
        }
    }

    async fn ask(&mut self, intake: &Intake) -> Result<(), PageError> {
        let origin = match self.origin.take() {
            Some(origin) => origin,
            None => page::origin(&self.body(&self.server_info).await?)?,
        };
        let origin = self.origin.insert(origin).clone();
        let page = self.body(&self.clusters).await?;
        let at = (self.now)();
        let reports = page::reports(&page, &origin, (at, self.interval))?;
        for report in reports {
            if report.cluster.as_str() != self.own_cluster {
                self.publisher.deliver(intake, report);
            }
        }
        self.publisher.succeeded(at);
        Ok(())
    }

    async fn body(&self, url: &Url) -> Result<Vec<u8>, PageError> {
        let response = http::get(&self.client, url.clone(), "application/json").await?;
        let types = ["application/json"];
        Ok(http::Body::of(response, PAGE_BYTES_MAX, &types, "JSON")?.all().await?)
    }

    /// From the interval up, with jitter so that proxies which fell together are not asked
    /// together.
    fn back_off(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::new()
            .with_min_delay(self.interval)
            .with_max_delay(BACK_OFF_MAX)
            .with_jitter()
            .without_max_times()
            .build()
    }
}

#[cfg(test)]
mod tests;
