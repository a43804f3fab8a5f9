//! Annotations of a `Service` by which Linkerd's proxies leave out endpoints that fail.
//!
//! Linkerd has no limit for how many are out at once, and counts failures in a row, of which a policy
//! says nothing: that stays Linkerd's own.
//! <https://linkerd.io/2/reference/circuit-breaking/>

use std::time::Duration;

use serde_json::{Value, json};
use weir_engine::names::ServiceId;

use super::balancing::{Balanced, Unfit};
use super::fields::{Fields, is_ours};
use super::marks::token;

const ACCRUAL: &str = "balancer.linkerd.io/failure-accrual";

/// The annotations that a Service shall have; none where somebody else has set one of them.
pub fn fields(service: &Value, wanted: &Balanced) -> Fields {
    let path = |key: &str| format!("/metadata/annotations/{}", token(key));
    let set = service["metadata"]["annotations"].as_object();
    let mut ofs = set.into_iter().flat_map(serde_json::Map::keys);
    if ofs.any(|key| key.starts_with(ACCRUAL) && !is_ours(service, &path(key))) {
        return Fields::new();
    }
    let penalty = |which: &str| path(&format!("{ACCRUAL}-consecutive-{which}-penalty"));
    [
        (path(ACCRUAL), json!("consecutive")),
        (penalty("min"), json!(duration(wanted.ejection.base_time))),
        (penalty("max"), json!(duration(wanted.ejection.max_time))),
    ]
    .into()
}

/// Whether profiles leave room for annotations.
///
/// # Errors
///
/// If one is for this service.
pub fn without_profile(profiles: &[Value], service: &ServiceId) -> Result<(), Unfit> {
    let start = format!("{}.{}.svc", service.name, service.namespace);
    let names = profiles.iter().filter_map(|profile| profile["metadata"]["name"].as_str());
    let of = |name: &&str| {
        name.strip_prefix(&start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match names.into_iter().find(of) {
        Some(name) => Err(Unfit::Profile { service: service.clone(), profile: name.to_owned() }),
        None => Ok(()),
    }
}

/// Whole numbers of the largest unit that Linkerd reads.
fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}
