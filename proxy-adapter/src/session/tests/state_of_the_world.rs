//! Rules of the state-of-the-world dialect.

use super::*;

const AB: Content<'_> = &[(Endpoints, "a", 1), (Endpoints, "b", 1)];

#[test]
fn the_same_names_with_the_last_nonce_are_an_acknowledgement_and_get_no_answer() {
    let mut stream = Stream::sotw(AB);
    let first = stream.names(Endpoints, "", &["a", "b"]);
    told(&first, &["eds a=1 b=1"]);
    told(&stream.ack(&first, &["b", "a"]), &[]);
    let [Event::Taken { kind: Endpoints, resources }] = &stream.session.take_events()[..] else {
        panic!("not taken");
    };
    assert_eq!(resources.len(), 2);
}

#[test]
fn added_names_are_answered_and_dropped_ones_are_not() {
    let mut stream = Stream::sotw(AB);
    let first = stream.names(Endpoints, "", &["a"]);
    told(&first, &["eds a=1"]);
    let second = stream.ack(&first, &["a", "b"]);
    told(&second, &["eds b=1"]);
    told(&stream.ack(&second, &["b"]), &[]);
    told(&stream.publish(&[(Endpoints, "a", 2), (Endpoints, "b", 1)]), &[]);
    // What it dropped and wants again, it has forgotten.
    told(&stream.names(Endpoints, &second[0].nonce, &["a", "b"]), &["eds a=2"]);
}

#[test]
fn a_request_with_an_old_nonce_changes_no_names() {
    let mut stream = Stream::sotw(AB);
    let first = stream.names(Endpoints, "", &["a"]);
    let second = stream.ack(&first, &["a", "b"]);
    told(&second, &["eds b=1"]);
    told(&stream.names(Endpoints, &first[0].nonce, &["a", "c"]), &[]);
    told(&stream.names(Endpoints, "no such nonce", &["c"]), &[]);
    stream.ack(&second, &["a", "b"]);
    told(&stream.publish(&[(Endpoints, "a", 1), (Endpoints, "b", 2)]), &["eds b=2"]);
}

#[test]
fn an_empty_nonce_starts_over_whatever_version_the_client_has() {
    let mut stream = Stream::sotw(AB);
    let first = stream.names(Endpoints, "", &["a", "b"]);
    stream.ack(&first, &["a", "b"]);
    told(&stream.names_having(Endpoints, "", &["a", "b"], "1.1"), &["eds a=1 b=1"]);
}

#[test]
fn a_nonce_of_an_earlier_stream_starts_over_too() {
    let mut stream = Stream::sotw(AB);
    told(&stream.names_having(Endpoints, "6.3", &["a"], "1.1"), &["eds a=1"]);
}

#[test]
fn no_names_mean_all_clusters_and_listeners_but_no_endpoints() {
    let all: Content<'_> =
        &[(Cluster, "a", 1), (Endpoints, "a", 1), (Listener, "l", 1), (Route, "r", 1)];
    let mut stream = Stream::sotw(all);
    told(&stream.names(Cluster, "", &[]), &["cds a=1"]);
    told(&stream.names(Listener, "", &[]), &["lds l=1"]);
    told(&stream.names(Endpoints, "", &[]), &["eds"]);
    told(&stream.names(Route, "", &[]), &["rds"]);
}

#[test]
fn once_names_were_given_no_names_mean_none_and_a_star_means_all() {
    let clusters: Content<'_> = &[(Cluster, "a", 1), (Cluster, "b", 1)];
    let mut stream = Stream::sotw(clusters);
    let first = stream.names(Cluster, "", &["a"]);
    told(&first, &["cds a=1"]);
    told(&stream.ack(&first, &[]), &[]);
    told(&stream.publish(&[(Cluster, "a", 2), (Cluster, "b", 1)]), &[]);
    told(&stream.names(Cluster, &first[0].nonce, &["*"]), &["cds a=2 b=1"]);
}

#[test]
fn a_change_of_one_cluster_repeats_all_since_what_is_missing_is_deleted() {
    let mut stream = Stream::sotw(&[(Cluster, "a", 1), (Cluster, "b", 1)]);
    let first = stream.names(Cluster, "", &[]);
    stream.ack(&first, &[]);
    told(&stream.publish(&[(Cluster, "a", 2), (Cluster, "b", 1)]), &["cds a=2 b=1"]);
}

#[test]
fn a_change_of_one_clusters_endpoints_repeats_no_others() {
    let mut stream = Stream::sotw(AB);
    let first = stream.names(Endpoints, "", &["a", "b"]);
    stream.ack(&first, &["a", "b"]);
    told(&stream.publish(&[(Endpoints, "a", 2), (Endpoints, "b", 1)]), &["eds a=2"]);
}

#[test]
fn the_version_is_that_of_the_push_that_last_changed_the_type() {
    let mut stream = Stream::sotw(&[(Cluster, "a", 1)]);
    stream.set(&[(Cluster, "a", 1), (Route, "r", 1)]);
    assert_eq!(stream.names(Cluster, "", &[])[0].version.to_string(), "1.1");
    assert_eq!(stream.names(Route, "", &["r"])[0].version.to_string(), "1.2");
}

#[test]
fn the_same_content_is_not_pushed_again() {
    let mut stream = Stream::sotw(AB);
    let first = stream.names(Endpoints, "", &["a", "b"]);
    stream.ack(&first, &["a", "b"]);
    told(&stream.publish(&[(Endpoints, "a", 1), (Endpoints, "b", 1), (Route, "r", 1)]), &[]);
}
