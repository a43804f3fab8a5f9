//! The last seconds of telemetry, exact: windows of counts rather than averages.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::Place;
use crate::observation::{Row, ServiceTraffic};
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
    /// One per declared endpoint; `None` is not covered: unknown, not zero.
    pub rows: Vec<Option<Row>>,
    /// The same by client zone, where at least two report.
    pub zones: Vec<ZoneWindow>,
}

/// One client zone's part of a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ZoneWindow {
    /// The clients' zone.
    pub zone: Place,
    /// One per declared endpoint.
    pub rows: Vec<Option<Row>>,
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
                rows: dense(endpoints, &traffic.rows),
                zones: traffic
                    .zones
                    .iter()
                    .map(|zone| ZoneWindow {
                        zone: zone.zone.clone(),
                        rows: dense(endpoints, &zone.rows),
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
            window.rows = remapped(&mut window.rows, from);
            for zone in &mut window.zones {
                zone.rows = remapped(&mut zone.rows, from);
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
            if let Some(Some(row)) = window.rows.get(endpoint) {
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
        self.requests += older.requests;
        self.errors += older.errors;
        self.timeouts += older.timeouts;
        self.local_failures += older.local_failures;
        self.judged_requests += older.judged_requests;
        self.judged_errors += older.judged_errors;
        self.exposure += older.exposure;
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

fn dense(endpoints: usize, rows: &[Row]) -> Vec<Option<Row>> {
    let mut columns: Vec<Option<Row>> = Vec::new();
    columns.resize_with(endpoints, || None);
    for row in rows {
        if let Some(place) = columns.get_mut(row.endpoint as usize) {
            *place = Some(row.clone());
        }
    }
    columns
}

/// Moves the items of a dense column to where their endpoints now stand.
pub fn remapped<T: Default>(column: &mut [T], from: &[Option<usize>]) -> Vec<T> {
    from.iter()
        .map(|old| old.and_then(|old| column.get_mut(old)).map(core::mem::take).unwrap_or_default())
        .collect()
}
