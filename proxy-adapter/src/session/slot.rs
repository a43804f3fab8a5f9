//! One name of one type on one stream: what the client has, had, refused and should have.

use std::sync::Arc;
use std::time::Duration;

use weir_engine::units::Moment;

use super::Scene;
use super::pace::QUIET;
use crate::resource::{Client, Resource, TypeUrl, Version};

/// Refused versions remembered per name; older ones are long replaced.
const REFUSED_KEPT: usize = 8;
/// The longest pause before a new version of a refused name is tried.
const BACK_OFF_MAX: Duration = Duration::from_mins(5);

/// How badly a client needs to be told a name, even one that has not changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owed {
    /// Only if it changed.
    #[default]
    Nothing,
    /// It waits for it, or fell back: at once, but not on top of an unanswered response.
    Repair,
    /// It asked: at once.
    Answer,
}

/// What the client has under a name, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Held {
    /// Not known: it was never told anything on this stream.
    #[default]
    Unknown,
    /// Nothing, and it knows that there is nothing.
    Nothing,
    /// It says so itself; `None` is a version that is none of ours.
    Claimed(Option<Version>),
    /// This was sent.
    Sent(Arc<Resource>),
}

/// What the client should have under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This.
    Give(Arc<Resource>),
    /// Nothing any more.
    Gone,
    /// Whatever it has.
    Keep,
}

/// One name.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Whether it is subscribed to by name.
    pub(super) subscribed: bool,
    /// Whether it must be told.
    pub(super) owed: Owed,
    /// What the client has.
    pub(super) held: Held,
    /// What the client last took.
    pub(super) good: Option<Arc<Resource>>,
    refused: Option<Box<Refused>>,
}

#[derive(Debug)]
struct Refused {
    versions: Vec<Version>,
    times: u32,
    until: Moment,
}

impl Slot {
    /// A name under which the client has this.
    pub(super) fn holding(held: Held) -> Self {
        Self { held, ..Self::default() }
    }

    /// Whether the client has this already.
    pub(super) fn holds(&self, resource: &Resource) -> bool {
        match &self.held {
            Held::Unknown | Held::Nothing => false,
            Held::Claimed(version) => *version == Some(resource.version),
            Held::Sent(sent) => sent.version == resource.version,
        }
    }

    /// What the client should have. `fresh`: whether it is known to have nothing that it was not
    /// told on this stream.
    pub(super) fn wanted(
        &self,
        (kind, name): (TypeUrl, &Arc<str>),
        scene: &Scene<'_>,
        fresh: bool,
    ) -> Wanted {
        let Some(resource) = scene.view.snapshot.find(scene.client(), kind, name) else {
            return self.wanted_of_unknown(kind, name, fresh);
        };
        let refuses = |version| self.refuses(version) || scene.refused(kind, version);
        if !refuses(resource.version) && !self.backs_off(resource, scene.now) {
            return Wanted::Give(resource.clone());
        }
        let taken = self.good.as_ref().or_else(|| scene.view.quarantine.good(kind, resource));
        match taken {
            Some(good) if !refuses(good.version) => Wanted::Give(good.clone()),
            _ => Wanted::Keep,
        }
    }

    /// A name that nothing is known of. Silence would let the client wait, so it gets an empty
    /// resource where that is harmless: unless it has one, maybe from an earlier stream.
    fn wanted_of_unknown(&self, kind: TypeUrl, name: &str, fresh: bool) -> Wanted {
        let empty = Resource::empty(kind, name).filter(|_| self.subscribed).map(Arc::new);
        let Some(empty) = empty else { return Wanted::Gone };
        match &self.held {
            _ if kind == TypeUrl::Runtime => Wanted::Give(empty),
            Held::Claimed(_) => Wanted::Keep,
            Held::Unknown if !fresh => Wanted::Keep,
            Held::Unknown | Held::Nothing => Wanted::Give(empty),
            Held::Sent(sent) if sent.version == empty.version || self.owed != Owed::Nothing => {
                Wanted::Give(sent.clone())
            }
            Held::Sent(_) => Wanted::Gone,
        }
    }

    fn refuses(&self, version: Version) -> bool {
        self.refused.as_ref().is_some_and(|refused| refused.versions.contains(&version))
    }

    /// Whether a new version of a refused name has to wait a little longer.
    fn backs_off(&self, resource: &Resource, now: Moment) -> bool {
        let good = self.good.as_ref().is_some_and(|good| good.version == resource.version);
        !good && self.retry_at().is_some_and(|until| until > now)
    }

    /// When the next new version may be tried, if one was refused.
    pub(super) fn retry_at(&self) -> Option<Moment> {
        self.refused.as_ref().map(|refused| refused.until)
    }

    /// Whether the client has something else than what the snapshot says.
    pub(super) fn falls_back(&self, resource: Option<&Arc<Resource>>) -> bool {
        self.refused.is_some() && resource.is_some_and(|resource| !self.holds(resource))
    }

    /// The client took this. A version that it had not taken before ends the back-off.
    pub(super) fn take(&mut self, resource: &Arc<Resource>) {
        let new = self.good.as_ref().is_none_or(|good| good.version != resource.version);
        if let Some(refused) = self.refused.as_mut().filter(|_| new) {
            refused.times = 0;
            refused.until = Moment::default();
        }
        self.good = Some(resource.clone());
    }

    /// The client refused this, and is offered again what it last took.
    pub(super) fn refuse(&mut self, resource: &Resource, now: Moment) {
        let refused = self.refused.get_or_insert_with(|| {
            Box::new(Refused { versions: Vec::new(), times: 0, until: now })
        });
        if refused.versions.len() >= REFUSED_KEPT {
            refused.versions.remove(0);
        }
        refused.versions.push(resource.version);
        let pause = QUIET.saturating_mul(1 << refused.times.min(16)).min(BACK_OFF_MAX);
        refused.times += 1;
        refused.until = now.plus(pause);
        self.owed = self.owed.max(Owed::Repair);
    }

    /// A response with this name was refused: the client may have no more than it last took.
    pub(super) fn fall_back(&mut self, owed: Owed) {
        self.held = self.good.clone().map_or(Held::Unknown, Held::Sent);
        self.owed = self.owed.max(owed);
    }
}

impl Scene<'_> {
    /// What the snapshot has for this node under a name.
    pub(super) fn resource(&self, kind: TypeUrl, name: &str) -> Option<&Arc<Resource>> {
        self.view.snapshot.find(self.client(), kind, name)
    }

    fn client(&self) -> Client<'_> {
        Client { node: self.node, zone: self.zone }
    }

    fn refused(&self, kind: TypeUrl, version: Version) -> bool {
        self.view.quarantine.is_refused(self.node, kind, version)
    }
}
