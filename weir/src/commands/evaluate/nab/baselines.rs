//! What any detector must beat: chance, the clock, and the last value as forecast.

use weir_simulator::random::Random;

use super::corpus::Corpus;
use super::cross::Detections;

/// Samples between two blind alarms.
const BLIND_EVERY: usize = 400;
/// Draws of chance; its score is their mean.
const DRAWS: u64 = 20;

/// Thresholds of the last value as forecast, in usual steps ...
const STEPS_LARGE: [f64; 8] = [2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 40.0, 80.0];
/// ... and samples without another alarm after one.
const STEPS_QUIET: [usize; 4] = [0, 50, 150, 400];
/// How slowly the usual step is learned.
const STEP_GAIN: f64 = 0.02;

/// An alarm by the clock, once for every phase that it can have: where it starts decides by
/// more than ten points on a few dozen series.
pub(super) fn blind(corpus: &Corpus) -> Vec<Detections> {
    let of = |first: usize| {
        let lists = corpus.files.iter();
        lists.map(|file| (first..file.labels.length).step_by(BLIND_EVERY).collect()).collect()
    };
    (0..BLIND_EVERY).map(of).collect()
}

/// Alarms by chance, as often as by the clock; several draws.
pub(super) fn random(corpus: &Corpus) -> Vec<Detections> {
    let draw = |seed: u64| {
        let lists = corpus.files.iter().zip(0..);
        let lists = lists.map(|(file, number)| {
            let mut random = Random::of(seed, 0, number);
            (0..file.labels.length).filter(|_| random.below(BLIND_EVERY) == 0).collect()
        });
        lists.collect()
    };
    (1..=DRAWS).map(draw).collect()
}

/// Alarms where a value is far from the one before: a list per setting.
pub(super) fn persist(corpus: &Corpus) -> Vec<Detections> {
    let settings = STEPS_LARGE.iter().flat_map(|large| STEPS_QUIET.map(|quiet| (*large, quiet)));
    let lists = settings.map(|(large, quiet)| {
        corpus.files.iter().map(|file| steps(&file.series.values, large, quiet)).collect()
    });
    lists.collect()
}

fn steps(values: &[f64], large: f64, quiet: usize) -> Vec<usize> {
    let (mut usual, mut found, mut next) = (0.0, Vec::new(), 0);
    for (at, pair) in (1..).zip(values.windows(2)) {
        let step = (pair[1] - pair[0]).abs();
        if step > large * usual && step > 0.0 && at >= next {
            found.push(at);
            next = at + 1 + quiet;
        }
        usual += STEP_GAIN * (step - usual);
    }
    found
}
