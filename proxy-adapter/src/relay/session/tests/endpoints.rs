//! What becomes of endpoints.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, DiscoveryResponse, Resource,
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::Any;

use super::*;

fn ready(dialect: Dialect) -> Site {
    let mut site = Site::new(dialect, Manner::Istiod);
    site.serve("a", &[(1, 1), (2, 1), (3, 1)]);
    site.want(&["a"]);
    site
}

/// A response with one cluster.
fn cluster(dialect: Dialect, panic: f64, alt: &str) -> Bytes {
    let cluster = Cluster {
        name: "a".to_owned(),
        alt_stat_name: alt.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: panic }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let any = Any { type_url: CLUSTERS.to_owned(), value: cluster.encode_to_vec() };
    let bytes = match dialect {
        Dialect::StateOfTheWorld => DiscoveryResponse {
            resources: vec![any],
            type_url: CLUSTERS.to_owned(),
            nonce: "c1".to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        Dialect::Incremental => DeltaDiscoveryResponse {
            resources: vec![Resource {
                name: "a".to_owned(),
                resource: Some(any),
                ..Default::default()
            }],
            type_url: CLUSTERS.to_owned(),
            nonce: "c1".to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
    };
    bytes.into()
}

/// The client's answers to clusters are nobody's business here.
fn send_cluster(site: &mut Site, bytes: &Bytes) {
    assert_eq!(site.session.response(bytes, site.now)[0], Out::Client(bytes.clone()));
}

#[test]
fn a_newcomer_gets_its_fair_share_under_an_opinion() {
    for dialect in DIALECTS {
        let mut site = ready(dialect);
        site.opine(opinions(&[(1, 5.0), (2, 0.5)]));
        site.serve("a", &[(1, 1), (2, 1), (3, 1), (4, 1)]);
        site.has("a", &[(1, 5_000), (2, 500), (3, 1_000), (4, 1_000)]);
    }
}

#[test]
fn an_endpoint_that_leaves_and_comes_back_is_somebody_else() {
    for dialect in DIALECTS {
        let mut site = ready(dialect);
        site.opine(opinions(&[(3, 8.0)]));
        site.serve("a", &[(1, 1), (2, 1)]);
        site.serve("a", &[(1, 1), (2, 1), (3, 1)]);
        site.has("a", &[(1, 1), (2, 1), (3, 1)]);
        site.opine(opinions(&[(3, 4.0)]));
        site.has("a", &[(1, 1), (2, 1), (3, 1)]);
        site.wait(61_000);
        site.opine(opinions(&[(3, 3.0)]));
        site.has("a", &[(1, 1_000), (2, 1_000), (3, 3_000)]);
    }
}

#[test]
fn what_the_server_calls_unhealthy_stays_so() {
    for dialect in DIALECTS {
        let mut site = Site::new(dialect, Manner::Istiod);
        site.server.unhealthy.insert(2);
        site.opine(opinions(&[(2, 5.0), (1, 0.0)]));
        site.serve("a", &[(1, 1), (2, 1), (3, 1)]);
        site.want(&["a"]);
        site.has("a", &[(3, 1_000)]);
    }
}

#[test]
fn not_everybody_can_be_put_out() {
    for dialect in DIALECTS {
        let mut site = ready(dialect);
        send_cluster(&mut site, &cluster(dialect, 0.0, ""));
        site.opine(opinions(&[(1, 0.0), (2, 0.0)]));
        site.has("a", &[(3, 1)]);
        site.opine(opinions(&[(1, 0.0), (2, 0.0), (3, 0.0)]));
        site.has("a", &[(1, 1), (2, 1), (3, 1)]);
        assert!(matches!(site.told.last(), Some(Event::Withheld(..))), "{:?}", site.told);
    }
}

/// A proxy that panics sends requests to everybody, those that are out too.
#[test]
fn the_panic_threshold_of_the_servers_cluster_holds() {
    for (panic, expected) in [(0.0, 1), (50.0, 2), (60.0, 3)] {
        let mut site = ready(Dialect::Incremental);
        send_cluster(&mut site, &cluster(Dialect::Incremental, panic, ""));
        for out in [&[(1, 0.0)][..], &[(1, 0.0), (2, 0.0)]] {
            site.opine(opinions(out));
        }
        let left = site.client.weights("a").len();
        let least = match expected {
            // Two out of three are too many: all of the opinion is set aside.
            2 | 3 => 3,
            other => other,
        };
        assert_eq!(left, least, "{panic}");
        site.opine(opinions(&[(1, 0.0)]));
        assert_eq!(site.client.weights("a").len(), expected.max(2), "{panic}");
    }
}

#[test]
fn a_changed_cluster_gets_its_endpoints_from_here_if_the_server_sends_none() {
    for dialect in DIALECTS {
        let mut site = ready(dialect);
        site.opine(opinions(&[(1, 8.0)]));
        let before = site.client.responses;
        send_cluster(&mut site, &cluster(dialect, 0.0, "first"));
        assert_eq!(site.session.due(), Some(site.now.plus(WARMING)));
        site.wait(19);
        assert_eq!(site.client.responses, before);
        site.wait(1);
        assert_eq!(site.client.responses, before + 1);
        assert_eq!(site.told.last(), Some(&Event::Taken(Sort::Endpoints, vec!["a".to_owned()])));
        assert!(site.told.contains(&Event::Repaired("a".to_owned())));
        site.has("a", &[(1, 8_000), (2, 1_000), (3, 1_000)]);

        send_cluster(&mut site, &cluster(dialect, 0.0, "first"));
        assert_eq!(site.session.due(), None, "the same cluster warms nothing");
        send_cluster(&mut site, &cluster(dialect, 0.0, "second"));
        site.serve("a", &[(1, 1), (2, 1), (3, 1)]);
        assert_eq!(site.session.due(), None, "the server has sent them itself");
    }
}
