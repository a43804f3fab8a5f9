//! How often a client is told something, and what happens when it says nothing.

use super::*;

fn eds(content: u32) -> [(TypeUrl, &'static str, u32); 1] {
    [(Endpoints, "a", content)]
}

/// A stream that has taken endpoints 1.
fn stream() -> Stream {
    let mut stream = Stream::delta(&eds(1));
    let first = stream.change(Endpoints, &["a"], &[]);
    stream.ack(&first, &[]);
    stream.pass(1_000);
    stream.session.take_events();
    stream
}

#[test]
fn at_most_one_push_is_unanswered_and_the_latest_state_replaces_what_waits() {
    let mut stream = stream();
    let push = stream.publish(&eds(2));
    told(&push, &["eds a=2"]);
    told(&stream.publish(&eds(3)), &[]);
    told(&stream.publish(&eds(4)), &[]);
    told(&stream.ack(&push, &[]), &["eds a=4"]);
}

#[test]
fn a_subscription_is_answered_though_a_push_is_unanswered_and_brings_nothing_else() {
    let mut stream = stream();
    told(&stream.publish(&eds(2)), &["eds a=2"]);
    told(&stream.publish(&[(Endpoints, "a", 3), (Endpoints, "b", 1)]), &[]);
    told(&stream.change(Endpoints, &["b"], &[]), &["eds b=1"]);
}

#[test]
fn two_pushes_a_second_are_the_limit_for_each_type() {
    let mut stream = stream();
    for content in [2, 3] {
        let push = stream.publish(&eds(content));
        told(&push, &[&format!("eds a={content}")]);
        told(&stream.ack(&push, &[]), &[]);
    }
    told(&stream.publish(&eds(4)), &[]);
    assert_eq!(stream.session.wake(), Some(stream.now.plus(Duration::from_secs(1))));
    told(&stream.pass(999), &[]);
    told(&stream.pass(1), &["eds a=4"]);
}

#[test]
fn a_stream_that_has_nothing_to_do_does_not_wake() {
    assert_eq!(stream().session.wake(), None);
}

#[test]
fn no_answer_in_five_seconds_is_reported_once_as_silence_not_as_taken() {
    let mut stream = stream();
    let push = stream.publish(&eds(2));
    assert_eq!(stream.session.wake(), Some(stream.now.plus(ACK_DEADLINE)));
    stream.pass(4_999);
    assert_eq!(stream.session.take_events(), []);
    assert_eq!(stream.session.wake(), Some(stream.now.plus(Duration::from_millis(1))));
    stream.pass(1);
    let silent = Event::Silent { kind: Endpoints, resources: push[0].resources.clone() };
    assert_eq!(stream.session.take_events(), [silent]);
    stream.pass(5_000);
    assert_eq!(stream.session.take_events(), []);
    // A late answer still counts.
    stream.ack(&push, &[]);
    let taken = Event::Taken { kind: Endpoints, resources: push[0].resources.clone() };
    assert_eq!(stream.session.take_events(), [taken]);
}

#[test]
fn a_silent_client_is_offered_the_latest_state_after_the_deadline() {
    let mut stream = stream();
    stream.publish(&eds(2));
    told(&stream.publish(&eds(3)), &[]);
    told(&stream.pass(4_999), &[]);
    told(&stream.pass(1), &["eds a=3"]);
}

#[test]
fn what_a_client_never_answers_is_bounded() {
    let mut stream = stream();
    for content in 2..100 {
        stream.publish(&eds(content));
        stream.pass(5_000);
    }
    assert!(stream.session.watches[&Endpoints].outstanding.len() <= watch::OUTSTANDING_MAX);
    // An answer to the last clears those before it that stayed without one.
    let nonce = stream.session.watches[&Endpoints].outstanding.back().unwrap().nonce.clone();
    stream.send(Request {
        ask: Ask::Changes { subscribe: vec![], unsubscribe: vec![], has: vec![] },
        ..request(Endpoints, &nonce)
    });
    assert_eq!(stream.session.watches[&Endpoints].outstanding.len(), 0);
}

#[test]
fn types_do_not_wait_for_one_another() {
    let mut stream = Stream::delta(&[(Endpoints, "a", 1), (Runtime, "weir", 1)]);
    let mut first = stream.change(Endpoints, &["a"], &[]);
    first.extend(stream.change(Runtime, &["weir"], &[]));
    stream.ack(&first, &[]);
    told(&stream.publish(&[(Endpoints, "a", 2), (Runtime, "weir", 1)]), &["eds a=2"]);
    told(&stream.publish(&[(Endpoints, "a", 3), (Runtime, "weir", 2)]), &["rtds weir=2"]);
}

#[test]
fn status_shows_versions_lag_and_what_waits() {
    let mut stream = stream();
    let push = stream.publish(&eds(2));
    let status = stream.session.status().remove(0);
    assert_eq!(status.sent.unwrap().to_string(), "1.2");
    assert_eq!(status.acked.unwrap().to_string(), "1.1");
    assert!(status.pending && status.unanswered_since == Some(stream.now));
    stream.pass(30);
    stream.ack(&push, &[]);
    let status = stream.session.status().remove(0);
    assert_eq!(status.lag, Some(Duration::from_millis(30)));
    assert!(!status.pending && status.acked == status.sent);
}
