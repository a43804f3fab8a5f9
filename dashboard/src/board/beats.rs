//! What each service's requests came to in the last quarter of an hour, in steps of five seconds:
//! what two versions are compared by where no rollout compares them.
//!
//! Beside the tracks, which keep percentiles: a comparison needs whole histograms, of the service
//! alone.

use std::time::Duration;

use weir_engine::comparison::{Look, Side};
use weir_engine::observation::ServiceTraffic;
use weir_engine::units::Moment;

use super::log::Log;
use super::track::COARSE;

/// The longest without a request to the new version: what was before is of an earlier one, or of
/// an earlier try.
pub(crate) const GAP: Duration = Duration::from_secs(120);

/// What was counted of a service in one step of five seconds.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    /// When the step begins.
    pub(crate) at: Moment,
    pub(crate) side: Side,
}

/// Adds what one step of Weir counted, and keeps at most `max` beats.
pub(crate) fn add(beats: &mut Log<Beat>, at: Moment, traffic: &ServiceTraffic, max: usize) {
    let Some(mut side) = Side::of(traffic) else { return };
    let step = u64::try_from(COARSE.step.as_millis()).unwrap_or(u64::MAX);
    let at = Moment::from_millis(at.millis() / step * step);
    match beats.last().filter(|last| last.at == at) {
        Some(last) => {
            side.add(&last.side);
            beats.replace_last(Beat { at, side });
        }
        None => {
            beats.push(Beat { at, side }, COARSE.columns.min(max));
        }
    }
}

/// Both versions side by side, oldest first, from `since` or from where the new version began to
/// get requests; with the moment when that was.
pub(crate) fn beside(
    (canary, stable): (&Log<Beat>, &Log<Beat>),
    (now, since): (Moment, Moment),
) -> (Vec<Look>, Option<Moment>) {
    let begin = began(canary, now).map(|begin| begin.max(since));
    let Some(begin) = begin else { return (Vec::new(), None) };
    let mut looks: Vec<(Moment, Look)> = of(canary, begin)
        .map(|beat| (beat.at, Look { canary: beat.side.clone(), stable: Side::default() }))
        .collect();
    for beat in of(stable, begin) {
        match looks.binary_search_by_key(&beat.at, |(at, _)| *at) {
            Ok(place) => looks[place].1.stable = beat.side.clone(),
            Err(place) => {
                let look = Look { canary: Side::default(), stable: beat.side.clone() };
                looks.insert(place, (beat.at, look));
            }
        }
    }
    (looks.into_iter().map(|(_, look)| look).collect(), Some(begin))
}

fn of(beats: &Log<Beat>, begin: Moment) -> impl Iterator<Item = &Beat> {
    beats.iter().map(|(_, beat)| &**beat).filter(move |beat| beat.at >= begin)
}

/// The first request after which there was always another within the gap, up to now.
fn began(beats: &Log<Beat>, now: Moment) -> Option<Moment> {
    let mut begin = None;
    let mut next = now;
    for (_, beat) in beats.iter().rev().filter(|(_, beat)| beat.side.requests > 0.0) {
        if next.since(beat.at) > GAP {
            break;
        }
        next = beat.at;
        begin = Some(next);
    }
    begin
}

/// Whether there was a request lately, and since then.
pub(crate) fn called(beats: &Log<Beat>, (now, since): (Moment, Moment)) -> bool {
    let last = beats.iter().rev().map(|(_, beat)| beat).find(|beat| beat.side.requests > 0.0);
    last.is_some_and(|beat| now.since(beat.at) <= GAP && beat.at >= since)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many requests at each of these seconds.
    fn beats(seconds: &[u64]) -> Log<Beat> {
        let mut beats = Log::default();
        for at in seconds {
            let traffic = ServiceTraffic {
                service: weir_engine::names::ServiceId::new("shop", "search"),
                clients: 1,
                reporters: 1,
                rows: [weir_engine::observation::Row { requests: 10, ..Default::default() }].into(),
                totals: None,
                zones: Vec::new(),
            };
            add(&mut beats, Moment::from_millis(at * 1_000), &traffic, usize::MAX);
        }
        beats
    }

    #[track_caller]
    fn check(canary: &[u64], now: u64, begin: Option<u64>) {
        let at = |seconds: u64| Moment::from_millis(seconds * 1_000);
        let (canary, stable) = (beats(canary), beats(&[0, 5, 10, 200, 205, 210]));
        let (_, found) = beside((&canary, &stable), (at(now), at(0)));
        assert_eq!(found, begin.map(at));
    }

    #[test]
    fn evidence_begins_where_the_new_version_got_requests_again() {
        check(&[5, 10, 200, 205], 210, Some(200));
        check(&[5, 60, 120, 200], 210, Some(5));
        check(&[5, 10], 210, None);
        check(&[], 210, None);
    }

    #[test]
    fn steps_within_five_seconds_are_one_and_both_sides_meet() {
        let (canary, stable) = (beats(&[11, 12, 13, 15]), beats(&[5, 10, 14]));
        let at = |seconds: u64| Moment::from_millis(seconds * 1_000);
        let (looks, _) = beside((&canary, &stable), (at(16), at(0)));
        let seen: Vec<_> = looks.iter().map(|l| (l.canary.requests, l.stable.requests)).collect();
        assert_eq!(seen, [(30.0, 20.0), (10.0, 0.0)]);
    }
}
