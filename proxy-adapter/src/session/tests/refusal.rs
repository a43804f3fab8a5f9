//! What happens when a client refuses.

use super::*;
use crate::view::Quarantine;

fn eds(content: u32) -> [(TypeUrl, &'static str, u32); 1] {
    [(Endpoints, "a", content)]
}

/// A stream that has taken these endpoints.
fn stream(dialect: Dialect, content: Content<'_>) -> Stream {
    let mut stream = Stream::new(dialect);
    stream.set(content);
    let names: Vec<_> = content.iter().map(|(_, name, _)| *name).collect();
    let first = match dialect {
        Dialect::StateOfTheWorld => stream.names(Endpoints, "", &names),
        Dialect::Incremental => stream.change(Endpoints, &names, &[]),
    };
    stream.ack(&first, &names);
    stream.session.take_events();
    stream
}

const BOTH: [Dialect; 2] = [Dialect::StateOfTheWorld, Dialect::Incremental];

#[test]
fn the_last_good_is_offered_again_at_once_and_the_refused_never() {
    for dialect in BOTH {
        let mut stream = stream(dialect, &eds(1));
        let bad = stream.publish(&eds(2));
        let good = stream.nack(&bad, &["a"], "no");
        told(&good, &["eds a=1"]);
        stream.ack(&good, &["a"]);
        told(&stream.pass(3_600_000), &[]);
        // Not even when something else is published in between.
        let third = stream.publish(&eds(3));
        told(&third, &["eds a=3"]);
        stream.ack(&third, &["a"]);
        told(&stream.publish(&eds(2)), &[]);
        told(&stream.pass(3_600_000), &[]);
    }
}

#[test]
fn a_refusal_names_its_resources_and_its_words_are_one_short_line() {
    let mut stream = stream(Dialect::Incremental, &eds(1));
    let bad = stream.publish(&eds(2));
    let words = format!("weight:\nmust be \u{7}>= 1 {}", "x".repeat(4_000));
    stream.nack(&bad, &[], &words);
    let events = stream.session.take_events();
    let [Event::Refused { kind: Endpoints, resources, words }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*resources, bad[0].resources);
    assert!(words.starts_with("weight:\\nmust be \\u{7}>= 1 xxx"));
    assert!(words.len() <= 1024);
    let refusal = stream.session.status().remove(0).refusal.unwrap();
    assert_eq!((refusal.at, &*refusal.names[0]), (stream.now, "a"));
}

#[test]
fn after_a_refusal_the_next_push_waits_and_each_refusal_doubles_the_wait() {
    let mut stream = stream(Dialect::Incremental, &eds(1));
    let mut bad = stream.publish(&eds(2));
    for (content, wait) in (3..).zip([5, 10, 20, 40, 80, 160, 300, 300]) {
        let good = stream.nack(&bad, &[], "no");
        told(&good, &["eds a=1"]);
        stream.ack(&good, &[]);
        told(&stream.publish(&eds(content)), &[]);
        told(&stream.pass(wait * 1_000 - 1), &[]);
        bad = stream.pass(1);
        told(&bad, &[&format!("eds a={content}")]);
    }
    // A new version that is taken ends it.
    stream.ack(&bad, &[]);
    stream.pass(1_000);
    let bad = stream.publish(&eds(99));
    told(&bad, &["eds a=99"]);
    let good = stream.nack(&bad, &[], "no");
    stream.ack(&good, &[]);
    told(&stream.publish(&eds(100)), &[]);
    told(&stream.pass(5_000), &["eds a=100"]);
}

#[test]
fn another_refusal_right_after_the_first_brings_no_burst() {
    let all = |content| ["aaaa", "bbbb", "cccc"].map(|name| (Endpoints, name, content));
    let mut stream = stream(Dialect::Incremental, &all(1));
    let push = stream.publish(&all(2));
    let again = stream.nack(&push, &[], "aaaa: bad");
    told(&again, &["eds aaaa=1 bbbb=2 cccc=2"]);
    let again = stream.nack(&again, &[], "bbbb: bad");
    told(&again, &["eds bbbb=1"]);
    told(&stream.ack(&again, &[]), &[]);
    told(&stream.pass(4_999), &[]);
    told(&stream.pass(1), &["eds cccc=2"]);
}

#[test]
fn other_names_go_on_when_the_client_names_the_culprit() {
    for dialect in BOTH {
        let both = |content| [(Endpoints, "good-one", content), (Endpoints, "bad-one", content)];
        let mut stream = stream(dialect, &both(1));
        let names = ["good-one", "bad-one"];
        let push = stream.publish(&both(2));
        let again = stream.nack(&push, &names, "cluster_name: \"bad-one\": weight 0");
        told(&again, &["eds bad-one=1 good-one=2"]);
        stream.ack(&again, &names);
        told(&stream.pass(5_000), &[]);
        told(
            &stream.publish(&[(Endpoints, "good-one", 3), (Endpoints, "bad-one", 2)]),
            &["eds good-one=3"],
        );
    }
}

#[test]
fn a_client_that_names_no_culprit_falls_back_with_everything_that_was_new() {
    let mut stream = stream(Dialect::Incremental, &[(Endpoints, "a", 1), (Endpoints, "b", 1)]);
    let push = stream.publish(&[(Endpoints, "a", 2), (Endpoints, "b", 2)]);
    told(&stream.nack(&push, &[], "no"), &["eds a=1 b=1"]);
}

#[test]
fn a_refused_set_of_clusters_is_repeated_with_the_last_good_one_of_the_culprit() {
    let with = |a, b| [(Cluster, "aaaa", a), (Cluster, "bbbb", b)];
    let mut stream = Stream::sotw(&with(1, 1));
    let first = stream.names(Cluster, "", &[]);
    stream.ack(&first, &[]);
    let push = stream.publish(&with(2, 2));
    let words = "Error adding/updating cluster(s) aaaa: bad";
    told(&stream.nack(&push, &[], words), &["cds aaaa=1 bbbb=2"]);
}

#[test]
fn a_new_cluster_that_is_refused_is_left_out_where_the_client_cannot_have_it() {
    let mut stream = Stream::sotw(&[(Cluster, "aaaa", 1)]);
    let first = stream.names(Cluster, "", &[]);
    stream.ack(&first, &[]);
    let push = stream.publish(&[(Cluster, "aaaa", 1), (Cluster, "bbbb", 1)]);
    told(&push, &["cds aaaa=1 bbbb=1"]);
    stream.nack(&push, &[], "bbbb: bad");
    stream.pass(5_000);
    told(&stream.publish(&[(Cluster, "aaaa", 2), (Cluster, "bbbb", 1)]), &["cds aaaa=2"]);
}

#[test]
fn a_reconnected_client_has_what_it_took_and_nothing_else() {
    let mut stream = Stream::sotw(&[(Cluster, "aaaa", 1)]);
    let first = stream.names_having(Cluster, "", &[], "1.7");
    stream.ack(&first, &[]);
    let push = stream.publish(&[(Cluster, "aaaa", 1), (Cluster, "bbbb", 1)]);
    stream.nack(&push, &[], "bbbb: bad");
    stream.pass(5_000);
    told(&stream.publish(&[(Cluster, "aaaa", 2), (Cluster, "bbbb", 1)]), &["cds aaaa=2"]);
}

#[test]
fn nothing_is_left_out_that_a_reconnected_client_may_still_have() {
    let mut stream = Stream::sotw(&[(Cluster, "aaaa", 1), (Cluster, "bbbb", 1)]);
    let first = stream.names_having(Cluster, "", &[], "1.7");
    told(&first, &["cds aaaa=1 bbbb=1"]);
    told(&stream.nack(&first, &[], "bbbb: bad"), &[]);
    told(&stream.pass(3_600_000), &[]);
    told(&stream.publish(&[(Cluster, "aaaa", 1), (Cluster, "bbbb", 2)]), &["cds aaaa=1 bbbb=2"]);
}

#[test]
fn what_a_node_refused_on_an_earlier_stream_is_not_sent_to_it_again() {
    for dialect in BOTH {
        let bad = Resource::new("a", &2_u32);
        let mut quarantine = Quarantine::default();
        let good = Arc::new(Resource::new("a", &1_u32));
        quarantine.refuse(&Node::from(NODE), Endpoints, &bad, Some(good));
        let mut stream = Stream::new(dialect);
        stream.set(&eds(2));
        stream.view.quarantine = Arc::new(quarantine);
        let first = match dialect {
            Dialect::StateOfTheWorld => stream.names(Endpoints, "", &["a"]),
            Dialect::Incremental => stream.change(Endpoints, &["a"], &[]),
        };
        told(&first, &["eds a=1"]);
    }
}

#[test]
fn a_client_that_refuses_everything_is_left_alone() {
    for dialect in BOTH {
        let mut stream = stream(dialect, &eds(1));
        let mut responses = stream.publish(&eds(2));
        let mut rounds = 0;
        while !responses.is_empty() {
            responses = stream.nack(&responses, &["a"], "no");
            rounds += 1;
            assert!(rounds <= 2, "{}", text(&responses[0]));
        }
        told(&stream.pass(3_600_000), &[]);
    }
}
