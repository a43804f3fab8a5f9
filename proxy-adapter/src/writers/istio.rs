//! Fields of Istio's `DestinationRule`.
//!
//! Whoever has set `outlierDetection`, `warmup` or a locality setting of his own keeps it; only
//! `distribute` is replaced, since the policy's zones ask for exactly that.
//! <https://istio.io/latest/docs/reference/config/networking/destination-rule/>

use std::time::Duration;

use serde_json::{Value, json};
use weir_engine::names::ServiceId;

use super::balancing::{Balanced, Unfit, is_free};
use super::fields::{Fields, is_ours};

const OUTLIERS: &str = "/spec/trafficPolicy/outlierDetection";
const BALANCER: &str = "/spec/trafficPolicy/loadBalancer";
const LOCALITIES: &str = "/spec/trafficPolicy/loadBalancer/localityLbSetting";

/// A service's name everywhere in the mesh.
pub(super) fn host(service: &ServiceId) -> String {
    format!("{}.{}.svc.cluster.local", service.name, service.namespace)
}

/// Whether a host in an object of that namespace means the service.
pub(super) fn is_host(host: &str, namespace: &str, service: &ServiceId) -> bool {
    let long = format!("{}.{}", service.name, service.namespace);
    let short = *service.name == *host && *namespace == *service.namespace;
    short
        || host == long
        || host == format!("{long}.svc")
        || host == format!("{long}.svc.cluster.local")
}

/// The only `DestinationRule` of a namespace that is for a service.
///
/// # Errors
///
/// If there is none, or more than one.
pub fn rule<'a>(rules: &'a [Value], service: &ServiceId) -> Result<&'a Value, Unfit> {
    let meant = rules.iter().filter(|rule| {
        let namespace = rule["metadata"]["namespace"].as_str().unwrap_or_default();
        let host = rule["spec"]["host"].as_str().unwrap_or_default();
        is_host(host, namespace, service) && rule["spec"].get("workloadSelector").is_none()
    });
    match meant.collect::<Vec<_>>()[..] {
        [] => Err(Unfit::NoRule(service.clone())),
        [one] => Ok(one),
        ref many => {
            let names = many.iter().filter_map(|rule| rule["metadata"]["name"].as_str());
            let names = names.collect::<Vec<_>>().join(", ");
            Err(Unfit::ManyRules { service: service.clone(), names })
        }
    }
}

/// The fields that a rule shall have, and why not all of them.
pub fn fields(rule: &Value, wanted: &Balanced) -> (Fields, Option<Unfit>) {
    let mut fields = outliers(rule, wanted);
    let guarded = !fields.is_empty();
    fields.extend(warmup(rule, wanted.slow_start));
    let mut unfit = None;
    if !wanted.distribute.is_empty() {
        match excludes_distribute(rule) {
            None => {
                let value = Value::Array(wanted.distribute.clone());
                fields.insert(format!("{LOCALITIES}/distribute"), value);
            }
            Some(field) => {
                let part = |key: &str| rule["metadata"][key].as_str().unwrap_or_default();
                let rule = format!("{}/{}", part("namespace"), part("name"));
                unfit = Some(Unfit::OtherZones { rule, field });
            }
        }
    } else if guarded
        && is_free(rule, LOCALITIES)
        && rule.pointer(&format!("{BALANCER}/zoneAwareLbSetting")).is_none()
    {
        // With outlier detection Istio sends clients to their own zone first, unless told not to;
        // nobody has asked for that.
        fields.insert(format!("{LOCALITIES}/enabled"), json!(false));
    }
    (fields, unfit)
}

/// How far proxies may eject: as far as Weir. What counts as an error a policy does not say, so that
/// stays Istio's; nor does `minHealthPercent` follow, which is also the panic threshold, below which
/// proxies ask whoever is out.
fn outliers(rule: &Value, wanted: &Balanced) -> Fields {
    let limits = &wanted.ejection;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
    let percent = (limits.max_ejected.value() * 100.0 + 1e-9).floor() as u32;
    // None at all cannot be said: Istio reads 0 as its own default.
    if percent == 0 || !is_free(rule, OUTLIERS) {
        return Fields::new();
    }
    [
        (format!("{OUTLIERS}/baseEjectionTime"), json!(seconds(limits.base_time))),
        (format!("{OUTLIERS}/maxEjectionPercent"), json!(percent)),
    ]
    .into()
}

/// Envoy begins at a tenth, as Weir does; only its round robin and least request know of it.
fn warmup(rule: &Value, duration: Duration) -> Option<(String, Value)> {
    const TAKE: [&str; 4] = ["UNSPECIFIED", "LEAST_CONN", "LEAST_REQUEST", "ROUND_ROBIN"];
    let balancer = rule.pointer(BALANCER).unwrap_or(&Value::Null);
    let kind = balancer["simple"].as_str().unwrap_or("UNSPECIFIED");
    let theirs = ["consistentHash", "warmupDurationSecs"].iter();
    let fits = TAKE.contains(&kind)
        && theirs.clone().all(|field| balancer.get(field).is_none())
        && is_free(rule, &format!("{BALANCER}/warmup"))
        && !duration.is_zero();
    fits.then(|| (format!("{BALANCER}/warmup/duration"), json!(seconds(duration))))
}

/// What Istio does not take together with `distribute`.
fn excludes_distribute(rule: &Value) -> Option<&'static str> {
    let some = |path: String| {
        let value = rule.pointer(&path);
        value.is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()))
    };
    let off = format!("{LOCALITIES}/enabled");
    let is_off = rule.pointer(&off) == Some(&json!(false)) && !is_ours(rule, &off);
    if some(format!("{LOCALITIES}/failover")) {
        Some("localityLbSetting.failover")
    } else if some(format!("{LOCALITIES}/failoverPriority")) {
        Some("localityLbSetting.failoverPriority")
    } else if some(format!("{BALANCER}/zoneAwareLbSetting")) {
        Some("zoneAwareLbSetting")
    } else {
        is_off.then_some("localityLbSetting.enabled: false")
    }
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
