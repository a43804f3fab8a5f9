//! Weir's judge on NAB's series: only what a live run would know at each sample.

use weir_models::series::alarm::{Alarm, Budget};
use weir_models::series::novelty::{Judgement, Novelty};

use super::super::series::Series;
use super::corpus::Corpus;
use super::cross::Detections;
use super::score::probation;

/// Rates of alarms that cross-validation chooses from: parts of all samples.
pub(super) const RATES: [f64; 10] =
    [0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.02];

/// Samples without another alarm after one: six hours of five-minute samples.
const QUIET: u32 = 72;

const DAY: f64 = 86_400.0;

/// The judgement of each sample of each series.
pub(super) fn judgements(corpus: &Corpus) -> Vec<Vec<Judgement>> {
    corpus.files.iter().map(|file| judge(&file.series)).collect()
}

fn judge(series: &Series) -> Vec<Judgement> {
    let step = step(&series.times[..probation(series.times.len()).max(2).min(series.times.len())]);
    let mut novelty = Novelty::new(slot(DAY - step / 2.0, step) + 1);
    let samples = series.times.iter().zip(&series.values);
    samples.map(|(time, value)| novelty.see(slot(time.rem_euclid(DAY), step), *value)).collect()
}

/// The usual time between the first samples, which do not count.
fn step(times: &[f64]) -> f64 {
    let steps = times.windows(2).map(|pair| pair[1] - pair[0]);
    let mut steps: Vec<f64> = steps.filter(|step| *step > 0.0).collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied().unwrap_or(DAY).clamp(60.0, DAY)
}

/// The slot of a time of day.
fn slot(second: f64, step: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1,440")]
    let slot = (second / step).clamp(0.0, 1_440.0) as usize;
    slot
}

/// The alarms at each of the rates.
pub(super) fn alarms(judged: &[Vec<Judgement>]) -> Vec<Detections> {
    let at = |rate: f64| -> Detections {
        let list = |series: &Vec<Judgement>| {
            let mut alarm = Alarm::new(Budget { rate, quiet: QUIET });
            let samples = series.iter().enumerate();
            samples.filter(|(_, one)| alarm.see(one.rank)).map(|(at, _)| at).collect()
        };
        judged.iter().map(list).collect()
    };
    RATES.into_iter().map(at).collect()
}
