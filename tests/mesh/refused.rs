//! An API server that refuses everything for a while, in each of the ways it has: what is wrong and how to mend
//! it is said, traffic stays, and all is well again afterwards.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_tests::cluster::sidecar::Sidecar;
use weir_tests::cluster::{Cluster, free, soon};
use weir_tests::traffic::Traffic;
use weir_tests::weir::Weir;
use weir_tests::world::write;

use crate::governed::{definition, policy};
use crate::istio;
use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    vec![Test::new("refused::in_every_way", &["envoy"], in_every_way)]
}

const NAMESPACE: &str = "refused";

const RATE: f64 = 100.0;

/// What it answers, and words that Weir has for it.
const WAYS: [(u16, &str); 6] = [
    (401, "renew the kubeconfig"),
    (403, "give the service account the verbs"),
    (409, "the API server answers 409"),
    (410, "the API server answers 410"),
    (429, "the API server answers 429"),
    (500, "the API server answers 500"),
];

/// An API server's door: what comes goes through to it, or is answered by a refusal.
struct Door {
    at: SocketAddr,
    refuses: watch::Sender<Option<u16>>,
    _tasks: JoinSet<()>,
}

impl Door {
    async fn open(admin: kube::Client) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let (refuses, way) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (admin, mut way) = (admin.clone(), way.clone());
                let now = *way.borrow_and_update();
                connections.spawn(async move {
                    let answering = service_fn(|request| answer(admin.clone(), now, request));
                    let serving =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), answering);
                    tokio::select! {
                        // Whoever goes away has gone.
                        ended = serving => drop(ended),
                        // Open watches break with the change.
                        _ = way.changed() => {}
                    }
                });
            }
        });
        Self { at, refuses, _tasks: tasks }
    }
}

/// What the API server says, or a refusal as it would put it.
async fn answer(
    admin: kube::Client,
    refuses: Option<u16>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if let Some(code) = refuses {
        let refusal = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "not now", "reason": "Unknown", "code": code,
            "details": {"retryAfterSeconds": u8::from(code == 429)},
        });
        let mut response = Response::new(Body::from(refusal.to_string().into_bytes()));
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if code == 429 {
            response.headers_mut().insert(header::RETRY_AFTER, http::HeaderValue::from_static("1"));
        }
        return Ok(response);
    }
    let (parts, body) = request.into_parts();
    let mut forward = Request::builder().method(parts.method).uri(parts.uri);
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        if let Some(value) = parts.headers.get(&name) {
            forward = forward.header(name, value);
        }
    }
    let body = body.collect().await.unwrap().to_bytes();
    let answered = admin.send(forward.body(Body::from(body.to_vec())).unwrap()).await;
    Ok(answered.unwrap_or_else(|_| {
        let mut none = Response::new(Body::empty());
        *none.status_mut() = StatusCode::BAD_GATEWAY;
        none
    }))
}

async fn weir(cluster: &Cluster, door: SocketAddr) -> Weir {
    let room = cluster.room("weir-refused");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "door",
        "clusters": [{"name": "door", "cluster": {"server": format!("http://{door}")}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "door", "context": {
            "cluster": "door", "user": "nobody", "namespace": NAMESPACE,
        }}],
    });
    write(&room, "kube.yaml", &kubeconfig.to_string());
    let config = json!({
        "data_dir": "data",
        "kubernetes": {
            "kubeconfig": "kube.yaml",
            "namespaces": [NAMESPACE],
            "writes": ["routes", "draining"],
        },
        "services": [{
            "namespace": NAMESPACE, "name": "shop", "clusters": ["shop"],
            "endpoints": {"kubernetes": {"port": "http"}}, "write_clusters": true,
        }],
    });
    write(&room, "weir.yaml", &config.to_string());
    Weir::start(&room, free()).await
}

/// What is wrong with the API server, as Weir says it.
async fn wrongs(weir: &Weir) -> Vec<(String, String)> {
    let sources = weir.ask("/api/v1/sources").await;
    let all = sources.as_array().into_iter().flatten();
    let kubernetes = all.filter(|source| source["kind"] == "kubernetes");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    kubernetes
        .filter(|source| !source["error"].is_null())
        .map(|source| (text(&source["target"]), text(&source["error"])))
        .collect()
}

async fn in_every_way(cluster: Arc<Cluster>) {
    cluster.define(&definition()).await;
    istio::one_version(&cluster, NAMESPACE).await;
    cluster.apply(&policy(NAMESPACE, "Enforce")).await;
    let door = Door::open(cluster.admin.clone()).await;
    let weir = weir(&cluster, door.at).await;
    let proxy = Sidecar::of_weir(&cluster, "client-refused", weir.xds).await;
    let has = async |count| proxy.endpoints("shop").await.len() == count;
    soon("the proxy has all pods", async || has(4).await).await;
    let traffic = Traffic::start(proxy.listener, RATE);
    for (code, words) in WAYS {
        door.refuses.send_replace(Some(code));
        // Of what is watched, which is asked for more and more seldom, and of what is written.
        let watched = ["endpointslices", "services", "adaptivetrafficpolicies", "nodes"];
        for asked in [&watched[..], &["in objects of others"]] {
            soon(&format!("{code} is said of {asked:?}"), async || {
                let wrongs = wrongs(&weir).await;
                let of = |place: &str| asked.iter().any(|word| place.contains(word));
                wrongs.iter().any(|(place, why)| of(place) && why.contains(words))
            })
            .await;
        }
        traffic.more(100).await;
        assert!(has(4).await, "nobody is lost by {code}");
    }
    door.refuses.send_replace(None);
    soon("all is well again", async || wrongs(&weir).await.is_empty()).await;
    let scaled = ["scale", "deployment/shop-v1", "--namespace", NAMESPACE, "--replicas=6"];
    cluster.kubectl(&scaled, "").await.unwrap();
    soon("what changes is seen", async || has(6).await).await;
    let get = ["get", "atp", "shop", "--namespace", NAMESPACE, "-o", "jsonpath={.status}"];
    soon("and what is decided is told", async || {
        let status = cluster.kubectl(&get, "").await.unwrap();
        status.contains(r#""reason":"Programmed""#)
    })
    .await;
    traffic.stop_without_loss().await;
}
