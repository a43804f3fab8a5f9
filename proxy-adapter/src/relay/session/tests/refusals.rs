//! A client that refuses: the server hears one answer to each of its responses, and about its own only.

use super::*;

const REFUSED: u32 = 7_000;

fn refusing(dialect: Dialect, manner: Manner) -> Site {
    let mut site = Site::new(dialect, manner);
    site.client.refuses = Some(REFUSED);
    site.serve("a", &[(1, 1), (2, 1)]);
    site.want(&["a"]);
    site
}

#[track_caller]
fn one_answer_each(site: &Site, errors: usize) {
    assert!(site.server.verdicts.values().all(|all| all.len() == 1), "{:?}", site.server.verdicts);
    assert_eq!(site.server.verdicts.values().flatten().filter(|error| **error).count(), errors);
    assert_eq!(site.server.verdicts.len(), site.server.responses);
    assert_eq!(site.server.lost, 0);
}

fn each(mut test: impl FnMut(Site)) {
    for dialect in DIALECTS {
        for manner in MANNERS {
            test(refusing(dialect, manner));
        }
    }
}

#[test]
fn a_refused_change_is_taken_back_and_the_server_hears_nothing() {
    each(|mut site| {
        site.opine(opinions(&[(1, 7.0)]));
        site.has("a", &[(1, 1), (2, 1)]);
        one_answer_each(&site, 0);
        let refused = site.told.iter().filter(|event| matches!(event, Event::Refused(..)));
        assert_eq!(refused.count(), 1);
        let responses = site.client.responses;
        site.opine(opinions(&[(1, 7.0)]));
        site.opine(opinions(&[(1, 6.0)]));
        assert_eq!(site.client.responses, responses, "neither the same nor another, for a while");
        site.wait(5_000);
        site.opine(opinions(&[(1, 7.0)]));
        assert_eq!(site.client.responses, responses, "the same is refused again");
        site.opine(opinions(&[(1, 6.0)]));
        site.has("a", &[(1, 6_000), (2, 1_000)]);
    });
}

#[test]
fn a_refused_response_of_the_server_is_repeated_as_it_was_and_answered_once() {
    each(|mut site| {
        site.opine(opinions(&[(1, 3.5)]));
        site.serve("a", &[(1, 2), (2, 1)]);
        site.has("a", &[(1, 2), (2, 1)]);
        one_answer_each(&site, 0);
        site.serve("a", &[(1, 1), (2, 1)]);
        site.has("a", &[(1, 1), (2, 1)]);
        one_answer_each(&site, 0);
    });
}

#[test]
fn a_response_that_is_refused_as_it_was_too_is_refused() {
    each(|mut site| {
        site.opine(opinions(&[(1, 5.0)]));
        site.client.refuses_next = 2;
        site.serve("a", &[(1, 2), (2, 1)]);
        one_answer_each(&site, 1);
        site.serve("a", &[(1, 3), (2, 1)]);
        one_answer_each(&site, 1);
    });
}

#[test]
fn what_the_server_sent_itself_is_refused_at_once() {
    each(|mut site| {
        site.client.refuses_next = 1;
        site.serve("a", &[(1, 2), (2, 1)]);
        one_answer_each(&site, 1);
        assert!(site.told.is_empty());
    });
}

#[test]
fn a_server_does_not_wait_long_for_a_client_that_does_not_answer() {
    for dialect in DIALECTS {
        let mut site = refusing(dialect, Manner::Gateway);
        site.opine(opinions(&[(1, 3.5)]));
        site.wait(10_000);
        let response = site.server.change("a", &[(1, 2), (2, 1)]).remove(0);
        let mut out = site.session.response(&response, site.now);
        let Some(Out::Client(patched)) = out.pop() else { panic!("it goes to the client") };
        let refusal = site.client.response(&patched);
        // What it is asked once more is not answered.
        drop(site.session.request(&refusal, site.now).unwrap());
        assert_eq!(site.session.due(), Some(site.now.plus(VERDICT)));
        site.wait(999);
        let before = site.server.verdicts.len();
        site.wait(1);
        assert_eq!(site.server.verdicts.len(), before + 1);
        assert_eq!(site.session.due(), None);
        one_answer_each(&site, 0);
    }
}
