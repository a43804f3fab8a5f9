//! What is safe now, and why: the whole desired state, not a change to it.
//!
//! Every share, ejection and hold carries its [`Reason`] with the numbers behind it, made where
//! the choice is made. The texts people read (log, API, page) are these types' `Display`.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::approval::{Approval, Offer};
use crate::goal::Mode;
use crate::names::{Address, ClusterName, Locality, Node, Place, PolicyName, ServiceId};
use crate::rollout::RolloutDecision;
use crate::topology::ServiceTopology;
use crate::units::{Millis, Moment, PerSecond, Ratio};
use crate::warning::Warning;
use crate::zones::ZoneSplit;

mod words;
pub use words::Span;

/// One step's outcome.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Counts steps, from 1; goes on across restarts.
    pub sequence: u64,
    /// When it was taken.
    pub at: Moment,
    /// One per service, in ascending order of id. Shared with the state, which remembers the last.
    pub services: Vec<Arc<ServiceDecision>>,
    /// New versions that take over, in ascending order of the service that clients call.
    pub rollouts: Vec<Arc<RolloutDecision>>,
    /// Access log sampling per node.
    pub sampling: Vec<Sampling>,
}

/// What is decided for one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceDecision {
    /// Which service.
    pub service: ServiceId,
    /// The policy in force; empty without one.
    pub policy: PolicyName,
    /// Whether the decision is acted on.
    pub mode: Mode,
    /// What Weir is doing with the service as a whole.
    pub stance: Stance,
    /// Measured load over the window.
    pub load: PerSecond,
    /// Estimated capacity of the endpoints that are in, if known.
    pub capacity: Option<PerSecond>,
    /// One per declared endpoint, in the topology's order. In Observe and Recommend: what would
    /// be done.
    pub endpoints: Vec<EndpointDecision>,
    /// What each client cluster gets. In Observe: equal shares; in Recommend too, but for what is
    /// approved.
    pub realisations: Vec<Arc<Realisation>>,
    /// The part of the requests that is turned away, since no split of them can be served.
    #[serde(default)]
    pub shed: Ratio,
    /// Where the clients of each zone go; empty where all go alike.
    #[serde(default)]
    pub zones: Vec<ZoneSplit>,
    /// How the policy's objectives stand.
    pub objectives: Vec<ObjectiveStatus>,
    /// Part of the service's traffic that this step moves (half the sum of absolute changes of
    /// host-level shares).
    pub moved: Ratio,
    /// What judges of series find: advice, on which nothing was done.
    pub warnings: Vec<Warning>,
    /// In Recommend: what waits for a person's approval.
    #[serde(default)]
    pub offer: Option<Offer>,
    /// In Recommend: what is done because a person approved it.
    #[serde(default)]
    pub approval: Option<Approval>,
}

/// How one objective stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveStatus {
    /// Its name in the policy.
    pub name: String,
    /// The part of requests that shall be good.
    pub target: Ratio,
    /// The part that was good over the objective's window, if anything was seen.
    pub good: Option<Ratio>,
    /// Part of the error budget that is left; negative when it is overspent.
    pub budget_left: f64,
    /// How fast the last hour spent it: 1 spends it exactly over the window.
    pub burn_rate: f64,
}

/// What Weir is doing with a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Stance {
    /// Nothing is proven: equal shares in the original localities.
    #[default]
    Resting,
    /// Shares follow a proven, lasting imbalance, or endpoints are out.
    Steering,
    /// Everything stays as it was.
    Holding(Hold),
    /// Evidence has been missing for long: going back to equal shares.
    Decaying {
        /// Since when there is no evidence.
        stale: Duration,
    },
}

/// Why everything stays as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Hold {
    /// The policy is suspended.
    Suspended,
    /// The journal cannot be written: what could not be explained is not done.
    Unrecorded,
    /// No fresh evidence.
    Stale {
        /// For how long.
        age: Duration,
    },
    /// Too few endpoints covered or too few requests seen.
    Quorum {
        /// Endpoints that something is known of.
        covered: u32,
        /// Of so many.
        endpoints: u32,
        /// Requests in the window.
        requests: u64,
        /// Requests needed.
        needed: u64,
    },
    /// Most endpoints look bad at once: the cause is not an endpoint's.
    CommonCause {
        /// Endpoints that look bad.
        bad: u32,
        /// Of so many judged.
        judged: u32,
    },
    /// Measured shares do not match what was pushed.
    Mismatch {
        /// The largest difference.
        difference: Ratio,
        /// What was allowed.
        tolerance: Ratio,
    },
    /// Proxies refused the last push.
    Refused {
        /// How many nodes.
        nodes: u32,
    },
}

/// What is decided for one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointDecision {
    /// Its address.
    pub address: Address,
    /// Weight relative to the equal share: 1 is equal.
    pub weight: f64,
    /// Its part of the service's traffic, of an average client.
    pub share: Ratio,
    /// In, out or in between.
    pub state: EndpointState,
    /// Why.
    pub reason: Reason,
    /// The limit that kept the model from more, if one did.
    pub bound: Option<Bound>,
}

/// In, out or in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointState {
    /// Takes traffic.
    #[default]
    Serving,
    /// New: its share is ramping up.
    Joining,
    /// Back from an ejection with little traffic until proven.
    Probation,
    /// Out.
    Ejected {
        /// When it comes back to probation.
        until: Moment,
        /// How many times in a row.
        times: u32,
    },
    /// Discovery says that it must not take traffic.
    NotReady,
}

/// Why an endpoint gets what it gets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Reason {
    /// No imbalance is proven: an equal share.
    #[default]
    Equal,
    /// Too little is known of it: it keeps what it had.
    Unknown,
    /// Its service time differs from its peers', and has for a while.
    ServiceTime {
        /// Its service time.
        own: Millis,
        /// Its peers' median.
        peers: Millis,
        /// How much of a deviation survives one loop: 0 none, 1 all.
        persistence: f64,
    },
    /// It fails more than its peers.
    Failing(Failing),
    /// It is slower than a tail objective allows, and than its peers.
    Slow(Slow),
    /// It is back from an ejection, or new, and has to prove itself.
    Proving {
        /// For how long so far.
        age: Duration,
    },
    /// Its traffic is somewhat less or more because others' changed.
    Remainder,
    /// Discovery says that it must not take traffic.
    NotReady,
    /// Proxies have ejected it themselves.
    EjectedByProxies {
        /// So many clients.
        clients: u32,
        /// Of so many.
        of: u32,
    },
}

/// Evidence that an endpoint fails more than its peers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failing {
    /// Failed requests in the window.
    pub errors: f64,
    /// Requests in the window.
    pub requests: f64,
    /// The Wilson 95 % lower bound of its error ratio.
    pub bound: Ratio,
    /// The limit it is over.
    pub limit: Ratio,
}

/// Evidence that an endpoint is slower than a tail objective allows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slow {
    /// Its mean latency.
    pub own: Millis,
    /// Its peers' median.
    pub peers: Millis,
    /// The Wilson 95 % lower bound of its part of requests over the threshold.
    pub bound: Ratio,
    /// The part that the objective allows.
    pub limit: Ratio,
    /// Consecutive windows in which this held.
    pub windows: u32,
}

/// A limit that kept the model from more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// Already as many endpoints out as the policy allows.
    EjectionCap,
    /// Too few would stay healthy.
    MinHealth,
    /// Proxies would enter panic.
    PanicLine,
    /// The others could not carry its load.
    Capacity,
    /// Two endpoints or fewer: none is ejected.
    TooFew,
    /// The evidence is thin.
    Quorum,
    /// The largest step of one service.
    Step,
    /// The largest step of the mesh.
    MeshStep,
    /// Changes per minute.
    Changes,
    /// A recent change the other way.
    Reversal,
    /// The policy's weight range.
    WeightRange,
}

/// What one kind of client cluster gets: localities with members, ready for a proxy's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Realisation {
    /// The client clusters that get it.
    pub clusters: Vec<ClusterName>,
    /// The form that shares take.
    pub form: Form,
    /// Localities, each once per priority, in the order sent.
    pub groups: Vec<Group>,
    /// The host-level shares that proxies will make of it, in the topology's order.
    pub predicted: Vec<Ratio>,
    /// The part of the requests that proxies turn away.
    #[serde(default)]
    pub shed: Ratio,
    /// What clients of one zone get instead of the groups' weights; clients of any other zone get
    /// those.
    #[serde(default)]
    pub zones: Vec<ZoneWeights>,
    /// Whether so few are healthy that proxies of this form ignore health.
    pub panicking: bool,
}

/// The form that shares take at a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// Equal weights in the original localities.
    Equal,
    /// Equal weights; only health says who takes part.
    InOut,
    /// Weight classes as localities, equal weights inside.
    Classes,
    /// A weight per endpoint.
    Weights,
    /// One locality per endpoint (gRPC).
    Localities,
}

/// The weights of all groups for the clients of one zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZoneWeights {
    /// The clients' zone.
    pub client: Place,
    /// One per group, in their order.
    pub weights: Vec<NonZeroU32>,
}

impl ZoneWeights {
    /// The groups as these clients get them.
    pub fn of_groups(&self, groups: &[Group]) -> Vec<Group> {
        let weighed = groups.iter().zip(&self.weights);
        weighed.map(|(group, &weight)| Group { weight, ..group.clone() }).collect()
    }
}

/// A locality with its members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The locality. Classes add a sub-zone of Weir's own.
    pub locality: Locality,
    /// The locality's weight.
    pub weight: NonZeroU32,
    /// Its members in ascending order of address.
    pub members: Vec<Member>,
}

/// An endpoint within a locality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its address.
    pub address: Address,
    /// Its weight within the locality.
    pub weight: NonZeroU32,
    /// What the proxy is told of its health.
    pub health: Health,
}

/// What a proxy is told of an endpoint's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// Use it.
    Healthy,
    /// Ejected by Weir.
    Unhealthy,
    /// Discovery takes it out; running requests may end.
    Draining,
}

/// A node's access log sampling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampling {
    /// Which node.
    pub node: Node,
    /// Per cent of requests logged, 0..=100. Whole numbers: Envoy ignores anything finer.
    pub percent: u8,
}

/// Whether anything is done in a mode.
pub(crate) fn acts(mode: Mode, approval: Option<&Approval>) -> bool {
    match mode {
        Mode::Enforce => true,
        Mode::Recommend => approval.is_some(),
        Mode::Observe => false,
    }
}

impl ServiceDecision {
    /// The part of the traffic that goes elsewhere once these are granted: half the sum of
    /// absolute changes of shares. Nothing where the endpoints are others.
    pub(crate) fn moved_to(
        &self,
        granted: &[crate::guard::Granted],
        declared: &ServiceTopology,
    ) -> Ratio {
        let known = self.endpoints.iter().map(|endpoint| &endpoint.address);
        if !known.eq(declared.endpoints.iter().map(|endpoint| &endpoint.address)) {
            return Ratio::ZERO;
        }
        let shares = crate::guard::shares(granted);
        let before = self.endpoints.iter().map(|endpoint| endpoint.share.value());
        Ratio::clamped(before.zip(shares).map(|(b, a)| (a - b).abs()).sum::<f64>() / 2.0)
    }

    /// Whether anything of it is done.
    pub fn acts(&self) -> bool {
        acts(self.mode, self.approval.as_ref())
    }

    /// One line for a person: what is done and why.
    pub fn summary(&self) -> String {
        words::summary(self)
    }
}
