use std::time::Duration;

use weir_engine::goal::EjectionLimits;
use weir_engine::names::ServiceId;

use super::*;
use crate::writers::balancing::{Balanced, Unfit};
use crate::writers::{istio, linkerd};

/// What an API server makes of a plan.
fn applied(object: &Value, plan: &Plan) -> Value {
    let (Plan::Write { patch, .. } | Plan::LetGo { patch }) = plan else {
        panic!("nothing is written")
    };
    let mut object = object.clone();
    for operation in patch.as_array().unwrap() {
        let path = operation["path"].as_str().unwrap();
        let (parent, key) = split(path).unwrap();
        let value = operation["value"].clone();
        let at = object.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent} for {path}"));
        match operation["op"].as_str().unwrap() {
            "test" => assert_eq!(at[&key], value),
            "add" => at[&key] = value,
            "remove" => drop(at.as_object_mut().unwrap().remove(&key).expect(path)),
            other => panic!("{other}"),
        }
    }
    object
}

fn as_found(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    object
}

fn rule(policy: Value) -> Value {
    let mut rule = json!({
        "metadata": {"name": "cart", "namespace": "shop", "resourceVersion": "7"},
        "spec": {"host": "cart"},
    });
    if !policy.is_null() {
        rule["spec"]["trafficPolicy"] = policy;
    }
    rule
}

fn wanted(distribute: &[Value]) -> Balanced {
    Balanced {
        service: ServiceId::new("shop", "cart"),
        policy: "shop/cart".into(),
        distribute: distribute.to_vec(),
        ejection: EjectionLimits::default(),
        slow_start: Duration::from_secs(30),
    }
}

fn ways() -> Vec<Value> {
    vec![json!({"from": "eu/a/*", "to": {"eu/a/*": 70, "eu/b/*": 30}})]
}

fn contests(plan: &Plan) -> bool {
    matches!(plan, Plan::Write { contests: true, .. })
}

#[test]
fn fields_come_and_go_whatever_was_there() {
    for before in [
        Value::Null,
        json!({}),
        json!({"tls": {"mode": "DISABLE"}, "loadBalancer": {"simple": "ROUND_ROBIN"}}),
        json!({"loadBalancer": {"localityLbSetting": {"distribute": [{"from": "*", "to": {"*": 100}}]}}}),
    ] {
        let found = rule(before);
        let (fields, unfit) = istio::fields(&found, &wanted(&ways()));
        assert_eq!(unfit, None);
        let first = applied(&found, &plan(&found, &fields));
        let policy = &first["spec"]["trafficPolicy"];
        assert_eq!(
            policy["outlierDetection"],
            json!({"baseEjectionTime": "10s", "maxEjectionPercent": 20})
        );
        assert_eq!(policy["loadBalancer"]["warmup"], json!({"duration": "30s"}));
        let setting = &policy["loadBalancer"]["localityLbSetting"];
        assert_eq!(*setting, json!({"distribute": ways()}));
        let again = istio::fields(&first, &wanted(&ways())).0;
        assert_eq!(plan(&first, &again), Plan::Leave, "it is a level");

        let alike = istio::fields(&first, &wanted(&[])).0;
        let then = applied(&first, &plan(&first, &alike));
        let back = applied(&then, &restore(&then));
        assert_eq!(as_found(back), found, "after zones went alike");
        assert_eq!(as_found(applied(&first, &restore(&first))), found);
        assert_eq!(restore(&found), Plan::Leave);
    }
}

#[test]
fn proxies_eject_without_preferring_their_own_zone() {
    let found = rule(Value::Null);
    let fields = istio::fields(&found, &wanted(&[])).0;
    let written = applied(&found, &plan(&found, &fields));
    let setting = &written["spec"]["trafficPolicy"]["loadBalancer"]["localityLbSetting"];
    assert_eq!(*setting, json!({"enabled": false}));
    // And zones that differ later are not stopped by it.
    let (fields, unfit) = istio::fields(&written, &wanted(&ways()));
    assert_eq!(unfit, None);
    let then = applied(&written, &plan(&written, &fields));
    let setting = &then["spec"]["trafficPolicy"]["loadBalancer"]["localityLbSetting"];
    assert_eq!(*setting, json!({"distribute": ways()}));
}

#[test]
fn what_somebody_has_set_stays_his() {
    let found = rule(json!({
        "outlierDetection": {"consecutive5xxErrors": 3},
        "loadBalancer": {"consistentHash": {"useSourceIp": true}},
    }));
    assert_eq!(istio::fields(&found, &wanted(&[])).0, Fields::new());
    let nothing = Balanced {
        ejection: EjectionLimits {
            max_ejected: weir_engine::units::Ratio::ZERO,
            ..EjectionLimits::default()
        },
        slow_start: Duration::ZERO,
        ..wanted(&[])
    };
    assert_eq!(istio::fields(&rule(Value::Null), &nothing).0, Fields::new());
}

#[test]
fn zones_are_refused_beside_what_istio_does_not_take_with_them() {
    for (setting, field) in [
        (
            json!({"localityLbSetting": {"failover": [{"from": "eu", "to": "us"}]}}),
            "localityLbSetting.failover",
        ),
        (
            json!({"localityLbSetting": {"failoverPriority": ["a"]}}),
            "localityLbSetting.failoverPriority",
        ),
        (json!({"zoneAwareLbSetting": {}}), "zoneAwareLbSetting"),
        (json!({"localityLbSetting": {"enabled": false}}), "localityLbSetting.enabled: false"),
    ] {
        let found = rule(json!({"loadBalancer": setting}));
        let (fields, unfit) = istio::fields(&found, &wanted(&ways()));
        assert!(fields.keys().all(|path| !path.contains("distribute")));
        assert_eq!(unfit, Some(Unfit::OtherZones { rule: "shop/cart".to_owned(), field }));
    }
}

#[test]
fn a_fight_is_seen_and_what_is_theirs_is_not_put_back() {
    let found = rule(Value::Null);
    let fields = istio::fields(&found, &wanted(&[])).0;
    let mut theirs = applied(&found, &plan(&found, &fields));
    theirs["spec"]["trafficPolicy"]["outlierDetection"]["maxEjectionPercent"] = json!(50);
    theirs["spec"]["trafficPolicy"]["outlierDetection"]["interval"] = json!("1s");
    let fields = istio::fields(&theirs, &wanted(&[])).0;
    assert!(contests(&plan(&theirs, &fields)));
    let back = as_found(applied(&theirs, &restore(&theirs)));
    let left = json!({"outlierDetection": {"maxEjectionPercent": 50, "interval": "1s"}});
    assert_eq!(back["spec"]["trafficPolicy"], left);
    assert_eq!(restore(&back), Plan::Leave);
}

#[test]
fn the_only_rule_of_a_host_is_found() {
    let cart = ServiceId::new("shop", "cart");
    let other = json!({"metadata": {"name": "o", "namespace": "shop"}, "spec": {"host": "other"}});
    let mut second = rule(Value::Null);
    assert!(matches!(istio::rule(std::slice::from_ref(&other), &cart), Err(Unfit::NoRule(_))));
    assert_eq!(istio::rule(&[other, second.clone()], &cart), Ok(&second));
    second["spec"]["host"] = json!("cart.shop.svc.cluster.local");
    second["metadata"]["name"] = json!("more");
    let both = [rule(Value::Null), second];
    let said = istio::rule(&both, &cart).unwrap_err().to_string();
    assert!(said.contains("(cart, more)"), "{said}");
}

#[test]
fn annotations_come_and_go_where_nobody_set_any() {
    let found = json!({"metadata": {"name": "cart", "namespace": "shop", "resourceVersion": "7"}});
    let fields = linkerd::fields(&found, &wanted(&[]));
    let written = applied(&found, &plan(&found, &fields));
    let annotations = &written["metadata"]["annotations"];
    assert_eq!(annotations["balancer.linkerd.io/failure-accrual"], "consecutive");
    assert_eq!(annotations["balancer.linkerd.io/failure-accrual-consecutive-min-penalty"], "10s");
    assert_eq!(annotations["balancer.linkerd.io/failure-accrual-consecutive-max-penalty"], "300s");
    assert_eq!(plan(&written, &linkerd::fields(&written, &wanted(&[]))), Plan::Leave);
    assert_eq!(as_found(applied(&written, &restore(&written))), found);
    let mut theirs = found;
    theirs["metadata"]["annotations"] =
        json!({"balancer.linkerd.io/failure-accrual-consecutive-max-failures": "3"});
    assert_eq!(linkerd::fields(&theirs, &wanted(&[])), Fields::new());
}

#[test]
fn a_profile_leaves_no_room() {
    let cart = ServiceId::new("shop", "cart");
    let profile = |name: &str| json!({"metadata": {"name": name}});
    assert_eq!(linkerd::without_profile(&[profile("cart2.shop.svc.cluster.local")], &cart), Ok(()));
    assert!(linkerd::without_profile(&[profile("cart.shop.svc.cluster.local")], &cart).is_err());
}
