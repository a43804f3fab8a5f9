//! Which endpoints are of one kind: groups whose capacities differ, by proof and not by noise.
//!
//! Judged one by one, endpoints of one kind fall on both sides of any edge, get shares of two
//! kinds, and cross over with each breath of noise. So capacities (as logarithms) are split where
//! the squared distance between two groups is largest, and the split counts only if the groups'
//! means differ by a factor of 1.35 and by several deviations of an estimate. A group is judged by
//! its mean and treated as one. This is the first step of a regression tree (Breiman and others,
//! 1984), with a test in place of pruning.

/// ln(1.35): a smaller difference is not worth leaving rest for.
const LEAVES: f64 = 0.300_104_592_450_338_15;

/// ln(1.2): a smaller one is not worth staying away for.
pub(crate) const RETURNS: f64 = 0.182_321_556_793_954_63;

/// Where differences wander, only one of a factor of four counts: a lesser one will be another's by
/// the time that it is acted on.
const WANDERS: f64 = 1.386_294_361_119_890_6;

/// So many deviations of one estimate prove a difference of one endpoint: one in three million
/// passes by chance. The more endpoints differ together, the fewer: by the fourth root, since the
/// best of all splits is tried ...
const PROVEN: f64 = 5.0;

/// ... and at least so many: halves of pure noise are less than two apart.
const APART: f64 = 3.0;

/// Where the service is away from rest, the kinds that are there hold by this part of the proof.
const HELD_BY: f64 = 0.6;

/// At most so many splits one below the other: four kinds are hardware, cold, slow and the rest.
const DEPTH_MOST: u32 = 2;

/// An endpoint's capacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Level {
    /// Which endpoint.
    pub(crate) index: usize,
    /// Logarithm of its capacity.
    pub(crate) level: f64,
    /// Variance of that.
    pub(crate) variance: f64,
    /// It counts as one of the main kind so far.
    pub(crate) main: bool,
}

/// What a difference must come up to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Edge {
    least: f64,
    proof: f64,
}

impl Edge {
    /// For a service at rest or `away` from it, whose deviations last or not.
    pub(crate) fn of(away: bool, lasts: bool) -> Self {
        match (lasts, away) {
            (false, _) => Self { least: WANDERS, proof: 1.0 },
            (true, true) => Self { least: RETURNS, proof: HELD_BY },
            (true, false) => Self { least: LEAVES, proof: 1.0 },
        }
    }
}

/// What is known of the kinds in a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kinds {
    /// The mean level of the main kind.
    pub(crate) main: f64,
    /// (endpoint, its kind's mean less the main one), without those of the main kind.
    pub(crate) others: Vec<(usize, f64)>,
}

/// Finds the kinds; nothing where there is nobody.
pub(crate) fn kinds(mut levels: Vec<Level>, edge: Edge) -> Option<Kinds> {
    let range = levels.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), one| {
        (least.min(one.level), most.max(one.level))
    });
    if levels.is_empty() {
        return None;
    }
    if range.1 - range.0 < edge.least {
        return Some(Kinds { main: mean(&levels), others: Vec::new() });
    }
    levels.sort_by(|a, b| a.level.total_cmp(&b.level).then(a.index.cmp(&b.index)));
    let mut groups = Vec::new();
    split(&levels, edge, DEPTH_MOST, &mut groups);
    // The one that most of the main kind so far are in, lest all differences change their sign
    // with one endpoint; then the largest; of equals the one of less capacity.
    let size = |group: &[Level]| (group.iter().filter(|level| level.main).count(), group.len());
    let main = groups.iter().copied().reduce(|a, b| if size(b) > size(a) { b } else { a })?;
    let at = mean(main);
    let others = groups.iter().filter(|group| group[0].index != main[0].index);
    let others = others.flat_map(|group| {
        let difference = mean(group) - at;
        group.iter().map(move |level| (level.index, difference))
    });
    Some(Kinds { main: at, others: others.collect() })
}

fn mean(group: &[Level]) -> f64 {
    group.iter().map(|level| level.level).sum::<f64>() / group.len() as f64
}

fn split<'a>(sorted: &'a [Level], edge: Edge, depth: u32, groups: &mut Vec<&'a [Level]>) {
    match best_cut(sorted).filter(|&cut| depth > 0 && is_proven(sorted, cut, edge)) {
        Some(cut) => {
            let (low, high) = sorted.split_at(cut);
            split(low, edge, depth - 1, groups);
            split(high, edge, depth - 1, groups);
        }
        None => groups.push(sorted),
    }
}

/// The cut with the largest squared distance between the groups' means, weighed by their sizes.
fn best_cut(sorted: &[Level]) -> Option<usize> {
    let count = sorted.len() as f64;
    let total: f64 = sorted.iter().map(|level| level.level).sum();
    let (mut sum, mut best) = (0.0, None);
    for (cut, level) in (1..sorted.len()).zip(sorted) {
        sum += level.level;
        let (low, high) = (cut as f64, count - cut as f64);
        let apart = (total - sum) / high - sum / low;
        let between = low * high * apart * apart;
        if best.is_none_or(|(_, most)| between > most) {
            best = Some((cut, between));
        }
    }
    best.map(|(cut, _)| cut)
}

fn is_proven(sorted: &[Level], cut: usize, edge: Edge) -> bool {
    let (low, high) = sorted.split_at(cut);
    let apart = mean(high) - mean(low);
    let variance = sorted.iter().map(|level| level.variance).sum::<f64>() / sorted.len() as f64;
    let fewer = low.len().min(high.len()) as f64;
    let needed = (PROVEN / fewer.sqrt().sqrt()).max(APART) * edge.proof;
    apart > edge.least && apart > needed * variance.sqrt()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;
    use weir_simulator::random::Random;

    const REST: Edge = Edge { least: LEAVES, proof: 1.0 };

    fn levels(values: &[f64], deviation: f64) -> Vec<Level> {
        let variance = deviation * deviation;
        let values = values.iter().enumerate();
        values.map(|(index, &level)| Level { index, level, variance, main: true }).collect()
    }

    #[track_caller]
    fn check(values: &[f64], others: &[(usize, f64)]) {
        let found = kinds(levels(values, 0.05), REST).unwrap_or_default().others;
        assert_eq!(found.len(), others.len(), "{found:?}");
        for (found, wanted) in found.iter().zip(others) {
            assert!(found.0 == wanted.0 && (found.1 - wanted.1).abs() < 1e-9, "{found:?}");
        }
    }

    #[test]
    fn finds_groups_and_treats_them_as_one() {
        check(&[], &[]);
        check(&[1.0, 1.1, 0.9, 1.0], &[]);
        check(&[1.0, 1.0, 1.0, -1.3], &[(3, -2.3)]);
        check(&[1.0, 1.4, 1.0, 1.5, 1.3, 1.0], &[(4, 0.4), (1, 0.4), (3, 0.4)]);
        check(&[0.0, 0.0, 0.0, 0.7, -2.3], &[(4, -2.3), (3, 0.7)]);
    }

    #[test]
    fn the_main_kind_stays_the_main_kind() {
        let mut levels = levels(&[0.0, 0.0, 0.0, 1.0, 1.0], 0.05);
        for level in &mut levels[..3] {
            level.main = false;
        }
        let found = kinds(levels, REST).unwrap();
        assert!((found.main - 1.0).abs() < 1e-9 && found.others.len() == 3, "{found:?}");
    }

    #[test]
    fn what_noise_can_do_is_no_difference() {
        let noisy = levels(&[1.0, 1.0, 1.0, 0.5], 0.15);
        assert!(kinds(noisy.clone(), REST).unwrap().others.is_empty());
        assert_eq!(
            kinds(noisy, Edge::of(true, true)).unwrap().others.len(),
            1,
            "but it holds where it stands"
        );
    }

    #[test]
    fn where_differences_wander_small_ones_do_not_count() {
        let found = |apart: f64, away: bool, lasts: bool| {
            let levels = levels(&[0.0, 0.0, 0.0, apart], 0.01);
            kinds(levels, Edge::of(away, lasts)).unwrap().others.len()
        };
        assert_eq!((found(0.2, false, true), found(0.2, true, true)), (0, 1));
        assert_eq!((found(0.9, true, false), found(1.5, true, false)), (0, 1));
    }

    #[test]
    fn pure_noise_has_one_kind() {
        // Of 20,000 services of 2 to 100 endpoints none may be split.
        for number in 0..20_000 {
            let mut random = Random::of(5, 5, number);
            let count = 2 + random.below(99);
            let deviation = 0.05 + 0.2 * random.unit();
            let values: Vec<f64> = (0..count).map(|_| deviation * random.normal()).collect();
            let found = kinds(levels(&values, deviation), REST).unwrap();
            assert!(found.others.is_empty(), "{count} endpoints, deviation {deviation}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn order_does_not_matter(values in prop::collection::vec(-3.0..3.0_f64, 1..20), turn in 0_usize..20) {
            let straight = levels(&values, 0.05);
            let mut turned = straight.clone();
            turned.rotate_left(turn % values.len());
            let (a, b) = (kinds(straight, REST).unwrap(), kinds(turned, REST).unwrap());
            prop_assert!((a.main - b.main).abs() < 1e-9);
            prop_assert_eq!(a.others, b.others);
        }

        #[test]
        fn units_do_not_matter(values in prop::collection::vec(-3.0..3.0_f64, 1..20), shift in -5.0..5.0_f64) {
            let shifted: Vec<f64> = values.iter().map(|value| value + shift).collect();
            let a = kinds(levels(&values, 0.05), REST).unwrap();
            let b = kinds(levels(&shifted, 0.05), REST).unwrap();
            prop_assert!((b.main - a.main - shift).abs() < 1e-9);
        }
    }
}
