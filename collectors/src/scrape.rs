//! Reads one Envoy's own statistics from its admin interface.
//!
//! Per-endpoint counters need `per_endpoint_stats` on the cluster and exclude load reports, so
//! there are two profiles: with load reports this source says how the client cluster as a whole
//! fares ([`Report::totals`], counts and latency, nothing about endpoints); without them it says
//! both. Envoy merges its histograms only every `stats_flush_interval` unless
//! `stats_flush_on_admin` is set, which is what Weir's bootstrap does.
//!
//! One [`Config`] is one proxy: a fleet is a list of them, each with a pace, a back-off and a
//! [`Status`](crate::status::Status) of its own, so that a proxy that hangs delays no other.

use std::time::Duration;

use backon::BackoffBuilder;
use reqwest::Url;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use weir_engine::names::{ClusterName, Node, Place};
use weir_engine::observation::Report;

use crate::exposition::{Fault, Reader, TooManySamples, line::Format};
use crate::http;
use crate::status::Publisher;
use crate::{Intake, Now};

mod metric;
mod node;
mod table;

use node::Identity;
use table::Table;

/// Largest body: 20,000 endpoints' statistics, without any filter.
const BODY_MAX: usize = 64 * 1024 * 1024;
/// A scrape may take this part of the time: then Weir asks less often rather than keep the
/// proxy's main thread busy.
const PACE: u32 = 4;
/// First and longest wait after a failure: soon enough to see a restarted proxy, rare enough to
/// leave one alone that is down.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// Counts over a longer gap than so many intervals (and at least [`GAP_MIN`]) are no news: they
/// would read as a storm.
const GAP_INTERVALS: u32 = 4;
/// See [`GAP_INTERVALS`].
const GAP_MIN: Duration = Duration::from_secs(15);

/// The statistics that are read, as Envoy's `filter` wants them: ten to a hundred times less text
/// than everything. Not a setting: what a filter leaves out would look like zero.
const FILTER: &str = concat!(
    r"^cluster\..*(\.endpoint\.|\.upstream_rq_(completed|[1-5]xx|time|timeout|per_try_timeout",
    r"|pending_overflow|pending_failure_eject)$|\.upstream_cx_none_healthy$",
    r"|\.outlier_detection\.ejections_active$)"
);

/// One proxy to read.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its admin interface: `http://127.0.0.1:9901`.
    pub url: String,
    /// How to present oneself to it.
    pub http: http::Options,
    /// Time from one scrape to the next, at least; 1 s by default.
    pub interval: Duration,
    /// Which client clusters to report; empty for all. A cluster whose name has a dot is found
    /// only if it is named here or has per-endpoint statistics: Envoy tears such names apart.
    pub clusters: Vec<ClusterName>,
    /// The reporting node and its zone; asked of the proxy's `/server_info` where it is missing.
    pub node: Option<Node>,
    /// The client's zone, likewise.
    pub zone: Option<Place>,
}

impl Config {
    /// A proxy with everything else as it is by default.
    pub fn of(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            http: http::Options::default(),
            interval: Duration::from_secs(1),
            clusters: Vec::new(),
            node: None,
            zone: None,
        }
    }

    /// The scraper, or what cannot work.
    pub fn build(self) -> Result<Scraper, http::BuildError> {
        let client = http::client(&self.http)?;
        let admin = http::target(&self.url)?;
        let mut stats = under(&admin, "stats/prometheus");
        // A bare `usedonly` is what every version of Envoy understands.
        stats.set_query(Some("usedonly"));
        stats.query_pairs_mut().append_pair("filter", FILTER);
        Ok(Scraper {
            client,
            identity: Identity::new(self.node, self.zone, under(&admin, "server_info")),
            stats,
            interval: self.interval,
            reader: Reader::new(Format::Text),
            table: Table::new(&self.clusters),
        })
    }

    /// Reads the proxy until `cancel`. No failure ends it, not even a setting that cannot work:
    /// `status` says so.
    pub async fn run(self, intake: Intake, status: Publisher, now: Now, cancel: CancellationToken) {
        match self.build() {
            Ok(scraper) => scraper.run(intake, status, now, cancel).await,
            Err(error) => {
                status.failed(now(), &error);
                cancel.cancelled().await;
            }
        }
    }
}

/// An address below the admin's, which may itself have a path.
fn under(admin: &Url, path: &str) -> Url {
    let mut url = admin.clone();
    url.set_path(&format!("{}/{path}", admin.path().trim_end_matches('/')));
    url.set_query(None);
    url
}

/// Why a scrape brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No usable answer.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// An answer without end.
    #[error(transparent)]
    TooManySamples(#[from] TooManySamples),
    /// An answer that is no exposition text throughout.
    #[error("{count} unreadable lines, first")]
    Unreadable {
        /// How many.
        count: u64,
        /// The first.
        #[source]
        first: Fault,
    },
    /// The proxy does not say who it is.
    #[error("no node id in /server_info: set `node` for this proxy")]
    Nameless,
}

/// Reads one proxy again and again.
#[derive(Debug)]
pub struct Scraper {
    client: reqwest::Client,
    stats: Url,
    identity: Identity,
    interval: Duration,
    reader: Reader,
    table: Table,
}

impl Scraper {
    /// Reads the proxy until `cancel`.
    pub async fn run(
        mut self,
        intake: Intake,
        status: Publisher,
        now: Now,
        cancel: CancellationToken,
    ) {
        let retry = backon::ExponentialBuilder::default()
            .with_min_delay(RETRY.0)
            .with_max_delay(RETRY.1)
            .with_jitter()
            .without_max_times();
        let mut delays = retry.build();
        while !cancel.is_cancelled() {
            let started = Instant::now();
            let outcome = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                outcome = self.scrape(&now) => outcome,
            };
            let pause = match outcome {
                Ok(reports) => {
                    for report in reports {
                        status.deliver(&intake, report);
                    }
                    status.succeeded(now());
                    delays = retry.build();
                    pause(self.interval, started.elapsed())
                }
                Err(error) => {
                    self.identity.doubt();
                    status.failed(now(), &error);
                    delays.next().unwrap_or(RETRY.1)
                }
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Reads the proxy once: what happened since the last time, a report per client cluster.
    /// The first time brings none, since a counter's history has no known length.
    pub async fn scrape(&mut self, now: &Now) -> Result<Vec<Report>, Error> {
        let who = self.identity.learn(&self.client).await?;
        let accept = "text/plain;version=0.0.4";
        let response = http::get(&self.client, self.stats.clone(), accept).await?;
        // Envoy renders its statistics as the answer begins.
        let at = now();
        let mut body = http::Body::of(response, BODY_MAX, &["text/plain"], "Envoy's statistics")?;
        self.reader.begin();
        self.table.begin();
        while let Some(chunk) = body.chunk().await? {
            self.reader.push(&chunk, &mut self.table)?;
        }
        let summary = self.reader.finish(&mut self.table)?;
        if let Some(first) = summary.first_faults.into_iter().next() {
            return Err(Error::Unreadable { count: summary.faults, first });
        }
        let gap_max = (self.interval * GAP_INTERVALS).max(GAP_MIN);
        let reports = self.table.settle(at, gap_max, &who);
        if self.table.is_due_for_a_fresh_start() {
            self.table.forget();
            self.reader.forget();
        }
        if self.table.has_learnt_names() {
            self.reader.forget();
        }
        Ok(reports)
    }
}

/// How long to wait after a scrape that took so long.
fn pause(interval: Duration, taken: Duration) -> Duration {
    interval.max(taken * PACE).saturating_sub(taken)
}

#[cfg(test)]
mod tests;
