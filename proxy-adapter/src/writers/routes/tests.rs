use super::*;

fn wanted(percent: f64) -> Wanted {
    Wanted {
        service: ServiceId::new("shop", "cart"),
        canary: ServiceId::new("shop", "cart-v2"),
        stable: ServiceId::new("shop", "cart-v1"),
        weight: Ratio::clamped(percent / 100.0),
    }
}

fn http_route(backends: &Value) -> Value {
    json!({
        "metadata": {"name": "cart", "namespace": "shop", "resourceVersion": "7"},
        "spec": {"rules": [{"name": "own", "backendRefs": [{"name": "other"}]}, {"backendRefs": backends}]},
    })
}

fn virtual_service(routes: &Value) -> Value {
    json!({
        "metadata": {"name": "cart", "namespace": "shop", "resourceVersion": "7"},
        "spec": {"hosts": ["cart"], "http": [{"route": routes}]},
    })
}

/// What an API server makes of a patch.
fn applied(object: &Value, plan: &Plan) -> Value {
    let Plan::Write { patch, .. } = plan else { panic!("nothing is written") };
    let mut object = object.clone();
    for operation in patch.as_array().unwrap() {
        let path = operation["path"].as_str().unwrap();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let key = key.replace("~1", "/");
        let value = operation["value"].clone();
        let at = object.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
        match operation["op"].as_str().unwrap() {
            "test" => assert_eq!(at[&key], value),
            "replace" => {
                assert!(at.get(&key).is_some(), "{path}");
                at[&key] = value;
            }
            "add" => at[&key] = value,
            "remove" => drop(at.as_object_mut().unwrap().remove(&key).expect(path)),
            other => panic!("{other}"),
        }
    }
    object
}

fn without_empty_maps(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    object
}

#[test]
fn weights_are_written_and_put_back_as_they_were() {
    let gateway =
        json!([{"name": "cart-v1", "port": 80, "weight": 1}, {"name": "cart-v2", "port": 80}]);
    let istio = json!([
        {"destination": {"host": "cart-v1"}, "weight": 100},
        {"destination": {"host": "cart-v2.shop.svc.cluster.local"}},
    ]);
    for (kind, object, list) in [
        (Kind::HttpRoute, http_route(&gateway), "/spec/rules/1/backendRefs"),
        (Kind::VirtualService, virtual_service(&istio), "/spec/http/0/route"),
    ] {
        let first = applied(&object, &plan(kind, &object, &wanted(10.0)));
        let weights = |object: &Value| {
            let list = object.pointer(list).unwrap().as_array().unwrap().clone();
            list.iter().map(|one| one["weight"].as_u64()).collect::<Vec<_>>()
        };
        assert_eq!(weights(&first), [Some(9_000), Some(1_000)]);
        assert_eq!(plan(kind, &first, &wanted(10.0)), Plan::Leave);
        let next = plan(kind, &first, &wanted(20.0));
        assert!(matches!(next, Plan::Write { contests: false, .. }));
        let second = applied(&first, &next);
        assert_eq!(weights(&second), [Some(8_000), Some(2_000)]);
        assert_eq!(without_empty_maps(applied(&second, &restore(&second))), object);
    }
}

#[test]
fn what_somebody_else_has_written_since_is_contested() {
    let object = http_route(&json!([{"name": "cart-v1"}, {"name": "cart-v2"}]));
    let mut written = applied(&object, &plan(Kind::HttpRoute, &object, &wanted(10.0)));
    written["spec"]["rules"][1]["backendRefs"][1]["weight"] = json!(5_000);
    let again = plan(Kind::HttpRoute, &written, &wanted(10.0));
    assert!(matches!(again, Plan::Write { contests: true, .. }));
    assert_eq!(without_empty_maps(applied(&written, &restore(&written))), object);
}

#[test]
fn a_rule_with_others_in_it_is_somebody_elses() {
    for backends in [
        json!([{"name": "cart-v1"}, {"name": "cart-v2"}, {"name": "mirror"}]),
        json!([{"name": "cart-v1"}]),
        json!([{"name": "cart-v1"}, {"name": "cart-v2", "namespace": "other"}]),
        json!([{"name": "cart-v1"}, {"name": "cart-v2", "kind": "InferencePool"}]),
    ] {
        let object = http_route(&backends);
        assert_eq!(plan(Kind::HttpRoute, &object, &wanted(10.0)), Plan::Leave, "{backends}");
    }
    let subsets = json!([
        {"destination": {"host": "cart-v1", "subset": "a"}},
        {"destination": {"host": "cart-v2", "subset": "b"}},
    ]);
    assert_eq!(plan(Kind::VirtualService, &virtual_service(&subsets), &wanted(1.0)), Plan::Leave);
}

#[test]
fn what_comes_to_the_same_parts_is_left() {
    let same = http_route(&json!([{"name": "cart-v1"}, {"name": "cart-v2", "weight": 1}]));
    assert_eq!(plan(Kind::HttpRoute, &same, &wanted(50.0)), Plan::Leave);
    let none =
        http_route(&json!([{"name": "cart-v1", "weight": 5}, {"name": "cart-v2", "weight": 0}]));
    assert_eq!(plan(Kind::HttpRoute, &none, &wanted(0.0)), Plan::Leave);
    assert_eq!(restore(&same), Plan::Leave, "nobody has written it");
}

#[test]
fn a_rule_that_has_gone_is_not_put_back() {
    let object = http_route(&json!([{"name": "cart-v1"}, {"name": "cart-v2"}]));
    let mut written = applied(&object, &plan(Kind::HttpRoute, &object, &wanted(10.0)));
    written["spec"]["rules"].as_array_mut().unwrap().pop();
    let restored = without_empty_maps(applied(&written, &restore(&written)));
    assert_eq!(restored["metadata"], object["metadata"]);
}
