//! Services' traffic: who, how many rows, and the rows.

use std::sync::Arc;
use std::time::Duration;

use weir_engine::names::{Place, ServiceId};
use weir_engine::observation::{Row, ServiceTraffic, ZoneTraffic};

use super::bytes::Corrupt;
use super::names::{Cursor, Read, Written};
use super::rows::{self, Expected};
use super::sheet::{In, Out, field};
use super::{Room, ServiceCursor};

/// Appends all services' traffic.
pub(super) fn write(out: &mut Out, names: &mut Written, traffic: &[ServiceTraffic]) {
    let mut service = ServiceCursor::new(field::NAMESPACE, field::NAME);
    let mut zone = Cursor::new(field::ZONE);
    let mut exposure = Duration::ZERO;
    for one in traffic {
        service.push((out, names), &one.service);
        out.push(field::CLIENTS, one.clients.into());
        out.push(field::REPORTERS, one.reporters.into());
        out.push(field::ROWS, one.rows.len() as u64);
        out.push(field::TOTALS, one.totals.is_some().into());
        out.push(field::ZONES, one.zones.len() as u64);
        for own in &one.zones {
            zone.push((out, names), own.zone.as_str());
            out.push(field::ZONE_ROWS, own.rows.len() as u64);
            rows::write(out, &own.rows, Expected(&[]), &mut exposure);
        }
        rows::write(out, &one.rows, Expected(&one.zones), &mut exposure);
        if let Some(totals) = &one.totals {
            rows::write(out, std::slice::from_ref(totals), Expected(&[]), &mut exposure);
        }
    }
}

/// Reads so many services' traffic.
pub(super) fn read(
    from: &mut In,
    names: &mut Read,
    count: u64,
    room: &mut Room,
) -> Result<Vec<ServiceTraffic>, Corrupt> {
    let mut service = ServiceCursor::new(field::NAMESPACE, field::NAME);
    let mut zone = Cursor::new(field::ZONE);
    let mut exposure = Duration::ZERO;
    let count = room.take(count)?;
    let mut traffic = Vec::with_capacity(count);
    for _ in 0..count {
        let service = service.next(from, names)?;
        let (clients, reporters) = (from.next_u32(field::CLIENTS), from.next_u32(field::REPORTERS));
        let count = room.take(from.next(field::ROWS))?;
        let totals = from.next(field::TOTALS) != 0;
        let mut zones = Vec::with_capacity(room.take(from.next(field::ZONES))?);
        for _ in 0..zones.capacity() {
            let name = Place::from(&*zone.next(from, names)?);
            let count = room.take(from.next(field::ZONE_ROWS))?;
            zones.push(ZoneTraffic {
                zone: name,
                rows: rows::read(from, count, Expected(&[]), &mut exposure)?,
            });
        }
        let rows = rows::read(from, count, Expected(&zones), &mut exposure)?;
        let totals =
            totals.then(|| rows::read(from, 1, Expected(&[]), &mut exposure)).transpose()?;
        let totals = totals.and_then(|rows: Arc<[Row]>| rows.first().cloned());
        traffic.push(ServiceTraffic { service, clients, reporters, rows, totals, zones });
    }
    Ok(traffic)
}

impl ServiceCursor {
    pub(super) fn new(namespace: usize, name: usize) -> Self {
        Self { namespace: Cursor::new(namespace), name: Cursor::new(name) }
    }

    pub(super) fn push(&mut self, (out, names): (&mut Out, &mut Written), service: &ServiceId) {
        self.namespace.push((out, names), &service.namespace);
        self.name.push((out, names), &service.name);
    }

    pub(super) fn next(&mut self, from: &mut In, names: &mut Read) -> Result<ServiceId, Corrupt> {
        let namespace = self.namespace.next(from, names)?;
        Ok(ServiceId { namespace, name: self.name.next(from, names)? })
    }
}
