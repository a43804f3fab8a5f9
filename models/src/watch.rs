//! Watching series beside deciding: what is unusual, has shifted, stands apart or lies ahead.
//!
//! The judges of [`crate::series`] on live telemetry: each endpoint's latency against its own last
//! minute, against a shift of its level and against its siblings; a service's latency and errors
//! likewise, its load against what its endpoints can carry, and all its signals together. What
//! they find is advice and moves no traffic: proofs are [`crate::reference`]'s.
//!
//! A finding must last to be told (three samples of five), and stays told for a while after it was
//! last seen, so that people can read it. Where most endpoints are unusual at once, none of them
//! is to blame: then only the service is named.
//!
//! Memory is bounded: about 650 bytes per endpoint and 8 kB per service, plus its pattern.

use serde::{Deserialize, Serialize};
use weir_engine::assessment::Assessment;
use weir_engine::history::{Window, remapped};
use weir_engine::model::View;
use weir_engine::observation::Fitted;
use weir_engine::warning::{Finding, Kind, Signal, WARNINGS_MAX, Warning};

use crate::series::peers::{Group, Lately};

mod ahead;
mod line;
mod service;

use line::Line;
pub use service::SIGNALS;
use service::{Service, Totals};

/// Fewer timed requests say nothing of a mean latency.
const TIMED_LEAST: f64 = 5.0;
/// A latency that is off by less than this factor, as a logarithm, means nothing.
const LATENCY_FLOOR: f32 = 0.1;
/// Where more than this part of endpoints is unusual at once, the cause is a common one.
const COMMON: f64 = 0.5;
/// A finding that is not seen again stands for so many judgements.
const STANDS: u8 = 10;

/// What is remembered of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    service: Service,
    endpoints: Vec<Endpoint>,
    standing: Vec<Standing>,
}

/// What is remembered of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Endpoint {
    latency: Line,
    apart: Lately,
}

/// A warning, and for how long it stands unless it is seen again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Standing {
    warning: Warning,
    left: u8,
}

impl Watch {
    /// Judges what is new, if anything is; all warnings that stand, those of the service first.
    pub fn see(&mut self, view: &View<'_>, assessment: &Assessment) -> Vec<Warning> {
        self.endpoints.resize_with(view.topology.endpoints.len(), Endpoint::default);
        self.service.forget_sample();
        if let Some(window) = view.history.current(view.at) {
            let mut found = Vec::new();
            let totals = Totals::of(window, assessment);
            self.service.see(&totals, view, |finding| found.push((None, finding)));
            self.see_endpoints(window, &mut found);
            self.stand(&found, view);
        }
        self.standing.iter().map(|standing| standing.warning.clone()).collect()
    }

    /// Follows a change of topology: `from[new]` is the old index of each endpoint.
    pub fn remap(&mut self, from: &[Option<usize>]) {
        self.endpoints = remapped(&mut self.endpoints, from);
        self.standing.retain_mut(|standing| {
            let Some(old) = standing.warning.endpoint else { return true };
            let new = from.iter().position(|from| *from == Some(old as usize));
            standing.warning.endpoint = new.and_then(|new| u32::try_from(new).ok());
            new.is_some()
        });
    }

    /// Takes over a fitted pattern.
    pub fn adopt(&mut self, fitted: &Fitted) {
        self.service.adopt(fitted);
    }

    /// The service's signals of the last step, if it brought any: what patterns are fitted to. One
    /// that is not known is no number.
    pub fn sample(&self) -> Option<[f64; SIGNALS]> {
        self.service.sample()
    }

    fn see_endpoints(&mut self, window: &Window, found: &mut Vec<(Option<u32>, Finding)>) {
        let mut latencies = vec![f64::NAN; self.endpoints.len()];
        for row in &*window.rows {
            let latency = &row.latency;
            if let Some(slot) = latencies.get_mut(row.endpoint as usize)
                && latency.count >= TIMED_LEAST
                && latency.sum_ms > 0.0
            {
                *slot = libm::log(latency.sum_ms / latency.count);
            }
        }
        let (mut odd, mut seen, before) = (0_u32, 0_u32, found.len());
        let group = Group::of(&latencies, self.service.usual_endpoint());
        if let Some(group) = &group {
            self.service.see_endpoints(group.median);
        }
        let both = self.endpoints.iter_mut().zip(&latencies);
        for (index, (endpoint, value)) in (0_u32..).zip(both) {
            if value.is_nan() {
                continue;
            }
            let count = found.len();
            endpoint.latency.see(*value, LATENCY_FLOOR, |seen| {
                found.push((Some(index), seen.finding(Signal::Latency, libm::exp)));
            });
            seen += 1;
            odd += u32::from(found.len() > count);
            let apart = group.and_then(|group| endpoint.apart.see(*value, &group));
            if let Some(apart) = apart.filter(|apart| apart.distance > 0.0) {
                let finding = Finding::Apart {
                    value: rounded(libm::exp(apart.value)),
                    siblings: rounded(libm::exp(apart.median)),
                    deviations: rounded(apart.distance),
                    samples: apart.samples,
                };
                found.push((Some(index), finding));
            }
        }
        if f64::from(odd) > COMMON * f64::from(seen) && seen > 1 {
            found.truncate(before);
        }
    }

    /// What is found anew begins, what is found again goes on, what is not found any more ends.
    fn stand(&mut self, found: &[(Option<u32>, Finding)], view: &View<'_>) {
        for standing in &mut self.standing {
            standing.left = standing.left.saturating_sub(1);
        }
        for (endpoint, finding) in found {
            let about = (*endpoint, finding.kind(), finding.signal());
            let known = self.standing.iter_mut().find(|standing| standing.about() == about);
            if let Some(known) = known {
                known.left = STANDS;
                known.warning.finding = finding.clone();
            } else if self.standing.len() < WARNINGS_MAX {
                let (endpoint, finding) = (*endpoint, finding.clone());
                let warning = Warning { endpoint, since: view.at, finding };
                self.standing.push(Standing { warning, left: STANDS });
            }
        }
        self.standing.retain(|standing| standing.left > 0);
        self.standing.sort_by_key(|standing| (standing.warning.endpoint, standing.about().1));
    }
}

impl Standing {
    fn about(&self) -> (Option<u32>, Kind, Signal) {
        let Warning { endpoint, finding, .. } = &self.warning;
        (*endpoint, finding.kind(), finding.signal())
    }
}

/// Three significant digits: what people read, and all that decisions hold of a float.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 2.0 - libm::floor(libm::log10(libm::fabs(value)));
    let scale = libm::pow(10.0, digits);
    libm::round(value * scale) / scale
}

#[cfg(test)]
mod tests;
