//! Shares of zones as Istio writes them: whole per cents that are together a hundred.

use serde_json::{Map, Value, json};
use weir_engine::names::Place;
use weir_engine::topology::ServiceTopology;
use weir_engine::zones::ZoneSplit;

/// One entry for the clients of each zone that is split unlike others.
pub(super) fn distribute(zones: &[ZoneSplit], topology: &ServiceTopology) -> Vec<Value> {
    let entry = |split: &ZoneSplit| {
        let from = name(&split.client, topology)?;
        let shares: Vec<f64> = split.ways.iter().map(|way| way.share.value()).collect();
        let named = split.ways.iter().map(|way| name(&way.zone, topology));
        let named: Vec<String> = named.collect::<Option<_>>()?;
        let percents = percents(&shares)?;
        let to = named.into_iter().zip(percents).filter(|(_, percent)| *percent > 0);
        let to: Map<String, Value> = to.map(|(name, percent)| (name, percent.into())).collect();
        Some(json!({ "from": from, "to": to }))
    };
    zones.iter().filter_map(entry).collect()
}

/// A zone as `region/zone/*`. A zone without endpoints has the region of the others if they have only
/// one: clients are in the zones of the same cluster.
fn name(zone: &Place, topology: &ServiceTopology) -> Option<String> {
    let mut regions: Vec<&Place> = topology
        .endpoints
        .iter()
        .map(|endpoint| &endpoint.locality)
        .filter(|locality| locality.zone == *zone)
        .map(|locality| &locality.region)
        .collect();
    if regions.is_empty() {
        regions = topology.endpoints.iter().map(|endpoint| &endpoint.locality.region).collect();
    }
    regions.sort();
    regions.dedup();
    match regions[..] {
        [region] if !region.as_str().is_empty() => Some(format!("{region}/{zone}/*")),
        _ => None,
    }
}

/// Whole per cents in the proportion of these shares, together a hundred: the largest remainders are
/// rounded up.
fn percents(shares: &[f64]) -> Option<Vec<u32>> {
    let sum: f64 = shares.iter().sum();
    if !sum.is_finite() || sum <= 0.0 || shares.iter().any(|share| *share < 0.0) {
        return None;
    }
    let exact: Vec<f64> = shares.iter().map(|share| 100.0 * share / sum).collect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
    let mut whole: Vec<u32> = exact.iter().map(|share| share.floor() as u32).collect();
    let mut order: Vec<usize> = (0..exact.len()).collect();
    order.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()).then(a.cmp(b)));
    let missing = 100_u32.saturating_sub(whole.iter().sum());
    for index in order.into_iter().take(missing as usize) {
        whole[index] += 1;
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn percents_are_a_hundred_together_and_near(
            shares in prop::collection::vec(0.0..1.0_f64, 1..20),
        ) {
            let sum: f64 = shares.iter().sum();
            prop_assume!(sum > 0.0);
            let percents = percents(&shares).expect("shares");
            prop_assert_eq!(percents.iter().sum::<u32>(), 100);
            for (share, percent) in shares.iter().zip(&percents) {
                prop_assert!((100.0 * share / sum - f64::from(*percent)).abs() < 1.0);
            }
        }
    }

    #[test]
    fn nonsense_has_no_percents() {
        for shares in [&[][..], &[0.0], &[-1.0, 2.0], &[f64::NAN]] {
            assert_eq!(percents(shares), None, "{shares:?}");
        }
    }
}
