//! Access log entries of all proxies since the last step, as counts per endpoint.
//!
//! Entries are counted where they arrive rather than queued: a proxy whose sampling is set too
//! high costs time, never memory.

use std::collections::BTreeMap;

use weir_engine::names::{Address, ClusterName, Node, Place};
use weir_engine::observation::{LogVolume, Report, Sample, Source};
use weir_engine::units::Moment;

use super::entry::Attempt;
use crate::load_reports::peer::Peer;

/// Endpoints per node and client cluster that are counted apart between two steps: ten times the
/// 2,000 entries a second that the sampling rate is steered to.
const KEYS_MAX: usize = 20_000;

/// Nodes that are counted apart: as many as may hold a stream.
const NODES_MAX: usize = super::STREAMS_MAX;

/// What was counted since the last step.
#[derive(Debug)]
pub(crate) struct Tally {
    since: Moment,
    clients: BTreeMap<(Node, ClusterName), Client>,
    nodes: BTreeMap<Node, Volume>,
    keys: usize,
    left_out: LeftOut,
}

#[derive(Debug)]
struct Client {
    zone: Place,
    endpoints: BTreeMap<Address, Sample>,
}

#[derive(Debug, Default)]
struct Volume {
    streams: usize,
    entries: u64,
}

/// Entries that say nothing of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// They are of TCP connections, which have no requests.
    pub tcp: u64,
    /// They name no endpoint (a circuit breaker refused the request), or tell of an attempt that
    /// is not over or that its client ended.
    pub unattributed: u64,
    /// More distinct endpoints or nodes than are counted apart.
    pub overflow: u64,
}

/// What the log said since the last step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drained {
    /// One per node and client cluster that was heard of.
    pub reports: Vec<Report>,
    /// One per node that was heard of or holds a stream open.
    pub volumes: Vec<LogVolume>,
    /// What is in no report.
    pub left_out: LeftOut,
}

/// A batch of entries, read.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) unattributed: u64,
    pub(crate) tcp: u64,
}

impl Tally {
    pub(crate) fn new(since: Moment) -> Self {
        Self {
            since,
            clients: BTreeMap::new(),
            nodes: BTreeMap::new(),
            keys: 0,
            left_out: LeftOut::default(),
        }
    }

    /// A node opened a stream.
    pub(crate) fn enter(&mut self, node: &Node) {
        if let Some(volume) = self.volume(node) {
            volume.streams += 1;
        }
    }

    /// A node's stream ended.
    pub(crate) fn leave(&mut self, node: &Node) {
        if let Some(volume) = self.nodes.get_mut(node) {
            volume.streams = volume.streams.saturating_sub(1);
        }
    }

    /// Counts a batch.
    pub(crate) fn absorb(&mut self, peer: &Peer, batch: Batch) {
        let entries = batch.attempts.len() as u64 + batch.unattributed + batch.tcp;
        if let Some(volume) = self.volume(&peer.node) {
            volume.entries += entries;
        } else {
            self.left_out.overflow += entries;
            return;
        }
        self.left_out.unattributed += batch.unattributed;
        self.left_out.tcp += batch.tcp;
        for attempt in batch.attempts {
            self.count(peer, attempt);
        }
    }

    fn count(&mut self, peer: &Peer, attempt: Attempt) {
        let key = (peer.node.clone(), attempt.cluster.clone());
        let full = self.keys >= KEYS_MAX;
        let known = self.clients.get_mut(&key);
        if let Some(sample) = known.and_then(|client| client.endpoints.get_mut(&attempt.endpoint)) {
            attempt.count_into(sample);
        } else if full {
            self.left_out.overflow += 1;
        } else {
            self.keys += 1;
            let client = self
                .clients
                .entry(key)
                .or_insert_with(|| Client { zone: peer.zone.clone(), endpoints: BTreeMap::new() });
            let mut sample = Sample { endpoint: attempt.endpoint.clone(), ..Sample::default() };
            attempt.count_into(&mut sample);
            client.endpoints.insert(attempt.endpoint, sample);
        }
    }

    fn volume(&mut self, node: &Node) -> Option<&mut Volume> {
        if !self.nodes.contains_key(node) && self.nodes.len() >= NODES_MAX {
            return None;
        }
        Some(self.nodes.entry(node.clone()).or_default())
    }

    /// Hands over everything since the last call; nothing when no time has passed.
    pub(crate) fn drain(&mut self, now: Moment) -> Drained {
        let window = now.since(self.since);
        if window.is_zero() {
            return Drained::default();
        }
        self.since = now;
        self.keys = 0;
        let reports = std::mem::take(&mut self.clients).into_iter();
        let reports = reports.map(|((reporter, cluster), client)| Report {
            reporter,
            cluster,
            zone: client.zone,
            source: Source::AccessLog,
            at: now,
            window,
            complete: false,
            samples: client.endpoints.into_values().collect(),
            totals: None,
        });
        let volumes = self.nodes.iter_mut().map(|(node, volume)| LogVolume {
            node: node.clone(),
            entries: std::mem::take(&mut volume.entries),
            requests: None,
            window,
        });
        let drained = Drained {
            reports: reports.collect(),
            volumes: volumes.collect(),
            left_out: std::mem::take(&mut self.left_out),
        };
        self.nodes.retain(|_, volume| volume.streams > 0);
        drained
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Outcome;
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;
    use weir_engine::units::Millis;

    fn peer(id: &str) -> Peer {
        Peer { node: id.into(), zone: "z1".into() }
    }

    fn attempt(cluster: &str, port: usize, outcome: Outcome) -> Attempt {
        Attempt {
            cluster: cluster.into(),
            endpoint: Address::from(format!("10.0.0.1:{port}")),
            outcome,
            latency: Some(Millis::clamped(10.0)),
        }
    }

    fn batch(attempts: Vec<Attempt>) -> Batch {
        Batch { attempts, ..Batch::default() }
    }

    fn tally() -> Tally {
        Tally::new(Moment::from_millis(1_000))
    }

    #[test]
    fn counts_stand_per_node_client_cluster_and_endpoint() {
        let mut tally = tally();
        tally.absorb(
            &peer("n1"),
            batch(vec![
                attempt("a", 1, Outcome::Success),
                attempt("a", 1, Outcome::Error),
                attempt("a", 2, Outcome::Success),
                attempt("b", 1, Outcome::Success),
            ]),
        );
        tally.absorb(&peer("n2"), batch(vec![attempt("a", 1, Outcome::Success)]));
        let drained = tally.drain(Moment::from_millis(1_500));
        let read: Vec<String> = drained
            .reports
            .iter()
            .flat_map(|report| {
                report.samples.iter().map(move |sample| {
                    let (requests, errors) = (sample.requests.unwrap(), sample.errors.unwrap());
                    let endpoint = &sample.endpoint;
                    format!("{} {} {endpoint} {requests}/{errors}", report.reporter, report.cluster)
                })
            })
            .collect();
        assert_eq!(
            read,
            [
                "n1 a 10.0.0.1:1 2/1",
                "n1 a 10.0.0.1:2 1/0",
                "n1 b 10.0.0.1:1 1/0",
                "n2 a 10.0.0.1:1 1/0"
            ]
        );
        let first = &drained.reports[0];
        assert_eq!((first.source, first.complete), (Source::AccessLog, false));
        assert_eq!((first.at.millis(), first.window), (1_500, Duration::from_millis(500)));
        assert_eq!(first.zone.as_str(), "z1");
        let volumes: Vec<_> =
            drained.volumes.iter().map(|volume| (volume.node.as_str(), volume.entries)).collect();
        assert_eq!(volumes, [("n1", 4), ("n2", 1)]);
    }

    #[test]
    fn what_was_handed_over_is_gone() {
        let mut tally = tally();
        tally.absorb(&peer("n1"), batch(vec![attempt("a", 1, Outcome::Success)]));
        assert_eq!(tally.drain(Moment::from_millis(1_000)), Drained::default(), "no time passed");
        assert_eq!(tally.drain(Moment::from_millis(2_000)).reports.len(), 1);
        assert_eq!(tally.drain(Moment::from_millis(3_000)), Drained::default());
    }

    #[test]
    fn an_open_stream_without_entries_is_a_volume_of_zero() {
        let mut tally = tally();
        tally.enter(&"n1".into());
        let volumes = tally.drain(Moment::from_millis(2_000)).volumes;
        assert_eq!((volumes.len(), volumes[0].entries), (1, 0));
        tally.leave(&"n1".into());
        tally.drain(Moment::from_millis(3_000));
        assert_eq!(tally.drain(Moment::from_millis(4_000)).volumes, []);
    }

    #[test]
    fn neither_endpoints_nor_nodes_grow_without_a_bound() {
        let mut tally = tally();
        let many = (0..KEYS_MAX + 5).map(|port| attempt("a", port, Outcome::Success)).collect();
        tally.absorb(&peer("n1"), batch(many));
        tally.absorb(&peer("n1"), batch(vec![attempt("a", 1, Outcome::Success)]));
        for node in 0..NODES_MAX + 5 {
            tally.absorb(&peer(&format!("m{node}")), Batch { tcp: 2, ..Batch::default() });
        }
        let drained = tally.drain(Moment::from_millis(2_000));
        assert_eq!(drained.reports[0].samples.len(), KEYS_MAX);
        assert_eq!(drained.volumes.len(), NODES_MAX);
        // Five endpoints, and two entries each of the five nodes and of the one that n1 took.
        assert_eq!(drained.left_out.overflow, 5 + 2 * 6);
        tally.absorb(&peer("n1"), batch(vec![attempt("a", KEYS_MAX + 1, Outcome::Success)]));
        assert_eq!(tally.drain(Moment::from_millis(3_000)).left_out.overflow, 0, "room again");
    }

    proptest! {
        /// Every entry is in a report or left out, and in its node's volume.
        #[test]
        fn no_entry_is_lost_or_counted_twice(
            entries in prop::collection::vec((0..3_usize, 0..3_usize, 0..4_usize, 0..3_u64), 0..60),
        ) {
            let mut tally = tally();
            let (mut sent, mut seen, mut volume) = (0, 0, 0);
            for (at, &(node, cluster, port, other)) in entries.iter().enumerate() {
                let attempts = vec![attempt(&format!("c{cluster}"), port, Outcome::Timeout)];
                tally.absorb(
                    &peer(&format!("n{node}")),
                    Batch { attempts, unattributed: other, tcp: 1 },
                );
                sent += 2 + other;
                if at % 7 == 0 || at + 1 == entries.len() {
                    let drained = tally.drain(Moment::from_millis(2_000 + at as u64));
                    let samples = drained.reports.iter().flat_map(|report| &report.samples);
                    seen += samples.map(|sample| sample.requests.unwrap()).sum::<u64>();
                    seen += drained.left_out.tcp + drained.left_out.unattributed;
                    volume += drained.volumes.iter().map(|volume| volume.entries).sum::<u64>();
                }
            }
            prop_assert_eq!((seen, volume), (sent, sent));
        }
    }
}
