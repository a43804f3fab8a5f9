//! istiod's port with TLS, where proxies are known by tokens of their service accounts, and the relay before
//! it as its page sets it up.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use serde_json::{Value, json};
use tonic::Request;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use weir_testbed::backends::Behaviour;
use weir_tests::cluster::identity::Identity;
use weir_tests::cluster::istiod::{self, AUDIENCE, Istiod, SERVER_NAME};
use weir_tests::cluster::{Cluster, free, page, soon};
use weir_tests::traffic::Traffic;
use weir_tests::weir::Weir;
use weir_tests::world::write;

use crate::governed::{RATE, definition, judging, policy};
use crate::istio::{self, Way};
use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    let needs = &["istiod", "envoy", "openssl"];
    vec![Test::new("secured::istio_by_tokens", needs, istio_by_tokens)]
}

/// The relay's name in its certificate, as the page has it.
pub(crate) const NAME: &str = "weir.weir.svc";

/// A token of a namespace's service account, for istiod, issued by the API server.
pub(crate) async fn token(cluster: &Cluster, namespace: &str) -> String {
    let create = ["create", "token", "default", "--namespace", namespace, "--audience", AUDIENCE];
    let mut token = String::new();
    soon("the account is there and has a token", async || {
        let made = cluster.kubectl(&create, "").await;
        made.unwrap_or_default().trim().clone_into(&mut token);
        !token.is_empty()
    })
    .await;
    token
}

/// The certificate of the page, where the chart mounts it, and the values file of the page with the
/// addresses of this machine in it.
async fn installed(cluster: &Cluster, istiod: SocketAddr, relay: SocketAddr) -> std::path::PathBuf {
    let room = cluster.room("weir-secured");
    certified(cluster, &room).await;
    let values = page::root().join("deploy/chart/weir/ci/istio-relay-values.yaml");
    let values = std::fs::read_to_string(values).unwrap();
    let values: Value = serde_saphyr::from_str(&values).unwrap();
    let mut relayed = values["config"]["relay"].clone();
    let address = relayed["upstream"]["address"].as_str().unwrap();
    assert!(address.contains(SERVER_NAME), "{address}");
    here(&mut relayed, istiod, relay);
    let kubernetes = json!({
        "kubeconfig": cluster.kubeconfig(Identity::Admin),
        "namespaces": ["secured"],
        "balancer": {"policy": "LEAST_REQUEST", "healthy_panic_threshold": 0},
    });
    let config = json!({"data_dir": "data", "kubernetes": kubernetes, "relay": relayed});
    write(&room, "weir.yaml", &config.to_string());
    room
}

/// A relay's configuration on this machine: the addresses are others, and the certificates are in Weir's
/// folder.
pub(crate) fn here(relayed: &mut Value, istiod: SocketAddr, relay: SocketAddr) {
    relayed["listen"] = json!(relay);
    relayed["cert_file"] = json!("tls.crt");
    relayed["key_file"] = json!("tls.key");
    relayed["upstream"]["address"] = json!(format!("https://{istiod}"));
    relayed["upstream"]["server_name"] = json!(SERVER_NAME);
    relayed["upstream"]["ca_file"] = json!("ca-cert.pem");
}

/// Makes the relay's certificate as the page says, and puts it into a folder as a pod has it mounted.
pub(crate) async fn certified(cluster: &Cluster, room: &Path) {
    // Another test's, signed by the same authority.
    let earlier = ["delete", "secret", "weir-relay", "--namespace", "weir", "--ignore-not-found"];
    cluster.kubectl(&earlier, "").await.unwrap();
    let commands = page::commands("install/istio.md", "1. A certificate for the relay");
    cluster.follow(room, &commands).await.unwrap();
    let mount = "
for part in crt key; do
  kubectl -n weir get secret weir-relay -o \"jsonpath={.data.tls\\.$part}\" | base64 -d > tls.$part
done";
    cluster.follow(room, mount).await.unwrap();
}

/// A proxy's transport socket: it believes whom the mesh's root vouches for.
pub(crate) fn transport(authority: &Path, names: &[&str]) -> Value {
    let names: Vec<Value> =
        names.iter().map(|name| json!({"san_type": "DNS", "matcher": {"exact": name}})).collect();
    json!({"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "validation_context": {
                "trusted_ca": {"filename": authority.display().to_string()},
                "match_typed_subject_alt_names": names,
            },
        },
        "sni": NAME,
    }})
}

/// Asks for clusters as a proxy of a namespace with a token of its own or another's: how many it gets, or the
/// words of the refusal.
async fn asked(
    (relay, authority): (SocketAddr, &Path),
    namespace: &str,
    token: Option<&str>,
) -> Result<usize, String> {
    let authority = Certificate::from_pem(std::fs::read(authority).unwrap());
    let tls = ClientTlsConfig::new().ca_certificate(authority).domain_name(NAME);
    let endpoint = Endpoint::from_shared(format!("https://{relay}")).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let node = Node {
        id: format!("sidecar~10.244.9.8~asker.{namespace}~{namespace}.svc.cluster.local"),
        ..Node::default()
    };
    let first = DeltaDiscoveryRequest {
        node: Some(node),
        type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned(),
        ..DeltaDiscoveryRequest::default()
    };
    // The stream stays open until there is an answer.
    let requests = tokio_stream::StreamExt::chain(
        tokio_stream::once(first),
        tokio_stream::pending::<DeltaDiscoveryRequest>(),
    );
    let mut request = Request::new(requests);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let said = |status: tonic::Status| format!("{:?}: {}", status.code(), status.message());
    let mut answers = client.delta_aggregated_resources(request).await.map_err(said)?.into_inner();
    let answer = answers.message().await.map_err(said)?;
    Ok(answer.map_or(0, |answer| answer.resources.len()))
}

/// Each stream to istiod is who its proxy is: its token goes along, and what istiod says of it comes back.
async fn istio_by_tokens(cluster: Arc<Cluster>) {
    let _home = cluster.home().await;
    let namespace = "secured";
    let istiod = Istiod::start_secured(&cluster, "istiod-secured").await;
    istio::one_version(&cluster, namespace).await;
    cluster.define(&definition()).await;
    cluster.apply(&policy(namespace, "Enforce")).await;
    let (relay, xds) = (free(), free());
    let room = installed(&cluster, istiod.secured.unwrap(), relay).await;
    let weir = Weir::start(&room, xds).await;
    let authority = room.join("ca-cert.pem");
    let own = token(&cluster, namespace).await;

    let door = (relay, authority.as_path());
    let many = asked(door, namespace, Some(&own)).await.unwrap();
    assert!(many > 3, "{many} clusters for a proxy with a token of its own");
    let refused = asked(door, namespace, None).await.unwrap_err();
    assert!(refused.contains("let the proxy authenticate by a token"), "{refused}");
    for (name, token) in [("default", &*own), (namespace, "nonsense")] {
        let refused = asked(door, name, Some(token)).await.unwrap_err();
        assert!(refused.contains("authenti") || refused.contains("authoriz"), "{refused}");
    }
    assert!(!weir.said(&own) && !weir.said("nonsense"), "tokens are not logged");

    let secured = Some((transport(&authority, &[NAME]), &*own));
    let way = Way { secured, reports: Some(xds), ..Way::to(relay) };
    let client = istio::client_of_one(&cluster, ("client", namespace), way).await;
    let traffic = Traffic::start(client.listener, RATE);
    judging(&weir, namespace).await;
    let whole = format!("outbound|80||{}", istiod::host(namespace, "shop"));
    let pods = cluster.kubelet.addresses(namespace).await;
    let (pod, address) = pods.iter().next().unwrap();
    cluster.kubelet.behave(namespace, pod, Behaviour::failing(0.5)).await;
    soon("it is out at the proxy", async || {
        let endpoints = client.endpoints(&whole).await;
        endpoints.iter().any(|one| one.address == *address && !one.healthy)
    })
    .await;
    // Counts are up to half a second old: wait for later ones.
    traffic.more(300).await;
    let before = traffic.failed();
    traffic.more(600).await;
    // What was on its way when it went out may still fail.
    assert!(traffic.failed() - before < 10, "{} fail still", traffic.failed() - before);
    drop(traffic);
}
