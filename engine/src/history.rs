//! The last seconds of telemetry, exact: windows of counts rather than averages.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::observation::{Row, ServiceTraffic, ZoneTraffic, row_of};
use crate::units::Moment;

/// How far back evidence is pooled where the last window alone is thin: from now or, where counts
/// come less often than that, from the newest ones.
pub const REACH: Duration = Duration::from_secs(8);

/// At most so many windows are kept, whatever the tick: 8 s of eight steps a second.
const WINDOWS_MAX: usize = 64;

/// Recent windows of one service, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    windows: VecDeque<Window>,
    /// What proxies last thought of each endpoint. They say so less often than they count.
    opinions: Vec<Option<Opinion>>,
    /// When counts last arrived.
    pub fresh: Option<Moment>,
}

/// How many proxies ejected an endpoint themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    at: Moment,
    /// Clients that ejected it.
    pub ejected_by: u32,
    /// Of so many whose opinion is known.
    pub of: u32,
}

/// What was seen in one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// When the step was taken.
    pub at: Moment,
    /// Clients that reported.
    pub clients: u32,
    /// Nodes that reported.
    pub reporters: u32,
    /// One per covered endpoint, in ascending order of `endpoint`. One that is missing is unknown,
    /// not zero.
    pub rows: Arc<[Row]>,
    /// The same by client zone, where at least two report.
    pub zones: Vec<ZoneTraffic>,
}

impl Window {
    /// An endpoint's row, if it is covered.
    pub fn row(&self, endpoint: usize) -> Option<&Row> {
        row_of(&self.rows, endpoint)
    }
}

impl History {
    /// Takes in a step's telemetry for a service of so many endpoints.
    pub fn absorb(&mut self, at: Moment, endpoints: usize, traffic: Option<&ServiceTraffic>) {
        self.opinions.resize_with(endpoints, Option::default);
        if let Some(traffic) = traffic {
            self.hear(at, &traffic.rows);
            if traffic.rows.iter().any(|row| row.clients > 0) {
                self.fresh = Some(at);
            }
            self.windows.push_back(Window {
                at,
                clients: traffic.clients,
                reporters: traffic.reporters,
                rows: declared(&traffic.rows, endpoints),
                zones: traffic
                    .zones
                    .iter()
                    .map(|zone| ZoneTraffic {
                        zone: zone.zone.clone(),
                        rows: declared(&zone.rows, endpoints),
                    })
                    .collect(),
            });
        }
        let fresh = self.fresh;
        self.windows.retain(|window| {
            // A source may bring counts less often than the reach: the last ones stay until then.
            let last = |fresh: Moment| window.at <= fresh && fresh.since(window.at) < REACH;
            at.since(window.at) < REACH || fresh.is_some_and(last)
        });
        while self.windows.len() > WINDOWS_MAX {
            self.windows.pop_front();
        }
    }

    fn hear(&mut self, at: Moment, rows: &[Row]) {
        for row in rows.iter().filter(|row| row.opinions > 0) {
            if let Some(opinion) = self.opinions.get_mut(row.endpoint as usize) {
                *opinion = Some(Opinion { at, ejected_by: row.ejected_by, of: row.opinions });
            }
        }
    }

    /// What proxies thought of an endpoint within the reach.
    pub fn opinion(&self, endpoint: usize, at: Moment) -> Option<Opinion> {
        self.opinions.get(endpoint).copied().flatten().filter(|said| at.since(said.at) < REACH)
    }

    /// Follows a change of topology: `from[new]` is the old index of each endpoint.
    pub fn remap(&mut self, from: &[Option<usize>]) {
        self.opinions = remapped(&mut self.opinions, from);
        for window in &mut self.windows {
            window.rows = moved(&window.rows, from);
            for zone in &mut window.zones {
                zone.rows = moved(&zone.rows, from);
            }
        }
    }

    /// Windows, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Window> {
        self.windows.iter().rev()
    }

    /// The newest window, if it is of this very step.
    pub fn current(&self, at: Moment) -> Option<&Window> {
        self.windows.back().filter(|window| window.at == at)
    }

    /// One endpoint's rows summed from the newest back, until `enough` says so or the reach ends.
    /// Rows that count no client are skipped, and so are windows before `since`.
    pub fn pooled(&self, endpoint: usize, since: Moment, enough: impl Fn(&Row) -> bool) -> Row {
        let mut sum = Row::default();
        for window in self.newest_first().take_while(|window| window.at >= since) {
            if let Some(row) = window.row(endpoint) {
                sum.add(row);
                if enough(&sum) {
                    break;
                }
            }
        }
        sum
    }
}

impl Row {
    /// Adds another interval's counts of the same endpoint. In-flight, opinions and the number of
    /// clients are levels: the newer interval's (the first added) stand.
    pub fn add(&mut self, older: &Self) {
        self.requests = self.requests.saturating_add(older.requests);
        self.errors = self.errors.saturating_add(older.errors);
        self.timeouts = self.timeouts.saturating_add(older.timeouts);
        self.local_failures = self.local_failures.saturating_add(older.local_failures);
        self.judged_requests += older.judged_requests;
        self.judged_errors += older.judged_errors;
        self.exposure = self.exposure.saturating_add(older.exposure);
        self.latency.add(&older.latency);
        self.clients = self.clients.max(older.clients);
        self.in_flight = self.in_flight.or(older.in_flight);
        if self.opinions == 0 {
            (self.opinions, self.ejected_by) = (older.opinions, older.ejected_by);
        }
    }

    /// The time that counts cover: the mean over the reporting clients.
    pub fn span(&self) -> Duration {
        if self.clients == 0 { Duration::ZERO } else { self.exposure / self.clients }
    }

    /// Requests per second, if any client reported.
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.span().as_secs_f64();
        (seconds > 0.0).then(|| self.requests as f64 / seconds)
    }
}

/// Rows of declared endpoints in ascending order, each once: as they are, if they are so.
fn declared(rows: &Arc<[Row]>, endpoints: usize) -> Arc<[Row]> {
    let ascending = rows.is_sorted_by(|a, b| a.endpoint < b.endpoint);
    if ascending && rows.last().is_none_or(|last| (last.endpoint as usize) < endpoints) {
        return Arc::clone(rows);
    }
    let known = rows.iter().filter(|row| (row.endpoint as usize) < endpoints);
    let sorted: BTreeMap<u32, &Row> = known.map(|row| (row.endpoint, row)).collect();
    sorted.into_values().cloned().collect()
}

/// Rows at the places where their endpoints now stand.
fn moved(rows: &[Row], from: &[Option<usize>]) -> Arc<[Row]> {
    let now = from.iter().zip(0..).filter_map(|(old, endpoint)| {
        let row = row_of(rows, (*old)?)?.clone();
        Some(Row { endpoint, ..row })
    });
    now.collect()
}

/// Moves the items of a dense column to where their endpoints now stand.
pub fn remapped<T: Default>(column: &mut [T], from: &[Option<usize>]) -> Vec<T> {
    from.iter()
        .map(|old| old.and_then(|old| column.get_mut(old)).map(core::mem::take).unwrap_or_default())
        .collect()
}
