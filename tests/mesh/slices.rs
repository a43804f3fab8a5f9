//! What discovery stands on: how EndpointSlices follow a Deployment that grows, shrinks, rolls and
//! loses a zone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use weir_tests::cluster::kubelet::{SPARE, ZONES};
use weir_tests::cluster::workload::{Endpoint, Workload, service};
use weir_tests::cluster::{Cluster, soon};

use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("slices::they_follow_a_deployment", &[], they_follow_a_deployment),
        Test::new("slices::they_follow_a_roll", &[], they_follow_a_roll),
        Test::new("slices::they_follow_what_a_pod_says", &[], they_follow_what_a_pod_says),
        Test::new("slices::they_follow_the_loss_of_a_zone", &[], they_follow_the_loss_of_a_zone),
    ]
}

async fn deploy(cluster: &Cluster, namespace: &str, replicas: usize, spare: bool) {
    cluster.namespace(namespace).await;
    let shop = Workload { namespace, app: "shop", version: "v1", replicas, spare };
    cluster.apply(&(shop.document() + &service(namespace, "shop"))).await;
    cluster.ready(namespace, "shop", replicas).await;
}

async fn scale(cluster: &Cluster, namespace: &str, replicas: usize) {
    let count = format!("--replicas={replicas}");
    let scaled = ["scale", "deployment/shop-v1", "--namespace", namespace, &count];
    cluster.kubectl(&scaled, "").await.unwrap();
}

fn zones(endpoints: &[Endpoint]) -> BTreeMap<&str, usize> {
    let mut zones = BTreeMap::new();
    for endpoint in endpoints {
        *zones.entry(endpoint.zone.as_str()).or_default() += 1;
    }
    zones
}

fn addresses(endpoints: &[Endpoint]) -> BTreeSet<IpAddr> {
    endpoints.iter().map(|endpoint| endpoint.address).collect()
}

async fn they_follow_a_deployment(cluster: Arc<Cluster>) {
    let namespace = "grows";
    deploy(&cluster, namespace, 6, false).await;
    let six = cluster.endpoints(namespace, "shop").await;
    assert_eq!(zones(&six), ZONES.map(|zone| (zone, 2)).into(), "they are spread evenly");
    scale(&cluster, namespace, 9).await;
    cluster.ready(namespace, "shop", 9).await;
    let nine = addresses(&cluster.endpoints(namespace, "shop").await);
    assert!(nine.is_superset(&addresses(&six)), "growing moves nobody");
    scale(&cluster, namespace, 3).await;
    cluster.ready(namespace, "shop", 3).await;
    let three = addresses(&cluster.endpoints(namespace, "shop").await);
    assert!(nine.is_superset(&three), "shrinking makes nobody new");
    let pods = cluster.kubelet.addresses(namespace).await;
    let listening: BTreeSet<_> = pods.values().map(std::net::SocketAddr::ip).collect();
    assert!(listening.is_superset(&three), "what slices name listens");
}

async fn they_follow_a_roll(cluster: Arc<Cluster>) {
    let namespace = "rolls";
    deploy(&cluster, namespace, 3, false).await;
    let before = addresses(&cluster.endpoints(namespace, "shop").await);
    let image = ["set", "image", "deployment/shop-v1", "shop=shop:next", "--namespace", namespace];
    cluster.kubectl(&image, "").await.unwrap();
    let mut fewest = usize::MAX;
    soon("all endpoints are new ones", async || {
        let endpoints = cluster.endpoints(namespace, "shop").await;
        let ready: BTreeSet<_> =
            endpoints.iter().filter(|endpoint| endpoint.ready).map(|e| e.address).collect();
        fewest = fewest.min(ready.len());
        ready.len() == 3 && endpoints.len() == 3 && ready.is_disjoint(&before)
    })
    .await;
    assert!(
        fewest >= 3,
        "{fewest} of 3 were ready at some time: a new one comes before an old one goes"
    );
}

async fn they_follow_what_a_pod_says(cluster: Arc<Cluster>) {
    let namespace = "says";
    deploy(&cluster, namespace, 3, false).await;
    let pods = cluster.kubelet.addresses(namespace).await;
    let (name, address) = pods.first_key_value().unwrap();
    for ready in [false, true] {
        cluster.kubelet.ready(namespace, name, ready).await;
        soon("the endpoint is as the pod says", async || {
            let endpoints = cluster.endpoints(namespace, "shop").await;
            let its = |endpoint: &&Endpoint| endpoint.address == address.ip();
            endpoints.len() == 3 && endpoints.iter().find(its).is_some_and(|e| e.ready == ready)
        })
        .await;
    }
}

async fn they_follow_the_loss_of_a_zone(cluster: Arc<Cluster>) {
    let namespace = "loses";
    deploy(&cluster, namespace, 8, true).await;
    let all = cluster.endpoints(namespace, "shop").await;
    assert_eq!(zones(&all).get(SPARE), Some(&2));
    cluster.kubelet.lose(SPARE).await;
    let expected = |ready: bool| {
        let all = all.iter().cloned();
        all.map(move |endpoint| Endpoint { ready: ready || endpoint.zone != SPARE, ..endpoint })
            .collect::<Vec<_>>()
    };
    soon("the zone's endpoints are not ready, the others are", async || {
        cluster.endpoints(namespace, "shop").await == expected(false)
    })
    .await;
    cluster.kubelet.regain(SPARE).await;
    soon("the same endpoints are ready again", async || {
        cluster.endpoints(namespace, "shop").await == expected(true)
    })
    .await;
}
