//! Controllers of rollouts that are at work on the same services: while they are, Weir keeps off.

use serde_json::Value;

/// Phases of a Flagger Canary in which it does nothing: all others are under way.
/// <https://github.com/fluxcd/flagger/blob/v1.36.1/pkg/apis/flagger/v1beta1/status.go>
const FLAGGER_RESTS: [&str; 3] = ["Initialized", "Succeeded", "Failed"];

/// Whether a Flagger `Canary` is at work on one of these services; its name then.
pub fn flagger<'a>(canary: &'a Value, services: &[&str]) -> Option<&'a str> {
    let spec = &canary["spec"];
    let own = spec["service"]["name"].as_str().or_else(|| spec["targetRef"]["name"].as_str())?;
    let is = |service: &&str| {
        let suffix = service.strip_prefix(own);
        matches!(suffix, Some("" | "-primary" | "-canary"))
    };
    let phase = canary["status"]["phase"].as_str().unwrap_or_default();
    let busy = !FLAGGER_RESTS.contains(&phase);
    (busy && services.iter().any(is)).then(|| canary["metadata"]["name"].as_str()).flatten()
}

/// Whether an Argo `Rollout` is at work on one of these services; its name then.
pub fn argo<'a>(rollout: &'a Value, services: &[&str]) -> Option<&'a str> {
    let strategy = &rollout["spec"]["strategy"]["canary"];
    let mut own =
        ["stableService", "canaryService"].iter().filter_map(|key| strategy[key].as_str());
    let busy = rollout["status"]["phase"].as_str() != Some("Healthy");
    (busy && own.any(|one| services.contains(&one)))
        .then(|| rollout["metadata"]["name"].as_str())
        .flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_canary_under_way_is_left_alone() {
        let canary = |phase: &str| {
            json!({
                "metadata": {"name": "cart"},
                "spec": {"targetRef": {"name": "cart"}},
                "status": {"phase": phase},
            })
        };
        for (phase, services, expected) in [
            ("Progressing", &["cart-primary", "cart-canary"][..], Some("cart")),
            ("Progressing", &["cart"], Some("cart")),
            ("", &["cart"], Some("cart")),
            ("Succeeded", &["cart"], None),
            ("Progressing", &["cartoon", "car"], None),
        ] {
            assert_eq!(flagger(&canary(phase), services), expected, "{phase} {services:?}");
        }
    }

    #[test]
    fn a_rollout_under_way_is_left_alone() {
        let rollout = |phase: &str| {
            json!({
                "metadata": {"name": "cart"},
                "spec": {"strategy": {"canary": {"stableService": "cart-v1", "canaryService": "cart-v2"}}},
                "status": {"phase": phase},
            })
        };
        assert_eq!(argo(&rollout("Progressing"), &["cart-v2"]), Some("cart"));
        assert_eq!(argo(&rollout("Healthy"), &["cart-v2"]), None);
        assert_eq!(argo(&rollout("Progressing"), &["other"]), None);
    }
}
