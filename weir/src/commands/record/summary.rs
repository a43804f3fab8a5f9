//! What a recording came to, read from its journal: so a recording in several runs is told whole.

use std::collections::BTreeSet;
use std::path::Path;

use weir_engine::goal::Goals;
use weir_engine::names::{Address, ServiceId};
use weir_engine::observation::Observation;
use weir_engine::units::Moment;
use weir_journal::Record;

use crate::recording::{Pages, ReadError, segments};
use crate::times::shown;

/// A recording in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Summary {
    steps: u64,
    services: BTreeSet<ServiceId>,
    endpoints: BTreeSet<(ServiceId, Address)>,
    first: Moment,
    last: Moment,
    bytes: u64,
    /// Steps before the first data.
    before: u64,
    gaps: Gaps,
}

/// Steps without any data, after there was some.
#[derive(Clone, Debug, Default, PartialEq)]
struct Gaps {
    steps: u64,
    count: u64,
    /// The one under way, and the longest: its first and last step, and how many.
    open: Option<(Moment, Moment, u64)>,
    longest: Option<(Moment, Moment, u64)>,
}

impl Summary {
    /// Reads a journal.
    pub(super) fn of(folder: &Path) -> Result<Self, ReadError> {
        let mut summary = Self::default();
        for path in segments(folder)? {
            let pages = Pages::read(&path)?;
            summary.bytes += pages.size() as u64;
            for record in pages.records()? {
                if let Record::Step(step) = record? {
                    summary.add(&step.observation);
                }
            }
        }
        Ok(summary)
    }

    fn add(&mut self, observation: &Observation) {
        let at = observation.at;
        if self.steps == 0 {
            self.first = at;
        }
        self.last = at;
        self.steps += 1;
        for service in observation.topology.iter().flat_map(|topology| &topology.services) {
            self.services.insert(service.service.clone());
            for endpoint in &service.endpoints {
                self.endpoints.insert((service.service.clone(), endpoint.address.clone()));
            }
        }
        let silent = observation.traffic.is_empty();
        if silent && self.services.is_empty() {
            self.before += 1;
        } else {
            self.gaps.add(at, silent);
        }
    }

    /// In words, and what the policies that were given did not meet.
    pub(super) fn lines(&self, goals: &Goals) -> Vec<String> {
        let (first, last) = (shown(self.first), shown(self.last));
        let mut lines = vec![format!(
            "{}, {}, {} from {first} to {last}, {}",
            number(self.services.len() as u64, "service"),
            number(self.endpoints.len() as u64, "endpoint"),
            number(self.steps, "step"),
            size(self.bytes),
        )];
        // The first step has nothing to compare with.
        if self.before > 1 {
            lines.push(format!("before the first data: {}", number(self.before, "step")));
        }
        lines.extend(self.gaps.line());
        for goal in &goals.services {
            if !self.services.contains(&goal.service) {
                let (policy, service) = (&goal.policy, &goal.service);
                lines.push(format!("policy {policy} governs {service}, which was not seen"));
            }
        }
        lines
    }

    /// A service to look at.
    pub(super) fn service(&self) -> Option<&ServiceId> {
        self.services.first()
    }
}

impl Gaps {
    fn add(&mut self, at: Moment, silent: bool) {
        if !silent {
            self.open = None;
            return;
        }
        let begins = self.open.is_none();
        let (from, _, steps) = self.open.unwrap_or((at, at, 0));
        let open = (from, at, steps + 1);
        self.steps += 1;
        self.count += u64::from(begins);
        if self.longest.is_none_or(|longest| open.2 > longest.2) {
            self.longest = Some(open);
        }
        self.open = Some(open);
    }

    fn line(&self) -> Option<String> {
        let (from, to, _) = self.longest?;
        let (steps, count) = (number(self.steps, "step"), number(self.count, "place"));
        let (from, to) = (shown(from), shown(to));
        Some(format!("gaps: {steps} without any data in {count}, the longest from {from} to {to}"))
    }
}

/// `1 step`, `2 steps`.
fn number(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn size(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib >= 1.0 { format!("{mib:.1} MiB") } else { format!("{} KiB", bytes.div_ceil(1 << 10)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_and_the_longest_is_told() {
        let mut gaps = Gaps::default();
        for (second, silent) in "..##.#...###..".chars().map(|c| c == '#').enumerate() {
            gaps.add(Moment::from_millis(1_000 * second as u64), silent);
        }
        let expected = "gaps: 6 steps without any data in 3 places, the longest from \
                        1970-01-01T00:00:09Z to 1970-01-01T00:00:11Z";
        assert_eq!(gaps.line().as_deref(), Some(expected));
        assert_eq!(Gaps::default().line(), None);
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!((size(1), size(3 << 19)), ("1 KiB".to_owned(), "1.5 MiB".to_owned()));
    }
}
