//! A service's history as a table of endpoints by columns, whatever layouts its columns have.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_engine::names::Address;
use weir_engine::units::Moment;

use super::log::Log;
use super::read::millis;
use super::track::{Cell, Column, Scale};
use crate::view::service::{HistoryView, SeriesView};
use crate::view::{Time, plain};

/// Endpoint by column: the cells of the last minutes, none where there was no step.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    pub(crate) scale: Scale,
    /// When the first column begins.
    pub(crate) start: Moment,
    /// Endpoints in force in ascending order of address, then those that left.
    pub(crate) addresses: Vec<Address>,
    /// How many of the addresses are in force.
    pub(crate) present: usize,
    /// One row per address, each as long as the scale has columns.
    pub(crate) rows: Vec<Vec<Option<Cell>>>,
}

impl Matrix {
    pub(super) fn of(columns: &Log<Column>, now: Moment, scale: Scale) -> Self {
        let step = millis(scale.step).max(1);
        let end = now.millis() / step + 1;
        let start = end.saturating_sub(scale.columns as u64);
        let newest = columns.last().map(|column| Arc::clone(&column.layout));
        let mut addresses: Vec<Address> = newest.iter().flat_map(|l| l.iter().cloned()).collect();
        let present = addresses.len();
        let mut rows = vec![vec![None; scale.columns]; present];
        let mut known = newest.unwrap_or_else(|| Arc::new([]));
        let mut places: Vec<usize> = (0..present).collect();
        for (_, column) in columns.iter().rev() {
            let Some(x) = (column.at.millis() / step).checked_sub(start) else { break };
            let Ok(x) = usize::try_from(x) else { break };
            if !Arc::ptr_eq(&known, &column.layout) {
                known = Arc::clone(&column.layout);
                places = find_places(&known, &mut addresses);
                rows.resize_with(addresses.len(), || vec![None; scale.columns]);
            }
            let reach = usize::try_from(millis(column.span) / step).unwrap_or(1).max(1);
            for (&place, cell) in places.iter().zip(&column.cells) {
                paint(&mut rows[place], x, reach, *cell);
            }
        }
        let start = Moment::from_millis(start * step);
        Self { scale, start, addresses, present, rows }
    }

    /// So many endpoints from the one at `offset` on.
    pub(crate) fn view(&self, offset: usize, limit: usize) -> HistoryView {
        let step = self.scale.step;
        let at = (0..self.scale.columns).scan(self.start, |at, _| {
            let begins = *at;
            *at = at.plus(step);
            Some(Time(begins))
        });
        let series = self.addresses.iter().zip(&self.rows);
        HistoryView {
            step_ms: millis(step),
            at: at.collect(),
            total: u32::try_from(self.addresses.len()).unwrap_or(u32::MAX),
            endpoints: series
                .skip(offset)
                .take(limit)
                .map(|(address, row)| SeriesView {
                    address: plain(address.as_str()),
                    share: each(row, |cell| Some(cell.share)),
                    requests: each(row, |cell| cell.known.then_some(cell.requests)),
                    errors: each(row, |cell| cell.known.then_some(cell.errors)),
                    p99_ms: each(row, |cell| Some(cell.p99_ms).filter(|p99| !p99.is_nan())),
                })
                .collect(),
        }
    }
}

/// Where an older layout's endpoints stand among the addresses; those that left are appended.
fn find_places(layout: &[Address], addresses: &mut Vec<Address>) -> Vec<usize> {
    let mut places: BTreeMap<Address, usize> =
        addresses.iter().cloned().enumerate().map(|(index, address)| (address, index)).collect();
    layout
        .iter()
        .map(|address| {
            *places.entry(address.clone()).or_insert_with(|| {
                addresses.push(address.clone());
                addresses.len() - 1
            })
        })
        .collect()
}

/// Puts a cell in its place and, where its counts were collected over several columns, lends them
/// to the columns before it that know nothing of their own.
fn paint(row: &mut [Option<Cell>], x: usize, reach: usize, cell: Cell) {
    let Some(place) = row.get_mut(x) else { return };
    match place {
        Some(lent) if !cell.known => {
            // A later column's counts cover this one; its share is its own.
            (lent.share, lent.state) = (cell.share, cell.state);
        }
        _ => *place = Some(cell),
    }
    if cell.known {
        for earlier in &mut row[x.saturating_sub(reach - 1)..x] {
            *earlier = Some(cell);
        }
    }
}

fn each<T>(row: &[Option<Cell>], value: impl Fn(&Cell) -> Option<T>) -> Vec<Option<T>> {
    row.iter().map(|cell| cell.as_ref().and_then(&value)).collect()
}
