//! The last minutes of a service in columns of fixed width.
//!
//! Two tracks a service: five minutes in seconds for what happens now, a quarter of an hour in
//! steps of five seconds for how it came to this. Columns hold counts; what is a rate on a page
//! is made of them there.

use std::sync::Arc;
use std::time::Duration;

use weir_engine::decision::ServiceDecision;
use weir_engine::latency::Latency;
use weir_engine::names::Address;
use weir_engine::observation::{Row, ServiceTraffic};
use weir_engine::units::{Moment, Ratio};

use super::log::Log;
use crate::view::service::EndpointState;

/// A track's columns and their width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// A column's width.
    pub(crate) step: Duration,
    /// So many columns are shown.
    pub(crate) columns: usize,
}

/// Five minutes in seconds.
pub(crate) const FINE: Scale = Scale { step: Duration::from_secs(1), columns: 300 };
/// A quarter of an hour in steps of five seconds.
pub(crate) const COARSE: Scale = Scale { step: Duration::from_secs(5), columns: 180 };

/// One endpoint in one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    /// Requests that ended; nothing is known where `known` is false.
    pub(crate) requests: u32,
    /// Of these, failed.
    pub(crate) errors: u32,
    /// 99th percentile of latency in milliseconds; NaN: not known.
    pub(crate) p99_ms: f32,
    /// Part of the service's traffic.
    pub(crate) share: f32,
    /// In, out or in between.
    pub(crate) state: EndpointState,
    /// Whether any client reported counts.
    pub(crate) known: bool,
}

/// All endpoints of a service in one interval.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// When it begins.
    pub(crate) at: Moment,
    /// Which cell is whose.
    pub(crate) layout: Arc<[Address]>,
    /// One per endpoint of the layout.
    pub(crate) cells: Vec<Cell>,
    /// For how long its counts were collected: with slow sources longer than the column is wide.
    pub(crate) span: Duration,
    /// 99th percentile of the service's latency in milliseconds; NaN: not known.
    pub(crate) p99_ms: f32,
}

impl Column {
    /// Requests and errors of all endpoints, if any is known.
    pub(crate) fn sums(&self) -> Option<(u64, u64)> {
        let known = self.cells.iter().filter(|cell| cell.known);
        known
            .map(|cell| (u64::from(cell.requests), u64::from(cell.errors)))
            .reduce(|sum, cell| (sum.0 + cell.0, sum.1 + cell.1))
    }
}

/// What one step adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick<'a> {
    pub(crate) at: Moment,
    pub(crate) layout: &'a Arc<[Address]>,
    pub(crate) decision: &'a ServiceDecision,
    pub(crate) traffic: Option<&'a ServiceTraffic>,
}

/// Columns of one width, the newest still growing.
#[derive(Debug)]
pub(crate) struct Track {
    scale: Scale,
    columns: Log<Column>,
    open: Vec<Sum>,
    total: Latency,
    span: Duration,
}

#[derive(Clone, Debug, Default)]
struct Sum {
    requests: u64,
    errors: u64,
    latency: Latency,
    known: bool,
}

impl Track {
    pub(crate) fn new(scale: Scale) -> Self {
        let (columns, open) = (Log::default(), Vec::new());
        Self { scale, columns, open, total: Latency::default(), span: Duration::ZERO }
    }

    /// The columns as they stand, cheap to copy.
    pub(crate) fn columns(&self) -> Log<Column> {
        self.columns.clone()
    }

    /// Adds a step's counts to the newest column or begins another, and keeps at most `max`.
    pub(crate) fn add(&mut self, tick: &Tick<'_>, max: usize) {
        let step = u64::try_from(self.scale.step.as_millis()).unwrap_or(u64::MAX);
        let at = Moment::from_millis(tick.at.millis() / step * step);
        let grows = self
            .columns
            .last()
            .is_some_and(|last| last.at == at && Arc::ptr_eq(&last.layout, tick.layout));
        if !grows {
            self.open = vec![Sum::default(); tick.layout.len()];
            (self.total, self.span) = (Latency::default(), Duration::ZERO);
        }
        self.sum(tick.traffic);
        let column = self.column(at, tick);
        if grows {
            self.columns.replace_last(column);
        } else {
            self.columns.push(column, self.scale.columns.min(max));
        }
    }

    fn sum(&mut self, traffic: Option<&ServiceTraffic>) {
        let Some(traffic) = traffic else { return };
        for row in traffic.rows.iter().filter(|row| row.clients > 0) {
            if let Some(sum) = self.open.get_mut(row.endpoint as usize) {
                sum.requests = sum.requests.saturating_add(row.requests);
                sum.errors = sum.errors.saturating_add(row.errors);
                sum.known = true;
            }
        }
        for row in &*traffic.rows {
            if let Some(sum) = self.open.get_mut(row.endpoint as usize) {
                sum.latency.add(&row.latency);
            }
        }
        match &traffic.totals {
            Some(totals) if totals.latency.count > 0.0 => self.total.add(&totals.latency),
            _ => traffic.rows.iter().for_each(|row| self.total.add(&row.latency)),
        }
        let span = traffic.rows.iter().map(Row::span).max().unwrap_or_default();
        self.span = self.span.saturating_add(span);
    }

    fn column(&self, at: Moment, tick: &Tick<'_>) -> Column {
        let endpoints = tick.decision.endpoints.iter();
        let cells = self
            .open
            .iter()
            .zip(endpoints)
            .map(|(sum, endpoint)| Cell {
                requests: u32::try_from(sum.requests).unwrap_or(u32::MAX),
                errors: u32::try_from(sum.errors).unwrap_or(u32::MAX),
                p99_ms: p99(&sum.latency),
                share: narrow(endpoint.share.value()),
                state: super::words::state(endpoint.state),
                known: sum.known,
            })
            .collect();
        let layout = Arc::clone(tick.layout);
        Column { at, layout, cells, span: self.span, p99_ms: p99(&self.total) }
    }
}

fn p99(latency: &Latency) -> f32 {
    latency.quantile(Ratio::clamped(0.99)).map_or(f32::NAN, |p99| narrow(p99.value()))
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a page shows")]
pub(crate) fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;
