//! How a recording went, measured as its telemetry tells it: a real and a played one alike.

use std::collections::BTreeMap;

use weir_engine::decision::ServiceDecision;
use weir_engine::goal::{Indicator, Mode, Objective};
use weir_engine::latency::{Latency, Threshold};
use weir_engine::names::Address;
use weir_engine::observation::ServiceTraffic;
use weir_engine::topology::ServiceTopology;
use weir_engine::units::{Millis, Ratio};

use super::doubt::Figure;
use super::grid::{is_out, slot_of, tick_of, turned_away};
use super::seen::Seen;

/// Sums over ticks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Requests that ended.
    pub requests: f64,
    /// Of these, failed.
    pub errors: f64,
    /// Of the failed ones, timed out.
    pub timeouts: f64,
    /// Requests that were turned away, and so did not end.
    pub refused: f64,
    /// Latencies of the timed ones.
    pub latency: Latency,
    /// Requests whose client's zone is known, and those of them to another zone.
    pub zoned: (f64, f64),
    /// Ejections that were acted on.
    pub ejections: u32,
    /// Sum of the absolute changes of shares that were acted on: 2 moves all traffic.
    pub churn: f64,
}

impl Tally {
    /// Of the ticks that `counts` says, by their number from the first step.
    pub fn of(steps: &[Seen], counts: &dyn Fn(usize) -> bool) -> Self {
        let mut tally = Self::default();
        let Some(first) = steps.first() else { return tally };
        let tick = tick_of(steps);
        let mut topology: Option<&ServiceTopology> = None;
        let mut last: Option<&ServiceDecision> = None;
        let mut shed = 0.0;
        for step in steps {
            topology = step.topology.as_ref().or(topology);
            let is_counted = counts(slot_of(step.at, first.at, tick));
            if let (true, Some(traffic)) = (is_counted, &step.traffic) {
                tally.add(traffic, topology, shed);
            }
            if let Some(decided) = step.decided.as_deref() {
                if let (true, Some(last)) = (is_counted, last) {
                    tally.decided(last, decided);
                }
                shed = turned_away(decided);
                last = Some(decided);
            }
        }
        tally
    }

    fn add(&mut self, traffic: &ServiceTraffic, topology: Option<&ServiceTopology>, shed: f64) {
        let mut requests = 0.0;
        for row in traffic.rows.iter() {
            requests += row.requests as f64;
            self.errors += row.errors as f64;
            self.timeouts += row.timeouts as f64;
            self.latency.add(&row.latency);
        }
        self.requests += requests;
        self.refused += requests * shed / (1.0 - shed).max(0.1);
        for zone in &traffic.zones {
            for row in zone.rows.iter() {
                let endpoint =
                    topology.and_then(|known| known.endpoints.get(row.endpoint as usize));
                let far = endpoint.is_some_and(|one| one.locality.zone != zone.zone);
                self.zoned.0 += row.requests as f64;
                self.zoned.1 += if far { row.requests as f64 } else { 0.0 };
            }
        }
    }

    fn decided(&mut self, last: &ServiceDecision, now: &ServiceDecision) {
        if now.mode != Mode::Enforce {
            return;
        }
        let before: BTreeMap<&Address, (f64, bool)> = last
            .endpoints
            .iter()
            .map(|one| (&one.address, (one.share.value(), is_out(one.state))))
            .collect();
        for one in &now.endpoints {
            let Some(&(share, out)) = before.get(&one.address) else { continue };
            self.churn += (one.share.value() - share).abs();
            self.ejections += u32::from(is_out(one.state) && !out);
        }
    }

    /// Takes in another one.
    pub fn pool(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.timeouts += other.timeouts;
        self.refused += other.refused;
        self.latency.add(&other.latency);
        self.zoned.0 += other.zoned.0;
        self.zoned.1 += other.zoned.1;
        self.ejections += other.ejections;
        self.churn += other.churn;
    }

    /// The part of all requests that failed or were turned away.
    pub fn error_ratio(&self) -> f64 {
        Ratio::of(self.errors + self.refused, self.requests + self.refused).value()
    }

    /// The part of all requests that was turned away.
    pub fn refused_ratio(&self) -> f64 {
        Ratio::of(self.refused, self.requests + self.refused).value()
    }

    /// The latency that a part of the timed requests did not exceed, in milliseconds.
    pub fn quantile_ms(&self, part: f64) -> f64 {
        self.latency.quantile(Ratio::clamped(part)).map_or(0.0, Millis::value)
    }

    /// The part of the requests that left its client's zone, where zones are known.
    pub fn cross_zone_ratio(&self) -> Option<f64> {
        (self.zoned.0 > 0.0).then(|| self.zoned.1 / self.zoned.0)
    }

    /// A figure.
    pub fn figure(&self, figure: Figure) -> f64 {
        match figure {
            Figure::P50 => self.quantile_ms(0.5),
            Figure::P99 => self.quantile_ms(0.99),
            Figure::Errors => self.error_ratio(),
        }
    }

    /// The part of the requests that an objective calls good; nothing where queries of the user's
    /// own say what is good, which no recording plays again.
    pub fn good(&self, objective: &Objective) -> Option<f64> {
        let of = |good: f64, all: f64| (all > 0.0).then(|| (good / all).clamp(0.0, 1.0));
        match &objective.indicator {
            Indicator::Availability => of(self.requests - self.errors, self.requests),
            Indicator::Latency { threshold } => {
                let over = self.latency.count_over(Threshold::at(*threshold));
                of(self.latency.count - over, self.latency.count)
            }
            Indicator::Prometheus { .. } => None,
        }
    }
}
