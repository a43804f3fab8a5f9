//! What a proxy counts, and the reports that it sends.

use core::time::Duration;

use weir_engine::latency::Latency;
use weir_engine::names::{Node, Place};
use weir_engine::observation::{Report, Sample, Source, Verdict};
use weir_engine::units::{Millis, Moment};

use crate::world::{CLUSTER, address_of};

/// Health flags are asked for every so many seconds.
const OPINIONS_EVERY: u64 = 5;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Success,
    Error,
    Timeout,
}

/// One proxy's counts since its last report.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    node: Node,
    zone: Place,
    columns: Vec<Column>,
}

#[derive(Clone, Debug, Default)]
struct Column {
    requests: u64,
    errors: u64,
    timeouts: u64,
    latency: Latency,
}

impl Counters {
    pub(crate) fn new(proxy: usize, zone: &str, backends: usize) -> Self {
        let node = Node::from(format!("proxy-{proxy:03}"));
        Self { node, zone: zone.into(), columns: vec![Column::default(); backends] }
    }

    pub(crate) fn count(&mut self, backend: usize, end: End, latency: Option<Millis>) {
        let column = &mut self.columns[backend];
        column.requests += 1;
        column.errors += u64::from(end != End::Success);
        column.timeouts += u64::from(end == End::Timeout);
        if let Some(latency) = latency {
            column.latency.record(latency);
        }
    }

    /// Reports and starts anew. `in_flight` are its requests under way, by backend.
    pub(crate) fn report(
        &mut self,
        at: Moment,
        window: Duration,
        in_flight: &[u32],
    ) -> [Report; 2] {
        let columns = core::mem::take(&mut self.columns);
        self.columns = vec![Column::default(); columns.len()];
        let (mut counts, mut log) = (self.empty(at, window), self.empty(at, window));
        counts.complete = true;
        log.source = Source::AccessLog;
        for ((backend, column), &inside) in columns.into_iter().enumerate().zip(in_flight) {
            if column.requests == 0 && inside == 0 {
                continue;
            }
            let endpoint = address_of(backend);
            if column.latency.count > 0.0 {
                let latency = Some(column.latency);
                log.samples.push(Sample {
                    endpoint: endpoint.clone(),
                    latency,
                    ..Sample::default()
                });
            }
            counts.samples.push(Sample {
                endpoint,
                requests: Some(column.requests),
                errors: Some(column.errors),
                timeouts: Some(column.timeouts),
                in_flight: Some(f64::from(inside)),
                ..Sample::default()
            });
        }
        [counts, log]
    }

    /// What the proxy thinks of its backends, every few seconds.
    pub(crate) fn opinions(
        &self,
        at: Moment,
        opinions: impl Iterator<Item = (usize, bool)>,
    ) -> Option<Report> {
        if !(at.millis() / 1_000).is_multiple_of(OPINIONS_EVERY) {
            return None;
        }
        let samples = opinions.map(|(backend, ejected)| Sample {
            endpoint: address_of(backend),
            verdict: Some(if ejected { Verdict::Ejected } else { Verdict::Healthy }),
            ..Sample::default()
        });
        let samples = samples.collect();
        Some(Report { source: Source::Admin, samples, ..self.empty(at, Duration::ZERO) })
    }

    fn empty(&self, at: Moment, window: Duration) -> Report {
        Report {
            reporter: self.node.clone(),
            cluster: CLUSTER.into(),
            zone: self.zone.clone(),
            source: Source::LoadReport,
            at,
            window,
            complete: false,
            samples: Vec::new(),
            totals: None,
        }
    }
}
