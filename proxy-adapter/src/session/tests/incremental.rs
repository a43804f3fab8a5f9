//! Rules of the incremental dialect.

use super::*;

const AB: Content<'_> = &[(Endpoints, "a", 1), (Endpoints, "b", 1)];

#[test]
fn what_a_reconnected_client_has_already_is_not_sent_again() {
    let mut stream = Stream::delta(AB);
    let has = [("a", 1), ("b", 9)];
    told(&stream.change_having(Endpoints, &["a", "b"], &[], &has), &["eds b=1"]);
    let mut stream = Stream::delta(&[(Cluster, "a", 1), (Cluster, "b", 1)]);
    told(&stream.change_having(Cluster, &[], &[], &[("a", 1)]), &["cds b=1"]);
}

#[test]
fn what_a_reconnected_client_has_and_is_gone_is_removed_once_its_routes_had_time() {
    let mut stream = Stream::delta(&[(Cluster, "a", 1), (Listener, "l", 1)]);
    told(&stream.change_having(Cluster, &[], &[], &[("a", 1), ("old", 1)]), &[]);
    told(&stream.change_having(Listener, &[], &[], &[("l", 1), ("old", 1)]), &["lds -old"]);
    let wake = stream.session.wake().unwrap();
    let removal = stream.pass(wake.since(stream.now).as_millis().try_into().unwrap());
    told(&removal, &[]);
    let listeners = Response {
        kind: Listener,
        version: PushVersion::default(),
        nonce: "7.1".into(),
        resources: vec![],
        removed: vec![],
    };
    told(&stream.ack(&[listeners], &[]), &["cds -old"]);
}

#[test]
fn subscribing_to_a_known_name_sends_it_again() {
    let mut stream = Stream::delta(AB);
    let first = stream.change(Endpoints, &["a"], &[]);
    stream.ack(&first, &[]);
    told(&stream.change(Endpoints, &["a"], &[]), &["eds a=1"]);
}

#[test]
fn an_unsubscribed_name_is_not_heard_of_again() {
    let mut stream = Stream::delta(AB);
    let first = stream.change(Endpoints, &["a", "b"], &[]);
    stream.ack(&first, &[]);
    told(&stream.change(Endpoints, &[], &["a"]), &[]);
    told(&stream.publish(&[(Endpoints, "a", 2), (Endpoints, "b", 2)]), &["eds b=2"]);
}

#[test]
fn names_are_added_and_dropped_whatever_the_nonce() {
    let mut stream = Stream::delta(AB);
    stream.change(Endpoints, &["a"], &[]);
    let ask = Ask::Changes {
        subscribe: vec!["b".into()],
        unsubscribe: vec!["a".into()],
        has: Vec::new(),
    };
    told(&stream.send(Request { ask, ..request(Endpoints, "stale") }), &["eds b=1"]);
    assert_eq!(stream.session.take_events(), [], "an unknown nonce is no verdict");
    let now = stream.pass(5_000);
    told(&now, &[]);
    told(&stream.publish(&[(Endpoints, "a", 2), (Endpoints, "b", 2)]), &["eds b=2"]);
}

#[test]
fn any_unanswered_response_can_be_taken_or_refused() {
    let mut stream = Stream::delta(AB);
    let a = stream.change(Endpoints, &["a"], &[]);
    let b = stream.change(Endpoints, &["b"], &[]);
    stream.nack(&a, &[], "no");
    stream.ack(&b, &[]);
    let events = stream.session.take_events();
    let [Event::Refused { resources: refused, .. }, Event::Taken { resources: taken, .. }] =
        &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((&*refused[0].name, &*taken[0].name), ("a", "b"));
}

#[test]
fn names_that_do_not_exist_are_said_to_be_gone_at_once() {
    let mut stream = Stream::delta(&[]);
    told(&stream.change(Route, &["r"], &[]), &["rds -r"]);
    told(&stream.change(Cluster, &["c"], &[]), &["cds -c"]);
}

#[test]
fn a_first_request_without_names_wants_every_cluster() {
    let mut stream = Stream::delta(&[(Cluster, "a", 1)]);
    let first = stream.change(Cluster, &[], &[]);
    told(&first, &["cds a=1"]);
    stream.ack(&first, &[]);
    told(&stream.publish(&[(Cluster, "a", 1), (Cluster, "b", 1)]), &["cds b=1"]);
}

#[test]
fn a_first_request_for_every_cluster_is_answered_even_if_there_is_none() {
    told(&Stream::delta(&[]).change(Cluster, &[], &[]), &["cds"]);
}

#[test]
fn a_star_wants_every_one_and_can_be_dropped() {
    let mut stream = Stream::delta(&[(Cluster, "a", 1), (Cluster, "b", 1)]);
    let first = stream.change(Cluster, &["a"], &[]);
    told(&first, &["cds a=1"]);
    stream.ack(&first, &[]);
    let rest = stream.change(Cluster, &["*"], &[]);
    told(&rest, &["cds b=1"]);
    stream.ack(&rest, &[]);
    told(&stream.change(Cluster, &[], &["*"]), &[]);
    told(&stream.publish(&[(Cluster, "a", 2), (Cluster, "b", 2)]), &["cds a=2"]);
}

#[test]
fn subscribing_to_the_star_again_sends_everything_again() {
    let mut stream = Stream::delta(&[(Cluster, "a", 1)]);
    let first = stream.change(Cluster, &["*"], &[]);
    stream.ack(&first, &[]);
    told(&stream.change(Cluster, &["*"], &[]), &["cds a=1"]);
}

#[test]
fn dropping_a_name_that_the_star_covers_sends_it_again() {
    let mut stream = Stream::delta(&[(Cluster, "a", 1)]);
    let first = stream.change(Cluster, &["*", "a"], &[]);
    stream.ack(&first, &[]);
    told(&stream.change(Cluster, &[], &["a"]), &["cds a=1"]);
}

#[test]
fn removed_resources_are_named() {
    let mut stream = Stream::delta(&[(Cluster, "a", 1), (Cluster, "b", 1)]);
    let first = stream.change(Cluster, &[], &[]);
    stream.ack(&first, &[]);
    stream.pass(1_000);
    told(&stream.publish(&[(Cluster, "b", 1)]), &["cds -a"]);
}
