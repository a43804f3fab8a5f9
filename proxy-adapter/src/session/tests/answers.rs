//! What both dialects share: who asks, what is not served, limits.

use super::*;

#[test]
fn the_node_may_come_with_every_request_or_with_the_first_only() {
    let mut stream = Stream::sotw(&[(Cluster, "a", 1)]);
    let first = stream.names(Cluster, "", &[]);
    told(&first, &["cds a=1"]);
    let without = Request { node: None, ..request(Cluster, &first[0].nonce) };
    told(&stream.send(without), &[]);
    assert_eq!(stream.session.node(), Some(&Node::from(NODE)));
    // A stream is one client's: a later id changes nothing.
    let other = NodeInfo { id: "other".to_owned(), ..NodeInfo::default() };
    stream.send(Request { node: Some(other), ..request(Cluster, &first[0].nonce) });
    assert_eq!(stream.session.node(), Some(&Node::from(NODE)));
}

#[track_caller]
fn check_refused(request: Request, violation: &Violation) {
    let mut session = Session::new(Dialect::Incremental, 1, None, START);
    assert_eq!(session.handle(request, &View::new(1), START).as_ref(), Err(violation));
}

#[test]
fn a_client_without_name_or_beyond_a_limit_is_refused() {
    let ask = |count| Ask::Changes {
        subscribe: (0..count).map(|n| n.to_string()).collect(),
        unsubscribe: Vec::new(),
        has: Vec::new(),
    };
    let with = |ask| Request { ask, ..request(Endpoints, "") };
    let node = |id: &str, metadata_bytes| {
        let node = NodeInfo { id: id.to_owned(), metadata_bytes, ..NodeInfo::default() };
        Request { node: Some(node), ..request(Endpoints, "") }
    };
    check_refused(Request { node: None, ..request(Cluster, "") }, &Violation::NodeMissing);
    check_refused(node("", 0), &Violation::NodeMissing);
    check_refused(node(&"x".repeat(NAME_MAX + 1), 0), &Violation::NameTooLong(NAME_MAX + 1));
    let large = METADATA_MAX + 1;
    check_refused(node("n", large), &Violation::MetadataTooLarge(large));
    check_refused(with(ask(NAMES_MAX + 1)), &Violation::TooManyNames(NAMES_MAX + 1));
    let mut stream = Stream::delta(&[]);
    assert_eq!(stream.send(with(ask(NAMES_MAX))).len(), 1, "the limit itself is fine");
    let more = stream.session.handle(with(ask(1)), &stream.view, START);
    assert_eq!(more, Err(Violation::TooManyNames(NAMES_MAX + 1)), "also in small steps");
}

#[test]
fn a_type_that_is_not_served_leaves_the_stream_alone_and_is_shown() {
    let mut stream = Stream::delta(&[(Cluster, "a", 1)]);
    let secret = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    let other = Request { type_url: secret.to_owned(), ..request(Cluster, "") };
    told(&stream.send(other), &[]);
    told(&stream.change(Cluster, &[], &[]), &["cds a=1"]);
    assert_eq!(stream.session.unserved().collect::<Vec<_>>(), [secret]);
}

#[test]
fn a_stream_of_one_type_serves_that_one_only_even_unnamed() {
    let mut session = Session::new(Dialect::Incremental, 1, Some(Endpoints), START);
    let ask = Ask::Changes { subscribe: vec!["a".into()], unsubscribe: vec![], has: vec![] };
    let unnamed = Request { type_url: String::new(), ask, ..request(Endpoints, "") };
    told(&session.handle(unnamed, &View::new(1), START).unwrap(), &["eds a=none"]);
    let wrong = session.handle(request(Cluster, ""), &View::new(1), START);
    assert!(matches!(wrong, Err(Violation::WrongType { served: Endpoints, .. })));
}

#[test]
fn a_subscribed_name_that_is_unknown_gets_empty_endpoints_at_once() {
    told(&Stream::sotw(&[]).names(Endpoints, "", &["a"]), &["eds a=none"]);
    let mut stream = Stream::delta(&[]);
    told(&stream.change(Endpoints, &["a"], &[]), &["eds a=none"]);
    // It hears of the real ones when there are some.
    let mut stream = Stream::sotw(&[]);
    let empty = stream.names(Endpoints, "", &["a"]);
    told(&stream.ack(&empty, &["a"]), &[]);
    let one = stream.names(Endpoints, &empty[0].nonce, &["a", "b"]);
    told(&one, &["eds b=none"]);
    stream.ack(&one, &["a", "b"]);
    told(&stream.publish(&[(Endpoints, "a", 1)]), &["eds a=1"]);
}

#[test]
fn endpoints_that_an_earlier_stream_gave_are_not_emptied_by_ignorance() {
    let mut stream = Stream::delta(&[]);
    told(&stream.change_having(Endpoints, &["a", "b"], &[], &[("a", 1)]), &["eds b=none"]);
    let mut stream = Stream::sotw(&[]);
    let first = stream.names_having(Endpoints, "", &["a"], "1.4");
    told(&first, &["eds"]);
    // What it asks for later is new to it, and what it had stays what it was.
    let second = stream.ack(&first, &["a", "b"]);
    told(&second, &["eds b=none"]);
    stream.ack(&second, &["a", "b"]);
    told(&stream.publish(&[(Endpoints, "c", 1)]), &[]);
}

#[test]
fn a_subscribed_runtime_layer_is_answered_at_once_even_when_empty() {
    told(&Stream::sotw(&[]).names(Runtime, "", &["weir"]), &["rtds weir=none"]);
    told(&Stream::delta(&[]).change(Runtime, &["weir"], &[]), &["rtds weir=none"]);
}

#[test]
fn a_runtime_layer_that_is_gone_becomes_empty() {
    let mut stream = Stream::delta(&[(Runtime, "weir", 1)]);
    let layer = stream.change(Runtime, &["weir"], &[]);
    stream.ack(&layer, &[]);
    told(&stream.publish(&[]), &["rtds weir=none"]);
    let mut stream = Stream::sotw(&[]);
    told(&stream.names_having(Runtime, "", &["weir"], "1.4"), &["rtds weir=none"]);
}

#[test]
fn a_node_gets_its_own_layer_and_hears_only_of_its_own_changes() {
    let own = |mine: u32, others: u32| {
        let mut snapshot = Snapshot::default();
        for (node, content) in [(NODE, mine), ("other", others)] {
            snapshot.insert_for(&Node::from(node), Runtime, Resource::new("weir", &content));
        }
        Arc::new(snapshot)
    };
    let mut stream = Stream::delta(&[]);
    stream.view = stream.view.change(own(1, 2)).unwrap();
    let layer = stream.change(Runtime, &["weir"], &[]);
    told(&layer, &["rtds weir=1"]);
    stream.ack(&layer, &[]);
    stream.view = stream.view.change(own(1, 3)).unwrap();
    told(&stream.pass(0), &[]);
    stream.view = stream.view.change(own(4, 3)).unwrap();
    told(&stream.pass(0), &["rtds weir=4"]);
}

/// A client gets what is for its zone, and is told when that changes, though nothing else did.
#[test]
fn clients_of_a_zone_get_their_own() {
    for dialect in [Dialect::StateOfTheWorld, Dialect::Incremental] {
        let told = |zone: &str, own: &[u32]| {
            let mut stream = Stream::new(dialect);
            let mut out = Vec::new();
            for (step, content) in own.iter().enumerate() {
                let mut snapshot = Snapshot::default();
                snapshot.insert(Endpoints, Resource::new("a", &1_u32));
                let own = Resource::new("a", content).in_zone("z1".into());
                snapshot.insert_in_zone(Endpoints, Arc::new(own));
                stream.view = stream.view.change(Arc::new(snapshot)).unwrap();
                let node = NodeInfo { id: NODE.into(), zone: zone.into(), ..NodeInfo::default() };
                let ask = match dialect {
                    Dialect::StateOfTheWorld => {
                        Ask::Names { version: String::new(), names: vec!["a".into()] }
                    }
                    Dialect::Incremental => Ask::Changes {
                        subscribe: vec!["a".into()],
                        unsubscribe: Vec::new(),
                        has: Vec::new(),
                    },
                };
                let responses = if step == 0 {
                    stream.send(Request { node: Some(node), ask, ..request(Endpoints, "") })
                } else {
                    stream.session.update(&stream.view, stream.now)
                };
                out.extend(responses.iter().map(text));
                stream.ack(&responses, &["a"]);
            }
            out
        };
        assert_eq!(told("z1", &[7, 8]), ["eds a=7", "eds a=8"]);
        assert_eq!(told("z2", &[7, 8]), ["eds a=1"]);
    }
}
