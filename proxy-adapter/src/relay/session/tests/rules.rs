//! Nonces, versions, and what goes through untouched.

use super::*;

fn each(mut test: impl FnMut(Site)) {
    for dialect in DIALECTS {
        for manner in MANNERS {
            test(Site::new(dialect, manner));
        }
    }
}

#[test]
fn without_an_opinion_every_byte_goes_through() {
    each(|mut site| {
        site.want(&["a", "b"]);
        let response = site.server.change("a", &[(1, 1), (2, 1)]).remove(0);
        site.respond(vec![response.clone()]);
        assert_eq!(site.sent.1.last(), Some(&response));
        site.has("a", &[(1, 1), (2, 1)]);
        assert_eq!(site.server.lost, 0);
        assert_eq!(site.client.responses, site.server.responses);
    });
}

#[test]
fn other_types_go_through_both_ways() {
    for dialect in DIALECTS {
        let mut site = Site::new(dialect, Manner::Istiod);
        site.want(&["a"]);
        let (type_field, nonce_field) = match dialect {
            Dialect::StateOfTheWorld => (0x22, 0x2a),
            Dialect::Incremental => (0x12, 0x32),
        };
        let mut request = vec![type_field, 1, b's', nonce_field, 1, b'9'];
        request.extend([0xc2, 0x3e, 2, b'x', b'y']);
        let request = Bytes::from(request);
        let out = site.session.request(&request, site.now).unwrap();
        assert_eq!(out, [Out::Server(request)]);
        for response in [&[0x22, 1, b's', 0xc2, 0x3e, 1, b'x'][..], &[0x22, 9], b"\xff"] {
            let response = Bytes::copy_from_slice(response);
            let out = site.session.response(&response, site.now);
            assert_eq!(out, [Out::Client(response)], "also what is no message");
        }
    }
}

#[test]
fn an_opinion_is_in_the_first_response_and_in_all_that_follow() {
    each(|mut site| {
        site.opine(opinions(&[(1, 8.0)]));
        site.serve("a", &[(1, 1), (2, 1)]);
        site.want(&["a"]);
        site.has("a", &[(1, 8_000), (2, 1_000)]);
        site.serve("a", &[(1, 1), (2, 1), (3, 1)]);
        site.has("a", &[(1, 8_000), (2, 1_000), (3, 1_000)]);
        assert_eq!(site.client.responses, site.server.responses, "no response of the relay's own");
    });
}

#[test]
fn a_new_opinion_acts_at_once_and_the_server_hears_nothing_of_it() {
    each(|mut site| {
        site.serve("a", &[(1, 1), (2, 1)]);
        site.want(&["a"]);
        let heard = site.sent.0.len();
        site.opine(opinions(&[(1, 8.0)]));
        site.has("a", &[(1, 8_000), (2, 1_000)]);
        site.opine(opinions(&[]));
        site.has("a", &[(1, 1), (2, 1)]);
        assert_eq!(site.sent.0.len(), heard);
        site.opine(opinions(&[]));
        assert_eq!(site.client.responses - site.server.responses, 2, "one for each change");
        assert_eq!(site.told, [Event::Taken(Sort::Endpoints, vec!["a".to_owned()])]);
    });
}

/// One server would send everything again and again over a version that is not its own.
#[test]
fn no_answer_brings_more_than_one_response() {
    each(|mut site| {
        site.opine(opinions(&[(1, 8.0)]));
        site.serve("a", &[(1, 1), (2, 1)]);
        site.want(&["a"]);
        for weight in 2..12 {
            let before = site.client.responses;
            site.serve("a", &[(1, weight), (2, 1)]);
            site.opine(opinions(&[(1, f64::from(weight))]));
            assert!(site.client.responses - before <= 2);
        }
        assert_eq!(site.server.lost, 0);
    });
}

#[test]
fn names_that_come_with_a_nonce_of_the_relays_own_reach_the_server() {
    each(|mut site| {
        site.serve("a", &[(1, 1), (2, 1)]);
        site.serve("b", &[(3, 1)]);
        site.want(&["a"]);
        site.opine(opinions(&[(1, 8.0)]));
        site.want(&["a", "b"]);
        site.has("b", &[(3, 1)]);
        site.has("a", &[(1, 8_000), (2, 1_000)]);
        site.want(&["b"]);
        site.serve("b", &[(3, 2)]);
        site.has("b", &[(3, 2)]);
        assert_eq!(site.server.lost, 0);
    });
}

#[test]
fn names_that_ride_on_a_late_answer_go_by_themselves() {
    let mut site = Site::new(Dialect::Incremental, Manner::Istiod);
    site.serve("a", &[(1, 1)]);
    site.serve("b", &[(2, 1)]);
    site.want(&["a"]);
    let first = site.server.change("a", &[(1, 2)]).remove(0);
    let second = site.server.change("a", &[(1, 3)]).remove(0);
    drop(site.session.response(&first, site.now));
    drop(site.session.response(&second, site.now));
    let late = envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest {
        type_url: ENDPOINTS.to_owned(),
        resource_names_subscribe: vec!["b".to_owned()],
        response_nonce: "n2".to_owned(),
        ..Default::default()
    };
    drop(site.client.want(&["a", "b"]));
    let out = site.session.request(&late.encode_to_vec().into(), site.now).unwrap();
    assert_eq!(out.len(), 2);
    site.carry(out);
    site.has("b", &[(2, 1)]);
}

/// No server was seen to answer a name that it believes the client has.
#[test]
fn a_name_that_is_asked_for_again_is_answered_from_what_is_known() {
    each(|mut site| {
        site.serve("a", &[(1, 1), (2, 1)]);
        site.want(&["a"]);
        for stands in [&[][..], &[(1, 8.0)]] {
            site.opine(opinions(stands));
            let before = site.client.responses;
            let request = site.client.again();
            let out = site.session.request(&request, site.now).unwrap();
            site.carry(out);
            assert_eq!(site.client.responses, before + 1);
        }
        site.has("a", &[(1, 8_000), (2, 1_000)]);
    });
}

#[test]
fn a_first_request_that_does_not_say_who_asks_ends_the_stream() {
    for dialect in DIALECTS {
        let mut session = Session::new(dialect, Arc::default(), Arc::default());
        let request = Bytes::from_static(&[0x22, 1, b's']);
        let now = Moment::from_millis(1);
        assert_eq!(session.request(&request, now), Err(Ending::NoNode));
    }
}

/// A relay that has died leaves changed weights; whoever comes next has to see to it that they go.
#[test]
fn without_a_relay_or_with_a_fresh_one_a_client_converges() {
    each(|mut site| {
        site.opine(opinions(&[(1, 8.0)]));
        site.serve("a", &[(1, 1), (2, 1)]);
        site.want(&["a"]);
        let changed = [(1, 8_000), (2, 1_000)];
        site.has("a", &changed);

        // Straight to the server.
        let mut client = site.client.clone().reconnected();
        let mut server = site.server.clone().reconnected();
        let mut requests = vec![client.begin()];
        while let Some(request) = requests.pop() {
            for response in server.request(&request) {
                requests.push(client.response(&response));
            }
        }
        assert_eq!(client.weights("a"), weights(&[(1, 1), (2, 1)]));

        // Through a fresh relay, with and without opinions.
        for (thought, expected) in [(&[(1, 8.0)][..], changed), (&[], [(1, 1), (2, 1)])] {
            let client = site.client.clone().reconnected();
            let server = site.server.clone().reconnected();
            let mut fresh = Site::with(client, server, opinions(thought));
            let request = fresh.client.begin();
            let out = fresh.session.request(&request, fresh.now).unwrap();
            fresh.carry(out);
            fresh.has("a", &expected);
            fresh.opine(opinions(&[(2, 2.0)]));
            fresh.has("a", &[(1, 1_000), (2, 2_000)]);
        }
    });
}

/// A server that believes that a client has its last version sends nothing, and a relay that has seen
/// nothing can change nothing.
#[test]
fn a_fresh_relay_sees_what_its_client_has_already() {
    each(|mut site| {
        site.serve("a", &[(1, 1), (2, 1)]);
        site.want(&["a"]);
        let (client, server) = (site.client.reconnected(), site.server.reconnected());
        let mut fresh = Site::with(client, server, opinions(&[]));
        let request = fresh.client.begin();
        let out = fresh.session.request(&request, fresh.now).unwrap();
        fresh.carry(out);
        fresh.opine(opinions(&[(2, 2.0)]));
        fresh.has("a", &[(1, 1_000), (2, 2_000)]);
    });
}

/// Clients answer in order, and some servers send the next response only then: what is thought of the last
/// one waits until it is answered, or a client would have two changes to refuse at once.
#[test]
fn a_new_opinion_waits_for_the_answer_to_what_was_sent() {
    each(|mut site| {
        site.serve("a", &[(1, 1), (2, 1)]);
        site.want(&["a"]);
        let response = site.server.change("a", &[(1, 2), (2, 1)]).remove(0);
        let sent = site.session.response(&response, site.now);
        for thought in [8.0, 9.0] {
            let out = site.session.opine(Arc::new(opinions(&[(1, thought)])), site.now);
            assert_eq!(out, []);
        }
        site.carry(sent);
        site.has("a", &[(1, 18_000), (2, 1_000)]);
    });
}

#[test]
fn what_is_gone_is_forgotten() {
    each(|mut site| {
        site.serve("a", &[(1, 1)]);
        site.want(&["a"]);
        site.want(&["b"]);
        let before = site.client.responses;
        site.opine(opinions(&[(1, 8.0)]));
        assert_eq!(site.client.responses, before, "nobody wants it");
    });
    let mut site = Site::new(Dialect::Incremental, Manner::Gateway);
    site.serve("a", &[(1, 1)]);
    site.want(&["a"]);
    let removed = site.server.remove("a");
    site.respond(removed);
    let before = site.client.responses;
    site.opine(opinions(&[(1, 8.0)]));
    assert_eq!(site.client.responses, before);
    let named = [("a".to_owned(), Arc::new(Opinion::default()))].into();
    site.opine(Opinions { named, ..opinions(&[]) });
    assert_eq!(site.told, [Event::Blind("a".to_owned())]);
}
