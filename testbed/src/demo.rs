//! Everything of the demo that is not Weir: two sides with ten backends and forty client
//! proxies each, one Envoy's configuration for both, the script of faults, the load, the score.
//!
//! The sides differ in one thing: who writes the governed side's clusters and endpoints. With
//! [`Governor::Weir`] that is Weir, and its part of the configuration is passed in; with
//! [`Governor::Nobody`] both sides are plain, which shows how much of a difference is noise.
//!
//! Each side is a fleet: a listener and a cluster per proxy, with load-balancing state of its
//! own, inside one Envoy process. A single proxy would see every request and find faults on its
//! own; a fleet's proxies see a fortieth each.

mod bootstrap;
mod script;

pub use bootstrap::cluster_name;
pub use script::{Scene, Stage, Timing, script};

use crate::backends::{Backend, Service};
use crate::descriptors;
use crate::envoy::{Admin, AdminError};
use crate::load::{Live, Load, Segment, SideLive, Summary, Tally};
use crate::membership::{Listed, Membership};
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Backends per side.
pub const BACKENDS: usize = 10;

/// Client proxies per side.
pub const PROXIES: usize = 40;

/// Requests a second and side: six tenths of what ten backends can serve.
pub const RATE: f64 = 1200.0;

/// When a request has failed for being late; the routes' timeout is the same.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// How long a backend that left the list still answers, as a pod does that is being ended: the
/// list takes a moment to reach the proxies. At most a third of the pause.
const DRAIN: Duration = Duration::from_secs(5);

/// Connections that this process holds at the demo's rate: about 2,000 at rest, twice that while
/// many requests wait for their timeout.
const DESCRIPTORS: u64 = 4096;

/// Who governs the governed side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Governor {
    /// Weir: it reads the endpoints from a file and serves clusters and endpoints to Envoy.
    Weir,
    /// Nobody: the side is configured like the plain one.
    Nobody,
}

/// Why the demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A backend has no port.
    #[error("backend {name} could not listen on loopback")]
    Backend {
        /// Its name.
        name: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// This process may have too few connections.
    #[error(
        "the demo needs {DESCRIPTORS} open files and connections, and the limit is {limit}; \
         raise the hard limit (`ulimit -Hn`) and start it again"
    )]
    Descriptors {
        /// The limit.
        limit: u64,
    },
    /// A list of endpoints could not be written.
    #[error("the endpoints of the demo could not be written: {path}")]
    Endpoints {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Envoy does not tell its listeners.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Envoy lacks a listener that its configuration has.
    #[error("Envoy does not listen as {0}; its log says why")]
    Listener(String),
}

/// The demo's world.
#[derive(Debug)]
pub struct Demo {
    /// The side that Weir governs.
    pub governed: Side,
    /// The side with LEAST_REQUEST and outlier detection alone.
    pub plain: Side,
    /// Client proxies per side, [`PROXIES`] unless set before the configuration is made. With a
    /// file for each plain one to watch, the kernel's usual limit (128 inotify instances for a
    /// user) is above one demo and below two.
    pub proxies: usize,
    governor: Governor,
}

/// One side: its backends and the list by which its proxies find them.
#[derive(Debug)]
pub struct Side {
    /// All ten, whether they are listed or not.
    pub backends: Vec<Backend>,
    membership: Membership,
}

/// Where each side's proxies listen.
#[derive(Clone, Debug)]
pub struct Listeners {
    /// Of the governed side.
    pub governed: Vec<SocketAddr>,
    /// Of the plain side.
    pub plain: Vec<SocketAddr>,
}

/// How far a run has come, for people who watch.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// What is being played; nothing before the first.
    pub scene: Option<Scene>,
    /// The time until it ends.
    pub remaining: Duration,
    /// What the governed side saw of it so far.
    pub governed: SideLive,
    /// What the plain side saw of it so far.
    pub plain: SideLive,
}

/// What a run showed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The phases in the order in which they were played.
    pub phases: Vec<Phase>,
    /// The share of requests that left noticeably after their time. Above a hundredth the
    /// machine was too busy for the figures to mean anything.
    #[serde(skip)]
    pub late_ratio: f64,
}

/// What one phase showed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// With Weir.
    pub governed: Summary,
    /// Without.
    pub plain: Summary,
}

/// One run of the script.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The seed of arrivals, service times and injected errors.
    pub seed: u64,
    /// Requests a second and side at full load.
    pub rate: f64,
    /// How long everything takes.
    pub timing: Timing,
}

impl Demo {
    /// Starts the backends and writes the lists of endpoints under `directory`. Raises this
    /// process's limit of open files, which Envoy inherits, to what both will need.
    pub fn start(directory: &Path, governor: Governor) -> Result<Demo, DemoError> {
        // Where it cannot be raised, what it is decides.
        let limit = descriptors::raise().unwrap_or_else(|_| descriptors::limit());
        if limit < DESCRIPTORS {
            return Err(DemoError::Descriptors { limit });
        }
        let governed = match governor {
            Governor::Weir => Membership::file(directory, "governed"),
            Governor::Nobody => Membership::assignment(directory, "governed"),
        };
        Ok(Demo {
            governed: Side::start("governed", governed)?,
            plain: Side::start("plain", Membership::assignment(directory, "plain"))?,
            proxies: PROXIES,
            governor,
        })
    }

    /// The file in which Weir finds the endpoints of the governed side: `endpoints`, a list of
    /// `address`es.
    pub fn endpoints_file(&self) -> &Path {
        self.governed.membership.path()
    }

    /// The configuration of the one Envoy that carries both sides. `weir` is the configuration
    /// that Weir would generate for an Envoy without listeners (`{}` without Weir): the demo
    /// adds to it. `upstream_log` is what the routers of the governed side log to.
    pub fn bootstrap(
        &self,
        weir: serde_json::Value,
        upstream_log: &[serde_json::Value],
    ) -> serde_json::Value {
        let of_nobody = (self.governor == Governor::Nobody).then_some(&self.governed.membership);
        let sides = bootstrap::Sides {
            proxies: self.proxies,
            upstream_log,
            governed: of_nobody,
            plain: &self.plain.membership,
        };
        sides.add_to(weir)
    }

    /// Where the proxies of a started Envoy listen.
    pub async fn listeners(&self, admin: &Admin) -> Result<Listeners, DemoError> {
        let known = admin.listeners().await?;
        let side = |side: &str| {
            let address = |proxy| {
                let name = bootstrap::listener_name(side, proxy);
                known.get(&name).copied().ok_or(DemoError::Listener(name))
            };
            (0..self.proxies).map(address).collect::<Result<Vec<_>, _>>()
        };
        Ok(Listeners { governed: side("governed")?, plain: side("plain")? })
    }

    /// Plays the script once, with its load, publishing how far it has come.
    pub async fn run(
        &mut self,
        run: Run,
        listeners: Listeners,
        progress: &watch::Sender<Progress>,
    ) -> Result<Outcome, DemoError> {
        let stages = script(run.timing);
        let segment = |stage: &Stage| Segment { length: stage.length, rate: stage.load * run.rate };
        let load = Load {
            seed: run.seed,
            segments: stages.iter().map(segment).collect(),
            sides: vec![listeners.governed, listeners.plain],
            timeout: TIMEOUT,
        };
        let (live, seen) = watch::channel(Live::default());
        let generate = async move {
            let never = CancellationToken::new();
            Ok(load.run(&live, &never).await)
        };
        let report = async {
            report(&stages, seen, progress).await;
            Ok(())
        };
        let (tallies, (), ()) = tokio::try_join!(generate, self.direct(&stages), report)?;
        Ok(Outcome { phases: phases(&stages, &tallies), late_ratio: late_ratio(&tallies) })
    }

    /// Lets the stages happen, and the backends be healthy at the end.
    async fn direct(&mut self, stages: &[Stage]) -> Result<(), DemoError> {
        let mut begins = Instant::now();
        for stage in stages {
            sleep_until(begins).await;
            self.governed.enter(stage, begins)?;
            self.plain.enter(stage, begins)?;
            if stage.scene.leaving().next().is_some() {
                sleep(DRAIN.min(stage.length / 3)).await;
                self.governed.leave(stage).await;
                self.plain.leave(stage).await;
            }
            begins += stage.length;
        }
        sleep_until(begins).await;
        let rest = Stage { scene: Scene::Pause, length: Duration::ZERO, load: 1.0 };
        self.governed.enter(&rest, begins)?;
        self.plain.enter(&rest, begins)
    }
}

impl Side {
    fn start(name: &str, membership: Membership) -> Result<Side, DemoError> {
        let backend = |number: usize| {
            let name = format!("{name}-{number}");
            Backend::start(&name, Service::SHOP)
                .map_err(|source| DemoError::Backend { name, source })
        };
        let backends = (0..BACKENDS).map(backend).collect::<Result<Vec<_>, _>>()?;
        let side = Side { backends, membership };
        side.list(|_| true)?;
        Ok(side)
    }

    /// Writes the list of those backends that are `present`, all at once.
    pub fn list(&self, present: impl Fn(usize) -> bool) -> Result<(), DemoError> {
        let listed = self.backends.iter().enumerate().filter(|(number, _)| present(*number));
        let listed =
            listed.map(|(_, backend)| Listed::plain(backend.address())).collect::<Vec<_>>();
        self.membership.write(&listed).map_err(|source| DemoError::Endpoints {
            path: self.membership.path().to_owned(),
            source,
        })
    }

    /// Makes it as the stage wants it; those that leave are only struck off the list.
    fn enter(&mut self, stage: &Stage, now: Instant) -> Result<(), DemoError> {
        for (number, backend) in self.backends.iter_mut().enumerate() {
            backend.behave(stage.scene.behaviour(number, now, stage.length));
            if stage.scene.present(number) {
                backend.join().map_err(|source| DemoError::Backend {
                    name: backend.address().to_string(),
                    source,
                })?;
            }
        }
        self.list(|number| stage.scene.present(number))
    }

    async fn leave(&mut self, stage: &Stage) {
        for number in stage.scene.leaving() {
            self.backends[number].leave().await;
        }
    }
}

/// Turns the generator's view into the script's, until the generator ends.
async fn report(
    stages: &[Stage],
    mut seen: watch::Receiver<Live>,
    progress: &watch::Sender<Progress>,
) {
    while seen.changed().await.is_ok() {
        let live = seen.borrow_and_update().clone();
        let over = stages.iter().take(live.segment + 1).map(|stage| stage.length);
        let side = |side: usize| live.sides.get(side).copied().unwrap_or_default();
        progress.send_replace(Progress {
            scene: stages.get(live.segment).map(|stage| stage.scene),
            remaining: over.sum::<Duration>().saturating_sub(live.elapsed),
            governed: side(0),
            plain: side(1),
        });
    }
}

fn phases(stages: &[Stage], tallies: &[Vec<Tally>]) -> Vec<Phase> {
    let phase = |(stage, sides): (&Stage, &Vec<Tally>)| {
        let [governed, plain] = sides.as_slice() else { return None };
        let (governed, plain) = (governed.summary(), plain.summary());
        stage.scene.counted().then(|| Phase { name: stage.scene.name(), governed, plain })
    };
    stages.iter().zip(tallies).filter_map(phase).collect()
}

fn late_ratio(tallies: &[Vec<Tally>]) -> f64 {
    let sum = |of: fn(&Tally) -> u64| tallies.iter().flatten().map(of).sum::<u64>() as f64;
    sum(|tally| tally.late) / sum(|tally| tally.requests).max(1.0)
}
