//! What Weir is compared with: balancers of proxies, each built from its source.
//!
//! All of them meet the same arrivals, service draws and faults of a seed. Peers in the field are
//! given their own defaults and, where an operator would tune them, a tuned twin.

use crate::balancer::Balancer;
use crate::random::Random;

pub mod edf;
pub mod l3;
pub mod l3_split;
pub mod least_request;
pub mod limits;
pub mod linkerd;
pub mod omniscient;
pub mod orca_wrr;
pub mod outliers;
pub mod peak_ewma;
pub mod prequal;
pub mod random;
pub mod round_robin;

use limits::{AdaptiveConcurrency, Gradient2, Limiter};
use outliers::{Outliers, Settings};

/// Who balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rival {
    /// Weir above Envoy's least request and outlier detection.
    Weir,
    /// Envoy's round robin.
    RoundRobin,
    /// Uniformly random.
    Random,
    /// Envoy's least request of two choices.
    LeastRequest,
    /// The same with outlier detection at Envoy's defaults.
    LeastRequestOd,
    /// The same with outlier detection as a careful operator sets it.
    LeastRequestOdTuned,
    /// Finagle's Peak EWMA.
    PeakEwma,
    /// The same with Envoy's outlier detection.
    PeakEwmaOd,
    /// Linkerd's Peak EWMA and circuit breaker.
    Linkerd,
    /// gRPC's weighted round robin by ORCA reports.
    OrcaWrr,
    /// Prequal.
    Prequal,
    /// L3's controller over round robin.
    L3,
    /// Least request with outlier detection, and Netflix's concurrency limit.
    LeastRequestGradient2,
    /// Least request with outlier detection, and Envoy's adaptive concurrency filter.
    LeastRequestAdaptive,
    /// Join shortest expected delay, knowing everything: a bound, not a rival.
    Omniscient,
}

impl Rival {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 15] = [
        Self::Weir,
        Self::RoundRobin,
        Self::Random,
        Self::LeastRequest,
        Self::LeastRequestOd,
        Self::LeastRequestOdTuned,
        Self::PeakEwma,
        Self::PeakEwmaOd,
        Self::Linkerd,
        Self::OrcaWrr,
        Self::Prequal,
        Self::L3,
        Self::LeastRequestGradient2,
        Self::LeastRequestAdaptive,
        Self::Omniscient,
    ];

    /// Its name in files and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::LeastRequest => "least-request",
            Self::LeastRequestOd => "least-request+od",
            Self::LeastRequestOdTuned => "least-request+od-tuned",
            Self::PeakEwma => "peak-ewma",
            Self::PeakEwmaOd => "peak-ewma+od",
            Self::Linkerd => "linkerd",
            Self::OrcaWrr => "orca-wrr",
            Self::Prequal => "prequal",
            Self::L3 => "l3",
            Self::LeastRequestGradient2 => "least-request+gradient2",
            Self::LeastRequestAdaptive => "least-request+adaptive-concurrency",
            Self::Omniscient => "omniscient",
        }
    }

    /// The one of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rival| rival.name() == name)
    }

    /// Whether it asks how backends stand: looks at them, probes them or hears their reports.
    pub(crate) fn looks(self) -> bool {
        matches!(self, Self::OrcaWrr | Self::Prequal | Self::Omniscient)
    }

    pub(crate) fn balancer(self, backends: usize) -> Box<dyn Balancer> {
        match self {
            Self::Weir
            | Self::LeastRequest
            | Self::LeastRequestOd
            | Self::LeastRequestOdTuned
            | Self::LeastRequestGradient2
            | Self::LeastRequestAdaptive => Box::new(least_request::LeastRequest::new()),
            Self::RoundRobin | Self::L3 => Box::new(round_robin::RoundRobin::new()),
            Self::Random => Box::new(random::UniformRandom::new()),
            Self::PeakEwma | Self::PeakEwmaOd => Box::new(peak_ewma::PeakEwma::new(backends)),
            Self::Linkerd => Box::new(linkerd::Linkerd::penalising(backends)),
            Self::OrcaWrr => Box::new(orca_wrr::OrcaWrr::new(backends)),
            Self::Prequal => Box::new(prequal::Prequal::new(backends)),
            Self::Omniscient => Box::new(omniscient::Omniscient::new()),
        }
    }

    /// The outlier detection that its proxies do by themselves.
    pub fn detection(self) -> Option<Settings> {
        if self == Self::LeastRequestOdTuned {
            return Some(Settings::tuned());
        }
        let detects = [
            Self::Weir,
            Self::LeastRequestOd,
            Self::PeakEwmaOd,
            Self::LeastRequestGradient2,
            Self::LeastRequestAdaptive,
        ];
        detects.contains(&self).then(Settings::default)
    }

    pub(crate) fn outliers(self, backends: usize) -> Option<Outliers> {
        self.detection().map(|settings| Outliers::new(backends, settings))
    }

    pub(crate) fn limiter(self, random: Random) -> Option<Box<dyn Limiter>> {
        if self == Self::LeastRequestGradient2 {
            return Some(Box::new(Gradient2::new(Gradient2::LIMITS)));
        }
        let adaptive = || Box::new(AdaptiveConcurrency::new(random, 0)) as Box<dyn Limiter>;
        (self == Self::LeastRequestAdaptive).then(adaptive)
    }
}
