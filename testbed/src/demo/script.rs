//! The script: which faults when, and how much load.
//!
//! A stage says how everything is, not what changes, so that no order of stages leaves a fault
//! behind.

use super::BACKENDS;
use crate::backends::Behaviour;
use std::time::Duration;
use tokio::time::Instant;

/// The backend that becomes slow, and the one that fails: two, so that what was learnt of the
/// one does not help with the other.
const SLOW: usize = 3;
const FAILING: usize = 6;

/// The first of those that leave and come back cold: half of them stay.
const COLD: usize = BACKENDS / 2;

/// How long the parts of the script last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Before the first phase: connections open, Weir takes its first decisions.
    pub warm_up: Duration,
    /// Each phase, counted from its fault on.
    pub phase: Duration,
    /// Between two phases: no fault, not counted.
    pub pause: Duration,
}

impl Timing {
    /// As the demo plays it: three and a half minutes.
    pub const FULL: Timing = Timing {
        warm_up: Duration::from_secs(5),
        phase: Duration::from_secs(30),
        pause: Duration::from_secs(15),
    };
}

/// What is the matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Nothing yet; not counted.
    WarmUp,
    /// Nothing for a while; not counted.
    Pause,
    /// Five of ten backends leave; not counted.
    Departure,
    /// Nothing, counted.
    Healthy,
    /// One backend takes ten times as long.
    Slow,
    /// One backend fails 30 % of its requests.
    Errors,
    /// Five backends come back five times as slow, easing to normal until the end.
    Cold,
    /// All backends fail 20 % of their requests.
    AllFail,
}

/// A stretch of the script.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// What is the matter meanwhile.
    pub scene: Scene,
    /// How long it lasts.
    pub length: Duration,
    /// The share of the full load.
    pub load: f64,
}

/// The whole script.
pub fn script(timing: Timing) -> Vec<Stage> {
    let Timing { warm_up, phase, pause } = timing;
    let stage = |scene, length, load| Stage { scene, length, load };
    vec![
        // Connections open one after the other, not a thousand at once.
        stage(Scene::WarmUp, warm_up / 2, 0.25),
        stage(Scene::WarmUp, warm_up / 2, 1.0),
        stage(Scene::Healthy, phase, 1.0),
        stage(Scene::Pause, pause, 1.0),
        stage(Scene::Slow, phase, 1.0),
        stage(Scene::Pause, pause, 1.0),
        stage(Scene::Errors, phase, 1.0),
        // 800 and 1,000 of 1,200 requests a second.
        stage(Scene::Departure, pause, 2.0 / 3.0),
        stage(Scene::Cold, phase, 5.0 / 6.0),
        stage(Scene::Pause, pause, 1.0),
        stage(Scene::AllFail, phase, 1.0),
    ]
}

impl Scene {
    /// What people and documents call it.
    pub fn name(self) -> &'static str {
        match self {
            Scene::WarmUp => "warm-up",
            Scene::Pause => "pause",
            Scene::Departure => "departure",
            Scene::Healthy => "healthy",
            Scene::Slow => "slow",
            Scene::Errors => "errors",
            Scene::Cold => "cold",
            Scene::AllFail => "all-fail",
        }
    }

    /// Whether it is one of the phases that are compared.
    pub fn counted(self) -> bool {
        !matches!(self, Scene::WarmUp | Scene::Pause | Scene::Departure)
    }

    /// Whether that backend is one of the service's.
    pub(super) fn present(self, backend: usize) -> bool {
        self != Scene::Departure || backend < COLD
    }

    /// The backends that are not.
    pub(super) fn leaving(self) -> impl Iterator<Item = usize> {
        (0..BACKENDS).filter(move |backend| !self.present(*backend))
    }

    /// How that backend behaves when the scene began at `since` and lasts `length`.
    pub(super) fn behaviour(self, backend: usize, since: Instant, length: Duration) -> Behaviour {
        match self {
            Scene::Slow if backend == SLOW => Behaviour::slowed(10.0),
            Scene::Errors if backend == FAILING => Behaviour::failing(0.3),
            Scene::Cold if backend >= COLD => Behaviour::easing(5.0, since, length),
            Scene::AllFail => Behaviour::failing(0.2),
            Scene::WarmUp
            | Scene::Pause
            | Scene::Departure
            | Scene::Healthy
            | Scene::Slow
            | Scene::Errors
            | Scene::Cold => Behaviour::HEALTHY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_are_those_that_the_score_names() {
        let script = script(Timing::FULL);
        let counted = script.iter().filter(|stage| stage.scene.counted());
        let names = counted.map(|stage| stage.scene.name()).collect::<Vec<_>>();
        assert_eq!(names, ["healthy", "slow", "errors", "cold", "all-fail"]);
    }

    #[test]
    fn a_pause_without_fault_parts_every_two_phases() {
        let script = script(Timing::FULL);
        let script = &script[1..]; // the warm-up is in two parts
        assert!(script.windows(2).all(|two| two[0].scene.counted() != two[1].scene.counted()));
        for stage in script.iter().filter(|stage| !stage.scene.counted()) {
            let healthy = |backend| {
                let behaviour = stage.scene.behaviour(backend, Instant::now(), stage.length);
                behaviour == Behaviour::HEALTHY
            };
            assert!((0..BACKENDS).all(healthy), "{:?}", stage.scene);
        }
    }

    #[track_caller]
    fn check(scene: Scene, at: u64, slow: f64, errors: f64) {
        let since = Instant::now();
        let length = Duration::from_secs(30);
        let sum = |of: &dyn Fn(Behaviour) -> f64| -> f64 {
            (0..BACKENDS).map(|backend| of(scene.behaviour(backend, since, length))).sum()
        };
        let now = since + Duration::from_secs(at);
        let (slower, failing) = (sum(&|one| one.slow(now)), sum(&|one| one.errors()));
        assert!((slower - slow).abs() < 1e-9, "slow factors add up to {slower}");
        assert!((failing - errors).abs() < 1e-9, "error ratios add up to {failing}");
    }

    #[test]
    fn faults_are_those_of_the_script() {
        check(Scene::Healthy, 0, 10.0, 0.0);
        check(Scene::Slow, 0, 19.0, 0.0);
        check(Scene::Errors, 0, 10.0, 0.3);
        check(Scene::Cold, 0, 30.0, 0.0);
        check(Scene::Cold, 15, 20.0, 0.0);
        check(Scene::Cold, 30, 10.0, 0.0);
        check(Scene::AllFail, 0, 10.0, 2.0);
    }

    #[test]
    fn half_leave_and_come_back() {
        assert_eq!(Scene::Departure.leaving().collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
        assert_eq!(Scene::Cold.leaving().count(), 0);
    }
}
