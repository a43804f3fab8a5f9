use super::*;

fn wanted(percent: f64) -> Wanted {
    Wanted {
        service: ServiceId::new("shop", "cart"),
        canary: ServiceId::new("shop", "cart-v2"),
        stable: ServiceId::new("shop", "cart-v1"),
        weight: Ratio::clamped(percent / 100.0),
        ends: false,
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
    let (Plan::Write { patch, .. } | Plan::LetGo { patch }) = plan else {
        panic!("nothing is written")
    };
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
    let restored = without_empty_maps(applied(&written, &restore(&written)));
    let backends = &restored["spec"]["rules"][1]["backendRefs"];
    assert_eq!((&backends[0]["weight"], &backends[1]["weight"]), (&json!(9_000), &json!(5_000)));
    assert_eq!(
        restored["metadata"], object["metadata"],
        "what is theirs stays, and nothing is Weir's"
    );
}

#[test]
fn a_version_that_has_taken_over_keeps_what_it_has() {
    let object =
        http_route(&json!([{"name": "cart-v1", "weight": 1}, {"name": "cart-v2", "weight": 0}]));
    let end = Wanted { ends: true, ..wanted(100.0) };
    assert_eq!(plan(Kind::HttpRoute, &object, &end), Plan::Leave, "nothing was written");
    for last in [40.0, 100.0] {
        let written = applied(&object, &plan(Kind::HttpRoute, &object, &wanted(last)));
        let ended = plan(Kind::HttpRoute, &written, &end);
        assert!(matches!(ended, Plan::LetGo { .. }));
        let ended = without_empty_maps(applied(&written, &ended));
        let backends = &ended["spec"]["rules"][1]["backendRefs"];
        assert_eq!((&backends[0]["weight"], &backends[1]["weight"]), (&json!(0), &json!(10_000)));
        assert_eq!(ended["metadata"], object["metadata"]);
        assert_eq!(
            (plan(Kind::HttpRoute, &ended, &end), restore(&ended)),
            (Plan::Leave, Plan::Leave)
        );
    }
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

/// Puts a rule before all others, as whoever owns the route may do at any time.
fn with_a_rule_before(mut object: Value, rule: Value) -> Value {
    object["spec"]["rules"].as_array_mut().unwrap().insert(0, rule);
    object
}

#[test]
fn a_rule_that_has_moved_gets_its_own_weights_back() {
    let object = http_route(&json!([{"name": "cart-v1", "weight": 3}, {"name": "cart-v2"}]));
    let written = applied(&object, &plan(Kind::HttpRoute, &object, &wanted(10.0)));
    let rule = json!({"backendRefs": [{"name": "third", "weight": 7}, {"name": "fourth"}]});
    let (expected, moved) =
        (with_a_rule_before(object, rule.clone()), with_a_rule_before(written, rule));
    assert_eq!(without_empty_maps(applied(&moved, &restore(&moved))), expected);
    let next = applied(&moved, &plan(Kind::HttpRoute, &moved, &wanted(20.0)));
    assert_eq!(next["spec"]["rules"][2]["backendRefs"][1]["weight"], 2_000);
    assert_eq!(without_empty_maps(applied(&next, &restore(&next))), expected);
}

#[test]
fn a_rule_that_has_come_since_gets_its_own_weights_back() {
    let object = http_route(&json!([{"name": "cart-v1"}, {"name": "cart-v2"}]));
    let written = applied(&object, &plan(Kind::HttpRoute, &object, &wanted(10.0)));
    let more = |mut object: Value| {
        let rule = json!({"backendRefs": [{"name": "cart-v2", "weight": 4}, {"name": "cart-v1"}]});
        object["spec"]["rules"].as_array_mut().unwrap().push(rule);
        object
    };
    let (expected, written) = (more(object), more(written));
    let next = applied(&written, &plan(Kind::HttpRoute, &written, &wanted(10.0)));
    assert_eq!(next["spec"]["rules"][2]["backendRefs"][0]["weight"], 1_000);
    assert_eq!(without_empty_maps(applied(&next, &restore(&next))), expected);
}

#[test]
fn what_an_older_version_noted_is_read() {
    let object =
        http_route(&json!([{"name": "cart-v1", "weight": 9}, {"name": "cart-v2", "weight": 1}]));
    let mut written = object.clone();
    let [old, new] = [0, 1].map(|at| format!("/spec/rules/1/backendRefs/{at}/weight"));
    let noted = json!({old: 5, new: null}).to_string();
    written["metadata"]["annotations"] = json!({BEFORE: noted});
    let restored = applied(&written, &restore(&written));
    let backends = &restored["spec"]["rules"][1]["backendRefs"];
    assert_eq!(*backends, json!([{"name": "cart-v1", "weight": 5}, {"name": "cart-v2"}]));
}
