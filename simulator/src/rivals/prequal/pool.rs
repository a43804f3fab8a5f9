//! The pool of probes of one locality, and which of them are hot.

use crate::balancer::Probe;

/// Probes in a pool: the paper found that 16 suffice.
pub(super) const CAPACITY: usize = 16;
/// Microseconds after which a probe says nothing any more.
const AGE_MAX: u64 = 1_000_000;
/// Backends with more requests in flight than this quantile are hot: 2^-0.25.
const RIF_QUANTILE: f64 = 0.840_896_415_253_714_6;
/// Probes whose RIF make up the quantile: some rounds over a typical locality.
const RECENT: usize = 64;

/// Probes by arrival, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    entries: Vec<Entry>,
    recent: Recent,
    /// Whose turn it is at the next removal.
    worst_next: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    backend: usize,
    arrived: u64,
    rif: u32,
    latency: u64,
    uses: u32,
}

impl Pool {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Keeps only the probes of some backends.
    pub(super) fn retain(&mut self, stays: impl Fn(usize) -> bool) {
        self.entries.retain(|entry| stays(entry.backend));
    }

    /// Drops what is too old.
    pub(super) fn expire(&mut self, now: u64) {
        self.entries.retain(|entry| now - entry.arrived <= AGE_MAX);
    }

    /// Adds a probe good for some uses, in place of an older one of that backend; when full, in
    /// place of the oldest.
    pub(super) fn add(&mut self, backend: usize, probe: Probe, uses: u32, now: u64) {
        self.recent.add(probe.inside);
        self.entries.retain(|entry| entry.backend != backend);
        if self.entries.len() >= CAPACITY {
            self.entries.remove(0);
        }
        let Probe { inside: rif, latency } = probe;
        self.entries.push(Entry { backend, arrived: now, rif, latency, uses });
    }

    /// Uses the best probe: the fastest of the cold, else the hot with the least in flight.
    pub(super) fn take(&mut self) -> Option<usize> {
        let best = self.position(|rank| rank)?;
        let entry = &mut self.entries[best];
        entry.uses = entry.uses.saturating_sub(1);
        let (backend, uses) = (entry.backend, entry.uses);
        if uses == 0 {
            self.entries.remove(best);
        }
        Some(backend)
    }

    /// Counts a request sent to a backend as in flight there, which makes reuse less stale.
    pub(super) fn count_sent(&mut self, backend: usize) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.backend == backend) {
            entry.rif += 1;
        }
    }

    /// Removes the oldest and the worst by turns: against staleness, and because taking the best
    /// leaves the bad behind.
    pub(super) fn remove_one(&mut self) {
        let worst = if self.worst_next { self.position(core::cmp::Reverse) } else { Some(0) };
        self.worst_next = !self.worst_next;
        if let Some(index) = worst.filter(|&index| index < self.entries.len()) {
            self.entries.remove(index);
        }
    }

    /// Where the least is by an order of ranks.
    fn position<K: Ord>(&self, order: impl Fn(Rank) -> K) -> Option<usize> {
        let hot_above = self.recent.quantile();
        let rank = |index: &usize| order(self.entries[*index].rank(hot_above));
        (0..self.entries.len()).min_by_key(rank)
    }
}

/// Hot, then RIF if hot, then latency if cold: the hot-cold lexicographic rule as an order.
type Rank = (bool, u32, u64);

impl Entry {
    fn rank(&self, hot_above: u32) -> Rank {
        if self.rif > hot_above { (true, self.rif, 0) } else { (false, 0, self.latency) }
    }
}

/// The RIF of the last `RECENT` probes, also in order of size.
#[derive(Clone, Debug, Default)]
struct Recent {
    arrived: Vec<u32>,
    next: usize,
    sorted: Vec<u32>,
}

impl Recent {
    fn add(&mut self, rif: u32) {
        if self.arrived.len() < RECENT {
            self.arrived.push(rif);
        } else {
            let gone = core::mem::replace(&mut self.arrived[self.next], rif);
            self.next = (self.next + 1) % RECENT;
            self.sorted.remove(self.sorted.partition_point(|&other| other < gone));
        }
        self.sorted.insert(self.sorted.partition_point(|&other| other < rif), rif);
    }

    /// The quantile by nearest rank; with nothing known nobody is hot.
    fn quantile(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 64")]
        let rank = (self.sorted.len() as f64 * RIF_QUANTILE) as usize;
        self.sorted.get(rank).copied().unwrap_or(u32::MAX)
    }
}
