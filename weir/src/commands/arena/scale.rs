//! A scenario at the size that a machine carries.
//!
//! Rates are divided by a factor, and what takes time within a request (work, patience, the way
//! between zones, the goal's latencies) is multiplied by it. So utilisation, queues, endpoints and
//! their workers stay, and so does when things happen; only there are fewer, longer requests, and
//! so fewer that telemetry tells of each second. Figures are told in the scenario's own units:
//! latencies divided by the factor again, goodput multiplied.

use weir_simulator::scenario::Scenario;

use crate::scenarios::Plan;

/// Requests per second that a core carries with the generator, Envoys, backends and Weir on it,
/// at half of its time, so that others may use the machine too.
const CARRIED_PER_CORE: f64 = 600.0;

/// By how much a scenario is scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale(f64);

impl Scale {
    /// By a given factor of at least 1.
    pub(super) fn by(factor: f64) -> Self {
        Self(factor.max(1.0))
    }

    /// By what this machine carries.
    pub(super) fn carried(plan: &Plan) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of_peak(peak(&plan.scenario(0, 1)), cores)
    }

    fn of_peak(rps: f64, cores: usize) -> Self {
        Self::by((rps / (CARRIED_PER_CORE * cores as f64)).ceil())
    }

    pub(super) fn factor(self) -> f64 {
        self.0
    }

    /// The scenario at this size.
    pub(super) fn scenario(self, scenario: &Scenario) -> Scenario {
        let mut scaled = scenario.clone();
        scaled.load = scenario.load.times(1.0 / self.0);
        scaled.service.0 = scenario.service.0.mul_f64(self.0);
        scaled.timeout = scenario.timeout.mul_f64(self.0);
        scaled.cross_zone = scenario.cross_zone.mul_f64(self.0);
        scaled
    }
}

/// The highest rate, to a tenth of a second.
pub(super) fn peak(scenario: &Scenario) -> f64 {
    let mut peak: f64 = 0.0;
    let mut second = 0.0;
    while second < scenario.length {
        peak = peak.max(scenario.load.at(second));
        second += 0.1;
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use weir_simulator::scenario::{Backend, Curve};

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    /// The part of all workers that is busy.
    fn utilisation(scenario: &Scenario) -> f64 {
        let workers: u32 = scenario.backends.iter().map(|backend| backend.workers).sum();
        peak(scenario) * scenario.service.0.as_secs_f64() / f64::from(workers)
    }

    #[test]
    fn utilisation_endpoints_and_moments_stay() {
        let whole = Scenario {
            backends: vec![Backend::healthy(8), Backend::healthy(3)],
            load: Curve::between(40.0, 70.0, 100.0, 400.0),
            cross_zone: Duration::from_millis(20),
            ..Scenario::fleet(7)
        };
        let scaled = Scale::by(4.0).scenario(&whole);
        close(utilisation(&scaled), utilisation(&whole));
        close(scaled.load.at(50.0), 100.0);
        close(scaled.load.at(10.0), 25.0);
        assert_eq!(scaled.timeout, whole.timeout * 4);
        assert_eq!(scaled.cross_zone, Duration::from_millis(80));
        assert_eq!(scaled.backends, whole.backends);
        assert_eq!((scaled.counted, scaled.length), (whole.counted, whole.length));
        assert_eq!((scaled.seed, scaled.proxies), (whole.seed, whole.proxies));
    }

    #[test]
    fn the_peak_and_the_machine_make_the_factor() {
        close(Scale::of_peak(2_400.0, 2).factor(), 2.0);
        close(Scale::of_peak(2_401.0, 2).factor(), 3.0);
        close(Scale::of_peak(10.0, 2).factor(), 1.0);
        close(Scale::of_peak(4_800.0, 16).factor(), 1.0);
    }
}
