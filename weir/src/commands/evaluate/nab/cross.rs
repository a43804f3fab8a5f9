//! Cross-validation: what is chosen on some series is scored on the others.

use super::corpus::Corpus;
use super::score::{Weights, scaled};

/// Parts that the series are dealt into.
pub(super) const FOLDS: usize = 5;

/// Detections of one setting of a detector: one list of samples per series.
pub(super) type Detections = Vec<Vec<usize>>;

/// What a detector came to, each series scored by settings chosen without its fold.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// From silence (0) to perfect (100).
    pub(super) score: f64,
    /// The setting of each fold.
    pub(super) chosen: [usize; FOLDS],
}

/// The fold of a series: dealt in the order of names, so that each group is in every fold.
pub(super) fn fold(file: usize) -> usize {
    file % FOLDS
}

/// Chooses a setting on four folds, scores it on the fifth, and sums up.
pub(super) fn validated(
    corpus: &Corpus,
    settings: &[Detections],
    weights: Weights,
) -> Option<Outcome> {
    let raw: Vec<Vec<f64>> = settings
        .iter()
        .map(|lists| {
            let files = corpus.files.iter().zip(lists);
            files.map(|(file, list)| file.labels.raw(list, weights)).collect()
        })
        .collect();
    let of = |scores: &[f64], wanted: &dyn Fn(usize) -> bool| -> f64 {
        scores.iter().enumerate().filter(|(file, _)| wanted(*file)).map(|(_, raw)| raw).sum()
    };
    let mut chosen = [0; FOLDS];
    let mut total = 0.0;
    for (held, chosen) in chosen.iter_mut().enumerate() {
        let others = raw.iter().map(|scores| of(scores, &|file| fold(file) != held));
        *chosen = others.enumerate().reduce(|a, b| if b.1 > a.1 { b } else { a })?.0;
        total += of(&raw[*chosen], &|file| fold(file) == held);
    }
    Some(Outcome { score: scaled(total, corpus.windows(), weights)?, chosen })
}

/// The detections that each series had in the fold that it was held out of.
pub(super) fn held_out(corpus: &Corpus, settings: &[Detections], outcome: &Outcome) -> Detections {
    let lists = 0..corpus.files.len();
    lists.map(|file| settings[outcome.chosen[fold(file)]][file].clone()).collect()
}
