//! Fits how each service's signals move together, apart from the steps.
//!
//! Fitting takes milliseconds, which a step has not; and its last digits may differ between
//! processors. So it happens in a task of its own, and what it finds enters a later step as an
//! observation, with the journal. Nothing waits for it: without a pattern the joint judge is
//! silent.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use weir_engine::names::ServiceId;
use weir_engine::observation::Fitted;
use weir_engine::state::State;
use weir_models::reference::Memory;
use weir_models::series::joint::{Choice, NoPattern, fit};
use weir_models::watch::SIGNALS;

/// Steps whose samples wait while a pattern is fitted, and patterns that wait for a step: few, for
/// a step that finds no room goes on without.
const WAITING_MAX: usize = 16;
/// The newest samples of a service that a pattern is fitted to: a quarter of an hour of seconds.
const SAMPLES_MOST: usize = 1_024;
/// The first pattern takes so many samples ...
const FIRST_AFTER: usize = 120;
/// ... and another one so many more.
const AGAIN_AFTER: usize = 600;
/// Services that are remembered, 32 kB each; further ones get no pattern.
const SERVICES_MAX: usize = 1_000;

/// What a step showed: one sample per service that was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Which step.
    pub step: u64,
    /// The signals of each service.
    pub samples: Vec<(ServiceId, [f64; SIGNALS])>,
}

impl Seen {
    /// Of the last step.
    pub fn of(state: &State<Memory>) -> Self {
        let services = state.services.iter();
        let samples = services.filter_map(|service| {
            Some((service.topology.service.clone(), service.memory.watch().sample()?))
        });
        Self { step: state.sequence, samples: samples.collect() }
    }
}

/// The loop's ends: where it puts what steps show, and where it gets patterns from.
pub type Ends = (mpsc::Sender<Seen>, mpsc::Receiver<Fitted>);

/// Gathers samples and fits patterns to them.
#[derive(Debug)]
pub struct Fitter {
    seen: mpsc::Receiver<Seen>,
    fitted: mpsc::Sender<Fitted>,
    services: BTreeMap<ServiceId, Gathered>,
}

/// Samples of one service.
#[derive(Debug, Default)]
struct Gathered {
    samples: VecDeque<[f64; SIGNALS]>,
    /// Samples since the last pattern.
    new: usize,
    has_pattern: bool,
    last: u64,
}

impl Gathered {
    /// By how many samples a pattern is overdue.
    fn overdue(&self) -> Option<usize> {
        self.new.checked_sub(if self.has_pattern { AGAIN_AFTER } else { FIRST_AFTER })
    }

    fn fit(&mut self) -> Result<Vec<u8>, NoPattern> {
        (self.new, self.has_pattern) = (0, true);
        let samples: Vec<Vec<f64>> = self.samples.iter().map(|sample| sample.to_vec()).collect();
        // The algebra beneath is others' and has panicked on odd samples. Advice is not worth the
        // process, and nothing is left half done: the samples are only read.
        let fitted = std::panic::catch_unwind(|| fit(&samples, Choice::Likeliest));
        let pattern = fitted.unwrap_or_else(|_| {
            Err(NoPattern::Unsolved("the linear algebra panicked".to_owned()))
        })?;
        Ok(postcard::to_allocvec(&pattern).expect("a pattern is plain data"))
    }
}

impl Fitter {
    /// A fitter and the loop's ends of it.
    pub fn new() -> (Self, Ends) {
        let (sender, seen) = mpsc::channel(WAITING_MAX);
        let (fitted, receiver) = mpsc::channel(WAITING_MAX);
        (Self { seen, fitted, services: BTreeMap::new() }, (sender, receiver))
    }

    /// Works until it is stopped or the loop has ended.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(Some(seen)) = stop.run_until_cancelled(self.seen.recv()).await {
            if let Some(fitted) = tokio::task::block_in_place(|| self.take(seen))
                && self.fitted.try_send(fitted).is_err()
            {
                tracing::debug!("a pattern finds no room and is dropped");
            }
        }
        stop.cancelled().await;
    }

    /// Takes a step's samples in; at most one pattern, of the service that waits the longest, so
    /// that fitting costs no more than a fraction of a tick.
    fn take(&mut self, seen: Seen) -> Option<Fitted> {
        for (service, sample) in seen.samples {
            if !self.services.contains_key(&service) && self.services.len() >= SERVICES_MAX {
                continue;
            }
            let gathered = self.services.entry(service).or_default();
            if gathered.samples.len() >= SAMPLES_MOST {
                gathered.samples.pop_front();
            }
            gathered.samples.push_back(sample);
            (gathered.new, gathered.last) = (gathered.new + 1, seen.step);
        }
        let due = self.services.iter_mut();
        let due = due.filter_map(|(id, gathered)| Some((gathered.overdue()?, id, gathered)));
        let (_, id, gathered) = due.max_by_key(|(overdue, _, _)| *overdue)?;
        let version = gathered.last;
        match gathered.fit() {
            Ok(weights) => {
                tracing::debug!(service = %id, version, "a pattern is fitted");
                Some(Fitted { service: id.clone(), version, weights })
            }
            Err(why) => {
                tracing::debug!(service = %id, %why, "no pattern is fitted");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(step: u64) -> Seen {
        let load = 1.0 + (step as f64 / 7.0).sin();
        let noise = (step as f64 * 12.9).sin() / 50.0;
        let sample = [load, 0.5 * load + noise, 0.01 * noise, 0.3 * load - noise];
        Seen { step, samples: vec![(ServiceId::new("a", "b"), sample)] }
    }

    #[test]
    fn fits_first_soon_and_then_again_and_again() {
        let (mut fitter, _ends) = Fitter::new();
        let versions: Vec<u64> =
            (1..2_000).filter_map(|step| Some(fitter.take(seen(step))?.version)).collect();
        assert_eq!(versions, [120, 720, 1_320, 1_920]);
        let gathered = fitter.services.values().next().unwrap();
        assert_eq!(gathered.samples.len(), SAMPLES_MOST, "no more are kept");
    }

    #[test]
    fn one_pattern_a_step_and_services_within_the_bound() {
        let (mut fitter, _ends) = Fitter::new();
        let service = |at: usize| ServiceId::new("many", &format!("s{at:04}"));
        for step in 1..140 {
            let one = seen(step).samples[0].1;
            let samples = (0..SERVICES_MAX + 5).map(|at| (service(at), one)).collect();
            let fitted = fitter.take(Seen { step, samples });
            assert_eq!(fitted.is_some(), step >= 120, "step {step}");
        }
        assert_eq!(fitter.services.len(), SERVICES_MAX);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn works_apart_until_it_is_stopped() {
        let (fitter, (sender, mut fitted)) = Fitter::new();
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(fitter.run(stop.clone()));
        for step in 1..=120 {
            sender.send(seen(step)).await.unwrap();
        }
        assert_eq!(fitted.recv().await.unwrap().version, 120);
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap();
    }
}
