//! What a model is: a judge and a sharer, pure, with its memory held by the state.

use core::fmt::Debug;
use core::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::assessment::Assessment;
use crate::comparison::{Bar, Look, Verdict};
use crate::decision::EndpointState;
use crate::goal::Goal;
use crate::history::History;
use crate::observation::Fitted;
use crate::plan::Plan;
use crate::topology::ServiceTopology;
use crate::units::Moment;

/// Judges endpoints and shares traffic. Code and constants only: what it remembers is `Memory`.
pub trait Model {
    /// What it remembers of one service: plain data.
    type Memory: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned;

    /// Which model this is: a journal names it beside each decision.
    fn version(&self) -> &'static str;

    /// Follows a change of topology: `from[new]` is the old index of each endpoint, `None` for a
    /// new one.
    fn remap(&self, memory: &mut Self::Memory, from: &[Option<usize>]);

    /// Takes over what was fitted apart from the steps. What it cannot read changes nothing.
    fn adopt(&self, _fitted: &Fitted, _memory: &mut Self::Memory) {}

    /// Judges a service's endpoints.
    fn assess(&self, view: &View<'_>, memory: &mut Self::Memory) -> Assessment;

    /// Wishes shares, from a judgement.
    fn share(&self, view: &View<'_>, assessment: &Assessment, memory: &mut Self::Memory) -> Plan;

    /// Judges a new version by one look more. The memory is the comparison's own, of no service;
    /// a fresh one forgets the looks before. A model that cannot judge proves nothing.
    fn compare(&self, _look: &Look, _bar: &Bar, _memory: &mut Self::Memory) -> Verdict {
        Verdict::default()
    }
}

/// All that a model may look at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Now.
    pub at: Moment,
    /// Since the last step.
    pub elapsed: Duration,
    /// The declared endpoints; dense columns follow their order.
    pub topology: &'a ServiceTopology,
    /// What is wanted.
    pub goal: &'a Goal,
    /// What was seen.
    pub history: &'a History,
    /// What is in force, one per endpoint.
    pub standings: &'a [Standing],
    /// Whether anything of what is decided is done.
    pub acting: bool,
    /// Whether the last step could not be recorded.
    pub unrecorded: bool,
}

/// How an endpoint stands after the last decision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its weight in force, relative to the equal share (of an ejected one: what it had).
    pub weight: f64,
    /// In, out or in between.
    pub state: EndpointState,
    /// Since when it is in that state.
    pub since: Moment,
    /// Ejections in a row.
    pub ejections: u32,
}

impl Default for Standing {
    fn default() -> Self {
        Self { weight: 1.0, state: EndpointState::Serving, since: Moment::default(), ejections: 0 }
    }
}
