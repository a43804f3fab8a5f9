//! Whether injected faults are found: recall, precision, delay, and time with the alarm on.
//!
//! A hit is an alarm that is raised within a fault's first samples, and was off in the two before:
//! an alarm that is always on finds nothing. Kind of score and threshold are chosen on four folds
//! of tracks and scored on the fifth.

use serde_json::{Map, Value, json};
use weir_simulator::random::Random;

use super::{Report, table};

/// Parts that tracks are dealt into.
const FOLDS: usize = 5;
/// Thresholds to choose from, in deviations.
const THRESHOLDS: [f64; 9] = [3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0, 40.0, 80.0];
/// An alarm is off once so many samples are below: one good sample in a fault ends no alarm.
const HOLD: usize = 2;
/// Draws of chance.
const DRAWS: u64 = 20;

/// What one pod or node showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// Its name.
    pub(super) name: String,
    /// Weir's scores of each sample, by kind; and those of the last value as forecast.
    pub(super) weir: Vec<Vec<f64>>,
    pub(super) persist: Vec<Vec<f64>>,
    /// The same by other judges of Weir's, in the same order in every track.
    pub(super) others: Vec<(&'static str, Vec<Vec<f64>>)>,
    /// Samples from which alarms count.
    pub(super) warm: usize,
    /// The first sample of each fault, with what it is.
    pub(super) faults: Vec<(usize, String)>,
    /// Samples within which a fault is to be found.
    pub(super) within: usize,
}

/// What alarms came to.
#[derive(Clone, Debug, Default)]
struct Tally {
    faults: usize,
    hits: usize,
    delays: Vec<usize>,
    stuck: usize,
    raised: usize,
    right: usize,
    on: usize,
    samples: usize,
    /// Tracks in which an alarm was raised outside of a fault.
    wrong: Vec<String>,
    /// Draws that are pooled, where there are several.
    draws: u64,
    /// Faults and hits by what the fault is.
    kinds: Vec<(String, usize, usize)>,
}

impl Tally {
    fn add(&mut self, track: &Track, on: &[bool]) {
        let starts = (track.warm.max(1)..on.len()).filter(|at| on[*at] && !on[*at - 1]);
        let starts: Vec<usize> = starts.collect();
        let counted: Vec<&(usize, String)> =
            track.faults.iter().filter(|(at, _)| *at >= track.warm).collect();
        let during = |at: usize, fault: usize| (fault..fault + track.within).contains(&at);
        let is_right = |at: &&usize| counted.iter().any(|(fault, _)| during(**at, *fault));
        let right = starts.iter().filter(is_right).count();
        self.raised += starts.len();
        self.right += right;
        if right < starts.len() {
            self.wrong.push(track.name.clone());
        }
        for (fault, kind) in counted {
            let stuck = (fault.saturating_sub(2)..*fault).any(|at| on[at]);
            let found = starts.iter().find(|at| during(**at, *fault)).filter(|_| !stuck);
            self.stuck += usize::from(stuck);
            self.faults += 1;
            self.hits += usize::from(found.is_some());
            self.delays.extend(found.map(|at| at - fault));
            self.count(kind, found.is_some());
        }
        self.on += on[track.warm.min(on.len())..].iter().filter(|on| **on).count();
        self.samples += on.len().saturating_sub(track.warm);
    }

    fn count(&mut self, kind: &str, hit: bool) {
        let place = self.kinds.iter().position(|(known, _, _)| known == kind);
        let place = place.unwrap_or_else(|| {
            self.kinds.push((kind.to_owned(), 0, 0));
            self.kinds.len() - 1
        });
        self.kinds[place].1 += 1;
        self.kinds[place].2 += usize::from(hit);
    }

    fn recall(&self) -> f64 {
        self.hits as f64 / self.faults.max(1) as f64
    }

    fn precision(&self) -> f64 {
        self.right as f64 / self.raised.max(1) as f64
    }

    fn f1(&self) -> f64 {
        let (recall, precision) = (self.recall(), self.precision());
        2.0 * recall * precision / (recall + precision).max(f64::MIN_POSITIVE)
    }

    fn delay(&self) -> f64 {
        let mut sorted = self.delays.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).map_or(f64::NAN, |delay| *delay as f64)
    }

    fn draws(&self) -> f64 {
        self.draws.max(1) as f64
    }

    /// Faults before which the alarm was on already, per draw.
    fn stuck(&self) -> f64 {
        self.stuck as f64 / self.draws()
    }

    fn on_ratio(&self) -> f64 {
        self.on as f64 / self.samples.max(1) as f64
    }
}

/// When the alarm is on: the score is above, or was in the last samples.
fn alarm(scores: &[f64], threshold: f64) -> Vec<bool> {
    let mut left = 0;
    let on = scores.iter().map(|score| {
        left = if *score > threshold { HOLD } else { usize::saturating_sub(left, 1) };
        left > 0
    });
    on.collect()
}

/// Cross-validated over tracks.
fn validated<'a>(tracks: &'a [Track], scores: impl Fn(&'a Track) -> &'a [Vec<f64>]) -> Tally {
    let kinds = tracks.iter().map(|track| scores(track).len()).min().unwrap_or(0);
    let settings = (0..kinds).flat_map(|kind| THRESHOLDS.map(|threshold| (kind, threshold)));
    let settings: Vec<(usize, f64)> = settings.collect();
    let tally = |(kind, threshold): (usize, f64), wanted: &dyn Fn(usize) -> bool| {
        let mut sum = Tally::default();
        for (_, track) in tracks.iter().enumerate().filter(|(at, _)| wanted(at % FOLDS)) {
            sum.add(track, &alarm(&scores(track)[kind], threshold));
        }
        sum
    };
    let mut total = Tally::default();
    for held in 0..FOLDS {
        let best = settings
            .iter()
            .map(|setting| (*setting, tally(*setting, &|fold| fold != held).f1()))
            .reduce(|a, b| if b.1 > a.1 { b } else { a });
        let Some((chosen, _)) = best else { continue };
        for track in tracks.iter().enumerate().filter(|(at, _)| at % FOLDS == held).map(|one| one.1)
        {
            total.add(track, &alarm(&scores(track)[chosen.0], chosen.1));
        }
    }
    total
}

/// By the clock or by chance, on for as much of the time as Weir's alarm is.
fn unseeing(tracks: &[Track], ratio: f64) -> [Tally; 2] {
    let (mut clock, mut chance) = (Tally::default(), Tally::default());
    let part = ratio.clamp(1e-4, 1.0);
    for (track, number) in tracks.iter().zip(0..) {
        let length = track.weir.first().map_or(0, Vec::len);
        for draw in 1..=DRAWS {
            let mut random = Random::of(draw, 1, number);
            let on: Vec<bool> = (0..length).map(|_| random.unit() < part).collect();
            chance.add(track, &on);
            let phase = (draw - 1) as f64 / DRAWS as f64;
            // On at each sample where the count of full periods grows.
            let count = |at: usize| (at as f64 * part + phase).floor();
            let on: Vec<bool> = (0..length).map(|at| count(at + 1) > count(at)).collect();
            clock.add(track, &on);
        }
    }
    clock.draws = DRAWS;
    chance.draws = DRAWS;
    [clock, chance]
}

/// What is told of all tracks together.
pub(super) fn report(tracks: &[Track], what: &str, defects: &[String]) -> Report {
    let own = validated(tracks, |track| &track.weir);
    let persist = validated(tracks, |track| &track.persist);
    let [clock, chance] = unseeing(tracks, own.on_ratio());
    let mut rows = vec![("weir", own)];
    let others = tracks.first().map_or(0, |track| track.others.len());
    rows.extend((0..others).map(|other| {
        let tally = validated(tracks, |track| &track.others[other].1);
        (tracks[0].others[other].0, tally)
    }));
    rows.extend([("persist", persist), ("blind_periodic", clock), ("random", chance)]);
    let cells = rows.iter().map(|(name, tally)| {
        let percent = |part: f64| format!("{:.1} %", 100.0 * part);
        vec![
            (*name).to_owned(),
            percent(tally.recall()),
            percent(tally.precision()),
            format!("{:.0}", tally.delay()),
            percent(tally.on_ratio()),
            format!("{:.1}", tally.stuck()),
        ]
    });
    let header = ["", "recall", "precision", "delay", "alarm on", "stuck"];
    let table = table(&header, cells);
    let title = format!("{what}, {} faults; delay is a median in samples", rows[0].1.faults);
    let mut notes: Vec<String> = rows[0]
        .1
        .kinds
        .iter()
        .map(|(kind, faults, hits)| format!("{kind}: {hits} of {faults} found"))
        .collect();
    if !rows[0].1.wrong.is_empty() {
        notes.push(format!("alarms outside of faults: {}", rows[0].1.wrong.join(", ")));
    }
    notes.extend(defects.iter().map(|defect| format!("defect: {defect}")));
    let mut document = Map::new();
    let [mut judges, mut baselines] = [Map::new(), Map::new()];
    for (at, (name, tally)) in rows.iter().enumerate() {
        let (name, keys) = ((*name).to_owned(), keys(tally));
        match at {
            0 => document.extend(keys),
            judge if judge <= others => drop(judges.insert(name, Value::Object(keys))),
            _ => drop(baselines.insert(name, Value::Object(keys))),
        }
    }
    document.insert("judges".to_owned(), Value::Object(judges));
    document.insert("baselines".to_owned(), Value::Object(baselines));
    document.insert("false_alarms_at".to_owned(), json!(rows[0].1.wrong));
    document.insert("faults".to_owned(), json!(rows[0].1.faults));
    document.insert("folds".to_owned(), json!(FOLDS));
    document.insert("defects".to_owned(), json!(defects));
    Report { tables: vec![(title, table)], notes, document: Value::Object(document) }
}

fn keys(tally: &Tally) -> Map<String, Value> {
    let kinds = tally.kinds.iter();
    let kinds = kinds
        .map(|(kind, faults, hits)| (kind.clone(), json!({ "faults": faults, "found": hits })));
    let pairs = [
        ("by_kind", Value::Object(kinds.collect())),
        ("recall", json!(tally.recall())),
        ("precision", json!(tally.precision())),
        ("f1", json!(tally.f1())),
        ("detection_delay_samples", json!((!tally.delays.is_empty()).then(|| tally.delay()))),
        ("alarm_on_ratio", json!(tally.on_ratio())),
        ("stuck_alarms", json!(tally.stuck())),
        ("alarms_raised", json!(tally.raised as f64 / tally.draws())),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(on: &str, faults: &[usize]) -> (Track, Vec<bool>) {
        let faults = faults.iter().map(|at| (*at, "slow".to_owned())).collect();
        let track = Track { faults, within: 3, warm: 2, ..Track::default() };
        (track, on.chars().map(|one| one == 'x').collect())
    }

    #[track_caller]
    fn check(
        on: &str,
        faults: &[usize],
        (hits, stuck, right, raised): (usize, usize, usize, usize),
    ) {
        let (track, on) = track(on, faults);
        let mut tally = Tally::default();
        tally.add(&track, &on);
        assert_eq!(
            (tally.hits, tally.stuck, tally.right, tally.raised),
            (hits, stuck, right, raised)
        );
    }

    #[test]
    fn only_alarms_that_are_raised_in_a_fault_find_it() {
        check(".....xx...", &[5], (1, 0, 1, 1));
        check(".......x..", &[5], (1, 0, 1, 1));
        check("........x.", &[5], (0, 0, 0, 1)); // too late
        check("xxxxxxxxxx", &[5], (0, 1, 0, 0)); // always on
        check("....xxx...", &[5], (0, 1, 0, 1)); // on before
        check("...x.x....", &[5], (0, 1, 1, 2)); // on two before
        check(".....x....", &[0], (0, 0, 0, 1)); // a fault in the warm-up does not count
    }

    #[test]
    fn one_good_sample_ends_no_alarm() {
        let on = alarm(&[0.0, 9.0, 0.0, 9.0, 0.0, 0.0], 5.0);
        assert_eq!(on, [false, true, true, true, true, false]);
    }

    #[test]
    fn a_fault_that_is_plain_is_found_and_blind_alarms_find_little() {
        let mut scores = vec![0.5; 200];
        scores[100..103].fill(30.0);
        let faults = vec![(100, "slow".to_owned())];
        let weir = vec![scores];
        let one =
            Track { persist: weir.clone(), weir, faults, within: 3, warm: 5, ..Track::default() };
        let tracks = vec![one; 10];
        let report = report(&tracks, "tracks", &[]);
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        assert!((number(&report.document["recall"]) - 1.0).abs() < 1e-9);
        assert!((number(&report.document["precision"]) - 1.0).abs() < 1e-9);
        assert!(number(&report.document["baselines"]["random"]["recall"]) < 0.2);
    }
}
