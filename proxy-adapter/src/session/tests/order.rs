//! What goes before what, and what a changed cluster needs.

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::EdsClusterConfig;

use super::*;

/// A stream that subscribed to everything and took it.
fn subscribed(dialect: Dialect, content: Content<'_>) -> Stream {
    let mut stream = Stream::new(dialect);
    stream.set(content);
    for (kind, names) in KINDS {
        let first = match dialect {
            Dialect::StateOfTheWorld => stream.names(kind, "", names),
            Dialect::Incremental => stream.change(kind, names, &[]),
        };
        told(&stream.ack(&first, names), &[]);
    }
    stream.pass(1_000);
    stream
}

const KINDS: [(TypeUrl, &[&str]); 4] =
    [(Cluster, &[]), (Endpoints, &["a"]), (Listener, &[]), (Route, &["r"])];
const BOTH: [Dialect; 2] = [Dialect::StateOfTheWorld, Dialect::Incremental];
const ONE: Content<'_> =
    &[(Cluster, "a", 1), (Endpoints, "a", 1), (Listener, "l", 1), (Route, "r", 1)];

#[test]
fn clusters_go_before_endpoints_before_listeners_before_routes() {
    for dialect in BOTH {
        let mut stream = subscribed(dialect, ONE);
        let all = [(Route, "r", 2), (Listener, "l", 2), (Endpoints, "a", 2), (Cluster, "a", 2)];
        let first = stream.publish(&all);
        told(&first, &["cds a=2", "eds a=2", "lds l=2"]);
        // A route waits until what it leads to was taken.
        told(&stream.ack(&first[..1], &[]), &[]);
        told(&stream.ack(&first[1..2], &["a"]), &["rds r=2"]);
    }
}

#[test]
fn a_route_does_not_wait_for_who_keeps_silent_nor_where_it_was_asked_for() {
    for dialect in BOTH {
        let mut stream = subscribed(dialect, ONE);
        let next = |route| {
            [(Cluster, "a", 2), (Endpoints, "a", 1), (Listener, "l", 1), (Route, "r", route)]
        };
        told(&stream.publish(&next(2)), &["cds a=2", "eds a=1"]);
        told(&stream.pass(4_999), &[]);
        told(&stream.pass(1), &["rds r=2"]);

        let mut stream = Stream::new(dialect);
        stream.set(&next(1));
        let asked = |stream: &mut Stream, kind, names: &[&str]| match dialect {
            Dialect::StateOfTheWorld => stream.names(kind, "", names),
            Dialect::Incremental => stream.change(kind, names, &[]),
        };
        told(&asked(&mut stream, Cluster, &[]), &["cds a=2"]);
        told(&asked(&mut stream, Route, &["r"]), &["rds r=1"]);
    }
}

/// Traffic has to be able to go back: a proxy that never answers for its endpoints, and is
/// offered them again and again, still gets its routes.
#[test]
fn a_route_is_not_kept_for_ever_from_who_never_answers_for_endpoints() {
    let mut stream = subscribed(Dialect::Incremental, ONE);
    let next = |n| [(Cluster, "a", 1), (Endpoints, "a", n), (Listener, "l", 1), (Route, "r", n)];
    let mut told = Vec::new();
    for n in 2..8 {
        let mut responses = stream.publish(&next(n));
        responses.extend(stream.pass(5_000));
        // Every route is taken, nothing of the endpoints is answered.
        while let Some(response) = responses.pop() {
            if response.kind == Route {
                told.push(text(&response));
                responses.extend(stream.ack(&[response], &[]));
            }
        }
    }
    assert_eq!(told, (2..8).map(|n| format!("rds r={n}")).collect::<Vec<_>>());
}

#[test]
fn a_changed_cluster_is_followed_by_its_endpoints_even_if_they_are_unchanged() {
    for dialect in BOTH {
        let mut stream = subscribed(dialect, ONE);
        let changed = [(Cluster, "a", 2), (Endpoints, "a", 1), (Listener, "l", 1), (Route, "r", 1)];
        told(&stream.publish(&changed), &["cds a=2", "eds a=1"]);
    }
}

#[test]
fn clusters_that_are_repeated_unchanged_need_no_endpoints() {
    let with = |second| [(Cluster, "a", 1), (Cluster, "b", second), (Endpoints, "a", 1)];
    let mut stream = Stream::sotw(&with(1));
    for (kind, names) in [(Cluster, &[][..]), (Endpoints, &["a"])] {
        let first = stream.names(kind, "", names);
        stream.ack(&first, names);
    }
    told(&stream.publish(&with(2)), &["cds a=1 b=2"]);
}

#[test]
fn a_cluster_that_is_asked_for_again_is_followed_by_its_endpoints() {
    let mut stream = subscribed(Dialect::StateOfTheWorld, ONE);
    told(&stream.names_having(Cluster, "", &[], "1.1"), &["cds a=1", "eds a=1"]);
    let mut stream = subscribed(Dialect::Incremental, ONE);
    told(&stream.change(Cluster, &["a"], &[]), &["cds a=1", "eds a=1"]);
}

#[test]
fn endpoints_follow_also_where_they_have_a_name_of_their_own() {
    let endpoints = EdsClusterConfig { service_name: "service".to_owned(), eds_config: None };
    let cluster = cluster::Cluster { eds_cluster_config: Some(endpoints), ..Default::default() };
    let mut snapshot = Snapshot::default();
    snapshot.insert(Cluster, Resource::new("a", &cluster));
    snapshot.insert(Endpoints, Resource::new("service", &1_u32));
    let mut stream = Stream::delta(&[]);
    stream.view = stream.view.change(Arc::new(snapshot)).unwrap();
    let first = stream.change(Endpoints, &["service"], &[]);
    stream.ack(&first, &[]);
    let cds = stream.change(Cluster, &[], &[]);
    assert_eq!(text(&cds[1]), "eds service=1");
}

#[test]
fn a_reconnected_clients_endpoints_follow_a_changed_cluster_though_it_has_them() {
    // Clusters are asked for first, as Envoy does.
    let mut stream = Stream::delta(ONE);
    told(&stream.change_having(Cluster, &[], &[], &[("a", 9)]), &["cds a=1"]);
    told(&stream.change_having(Endpoints, &["a"], &[], &[("a", 1)]), &["eds a=1"]);
    // Or endpoints first.
    let mut stream = Stream::delta(ONE);
    told(&stream.change_having(Endpoints, &["a"], &[], &[("a", 1)]), &[]);
    told(&stream.change_having(Cluster, &[], &[], &[("a", 9)]), &["cds a=1", "eds a=1"]);
}

#[test]
fn endpoints_of_a_changed_cluster_wait_for_no_rate_but_for_the_answer_to_the_last_ones() {
    for dialect in BOTH {
        let mut stream = subscribed(dialect, ONE);
        let with = |cluster, endpoints| {
            [
                (Cluster, "a", cluster),
                (Endpoints, "a", endpoints),
                (Listener, "l", 1),
                (Route, "r", 1),
            ]
        };
        for endpoints in [2, 3] {
            let push = stream.publish(&with(1, endpoints));
            told(&stream.ack(&push, &["a"]), &[]);
        }
        told(&stream.publish(&with(1, 4)), &[]);
        let repair = stream.publish(&with(2, 4));
        told(&repair, &["cds a=2", "eds a=4"]);
        // A client that has not answered for its endpoints may have read them before the cluster.
        stream.ack(&repair[..1], &[]);
        told(&stream.publish(&with(3, 4)), &["cds a=3"]);
        told(&stream.ack(&repair[1..], &["a"]), &["eds a=4"]);
    }
}

#[test]
fn a_cluster_goes_only_after_the_routes_that_no_longer_use_it_were_taken() {
    let two: Content<'_> = &[
        (Cluster, "a", 1),
        (Cluster, "b", 1),
        (Endpoints, "a", 1),
        (Listener, "l", 1),
        (Route, "r", 1),
    ];
    for (dialect, removal) in BOTH.into_iter().zip(["cds b=1", "cds -a"]) {
        let mut stream = subscribed(dialect, two);
        let without = [(Cluster, "b", 1), (Endpoints, "a", 1), (Listener, "l", 1), (Route, "r", 2)];
        let routes = stream.publish(&without);
        told(&routes, &["rds r=2"]);
        told(&stream.ack(&routes, &["r"]), &[removal]);
    }
}

#[test]
fn a_cluster_stays_while_a_client_keeps_an_old_route() {
    for dialect in BOTH {
        let mut stream = subscribed(dialect, ONE);
        let routes = stream.publish(&[(Listener, "l", 1), (Route, "r", 2), (Endpoints, "a", 1)]);
        told(&routes, &["rds r=2"]);
        let fallback = stream.nack(&routes, &["r"], "no");
        told(&fallback, &["rds r=1"]);
        told(&stream.ack(&fallback, &["r"]), &[]);
        told(&stream.pass(60_000), &[]);
    }
}

#[test]
fn added_clusters_go_before_removed_ones() {
    for (dialect, addition, removal) in
        [(BOTH[0], "cds a=1 b=1", "cds b=1"), (BOTH[1], "cds b=1", "cds -a")]
    {
        let mut stream = subscribed(dialect, ONE);
        let next = [(Cluster, "b", 1), (Endpoints, "a", 1), (Listener, "l", 1), (Route, "r", 2)];
        let added = stream.publish(&next);
        told(&added, &[addition]);
        let routes = stream.ack(&added, &[]);
        told(&routes, &["rds r=2"]);
        told(&stream.ack(&routes, &["r"]), &[removal]);
    }
}
